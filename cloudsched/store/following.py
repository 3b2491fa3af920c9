"""A table in memory, kept up by reading what has changed: for who looks often at much of which little changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, select

from cloudsched.store import rows
from cloudsched.store.connect import StateRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Followed(Generic[T]):
    """What is followed: a table whose changes are a topic of the state row, and its rows as values.

    `order` gives a value's place among the others, `key` the text of its row's key.
    """

    table: Table
    topic: str
    columns: Sequence[ColumnElement[Any]]
    build: Callable[[Sequence[Any]], T]
    key: Callable[[T], str]
    order: Callable[[T], Any]


class Following(Generic[T]):
    """Used by one thread. What did not change stays the same object; what is not committed yet is left out.

    In a transaction that changes such rows the first look comes before the first change.
    """

    def __init__(self, followed: Followed[T]) -> None:
        self._followed = followed
        self._since = 0
        self._values: dict[str, T] = {}
        self._all: tuple[T, ...] = ()

    def all(self, connection: Connection, row: StateRow) -> tuple[T, ...]:
        """Every value, in order; the same tuple as long as its topic rests."""
        revision: int = getattr(row, self._followed.topic)
        if revision != self._since:
            if revision < self._since or self._since < row.oldest:
                # Another state has taken the place of ours, or tombstones that we would need are gone.
                self._since, self._values = 0, {}
            self._catch_up(connection, row.index)
            self._since = revision
        return self._all

    def _catch_up(self, connection: Connection, index: int) -> None:
        what, values = self._followed, self._values
        for key in rows.gone(connection, what.topic, self._since, index) if self._since else ():
            values.pop(key, None)
        moved = False
        since = what.table.c.revision.between(self._since + 1, index)
        found = connection.execute(select(*what.columns).where(since))
        for value in map(what.build, found):
            key = what.key(value)
            moved = moved or key not in values or what.order(values[key]) != what.order(value)
            values[key] = value
        if moved:
            self._values = values = dict(sorted(values.items(), key=lambda item: what.order(item[1])))
        self._all = tuple(values.values())
