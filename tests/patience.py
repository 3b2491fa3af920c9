"""Waiting for what processes do, without a guess how long it takes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudsched import processes

DEADLINE_SECONDS = 300.0


def eventually(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE_SECONDS) -> Any:
    """Wait until a condition holds and return what it returned."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what or condition}")


def pid_in(path: Path) -> int:
    """The process id that a job writes to a file, once it is there."""
    return int(eventually(lambda: path.exists() and path.read_text().strip(), f"a process id in {path}"))


def is_gone(pid: int) -> bool:
    """Whether a process is no more, or only a zombie."""
    return processes.read(pid) is None
