"""Operations: a verb as asked (admin's tables) and what became of it (engine's), read as one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, insert, select

from cloudsched.errors import NotFound
from cloudsched.model.journal import ENGINE, Entry, EntryKind
from cloudsched.model.wishes import LASTING, Aspect, Operation, Outcome, OutcomeState, Target, Wish
from cloudsched.store import journal, tables
from cloudsched.store.connect import Store, Writing
from cloudsched.store.prepared import Prepared

_ACTOR = select(tables.operations.c.actor).where(tables.operations.c.id == tables.wishes.c.operation)
_WISH_COLUMNS = [
    *(tables.wishes.c[name] for name in Wish.__dataclass_fields__ if name != "actor"),
    _ACTOR.scalar_subquery().label("actor"),
]

_JOINED = tables.wishes.outerjoin(tables.outcomes, tables.outcomes.c.wish == tables.wishes.c.id)
_ASKED_FOR: BindParameter[Any] = bindparam("numbers", expanding=True)
_SEVERAL = select(tables.operations).where(tables.operations.c.id.in_(_ASKED_FOR))
_TARGETS = (
    select(*_WISH_COLUMNS, tables.outcomes)
    .select_from(_JOINED)
    .where(tables.wishes.c.operation.in_(_ASKED_FOR))
    .order_by(tables.wishes.c.id)
)
_UNSETTLED = (
    select(*_WISH_COLUMNS).select_from(_JOINED).where(tables.outcomes.c.wish.is_(None)).order_by(tables.wishes.c.id)
)
_SUPERSEDED = _UNSETTLED.where(tables.wishes.c.superseded_by.is_not(None))
_IN_FORCE = _UNSETTLED.where(tables.wishes.c.superseded_by.is_(None))
_IN_FORCE_FOR = Prepared(
    _IN_FORCE.where(
        tables.wishes.c.kind == bindparam("of"),
        tables.wishes.c.name == bindparam("named"),
        tables.wishes.c.aspect == bindparam("about"),
    )
)


def read(store: Store, operation: int) -> Operation:
    """One operation with its targets in order. Raises NotFound."""
    with store.reading() as connection:
        return find(connection, operation)


def find(connection: Connection, operation: int) -> Operation:
    """`read` inside a transaction of the caller's."""
    found = several(connection, [operation])
    if not found:
        raise NotFound("operation", str(operation))
    return found[0]


def several(connection: Connection, numbers: Sequence[int]) -> list[Operation]:
    """Operations with their targets, in the order of their numbers here; those that are not there are left out."""
    made = {row.id: row for row in connection.execute(_SEVERAL, {"numbers": list(numbers)})}
    targets: dict[int, list[Target]] = {}
    for row in connection.execute(_TARGETS, {"numbers": list(made)}):
        targets.setdefault(row.operation, []).append(_target(row))
    return [_operation(made[each], targets.get(each, ())) for each in numbers if each in made]


def _operation(row: Any, targets: Sequence[Target]) -> Operation:
    return Operation(row.id, row.verb, row.actor, row.made_at, tuple(targets), row.reason, row.request_id)


def actor(store: Store, operation: int) -> str | None:
    """Who asked for an operation, None where there is no such operation."""
    table = tables.operations
    with store.reading() as connection:
        found: str | None = connection.execute(select(table.c.actor).where(table.c.id == operation)).scalar()
    return found


def unsettled(connection: Connection) -> list[Wish]:
    """Wishes in force that have no outcome yet, in the order they were made."""
    return _wishes(connection, _IN_FORCE)


def unsettled_for(connection: Connection, kind: str, name: str, aspect: Aspect) -> list[Wish]:
    """`unsettled`, for one aspect of one thing."""
    found = _IN_FORCE_FOR.rows(connection, of=kind, named=name, about=aspect.value)
    return [_made(*row) for row in found]


def waiting(connection: Connection) -> dict[str, int]:
    """How many wishes in force have no outcome yet, by aspect."""
    return dict(Counter(wish.aspect.value for wish in unsettled(connection)))


def lasting(connection: Connection) -> list[Wish]:
    """The lasting wishes in force, settled or not."""
    table = tables.wishes
    query = select(*_WISH_COLUMNS).where(table.c.aspect.in_(sorted(LASTING)), table.c.superseded_by.is_(None))
    return _wishes(connection, query.order_by(table.c.id))


def record_outcomes(writing: Writing, outcomes: Sequence[Outcome]) -> None:
    """Record how wishes ended. The first outcome of a wish stands."""
    wishes = [outcome.wish for outcome in outcomes]
    table = tables.outcomes
    present = set(writing.connection.execute(select(table.c.wish).where(table.c.wish.in_(wishes))).scalars())
    new = {outcome.wish: outcome for outcome in reversed(outcomes) if outcome.wish not in present}
    if new:
        values = [
            {"wish": o.wish, "state": o.state.value, "detail": dict(o.detail), "settled_at": o.settled_at}
            for o in new.values()
        ]
        journal.ENGINE.record(writing, _entries(writing.connection, new))
        writing.connection.execute(insert(table), values)
        writing.touch("outcomes")


def _entries(connection: Connection, outcomes: Mapping[int, Outcome]) -> list[Entry]:
    """The journal's entries for outcomes by their wishes: each about what the wish was about, under its request."""
    asked = journal.asked(connection, list(outcomes))
    return [
        replace(
            asked[wish],
            kind=EntryKind.OUTCOME,
            at=outcome.settled_at,
            actor=ENGINE,
            address="",
            reason="",
            before={},
            after={},
            detail={**outcome.detail, "state": outcome.state.value},
        )
        for wish, outcome in sorted(outcomes.items())
        if wish in asked
    ]


def record_superseded(writing: Writing, now: int) -> None:
    """Settle the wishes that a newer one replaced before they were acted on."""
    found = _wishes(writing.connection, _SUPERSEDED)
    record_outcomes(writing, [Outcome(wish.id, OutcomeState.SUPERSEDED, {}, now) for wish in found])


def settle(store: Store, ends: Sequence[tuple[int, OutcomeState, dict[str, Any]]]) -> None:
    """Record how wishes ended, as one commit of the engine's."""
    now = int(time.time())
    with store.writing() as writing:
        record_outcomes(writing, [Outcome(wish, state, detail, now) for wish, state, detail in ends])


def _wishes(connection: Connection, query: Select[Any]) -> list[Wish]:
    return [_wish(row) for row in connection.execute(query)]


def _wish(row: Any) -> Wish:
    return _made(row.id, row.operation, row.kind, row.name, row.aspect, row.value, row.made_at, row.reason, row.actor)


def _made(number: int, operation: int, kind: str, name: str, aspect: str, *rest: Any) -> Wish:
    """A wish of its columns in their order."""
    return Wish(number, operation, kind, name, Aspect(aspect), *rest)


def _target(row: Any) -> Target:
    if row.state is None:
        return Target(_wish(row), None)
    return Target(_wish(row), Outcome(row.id, OutcomeState(row.state), row.detail, row.settled_at))
