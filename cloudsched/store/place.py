"""The engine's place: one process at a time, on whatever host, is the engine of a state.

Within a state directory it is a lock file. On a server, which other hosts reach too, it is also an advisory lock of a
session that does nothing else: it ends with its process, its host or its connection. Neither keeps a late write out;
that is the epoch's work (`Store.begin_epoch`), so a place that was lost unnoticed does no harm.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from typing import IO

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from cloudsched.errors import StateHeld, StateTakenOver
from cloudsched.store import locks, tables
from cloudsched.store.connect import Store
from cloudsched.store.failures import translated

LOOK_SECONDS = 1.0
"""How often a server is asked whether our session is still there."""

_KEY = "1668050805, hashtext(current_schema())"
_TAKE = text(f"SELECT pg_try_advisory_lock({_KEY})")
_TAKEN = text(
    "SELECT application_name, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND classid = 1668050805 AND objid::bigint = hashtext(current_schema())::bigint & 4294967295"
)
"""Two keys, the second for the schema, so that states in schemas of one database do not meet (manual, 13.3.5)."""


class Place:
    """The engine's place, ours until `close` or the end of this process."""

    def __init__(self, store: Store, file: IO[str], session: Connection | None) -> None:
        self._store, self._file, self._session = store, file, session
        self._next_look = time.monotonic() + LOOK_SECONDS

    def keep(self) -> bool:
        """Make sure that it is ours still, and take it again after a lost connection; true.

        Raises StateTakenOver when another process has it, StateUnavailable while nobody can tell.
        """
        if self._store.path is None and time.monotonic() >= self._next_look:
            if self._session is not None and not _answers(self._session):
                self._let_go()
            if self._session is None:
                self._take_again()
            self._next_look = time.monotonic() + LOOK_SECONDS
        return True

    def close(self) -> None:
        """Give it up."""
        self._let_go()
        self._file.close()

    def _take_again(self) -> None:
        session = self._store.session()
        if not _take(session):
            session.close()
            raise StateTakenOver(f"Another engine holds this state now: {holder(self._store)}.")
        self._session = session

    def _let_go(self) -> None:
        if self._session is not None:
            with suppress(DBAPIError):
                self._session.close()
            self._session = None


def hold(store: Store) -> Place:
    """Take the engine's place. Raises StateHeld naming who has it, StateUnavailable."""
    file = locks.hold_engine(store.directory)
    try:
        session = None if store.path is not None else store.session()
        if session is not None and not _take(session):
            session.close()
            raise StateHeld(f"The state in {store.place} is held by {holder(store) or 'another process'}.")
    except BaseException:  # an interrupt too must not leave the lock held
        file.close()
        raise
    return Place(store, file, session)


def holder(store: Store) -> str | None:
    """Who is the engine now, as words; None when nobody is. Raises StateUnavailable."""
    if store.path is not None:
        return locks.engine_holder(store.directory)
    with store.reading() as connection:
        found = connection.execute(_TAKEN).first()
    return f"{found[0]} since {found[1].astimezone():%Y-%m-%d %H:%M:%S}" if found else None


def home(store: Store) -> tuple[str, str] | None:
    """Host and state directory of the present epoch's engine; None before the first one. Raises StateUnavailable."""
    with store.reading() as connection:
        noted = connection.execute(select(tables.state.c.engine)).scalar_one()
    found = json.loads(noted) if noted else None
    return (found["host"], found["directory"]) if found else None


def _answers(session: Connection) -> bool:
    try:
        session.execute(select(1))
    except DBAPIError:
        return False
    return True


def _take(session: Connection) -> bool:
    """Try to take the lock, under a name that others can read."""
    name = f"process {os.getpid()} on {socket.gethostname()}"
    with translated(session.engine.url):
        session.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
        return bool(session.execute(_TAKE).scalar_one())
