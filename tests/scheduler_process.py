"""A real `cloud_scheduler` with its daemons on free ports, or the engine alone, for tests of whole processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import databases

from cloudsched.errors import StateUnavailable
from cloudsched.store import locks

ROOT = Path(__file__).parent.parent
SECONDS = 300.0


@dataclass(frozen=True)
class Running:
    """A running process and the URLs it announced; those of daemons that were not started are empty."""

    process: subprocess.Popen[str]
    environment: Mapping[str, str]
    admin: str = ""
    info: str = ""


def environment(home: Path, **options: object) -> dict[str, str]:
    """An environment whose state is in `home/state`; `options` are of `[global]`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSCHED_", "XDG_"))}
    given = {"state_dir": home / "state", "admin_server_port": 0, "info_server_port": 0}
    given |= databases.options(home / "state") | options
    return kept | {"HOME": str(home)} | {f"CLOUDSCHED_GLOBAL_{name.upper()}": str(each) for name, each in given.items()}


def wait_for(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Poll until `condition` is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


@contextmanager
def scheduler(home: Path, *arguments: str, **options: object) -> Iterator[Running]:
    """Run `cloud_scheduler`, with both daemons unless `--no-servers` is among the arguments."""
    variables = environment(home, **options)
    command = [sys.executable, "-m", "cloudsched", *arguments]
    with _started(command, variables, home / "scheduler.log") as process:
        urls = {} if "--no-servers" in arguments else _announced(process)
        wait_for(lambda: _has_state(home / "state"))
        yield Running(process, variables, urls.get("admin", ""), urls.get("info", ""))


@contextmanager
def daemon(home: Path, module: str, **options: object) -> Iterator[str]:
    """Run one daemon alone over the state in `home`; yields its URL."""
    command = [sys.executable, "-m", module, "--port", "0"]
    with _started(command, environment(home, **options), home / f"{module}.log") as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("Listening on ")


def _has_state(directory: Path) -> bool:
    try:
        databases.open_store(directory, read_only=True).close()
    except StateUnavailable:
        return False
    return locks.engine_holder(directory) is not None


def _announced(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    urls: dict[str, str] = {}
    for line in process.stdout:
        if found := re.match(r"  (admin|info) +(\S+)", line):
            urls[found[1]] = found[2]
        if line.startswith("Ctrl-C"):
            break
    return urls


@contextmanager
def _started(command: list[str], variables: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("a") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(variables), stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
