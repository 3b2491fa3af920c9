"""Heartbeats of the engine's stages: outside the index, for they change when nothing does."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, insert, select, update

from cloudsched.model.snapshot import HEARTBEATS, Heartbeat
from cloudsched.store import tables
from cloudsched.store.connect import Writing
from cloudsched.store.prepared import Prepared

_TABLE = tables.heartbeats
_AGAIN = Prepared(update(_TABLE).where(_TABLE.c.name == bindparam("of")), ("interval_seconds", "beat_at"))
_FIRST = Prepared(insert(_TABLE), ("name", "interval_seconds", "beat_at"))


def all_heartbeats(connection: Connection) -> list[Heartbeat]:
    """The heartbeats in v1's order (PARITY 2.12); a stage that never beat is missing."""
    found = connection.execute(select(_TABLE.c.name, _TABLE.c.interval_seconds, _TABLE.c.beat_at))
    present = {name: Heartbeat(name, interval, beat_at) for name, interval, beat_at in found}
    return [present[name] for name in HEARTBEATS if name in present]


def record_heartbeats(writing: Writing, beats: Iterable[Heartbeat]) -> None:
    """Record the stages that beat since the last call."""
    for each in beats:
        values = {"interval_seconds": each.interval_seconds, "beat_at": each.beat_at}
        if not _AGAIN.run(writing.connection, of=each.name, **values):
            _FIRST.run(writing.connection, name=each.name, **values)
