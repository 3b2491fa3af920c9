"""Pages of what is read newest first from the database: where one begins, how the next is asked for.

The first page fixes what the newest row is and how many there are. Every token brings both along, so what is written
meanwhile belongs to none of the pages, and nothing need be kept for a token but the rows themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from cloudsched.errors import BadRequest

T = TypeVar("T")

LARGEST = 10**18 - 1
"""Of any number in a token."""

_TOKEN = re.compile(r"\d{1,18}(?:\.\d{1,18})+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: after the row that the numbers `last` name; they are empty on the first page.

    `newest` is what the listing goes back from and `total` how many rows it has, both as the first page found them.
    """

    newest: int
    total: int
    last: tuple[int, ...] = ()

    def __str__(self) -> str:
        return ".".join(map(str, (self.newest, self.total, *self.last)))


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows, newest first, of `total` that fit; `newest` is what the listing goes back from.

    `token` asks for the next page, and is empty on the last one.
    """

    rows: tuple[T, ...]
    total: int
    newest: int
    token: str


def position(token: str, *largest: int) -> Position:
    """The position that a token stands for; `largest` bounds each number of `last`. Raises BadRequest."""
    numbers = list(map(int, token.split("."))) if _TOKEN.fullmatch(token) else []
    last = numbers[2:]
    if len(last) != len(largest) or any(number > most for number, most in zip(last, largest, strict=True)):
        raise BadRequest("The parameter 'page_token' must be the one of the page before.", parameter="page_token")
    return Position(numbers[0], numbers[1], tuple(last))


def page(found: Sequence[T], limit: int, begun: Position, place: Callable[[T], tuple[int, ...]]) -> Page[T]:
    """A page of at most `limit` of the rows `found` from a position on; one more of them tells that there is a next.

    `place` gives the numbers that name a row.
    """
    shown = tuple(found[:limit])
    token = str(Position(begun.newest, begun.total, place(shown[-1]))) if len(found) > limit else ""
    return Page(shown, begun.total, begun.newest, token)


def given(wanted: Any) -> dict[str, Any]:
    """What a dataclass of filters asks for: None admits all."""
    values = {each.name: getattr(wanted, each.name) for each in fields(wanted)}
    return {name: value for name, value in values.items() if value is not None}
