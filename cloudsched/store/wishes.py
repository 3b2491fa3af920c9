"""Recording what was asked: an operation, its wishes and the journal's entries, in the caller's transaction.

Every verb of the admin daemon ends here, whatever it found its targets by (`verbs`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update

from cloudsched.errors import PictureChanged, Unconfirmed
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.previews import Preview
from cloudsched.model.wishes import LASTING, Aspect, Operation, Target, Wish
from cloudsched.store import journal, keys, operations, rows, tables
from cloudsched.store.connect import Writing, state_row
from cloudsched.store.foresight import foresee
from cloudsched.store.keys import Key
from cloudsched.store.prepared import Prepared

SEEN_IN: Mapping[str, tuple[str, ...]] = {
    "cloud": ("clouds", "vms"),
    "vm": ("clouds", "vms"),
    "job": ("jobs", "shapes"),
    "jobs": ("jobs", "shapes"),
    "user": ("jobs", "shapes"),
    "scheduler": ("limits",),
}
"""By what a wish is for: the topics whose last change is the ETag of the pages that show it."""

_OPERATION = Prepared(insert(tables.operations), ("id", "verb", "actor", "request_id", "reason", "made_at"))
_WISHES = Prepared(insert(tables.wishes), [name for name in Wish.__dataclass_fields__ if name != "actor"])

_OPPOSITE = {
    Aspect.RETIRE: Aspect.RESET,
    Aspect.RESET: Aspect.RETIRE,
    Aspect.HOLD: Aspect.RELEASE,
    Aspect.RELEASE: Aspect.HOLD,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a verb is asked.

    `dry_run` does nothing and raises Previewed. More than `guard_vms` VMs, where that is not 0, are hit only with what
    confirms it: the id of a `preview` that still holds, or `confirm`, the number of VMs. Whoever gives either is held
    to it, whatever the guard. `key` names the request, so that it is done once however often it comes.
    """

    dry_run: bool = False
    guard_vms: int = 0
    confirm: int | None = None
    preview: str = ""
    key: Key | None = None

    @property
    def look_ahead(self) -> bool:
        """Whether it matters beforehand what the verb would do."""
        return bool(self.dry_run or self.guard_vms or self.preview or self.confirm is not None)


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
    terms: Terms = Terms()


class Previewed(Exception):
    """Ends the transaction of a dry run, so that nothing of it stays; `preview` is what it would have done."""

    def __init__(self, preview: Preview) -> None:
        self.preview = preview
        super().__init__(preview.id)


Foresight = Callable[[Writing], Mapping[str, Any]]
"""Fields of a Want that matter beforehand alone, found in the wish's own transaction."""


def nothing_more(_writing: Writing) -> Mapping[str, Any]:
    """The foresight of a want that says everything itself."""
    return {}


@dataclass(frozen=True, slots=True)
class Want:
    """A wish to be made, and what the journal says of its target: label, owners, what changes.

    `drains` are the uids of VMs that are no targets and will end for it once their jobs have; `problem` is why it will
    come to nothing, as far as that is known. Both are for previews and the guard alone, as is what `foresight` adds.
    """

    kind: str
    name: str
    aspect: Aspect
    value: Any = None
    label: str = ""
    cloud: str = ""
    user: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)
    drains: tuple[str, ...] = ()
    problem: str = ""
    foresight: Foresight = nothing_more


def pending(writing: Writing, kind: str, name: str, aspect: Aspect) -> list[Wish]:
    """The wishes in force for one thing that the engine has not got to yet: what it will be before ours."""
    return operations.unsettled_for(writing.connection, kind, name, aspect)


def recorded(connection: Connection, by: By) -> Operation | None:
    """The operation of this very request, by its key, when it has come before. Raises Conflict for another request."""
    if by.terms.key is None or by.terms.dry_run:
        return None
    known = keys.find(connection, by.terms.key, by.at)
    return None if known is None else operations.find(connection, known)


def asked(by: By, verb: str, **about: Any) -> Entry:
    """The journal's entry for a verb, with what is known `about` its target."""
    actor = by.actor.removesuffix(f"@{by.address}") if by.address else by.actor
    return Entry(EntryKind.ASKED, verb, by.at, actor, by.address, by.request_id, by.reason, **about)


def _entry(by: By, verb: str, want: Want, wish: Wish) -> Entry:
    about = {name: getattr(want, name) for name in ("name", "label", "cloud", "user", "before", "after", "detail")}
    return asked(by, verb, operation=wish.operation, wish=wish.id, noun=want.kind, **about)


def record(writing: Writing, by: By, verb: str, wants: Sequence[Want], about: Entry | None = None) -> Operation:
    """Record a verb with its targets, and the journal's entries; `about` is that of a verb which found no target.

    A verb that its key names already is not recorded again: the operation is that of the first time. Raises Previewed
    for a dry run, Unconfirmed, PictureChanged, and Conflict for a key of another request.
    """
    connection = writing.connection
    if (known := recorded(connection, by)) is not None:
        return known
    _hold_against(connection, by, {want.kind for want in wants} or {about.noun if about else ""})
    if by.terms.look_ahead:
        ahead = [replace(want, **want.foresight(writing)) for want in wants]
        hold_to(by.terms, foresee(connection, verb, ahead, by.at))
    number, first = rows.next_ids(writing, tables.operations, tables.wishes)
    targets = tuple(Target(_wish(by, want, number, wish), None) for wish, want in enumerate(wants, start=first))
    operation = Operation(number, verb, by.actor, by.at, targets, by.reason, by.request_id)
    values = {"verb": verb, "actor": by.actor, "request_id": by.request_id, "reason": by.reason, "made_at": by.at}
    _OPERATION.run(connection, id=number, **values)
    if by.terms.key:
        keys.record(writing, by.terms.key, number, by.at)
    writing.touch("wishes")
    if not wants:
        journal.ADMIN.record(writing, [replace(about or asked(by, verb), operation=number)])
        return operation
    made = [target.wish for target in targets]
    _WISHES.run_each(connection, [_row(wish) for wish in made])
    _supersede(writing, made)
    journal.ADMIN.record(writing, [_entry(by, verb, want, wish) for want, wish in zip(wants, made, strict=True)])
    return operation


def _wish(by: By, want: Want, operation: int, number: int) -> Wish:
    return Wish(number, operation, want.kind, want.name, want.aspect, want.value, by.at, by.reason, by.actor)


def _row(wish: Wish) -> rows.Row:
    values = {**rows.to_row(wish), "aspect": wish.aspect.value}
    return {name: value for name, value in values.items() if name != "actor"}


def hold_to(terms: Terms, found: Preview) -> None:
    """Raise Previewed for a dry run, Unconfirmed unless what would happen is what was confirmed."""
    if terms.dry_run:
        raise Previewed(found)
    if problem := _unconfirmed(terms, found):
        raise Unconfirmed(problem, found)


def _unconfirmed(terms: Terms, found: Preview) -> str:
    """What is wrong with the confirmation of a verb, or that it has none and needs one; empty where all is well."""
    count = len(found.vms)
    if terms.preview and terms.preview != found.id:
        return "It would not do any more what that preview told."
    if terms.confirm is not None and terms.confirm != count:
        return f"It would hit {count} VM(s), and confirm={terms.confirm} was given."
    if terms.preview or terms.confirm is not None or not terms.guard_vms or count <= terms.guard_vms:
        return ""
    return f"It would hit {count} VM(s), more than guard_vms ({terms.guard_vms}) lets pass without a confirmation."


def _hold_against(connection: Connection, by: By, nouns: Set[str]) -> None:
    """Raise PictureChanged unless what was seen of such things is what there is."""
    if by.seen is None:
        return
    row = state_row(connection)
    topics = {topic for noun in nouns for topic in SEEN_IN.get(noun, ())}
    # Who asks for what is so already asks for nothing, whatever was seen.
    revision = max((getattr(row, topic) for topic in topics), default=None)
    if revision is not None and revision not in by.seen:
        raise PictureChanged(f"It has changed since: its state index is {revision} now. Read it again.")


def _supersede(writing: Writing, made: Sequence[Wish]) -> None:
    """A lasting wish replaces the one before it; an unsettled wish is replaced by its opposite.

    Two equal one-shot wishes both stand: each waiter wants to hear how it ended.
    """
    of_aspect: dict[Aspect, list[rows.Row]] = {}
    for wish in made:
        same = {"of": wish.kind, "named": wish.name, "newest": wish.id, "by_newest": wish.id}
        of_aspect.setdefault(wish.aspect, []).append(same)
    for aspect, same_things in of_aspect.items():
        if aspect in LASTING or aspect in _OPPOSITE:
            _superseding(aspect).run_each(writing.connection, same_things)


@cache
def _superseding(aspect: Aspect) -> Prepared:
    table, settled = tables.wishes, select(tables.outcomes.c.wish)
    replaced = []
    if aspect in LASTING:
        replaced.append(table.c.aspect == aspect.value)
    if aspect in _OPPOSITE:
        replaced.append(and_(table.c.aspect == _OPPOSITE[aspect].value, table.c.id.not_in(settled)))
    same = (table.c.kind == bindparam("of"), table.c.name == bindparam("named"), table.c.id < bindparam("newest"))
    statement = update(table).where(*same, table.c.superseded_by.is_(None), or_(*replaced))
    return Prepared(statement.values(superseded_by=bindparam("by_newest")))
