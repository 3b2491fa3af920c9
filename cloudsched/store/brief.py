"""Single queries that are answered at once or not at all, for the thread that serves every connection."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from cloudsched.errors import StateError
from cloudsched.store.connect import Store
from cloudsched.store.databases import file_identity
from cloudsched.store.prepared import Prepared

_WAITING_FOR_NOBODY = Prepared(text("PRAGMA busy_timeout=0"))

T = TypeVar("T")

SLOW_SECONDS = 0.02
"""What a query that finds its row by an index takes where a slow disk has to be waited for; a fast one needs less, and
so do other threads that have the interpreter in the meantime."""

REST_SECONDS = 1.0
"""After such a query the disk is others' to wait for, for so long."""


class Brief:
    """A connection of one thread's to SQLite, which nobody's lock keeps waiting; a server is never asked."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._session: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._until = float("-inf")

    def find(self, query: Callable[[Connection], T | None]) -> T | None:
        """What one prepared query finds; None also where it would have to wait, or fails: others will say why."""
        began, blocks = self._clock(), _blocks_read()
        if self._store.path is None or began < self._until:
            return None
        try:
            found = query(self._connected())
        except (SQLAlchemyError, StateError):
            self.close()
            found = None
        now = self._clock()
        # It may take as long without any disk, when other threads have kept the interpreter; that is no reason.
        if now - began > SLOW_SECONDS and _blocks_read() > blocks:
            self._until = now + REST_SECONDS
        return found

    def close(self) -> None:
        """Let go of the connection; the next query makes another."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _connected(self) -> Connection:
        identity = file_identity(self._store.path)
        if self._session is None or identity != self._identity:
            self.close()
            self._session, self._identity = self._store.session(), identity
            _WAITING_FOR_NOBODY.run(self._session)
        return self._session


def _blocks_read() -> int:
    """How many times this thread has had something read from a disk (getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
