"""The processes a bench speaks to: a real info daemon on a state, and bare servers beside it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.fleet import COMMANDS, environment

THREADS = 32
"""The default of the option `threads`."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves at `url`."""

    url: str
    pid: int

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> tuple[int, Mapping[str, str], bytes]:
        """One answer: status, headers by lower-case name, body."""
        connection = http.client.HTTPConnection(str(urlsplit(self.url).netloc), timeout=120)
        connection.request("GET", target, headers=dict(headers or {}))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    def resident_mb(self) -> float:
        """Its memory now, in MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def info(home: Path, **options: str) -> Iterator[Server]:
    """An info daemon on the state in `home`, with the shipped defaults and these options."""
    with _daemon("info_server", home, **options) as server:
        yield server


@contextmanager
def admin(home: Path) -> Iterator[Server]:
    """An admin daemon on the state in `home`, with the shipped defaults; no engine runs, so no verb waits for one."""
    with _daemon("admin_server", home) as server:
        yield server


@contextmanager
def _daemon(program: str, home: Path, **options: str) -> Iterator[Server]:
    given = {f"CLOUDSCHED_GLOBAL_{name}": value for name, value in options.items()}
    command = [COMMANDS / program, "--port", "0"]
    with subprocess.Popen(command, env=environment(home) | given, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Server(process.stdout.readline().split()[-1], process.pid)
        finally:
            process.kill()


@contextmanager
def bare_verb(home: Path) -> Iterator[Server]:
    """A bare server that says a verb's statements to the state in `home`, which nobody else may use."""
    command = [sys.executable, "-m", "tests.bench.bare_verb", home]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Server(process.stdout.readline().strip(), process.pid)
        finally:
            process.kill()


@contextmanager
def bare(kind: str, documents: Mapping[str, tuple[str, bytes]]) -> Iterator[Server]:
    """A bare server of `kind` tuned or default, with these content types and bodies by target."""
    with tempfile.TemporaryDirectory() as directory:
        given: dict[str, tuple[str, str]] = {}
        for number, (target, (content_type, body)) in enumerate(documents.items()):
            file = Path(directory) / str(number)
            file.write_bytes(body)
            given[target] = content_type, str(file)
        command = [sys.executable, "-m", "tests.bench.bare", kind, str(THREADS)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
            try:
                process.stdin.write(json.dumps(given))
                process.stdin.close()
                yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}", process.pid)
            finally:
                process.kill()
