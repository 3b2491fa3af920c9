"""Recording what was asked: an operation, its wishes and the journal's entries, in the caller's transaction.

Every verb of the admin daemon ends here, whatever it found its targets by (`verbs`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select, update

from cloudsched.errors import PictureChanged
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.wishes import LASTING, Aspect, Operation, Wish
from cloudsched.store import journal, operations, rows, tables
from cloudsched.store.connect import Writing, state_row

SEEN_IN: Mapping[str, tuple[str, ...]] = {
    "cloud": ("clouds", "vms"),
    "vm": ("clouds", "vms"),
    "job": ("jobs", "shapes"),
    "jobs": ("jobs", "shapes"),
    "user": ("jobs", "shapes"),
    "scheduler": ("limits",),
}
"""By what a wish is for: the topics whose last change is the ETag of the pages that show it."""

_OPPOSITE = {
    Aspect.RETIRE: Aspect.RESET,
    Aspect.RESET: Aspect.RETIRE,
    Aspect.HOLD: Aspect.RELEASE,
    Aspect.RELEASE: Aspect.HOLD,
}


@dataclass(frozen=True, slots=True)
class By:
    """Who asks, in which request, why, when (Unix seconds), from which address; for which picture, None for any.

    `seen` are state indexes of what the verb is about (SEEN_IN), as the pages of the info daemon have them for ETags.
    """

    actor: str
    request_id: str = ""
    reason: str = ""
    at: int = field(default_factory=lambda: int(time.time()))
    address: str = ""
    seen: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """A wish to be made, and what the journal says of its target: label, owners, what changes."""

    kind: str
    name: str
    aspect: Aspect
    value: Any = None
    label: str = ""
    cloud: str = ""
    user: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


def pending(writing: Writing, kind: str, name: str, aspect: Aspect) -> list[Wish]:
    """The wishes in force for one thing that the engine has not got to yet: what it will be before ours."""
    return operations.unsettled_for(writing.connection, kind, name, aspect)


def no_target(by: By, verb: str) -> Entry:
    """The journal's entry for a verb before anything is known of its target."""
    asked = Entry(EntryKind.ASKED, verb, by.at, address=by.address, request_id=by.request_id, reason=by.reason)
    return replace(asked, actor=by.actor.removesuffix(f"@{by.address}") if by.address else by.actor)


def _entry(asked: Entry, want: Want) -> Entry:
    about = {name: getattr(want, name) for name in ("name", "label", "cloud", "user", "before", "after")}
    return replace(asked, noun=want.kind, **about)


def record(writing: Writing, by: By, verb: str, wants: Sequence[Want], about: Entry | None = None) -> Operation:
    """Record a verb with its targets, and the journal's entries; `about` is that of a verb which found no target."""
    connection = writing.connection
    _hold_against(connection, by, wants)
    operation = rows.next_id(writing, tables.operations)
    values = {"verb": verb, "actor": by.actor, "request_id": by.request_id, "reason": by.reason, "made_at": by.at}
    connection.execute(insert(tables.operations).values(id=operation, **values))
    asked, entries = replace(no_target(by, verb), operation=operation), list[Entry]()
    for wish, want in enumerate(wants, start=rows.next_id(writing, tables.wishes)):
        made = insert(tables.wishes).values(
            id=wish,
            operation=operation,
            kind=want.kind,
            name=want.name,
            aspect=want.aspect.value,
            value=want.value,
            made_at=by.at,
            reason=by.reason,
        )
        connection.execute(made)
        _supersede(writing, want, wish)
        entries.append(replace(_entry(asked, want), wish=wish))
    journal.ADMIN.record(writing, entries or [replace(about or asked, operation=operation)])
    if wants:
        writing.touch("wishes")
    return operations.find(connection, operation)


def _hold_against(connection: Connection, by: By, wants: Sequence[Want]) -> None:
    """Raise PictureChanged unless what was seen is what there is."""
    if by.seen is None:
        return
    row = state_row(connection)
    topics = {topic for want in wants for topic in SEEN_IN[want.kind]}
    revision = max((getattr(row, topic) for topic in topics), default=row.index)
    if revision not in by.seen:
        raise PictureChanged(f"It has changed since: its state index is {revision} now. Read it again.")


def _supersede(writing: Writing, want: Want, wish: int) -> None:
    """A lasting wish replaces the one before it; an unsettled wish is replaced by its opposite.

    Two equal one-shot wishes both stand: each waiter wants to hear how it ended.
    """
    table, settled = tables.wishes, select(tables.outcomes.c.wish)
    replaced = []
    if want.aspect in LASTING:
        replaced.append(table.c.aspect == want.aspect.value)
    if want.aspect in _OPPOSITE:
        replaced.append(and_(table.c.aspect == _OPPOSITE[want.aspect].value, table.c.id.not_in(settled)))
    if replaced:
        same = (table.c.kind == want.kind, table.c.name == want.name, table.c.id < wish)
        statement = update(table).where(*same, table.c.superseded_by.is_(None), or_(*replaced))
        writing.connection.execute(statement.values(superseded_by=wish))
