"""A day of counts, one row a minute: outside the index, for what it shows is past."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from cloudsched.store import tables
from cloudsched.store.connect import Writing

MINUTES = 24 * 60


def read_history(connection: Connection) -> list[tuple[int, dict[str, float]]]:
    """(minute, counts) of the last 24 hours, oldest first; minutes in which no engine ran are missing."""
    table = tables.history
    found = connection.execute(select(table.c.minute, table.c.counts).order_by(table.c.minute))
    return [(minute, counts) for minute, counts in found]


def record_minute(writing: Writing, minute: int, counts: Mapping[str, float]) -> None:
    """Record one minute (Unix seconds divided by 60) and forget those older than a day, or in the future."""
    table = tables.history
    outdated = (table.c.minute <= minute - MINUTES) | (table.c.minute >= minute)
    writing.connection.execute(delete(table).where(outdated))
    writing.connection.execute(insert(table).values(minute=minute, counts=dict(counts)))
