"""Values to rows and back, and the one way rows are changed: only where they differ, with their revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Delete,
    RowMapping,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from cloudsched.model.clouds import Origin, to_request
from cloudsched.model.troubles import to_trouble
from cloudsched.store import tables
from cloudsched.store.connect import Writing
from cloudsched.store.prepared import Prepared

T = TypeVar("T")
Row = dict[str, Any]
_CHUNK = 500
_LATEST = (1 << 63) - 1
_STONES = tables.tombstones
_FORGETTING = delete(_STONES).where(
    _STONES.c.topic == bindparam("of"), _STONES.c.key.in_(bindparam("keys", expanding=True))
)
_GONE = select(_STONES.c.key).where(
    _STONES.c.topic == bindparam("of"),
    _STONES.c.revision > bindparam("since"),
    _STONES.c.revision <= bindparam("until"),
)
_RECORDS: Mapping[str, Callable[[Any], Any]] = {
    "Trouble | None": to_trouble,
    "Request | None": to_request,
    "Origin": Origin,
}
"""Fields that hold a record or a word of the model, by their type: how it is made of its JSON value."""


@cache
def _names(kind: Any) -> tuple[tuple[str, ...], Mapping[str, Callable[[Any], Any]]]:
    """A dataclass's field names, and how the values of some are made of JSON."""
    found = fields(kind)
    made = {e.name: tuple if str(e.type).startswith("tuple") else _RECORDS.get(str(e.type)) for e in found}
    return tuple(made), {name: make for name, make in made.items() if make is not None}


def to_row(value: Any) -> Row:
    """A dataclass as a row of the table with the same field names."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


def difference(kind: Callable[..., T], before: T, after: T, key: str) -> Row:
    """What changes of a row when a dataclass changes, with its key."""
    names, _ = _names(kind)
    return {
        name: getattr(after, name) for name in names if name == key or getattr(after, name) != getattr(before, name)
    }


def from_row(kind: Callable[..., T], row: RowMapping | Mapping[str, Any]) -> T:
    """A row as a dataclass; JSON lists become tuples and objects records where the field is one."""
    names, made = _names(kind)
    return kind(**{name: made[name](row[name]) if name in made else row[name] for name in names})


@cache
def reader(kind: Callable[..., T], table: Table) -> tuple[list[ColumnElement[Any]], Callable[[Sequence[Any]], T]]:
    """The columns that make a dataclass, and what makes it of a row of just these: much faster than `from_row`."""
    names, made = _names(kind)
    places = [(place, made[name]) for place, name in enumerate(names) if name in made]

    def build(row: Sequence[Any]) -> T:
        values = list(row)
        for place, make in places:
            values[place] = make(values[place])
        return kind(*values)

    return [table.c[name] for name in names], build


def key_column(table: Table) -> ColumnElement[Any]:
    """The single column that names a row of the table."""
    (column,) = table.primary_key.columns
    return column


def next_ids(writing: Writing, *of: Table) -> list[int]:
    """Of each table the number after the highest in use: writers come one at a time, and a dump needs no sequence."""
    (found,) = _highest(*of).rows(writing.connection)
    return [(last or 0) + 1 for last in found]


@cache
def _highest(*of: Table) -> Prepared:
    return Prepared(select(*(select(func.max(key_column(table))).scalar_subquery() for table in of)))


def chunks(items: Iterable[T], size: int = _CHUNK) -> Iterator[list[T]]:
    """Items in lists of at most `size`, for statements that name many keys."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


def save(writing: Writing, table: Table, rows: Iterable[Row], *, topic: str, new: bool = True) -> list[Any]:
    """Insert or update rows by key, only where something differs; returns the keys that changed.

    A row may leave columns out: an existing row keeps them, a new one must be complete. Without `new`, rows that are
    not there are left alone.
    """
    name = str(key_column(table).key)
    changed: list[Any] = []
    for part in chunks(rows):
        found = _existing(writing.connection, table, part)
        added = [row for row in part if row[name] not in found] if new else []
        differing = [row for row in part if row[name] in found and _differs(row, found[row[name]])]
        if added:
            # Only what is not there can have left a tombstone.
            _forget_tombstones(writing, topic, [row[name] for row in added])
            writing.connection.execute(insert(table), [{**row, "revision": writing.index} for row in added])
        _update(writing, table, differing)
        changed += [row[name] for row in (*added, *differing)]
    if changed:
        writing.touch(topic)
    return changed


def save_changed(writing: Writing, table: Table, rows: Sequence[Row], *, topic: str) -> None:
    """Update rows of which the caller knows that they are there and how they differ."""
    if rows:
        _update(writing, table, rows)
        writing.touch(topic)


def save_existing(writing: Writing, table: Table, rows: Iterable[Row], *, topic: str) -> list[Any]:
    """Update rows by key where they exist and differ; returns the keys that changed."""
    return save(writing, table, rows, topic=topic, new=False)


def remove(writing: Writing, table: Table, keys: Iterable[Any], *, topic: str) -> list[Any]:
    """Delete rows by key and leave tombstones, so that readers learn of it; returns the keys that were there."""
    gone: list[Any] = []
    for part in chunks(keys):
        there = list(writing.connection.execute(_present(table), {"keys": part}).scalars())
        if there:
            writing.connection.execute(_deleting(table), {"keys": there})
            _forget_tombstones(writing, topic, there)
            stones = [{"topic": topic, "key": str(key), "revision": writing.index} for key in there]
            writing.connection.execute(insert(tables.tombstones), stones)
        gone += there
    if gone:
        writing.touch(topic)
    return gone


def replace(writing: Writing, table: Table, rows: Sequence[Row], *, topic: str) -> None:
    """Make `rows` the whole content of a table, changing only what differs."""
    column = key_column(table)
    wanted = {row[str(column.key)] for row in rows}
    present = set(writing.connection.execute(select(column)).scalars())
    remove(writing, table, sorted(present - wanted), topic=topic)
    save(writing, table, rows, topic=topic)


def changes(connection: Connection, table: Table, topic: str, since: int) -> tuple[list[RowMapping], list[str]]:
    """Rows changed after the index `since`, and the keys gone after it; since 0 gives every row and no keys."""
    rows = connection.execute(_newer(table), {"since": since}).mappings().all()
    if since == 0:
        return list(rows), []
    return list(rows), gone(connection, topic, since)


@cache
def _newer(table: Table) -> Select[Any]:
    return select(table).where(table.c.revision > bindparam("since"))


def gone(connection: Connection, topic: str, since: int, until: int = _LATEST) -> list[str]:
    """The keys of a topic's rows that were deleted after the index `since`, and not after `until`."""
    return list(connection.execute(_GONE, {"of": topic, "since": since, "until": until}).scalars())


def _existing(connection: Connection, table: Table, part: Sequence[Row]) -> dict[Any, RowMapping]:
    """What there is of some rows by their keys, in the columns that these have."""
    column, names = key_column(table), frozenset(name for row in part for name in row)
    keys = {"keys": [row[str(column.key)] for row in part]}
    return {row[column]: row for row in connection.execute(_of_keys(table, names), keys).mappings()}


# Statements are made once for each table: to make one takes as long as to run it for a few rows.


@cache
def _of_keys(table: Table, names: frozenset[str]) -> Select[Any]:
    return select(*(table.c[name] for name in sorted(names))).where(key_column(table).in_(_keys()))


@cache
def _present(table: Table) -> Select[Any]:
    return select(key_column(table)).where(key_column(table).in_(_keys()))


@cache
def _deleting(table: Table) -> Delete:
    return delete(table).where(key_column(table).in_(_keys()))


@cache
def _updating(table: Table) -> Update:
    # The row's own key is bound under another name: SQLAlchemy keeps the columns' names for the values to set.
    return update(table).where(key_column(table) == bindparam("row_key"))


def _keys() -> BindParameter[Any]:
    return bindparam("keys", expanding=True)


def _differs(row: Row, found: RowMapping) -> bool:
    return any(_plain(value) != found[name] for name, value in row.items())


def _plain(value: Any) -> Any:
    """A value as it will be read back: JSON knows no tuples and no records."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _by_columns(rows: Iterable[Row]) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(sorted(row)), []).append(row)
    yield from groups.items()


def _update(writing: Writing, table: Table, rows: Iterable[Row]) -> None:
    name = str(key_column(table).key)
    for columns, group in _by_columns(rows):
        values = [
            {"row_key": row[name], "revision": writing.index, **{each: row[each] for each in columns if each != name}}
            for row in group
        ]
        writing.connection.execute(_updating(table), values)


def _forget_tombstones(writing: Writing, topic: str, keys: Iterable[Any]) -> None:
    for part in chunks(keys):
        writing.connection.execute(_FORGETTING, {"of": topic, "keys": [str(key) for key in part]})
