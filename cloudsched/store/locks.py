"""The two lock files beside the state: who may write now, and which engine holds the state.

Both are `flock`s, so the kernel lets go of them when their process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cloudsched.errors import StateHeld, StateUnavailable

_POLL_SECONDS = 0.002
WRITE_LOCK, ENGINE_LOCK = "state.lock", "engine.lock"


@contextmanager
def exclusive(path: Path, wait_seconds: float) -> Iterator[IO[bytes]]:
    """Hold `path` exclusively; gives the file. Raises StateUnavailable when it is not to be had in `wait_seconds`."""
    with os.fdopen(_opened(path), "r+b", buffering=0) as file:
        if not _acquire(file, wait_seconds):
            raise StateUnavailable("The state is busy: another process did not finish writing in time.")
        yield file


def hold_engine(directory: Path) -> IO[str]:
    """Take the engine's place for as long as the returned file stays open. Raises StateHeld naming the holder."""
    file = opened(directory / ENGINE_LOCK)
    # A probe by engine_holder() lasts microseconds: a short wait outlasts it, a real holder does not let go.
    if not _acquire(file, 0.2):
        holder = _read(file)
        file.close()
        raise StateHeld(f"The state in {directory} is held by {holder or 'another process'}.")
    file.truncate(0)
    file.write(note(directory))
    file.flush()
    return file


def engine_holder(directory: Path) -> str | None:
    """Who holds the engine's place now, as words; None when nobody does."""
    path = directory / ENGINE_LOCK
    if not path.exists():
        return None
    with opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(file) or "another process"
    return None


def note(directory: Path) -> str:
    """Who we are, for others to read: `pid`, `host`, `directory` and `since` (now, local time) as JSON."""
    who = {"pid": os.getpid(), "host": socket.gethostname(), "directory": str(directory.absolute())}
    return json.dumps({**who, "since": time.strftime("%Y-%m-%d %H:%M:%S")})


def words(noted: str) -> str:
    """A note as people read it. Raises ValueError, KeyError or TypeError for what is none."""
    process = json.loads(noted)
    return f"process {process['pid']} on {process['host']} since {process['since']}"


def opened(path: Path) -> IO[str]:
    """A lock file as text, made where there is none. Raises StateUnavailable."""
    return os.fdopen(_opened(path), "r+", encoding="utf-8")


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as ex:
        raise StateUnavailable(f"The lock file {path} cannot be opened: {ex.strerror}.", retry_after=5) from ex


def _acquire(file: IO[Any], wait_seconds: float) -> bool:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True


def _read(file: IO[str]) -> str:
    file.seek(0)
    try:
        return words(file.read())
    except (ValueError, KeyError, TypeError):
        return ""
