"""Reading operations: newest first, filtered, a page at a time; each page is a few lookups in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from cloudsched.model.wishes import Operation, OutcomeState
from cloudsched.store import operations, pages, tables
from cloudsched.store.connect import Store
from cloudsched.store.pages import Page, Position

STATES = ("running", "done", "failed")
_OPERATIONS, _WISHES, _OUTCOMES, _JOURNAL = tables.operations, tables.wishes, tables.outcomes, tables.journal


@dataclass(frozen=True, slots=True)
class Filter:
    """Which operations are wanted; None admits all.

    `noun`, `name`, `cloud` and `user` are of one of the targets, `name` also its label; `actor` is who asked, from
    wherever; times are Unix seconds, inclusive.
    """

    state: str | None = None
    verb: str | None = None
    actor: str | None = None
    noun: str | None = None
    name: str | None = None
    cloud: str | None = None
    user: str | None = None
    request_id: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page is asked for: at most `limit` of the operations `wanted`, after the page of `token`."""

    wanted: Filter = field(default_factory=Filter)
    limit: int = 100
    token: str = ""


def read(store: Store, asked: Asked) -> Page[Operation]:
    """A page. Raises BadRequest for a token that no page gave, StateUnavailable."""
    after = pages.position(asked.token, pages.LARGEST) if asked.token else None
    with store.reading() as connection:
        conditions = [_CONDITIONS[name](value) for name, value in pages.given(asked.wanted).items()]
        begun = after or _first(connection, conditions)
        place = _OPERATIONS.c.id < begun.last[0] if begun.last else _OPERATIONS.c.id <= begun.newest
        ids = _ids(connection, [place, *conditions], asked.limit + 1)
        found = pages.page(ids, asked.limit, begun, lambda number: (number,))
        return Page(tuple(operations.several(connection, found.rows)), found.total, found.newest, found.token)


def _first(connection: Connection, conditions: list[ColumnElement[bool]]) -> Position:
    newest = connection.execute(select(func.coalesce(func.max(_OPERATIONS.c.id), 0))).scalar_one()
    total = connection.execute(select(func.count()).where(*conditions).select_from(_OPERATIONS)).scalar_one()
    return Position(newest, total)


def _ids(connection: Connection, conditions: list[ColumnElement[bool]], limit: int) -> list[int]:
    query = select(_OPERATIONS.c.id).where(*conditions).order_by(_OPERATIONS.c.id.desc()).limit(limit)
    return list(connection.execute(query).scalars())


def _in_state(state: str) -> ColumnElement[bool]:
    mine = _WISHES.c.operation == _OPERATIONS.c.id
    ended = exists().where(_OUTCOMES.c.wish == _WISHES.c.id)
    is_running = exists().where(mine, ~ended)
    has_failed = exists().where(mine, _OUTCOMES.c.wish == _WISHES.c.id, _OUTCOMES.c.state == OutcomeState.FAILED.value)
    return {"running": is_running, "failed": and_(~is_running, has_failed), "done": ~or_(is_running, has_failed)}[state]


def _by(actor: str) -> ColumnElement[bool]:
    column = _OPERATIONS.c.actor
    return or_(column == actor, column.startswith(f"{actor}@", autoescape=True))


def _about(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """What the journal says of a target: the operation's own tables know neither labels nor owners."""
    return exists().where(_JOURNAL.c.operation == _OPERATIONS.c.id, *conditions)


_CONDITIONS: Mapping[str, Any] = {
    "state": _in_state,
    "verb": lambda value: _OPERATIONS.c.verb == value,
    "actor": _by,
    "noun": lambda value: _about(_JOURNAL.c.noun == value),
    "name": lambda value: _about(or_(_JOURNAL.c.name == value, _JOURNAL.c.label == value)),
    "cloud": lambda value: _about(_JOURNAL.c.cloud == value),
    "user": lambda value: _about(_JOURNAL.c.user == value),
    "request_id": lambda value: _OPERATIONS.c.request_id == value,
    "since": lambda value: _OPERATIONS.c.made_at >= value,
    "until": lambda value: _OPERATIONS.c.made_at <= value,
}
