"""A planted token, through everything that a running pair does with it: it shows nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from cloudsched.engine import notes
from cloudsched.model.access import Role
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.store import Store, dump, tokens
from cloudsched.store.tokens import Grant
from cloudsched.web.token_file import read_token

BIN = Path(sys.executable).parent
SECONDS = 120.0


def processes() -> bytes:
    """The command lines of all processes."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(each.read_bytes())
        except OSError:
            continue
    return b"\0".join(found)


@contextmanager
def daemon(kind: str, state: Path) -> Iterator[str]:
    """A real daemon that logs every request; gives its port."""
    variables = {
        "CLOUDSCHED_GLOBAL_STATE_DIR": str(state),
        "CLOUDSCHED_GLOBAL_ACCESS_LOG": "all",
        "CLOUDSCHED_GLOBAL_INFO_AUTH": "token",
        "CLOUDSCHED_LOGGING_LOG_LEVEL": "VERBOSE",
        "CLOUDSCHED_GLOBAL_VERB_WAIT_SECONDS": "0",
    }
    command = [BIN / f"{kind}_server", "--port", "0"]
    with subprocess.Popen(
        command, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip().rpartition(":")[2]
        finally:
            process.terminate()
            process.wait(SECONDS)


def written(notes: Path) -> dict[str, bytes]:
    """What both daemons have noted, which they do every few seconds."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = {path.name: path.read_bytes() for path in notes.glob("*.jsonl")}
        if {name for name, text in found.items() if text} == {"admin.jsonl", "info.jsonl"}:
            return found
        assert time.monotonic() < deadline, found.keys()
        time.sleep(0.5)


def test_planted_token_shows_nowhere(store: Store, state_dir: Path, tmp_path: Path) -> None:
    asked = Entry(EntryKind.ASKED, "token_create", 1000, "test")
    good, token = tokens.make(store, Grant(Role.READER, description="planted"), asked)
    revoked, gone = tokens.make(store, Grant(Role.ADMIN), asked)
    tokens.revoke(store, gone.id, asked)
    first = read_token(state_dir / "admin.token")
    planted = {"good": good, "revoked": revoked, "first": first, "wrong": f"cs_{'0' * 12}_{'planted' * 6}x"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CLOUDSCHED_")}
    said = []
    with daemon("admin", state_dir) as admin_port, daemon("info", state_dir) as info_port:
        for text in planted.values():
            variables = {**environment, "CLOUDSCHED_TOKEN": text, "HOME": str(tmp_path)}
            for words in (
                ["cloud_admin", "-P", admin_port, "--token-list"],
                ["cloud_admin", "-P", admin_port, "--token-revoke", token.id[::-1]],
                ["cloud_status", "-p", info_port, "-a"],
                ["cloud_job", "--info-port", info_port, "list"],
            ):
                with subprocess.Popen(
                    [BIN / words[0], *words[1:]], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                ) as running:
                    said.append(processes())
                    said.append(running.communicate(timeout=SECONDS)[0])
        noted = written(state_dir / "notes")
    notes.take(store)
    for with_secrets in (True, False):
        out = StringIO()
        dump.dump(store, out, with_secrets=with_secrets, version="2", now=1)
        said.append(out.getvalue().encode())
    assert token.digest is not None
    assert token.digest.encode() in said[-2]
    assert token.digest.encode() not in said[-1]
    files = {path: path.read_bytes() for path in state_dir.rglob("*") if path.is_file() and path.name != "admin.token"}
    assert any(path.suffix == ".log" and content for path, content in files.items())
    assert token.id.encode() in b"".join(files.values())
    for name, text in planted.items():
        secret = text.split("_", 2)[2].encode() if text.startswith("cs_") else text.encode()
        assert [path for path, content in files.items() if secret in content] == [], name
        assert [each for each in [*said, *noted.values()] if secret in each] == [], name
