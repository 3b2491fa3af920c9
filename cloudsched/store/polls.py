"""When each source was last read: outside the index, for it changes when nothing does."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from cloudsched.model.snapshot import Polled
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing
from cloudsched.store.prepared import Prepared

_TABLE = tables.polls
_AGAIN = Prepared(
    update(_TABLE)
    .where(_TABLE.c.name == bindparam("of"))
    .values(
        interval_seconds=bindparam("every"),
        ok_at=func.coalesce(bindparam("ok", type_=_TABLE.c.ok_at.type), _TABLE.c.ok_at),
        failed_at=func.coalesce(bindparam("failed", type_=_TABLE.c.failed_at.type), _TABLE.c.failed_at),
        seconds=bindparam("took"),
        error=bindparam("problem"),
    )
)
_FIRST = Prepared(insert(_TABLE), tuple(Polled.__dataclass_fields__))


def all_polls(connection: Connection) -> list[Polled]:
    """Every source that is or was polled, by name."""
    found = connection.execute(select(tables.polls).order_by(tables.polls.c.name)).mappings()
    return [rows.from_row(Polled, row) for row in found]


def record_polls(writing: Writing, polled: Iterable[Polled]) -> None:
    """Record attempts; what one does not tell (`ok_at` of a failed one) stays."""
    for each in polled:
        times = {"every": each.interval_seconds, "ok": each.ok_at, "failed": each.failed_at, "took": each.seconds}
        if not _AGAIN.run(writing.connection, of=each.name, **times, problem=each.error):
            _FIRST.run(writing.connection, **rows.to_row(each))


def keep_polls(writing: Writing, names: Collection[str]) -> None:
    """Forget sources that are polled no longer."""
    writing.connection.execute(delete(tables.polls).where(tables.polls.c.name.not_in(names)))
