"""When each source was last read: outside the index, for it changes when nothing does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, delete, insert, select

from cloudsched.model.snapshot import Polled
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing

_NAMED = tables.polls.c.name.in_(bindparam("names", expanding=True))
_SOME, _FORGETTING = select(tables.polls).where(_NAMED), delete(tables.polls).where(_NAMED)


def all_polls(connection: Connection) -> list[Polled]:
    """Every source that is or was polled, by name."""
    found = connection.execute(select(tables.polls).order_by(tables.polls.c.name)).mappings()
    return [rows.from_row(Polled, row) for row in found]


def record_polls(writing: Writing, polled: Sequence[Polled]) -> None:
    """Record attempts, all of a transaction together; what one does not tell (`ok_at` of a failed one) stays."""
    if polled:
        writing.collect(_record, polled)


def _record(writing: Writing, polled: Sequence[Polled]) -> None:
    names = sorted({each.name for each in polled})
    found = writing.connection.execute(_SOME, {"names": names}).mappings()
    known = {row["name"]: rows.from_row(Polled, row) for row in found}
    for each in polled:
        before = known.get(each.name, each)
        known[each.name] = replace(each, ok_at=each.ok_at or before.ok_at, failed_at=each.failed_at or before.failed_at)
    writing.connection.execute(_FORGETTING, {"names": names})
    writing.connection.execute(insert(tables.polls), [rows.to_row(known[name]) for name in names])


def keep_polls(writing: Writing, names: Collection[str]) -> None:
    """Forget sources that are polled no longer."""
    writing.connection.execute(delete(tables.polls).where(tables.polls.c.name.not_in(names)))
