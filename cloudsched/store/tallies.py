"""Counters that only grow: part of the index, so that what is shown of them is a function of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable

from sqlalchemy import Connection, select

from cloudsched.model.metrics import Increment, Key
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing

TOPIC = "index"
"""Tallies have no column of their own in the state row: a change moves the index alone."""


def all_tallies(connection: Connection) -> dict[Key, float]:
    """Every counter by its key."""
    table = tables.tallies
    return {to_key(key): value for key, value in connection.execute(select(table.c.key, table.c.value))}


def to_key(text: str) -> Key:
    """A stored key as a value."""
    return tuple(json.loads(text))


def add_tallies(writing: Writing, increments: Iterable[Increment]) -> None:
    """Add to counters, from 0 where one is new; the engine's only, and inside the commit that caused it."""
    wanted: dict[str, float] = defaultdict(float)
    for each, value in increments:
        wanted[json.dumps(each)] += value
    table = tables.tallies
    present: dict[str, float] = {}
    for part in rows.chunks(wanted):
        found = select(table.c.key, table.c.value).where(table.c.key.in_(part))
        present |= {key: value for key, value in writing.connection.execute(found)}
    changed = [{"key": key, "value": present.get(key, 0.0) + value} for key, value in wanted.items()]
    rows.save(writing, table, changed, topic=TOPIC)


def forget_tallies(writing: Writing, keys: Collection[Key]) -> None:
    """Forget counters, as those of a cloud that is gone."""
    rows.remove(writing, tables.tallies, [json.dumps(key) for key in keys], topic=TOPIC)
