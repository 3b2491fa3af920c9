"""Heartbeats of the engine's stages: outside the index, for they change when nothing does."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from cloudsched.model.snapshot import HEARTBEATS, Heartbeat
from cloudsched.store import tables
from cloudsched.store.connect import Writing


def all_heartbeats(connection: Connection) -> list[Heartbeat]:
    """The heartbeats in v1's order (PARITY 2.12); a stage that never beat is missing."""
    table = tables.heartbeats
    found = connection.execute(select(table.c.name, table.c.interval_seconds, table.c.beat_at))
    present = {name: Heartbeat(name, interval, beat_at) for name, interval, beat_at in found}
    return [present[name] for name in HEARTBEATS if name in present]


def record_heartbeats(writing: Writing, beats: Sequence[Heartbeat]) -> None:
    """Record the stages that beat since the last call."""
    names = [beat.name for beat in beats]
    if names:
        writing.connection.execute(delete(tables.heartbeats).where(tables.heartbeats.c.name.in_(names)))
        values = [{"name": b.name, "interval_seconds": b.interval_seconds, "beat_at": b.beat_at} for b in beats]
        writing.connection.execute(insert(tables.heartbeats), values)
