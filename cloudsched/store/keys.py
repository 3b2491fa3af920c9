"""Idempotency keys: a request that comes again under its key is answered as the first time, and not done again.

Kept with the operation in one transaction, so that neither a crash nor two daemons can do a request twice; for a day,
so that a client which lost an answer has time to ask for it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from cloudsched.errors import Conflict
from cloudsched.store import tables
from cloudsched.store.connect import Writing

KEPT_SECONDS = 86400

_TABLE = tables.idempotency_keys


@dataclass(frozen=True, slots=True)
class Key:
    """A request as its client named it: `id` is of the client and the name, `request` of what was asked.

    Both are digests: no key is kept that somebody else could send, and no parameter that may be a secret.
    """

    id: str
    request: str

    @classmethod
    def of(cls, client: str, name: str, request: Mapping[str, Any]) -> Key:
        """The key that a client gave a request; what one client calls its requests concerns no other."""
        return cls(_digest([client, name]), _digest(request))


@dataclass(frozen=True, slots=True)
class Kept:
    """A key as the state keeps it: with the operation or the token that was made under it."""

    id: str
    request: str
    operation: int | None = None
    token: str = ""
    made_at: int = 0


def find(connection: Connection, key: Key, now: int) -> int | None:
    """The operation that was made under this key, None where there is none or it is forgotten.

    Raises Conflict when the key was given to another request, or to one that made a token: its text is shown once.
    """
    row = connection.execute(select(_TABLE).where(_TABLE.c.id == key.id)).first()
    if row is None or row.made_at <= now - KEPT_SECONDS:
        return None
    if row.request != key.request:
        problem = "This Idempotency-Key has named another request already: give each request a key of its own."
        raise Conflict(problem, code="idempotency-key-reused")
    if row.token:
        problem = f"With this Idempotency-Key the token {row.token} was made, whose text is shown once: revoke it and"
        raise Conflict(f"{problem} make another.", code="token-shown-once")
    known = select(tables.operations.c.id).where(tables.operations.c.id == row.operation)
    operation: int | None = connection.execute(known).scalar()
    return operation


def record(writing: Writing, key: Key, operation: int | None, now: int, token: str = "") -> None:
    """Keep a key with what was made under it; one that is too old to count is replaced."""
    writing.connection.execute(delete(_TABLE).where(_TABLE.c.id == key.id))
    values = {"id": key.id, "request": key.request, "operation": operation, "token": token, "made_at": now}
    writing.connection.execute(insert(_TABLE).values(values))


def forget_old(writing: Writing, now: int) -> None:
    """Admin: forget the keys that are too old to count."""
    writing.connection.execute(delete(_TABLE).where(_TABLE.c.made_at <= now - KEPT_SECONDS))


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode(errors="replace")).hexdigest()
