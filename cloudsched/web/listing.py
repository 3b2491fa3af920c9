"""Listings that page, filter, sort and select: what any of them may be asked, whatever its rows are (docs/api.md).

A noun is a table of names: the fields of its documents, what narrows it, what it can be sorted by. Everything a client
says is held against that table, so an unknown name is refused with the known ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from cloudsched.errors import BadRequest
from cloudsched.web import params
from cloudsched.web.params import Parameter

T = TypeVar("T")

MOST_ROWS = 1000
"""The longest page that can be asked for; without `limit` everything that fits is one page."""

_AGE = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TOKEN = re.compile(r"([0-9a-f]{16})\.([0-9]{1,9})\.([0-9]{1,4})", re.ASCII)

Fits = Callable[[T, Any, float], bool]
Names = tuple[str, ...]


def age(value: str) -> int:
    """How long ago, in seconds: a number of them, or of minutes, hours or days."""
    found = _AGE.fullmatch(value)
    if not found:
        raise ValueError(f"must be a number of seconds, or one with s, m, h or d behind it, not {value!r}")
    return int(found[1]) * _SECONDS[found[2]]


def flag(value: str) -> bool:
    """True or false."""
    return params.word("true", "false")(value) == "true"


def names_of(accepted: Sequence[str]) -> Callable[[str], Names]:
    """A parser for some of these words, separated by commas."""

    def parse(value: str) -> Names:
        found = tuple(dict.fromkeys(value.split(",")))
        if not set(found).issubset(accepted):
            raise ValueError(f"must be one or more of {' or '.join(accepted)}, not {value!r}")
        return found

    return parse


@dataclass(frozen=True, slots=True)
class Filter(Generic[T]):
    """What narrows a listing: whether a row `fits` what was wanted, at a time in Unix seconds.

    `wanted` is what it is held against where a client does not say; None lets everything pass. A filter of `ages`
    gives another answer as time passes.
    """

    fits: Fits[T]
    parse: Callable[[str], Any] = params.text
    wanted: Any = None
    ages: bool = False


def aged(moment: Callable[[T], float | None]) -> dict[str, Filter[T]]:
    """The filters by age of rows that have a moment; those without one fit neither."""

    def older(row: T, wanted: int, now: float) -> bool:
        at = moment(row)
        return bool(at) and now - float(at or 0) >= wanted

    def younger(row: T, wanted: int, now: float) -> bool:
        at = moment(row)
        return bool(at) and now - float(at or 0) < wanted

    return {"older_than": Filter(older, age, ages=True), "younger_than": Filter(younger, age, ages=True)}


@dataclass(frozen=True)
class Noun(Generic[T]):
    """The rows of a listing: `key` names them in the document, `fields` are those of each row's document.

    `sorts` give what can be compared of a row; rows that are equal by it stay in the listing's own order.
    """

    key: str
    fields: Names
    filters: Mapping[str, Filter[T]] = field(default_factory=dict)
    sorts: Mapping[str, Callable[[T], Any]] = field(default_factory=dict)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Everything that a listing of this noun may be asked with."""
        ways = [f"{sign}{name}" for name in self.sorts for sign in ("", "-")]
        return (
            *(Parameter(name, each.parse) for name, each in self.filters.items()),
            Parameter("sort", names_of(ways), many=True),
            Parameter("fields", names_of(self.fields), many=True),
            Parameter("limit", params.integer(1, MOST_ROWS)),
            Parameter("page_token", token),
        )

    def asked(self, values: Mapping[str, Any]) -> Asked | None:
        """What the parameters of a request say; None where it uses none of them. Raises BadRequest."""
        given = {each.name: values[each.name] for each in self.parameters if each.name in values}
        if not given:
            return None
        after: Token | None = given.get("page_token")
        if after and "index" in values:
            raise BadRequest("The parameter 'index' goes without 'page_token'.", parameter="index")
        return Asked(
            Query(tuple((name, given[name]) for name in self.filters if name in given), given.get("sort", ())),
            given.get("fields", ()),
            given.get("limit") or (after.limit if after else 0),
            after,
        )

    def fitting(self, rows: Iterable[T], query: Query, now: float) -> Iterator[T]:
        """The rows that every filter lets pass."""
        wanted = {name: each.wanted for name, each in self.filters.items()} | dict(query.filters)
        held = [(self.filters[name].fits, value) for name, value in wanted.items() if value is not None]
        return (row for row in rows if all(fits(row, value, now) for fits, value in held))

    def ages(self, query: Query) -> bool:
        """Whether the answer to a query changes as time passes."""
        return any(self.filters[name].ages for name, _ in query.filters)

    def keys(self, query: Query) -> list[Callable[[T], Any]]:
        """What rows are compared by, the most important first."""
        return [self.sorts[each.removeprefix("-")] for each in query.sort]


@dataclass(frozen=True, slots=True)
class Token:
    """Where a listing goes on: which one, after how many rows, how long its pages are (0: to the end)."""

    listing: str
    offset: int
    limit: int

    def __str__(self) -> str:
        return f"{self.listing}.{self.offset}.{self.limit}"


def token(value: str) -> Token:
    """A page token as a page before gave it."""
    found = _TOKEN.fullmatch(value)
    if not found:
        raise ValueError("must be the one of the page before")
    return Token(found[1], int(found[2]), int(found[3]))


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows, in which order: what all pages of a listing have in common."""

    filters: tuple[tuple[str, Any], ...] = ()
    sort: Names = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """One page: of which listing, which fields of its rows (none: all), at most how many (0: all), after what."""

    query: Query
    fields: Names = ()
    limit: int = 0
    after: Token | None = None


def order(keys: Sequence[Sequence[Any]], sort: Names) -> list[int]:
    """The places of rows in the order asked for, by the keys of each; equal ones stay as they are."""
    places = list(range(len(keys)))
    for which, name in reversed(list(enumerate(sort))):
        places.sort(key=lambda place, which=which: keys[place][which], reverse=name.startswith("-"))  # type: ignore[misc]
    return places
