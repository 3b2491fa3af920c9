"""Seeing within milliseconds that somebody committed: one connection that never writes."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from cloudsched.store import tables
from cloudsched.store.connect import Store
from cloudsched.store.databases import file_identity
from cloudsched.store.failures import translated


class Watch:
    """Cheap reads of three columns of the state row: 10 microseconds on SQLite, so that a thread may poll them.

    All methods raise StateUnavailable; the next call tries again from the start.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._raw: sqlite3.Connection | None = None
        self._session: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def wishes(self) -> int:
        """The index of the last commit that recorded a wish."""
        return self._columns()[0]

    def verbs(self) -> int:
        """The index of the last commit that recorded or settled a wish."""
        return self._columns()[1]

    def tokens(self) -> int:
        """The index of the last commit that made, changed or revoked a token."""
        return self._columns()[2]

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _columns(self) -> tuple[int, int, int]:
        path = self._store.path
        if path is None:
            return self._server_columns()
        with self._lock, translated(self._store.url):
            try:
                return self._raw_columns(path)
            except sqlite3.Error:
                # Once more through the store, whose errors are translated and which notices a replaced file.
                self._drop()
        row_ = self._store.state()
        return row_.wishes, row_.verbs, row_.tokens

    def _server_columns(self) -> tuple[int, int, int]:
        with self._lock, translated(self._store.url):
            if self._session is None:
                self._session = self._store.session()
            try:
                columns = tables.state.c
                row = self._session.execute(select(columns.wishes, columns.verbs, columns.tokens)).one()
            except DBAPIError:
                self._drop()
                raise
            return row[0], row[1], row[2]

    def _raw_columns(self, path: Path) -> tuple[int, int, int]:
        identity = file_identity(path)
        if self._raw is None or identity != self._identity:
            self._drop()
            self._identity = identity
            uri = f"file:{quote(str(path))}?mode=ro"
            self._raw = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=1.0)
        row = self._raw.execute("SELECT wishes, verbs, tokens FROM state").fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    def _drop(self) -> None:
        if self._session is not None:
            with suppress(DBAPIError):
                self._session.close()
            self._session = None
        if self._raw is not None:
            self._raw.close()
            self._raw = None
