"""docs/postgresql.md, run: its commands in their order, on a real server."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from postgresql import Server
from test_shown_commands import shown
from whole_bench import Site, a_site, eventually, stopped

PAGE = Path(__file__).parent.parent / "docs" / "postgresql.md"
SECONDS = 120

pytestmark = pytest.mark.real


def test_every_command_of_the_page_works(postgresql: Server, tmp_path: Path) -> None:
    createuser, createdb, export, plain, standby, dump, pg_dump = shown(PAGE, "$")
    reach = {"PGHOST": str(postgresql.directory)}

    def run(command: str, **variables: str) -> None:
        path = f"{postgresql.programs}:{os.environ['PATH']}"
        known = {**os.environ, **reach, "PATH": path, **variables}
        subprocess.run(command.split(), env=known, cwd=tmp_path, check=True, timeout=SECONDS, stdin=subprocess.DEVNULL)

    run(createuser, PGUSER="postgres")
    run(createdb, PGUSER="postgres")
    found = re.fullmatch(r"export CLOUDSCHED_GLOBAL_DATABASE_URL=(\S+)", export)
    assert found
    url = f"{found[1]}?host={postgresql.directory}"
    with a_site(tmp_path / "home", DATABASE_URL=url) as site:
        for command in (plain, standby):
            scheduler = site.start(*command.split()[1:])
            eventually(lambda: ready(site), "it is at work")
            assert stopped(scheduler) == 0
        site.said(dump.split()[0].rpartition("/")[2], *dump.split()[1:])
        assert (site.home / "state.jsonl").stat().st_size > 0
        assert not (site.state / "state.db").exists()
    run(pg_dump, PGUSER="cloudsched")
    assert (tmp_path / "cloudsched.dump").stat().st_size > 0


def ready(site: Site) -> bool:
    return site.ask("info", "GET", "/health/ready")[0] == 200
