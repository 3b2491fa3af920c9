"""One write transaction, as whoever writes sees it; `Store.writing` makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection


class Writing:
    """One write transaction: `index` is what the commit will be known by; `touch` names the topics it changed.

    What belongs to no topic and is part of the index all the same touches `index`.
    """

    def __init__(self, connection: Connection, index: int) -> None:
        self.connection, self.index = connection, index
        self._touched: set[str] = set()
        self._collected: dict[Callable[[Writing, list[Any]], None], list[Any]] = {}

    def touch(self, *topics: str) -> None:
        self._touched.update(topics)

    def collect(self, record: Callable[[Writing, list[Any]], None], items: Iterable[Any]) -> None:
        """Have items recorded in one go, with all others for the same `record`, before the transaction ends."""
        self._collected.setdefault(record, []).extend(items)

    def record_now(self, record: Callable[[Writing, list[Any]], None]) -> None:
        """Record what was collected so far for one `record`: somebody asks what it comes to."""
        if items := self._collected.pop(record, None):
            record(self, items)

    def finish(self) -> None:
        """Record what was collected: all that is left to do before the state row."""
        for record, items in self._collected.items():
            record(self, items)

    @property
    def touched(self) -> frozenset[str]:
        return frozenset(self._touched)
