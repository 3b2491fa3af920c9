"""A number in shared memory that tells readers, without asking the database, that nobody has committed anything.

It stands at the start of the file that writers lock. A writer makes it odd before its commit and even, another number,
after it. Who has read an even number, then the state, and finds the number unchanged, has seen every commit there is:
a commit becomes visible only while the number is odd. A writer that is killed leaves it odd, which says "ask".
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cloudsched.errors import StateUnavailable
from cloudsched.store import locks

_NUMBER = struct.Struct("=Q")


@contextmanager
def beating(file: IO[bytes] | None) -> Iterator[None]:
    """Mark a commit in the locked file as under way; None where there is no such file, as beside a server."""
    if file is None:
        yield
        return
    found = os.pread(file.fileno(), _NUMBER.size, 0)
    number = _NUMBER.unpack(found)[0] if len(found) == _NUMBER.size else 0
    odd = number + 1 + number % 2
    os.pwrite(file.fileno(), _NUMBER.pack(odd), 0)
    try:
        yield
    finally:
        os.pwrite(file.fileno(), _NUMBER.pack(odd + 1), 0)


class Pulse:
    """Reads the number of one file; cheap enough for every request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None
        self._identity: tuple[int, int] | None = None

    def read(self) -> bytes:
        """The number as it is now; empty while a commit is under way and where there is no file."""
        found = self._map[:8] if self._map is not None else b""
        return b"" if found and found[_LOWEST] % 2 else found

    def follow(self) -> bool:
        """Read the file that has the name now; whether another one has taken its place."""
        identity = None
        with suppress(OSError):
            status = self._path.stat()
            identity = (status.st_dev, status.st_ino) if status.st_size >= _NUMBER.size else None
        is_another = identity != self._identity
        if is_another:
            self._map, self._identity = self._opened(), identity
        return is_another

    def _opened(self) -> mmap.mmap | None:
        with suppress(OSError, ValueError, StateUnavailable), locks.opened(self._path) as file:
            return mmap.mmap(file.fileno(), _NUMBER.size, access=mmap.ACCESS_READ)
        return None


_LOWEST = 0 if _NUMBER.pack(1)[0] else 7
"""Which byte tells odd from even, on this machine."""
