"""What the state row says now, asked so cheaply that every request of a reader may ask.

Three looks, each cheaper than the next: the pulse (memory), SQLite's `data_version` (has any other connection
committed since?), the row. The pulse alone is trusted for LOOK_SECONDS, after which the database is asked: so a
replaced file, or a commit of somebody who beats no pulse, is seen too.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from cloudsched.errors import StateError
from cloudsched.store import locks
from cloudsched.store.connect import StateRow, Store
from cloudsched.store.databases import file_identity
from cloudsched.store.failures import translated
from cloudsched.store.pulse import Pulse

LOOK_SECONDS = 0.05

_COLUMNS = ", ".join('"' + name + '"' for name in StateRow.__dataclass_fields__)
_ROW = f"SELECT {_COLUMNS} FROM state"  # noqa: S608


class Glance:
    """The state row of one store, for one caller of `row` at a time; any thread may call the others."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._pulse = Pulse(store.directory / locks.WRITE_LOCK)
        self._raw: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._version: int | None = None
        self._row: StateRow | None = None
        self._pending = self._seen = b""
        self._until = 0.0

    def is_trusted(self) -> bool:
        """Whether the row that was last trusted is still the last commit, and it is not yet time to look again."""
        seen = self._seen
        return bool(seen) and self._pulse.read() == seen and self._clock() < self._until

    def is_current(self) -> bool:
        """The same for who looks where it is not, seen from the moment of this call.

        Every LOOK_SECONDS one caller is told that it is not, and looks; the others need not wait for that.
        """
        if self.is_trusted():
            return True
        self._until = self._clock() + LOOK_SECONDS
        return False

    def row(self) -> StateRow:
        """The state row as committed at some moment after this call. Raises StateUnavailable."""
        self._pending = b""
        if self._store.path is None:
            return self._store.state()
        self._until = self._clock() + LOOK_SECONDS
        if self._pulse.follow():
            self._seen = b""
        self._pending = self._pulse.read()
        try:
            return self._looked()
        except StateError:
            self._seen = b""
            raise

    def trust(self) -> None:
        """Let `is_current` speak of the row returned last, once its caller has made use of it."""
        self._seen = self._pending

    def _looked(self) -> StateRow:
        with translated(self._store.url), suppress(sqlite3.Error):
            return self._asked()
        # Once more through the store, whose errors are translated and which notices a replaced file.
        self._drop()
        return self._store.state()

    def _asked(self) -> StateRow:
        identity = file_identity(self._store.path)
        if self._raw is None or identity != self._identity:
            self._connect(identity)
        assert self._raw is not None
        version = self._raw.execute("PRAGMA data_version").fetchone()[0]
        if self._row is None or version != self._version:
            # Read after the version: a commit between the two only makes the next look read the row once more.
            self._row, self._version = StateRow(*self._raw.execute(_ROW).fetchone()), version
        return self._row

    def _connect(self, identity: tuple[int, int] | None) -> None:
        self._drop()
        self._seen = b""
        uri = f"file:{quote(str(self._store.path))}?mode=ro"
        self._raw = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=1.0)
        self._identity = identity

    def _drop(self) -> None:
        self._row = None
        if self._raw is not None:
            self._raw.close()
            self._raw = None
