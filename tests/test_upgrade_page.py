"""docs/upgrade.md, run: every command that it shows, in its order, on states of both releases and both databases."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from postgresql import Server
from test_dump import fill

from cloudsched.store import Store
from cloudsched.store.tables import SCHEMA_VERSION

PAGE = Path(__file__).parent.parent / "docs" / "upgrade.md"
SHOWN = re.findall(r"^ *\$ (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
URL = "CLOUDSCHED_GLOBAL_DATABASE_URL"
SECONDS = 120

pytestmark = pytest.mark.real


def run(command: str, home: Path, url: str) -> str:
    """Run a shown command as the operator of the state in `home` would; returns what it printed."""
    program, *words = command.split()
    assert program == ".venv/bin/cloud_scheduler"
    variables = {**os.environ, "CLOUDSCHED_GLOBAL_STATE_DIR": str(home), URL: url}
    finished = subprocess.run(
        [Path(sys.executable).with_name("cloud_scheduler"), *words],
        cwd=home.parent,
        env=variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def test_every_command_of_the_page_works(postgresql: Server, tmp_path: Path) -> None:
    dump_before, upgrade, load_before, dump, export, load = SHOWN
    present, older, rolled_back, elsewhere = (tmp_path / name for name in ("present", "older", "back", "elsewhere"))
    urls = {home: f"sqlite:///{home / 'state.db'}" for home in (present, rolled_back)}
    with closing(Store.open(urls[present], present)) as store:
        fill(store)
    run(dump_before, present, urls[present])
    assert (tmp_path / "before.jsonl").stat().st_mode & 0o777 == 0o600

    name = postgresql.create()
    with postgresql.connect(name) as connection:
        connection.execute((PAGE.parent.parent / "tests/schemas/schema_1.postgresql.sql").read_bytes())
    printed = run(upgrade, older, postgresql.url(name))
    assert printed == f"The state had schema version 1 and now has schema version {SCHEMA_VERSION}.\n"
    assert printed in PAGE.read_text("utf-8")

    run(load_before, rolled_back, urls[rolled_back])
    run(dump, rolled_back, urls[rolled_back])
    assert export.startswith(f"export {URL}=postgresql+psycopg://")
    urls[elsewhere] = postgresql.url(postgresql.create())
    run(load, elsewhere, urls[elsewhere])
    again = run("".join(dump.rsplit("state.jsonl", 1)) + "-", elsewhere, urls[elsewhere])
    assert again.splitlines()[1:] == (tmp_path / "before.jsonl").read_text("utf-8").splitlines()[1:]
