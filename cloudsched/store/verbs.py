"""The admin daemon's writes: each verb becomes an operation with explicit targets, in one transaction.

A one-shot verb is resolved here and now ("shut 3 down" becomes three VM uids, a toggle becomes a value), so that what
was asked does not change its meaning before the engine gets to it (DESIGN 2).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select, update

from cloudsched.errors import Conflict, NotFound, PictureChanged
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.vms import VM
from cloudsched.model.wishes import LASTING, Aspect, Operation, Wish
from cloudsched.store import clouds, jobs, journal, operations, rows, tables, tokens, vms
from cloudsched.store.connect import Store, Writing, state_row
from cloudsched.store.limits import read_settings
from cloudsched.store.retention import prune_operations

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


_SETTINGS = frozenset({Aspect.LOG_LEVEL, Aspect.QUICK_EXIT})


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
class _Want:
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


def forget_old(store: Store, now: int, days: int) -> None:
    """Forget what is older than `days`, settled and no longer in force: admin keeps its own tables."""
    with store.writing() as writing:
        prune_operations(writing, now, days)
        tokens.forget_old(writing, now, days)


def wish_enabled(store: Store, by: By, cloud: str, enabled: bool) -> Operation:
    """Ask that a cloud may boot new VMs, or not. Raises NotFound."""
    with store.writing() as writing:
        found = clouds.find(writing.connection, cloud)
        asked = _asked(writing, "cloud", found.name, Aspect.ENABLED)
        before = asked[-1].value if asked else found.enabled
        want = _Want("cloud", found.name, Aspect.ENABLED, enabled, cloud=found.name)
        want = replace(want, before={"enabled": before}, after={"enabled": enabled})
        return _record(writing, by, "enable" if enabled else "disable", [want])


def wish_vm_slots(store: Store, by: By, cloud: str, slots: int) -> Operation:
    """Ask for another VM quota. Raises NotFound; Conflict `unchanged` when it is that already.

    The wish remembers the file's value: when somebody edits the file, the file wins again (DESIGN 7).
    """
    with store.writing() as writing:
        found = clouds.find(writing.connection, cloud)
        if found.vm_slots == slots:
            raise Conflict(f"The quota of {found.name} is {slots} already.", code="unchanged")
        value = {"slots": slots, "file": configured_slots(found.options, found.vm_slots)}
        asked = _asked(writing, "cloud", found.name, Aspect.VM_SLOTS)
        before = asked[-1].value["slots"] if asked else found.vm_slots
        want = _Want("cloud", found.name, Aspect.VM_SLOTS, value, cloud=found.name)
        want = replace(want, before={"vm_slots": before}, after={"vm_slots": slots})
        return _record(writing, by, "allocations", [want])


def configured_slots(options: Any, otherwise: int) -> int:
    """The quota that the file gives a cloud, from its raw options."""
    text = str(options.get("vm_slots", ""))
    return int(text) if text.strip().isdecimal() else otherwise


def wish_vms(store: Store, by: By, cloud: str, aspect: Aspect, count: int | None) -> Operation:
    """Ask the same of the `count` oldest VMs of a cloud, or of all (None). Raises NotFound for the cloud."""
    with store.writing() as writing:
        name = clouds.find(writing.connection, cloud).name
        found = vms.of_cloud(writing.connection, name)
        chosen = found if count is None else found[: max(count, 0)]
        about = replace(_no_target(by, aspect.value), noun="cloud", name=name, cloud=name)
        return _record(writing, by, aspect.value, [_vm_want(vm, aspect) for vm in chosen], about)


def wish_vm(store: Store, by: By, cloud: str, vm_id: str, aspect: Aspect) -> Operation:
    """Ask something of one VM, found by id, spot id or uid. Raises NotFound for the cloud or the VM."""
    with store.writing() as writing:
        name = clouds.find(writing.connection, cloud).name
        found = vms.find(writing.connection, name, vm_id)
        return _record(writing, by, aspect.value, [_vm_want(found, aspect)])


def wish_job(store: Store, by: By, ref: str, aspect: Aspect) -> Operation:
    """Ask to hold, release or remove one job, named by id or as CLUSTER.PROC. Raises NotFound."""
    with store.writing() as writing:
        found = jobs.find(writing.connection, ref)
        label = f"{found.cluster_id}.{found.proc_id}"
        want = _Want("job", found.id, aspect, label=label, user=found.shape.user)
        return _record(writing, by, aspect.value, [replace(want, before={"job_status": found.job_status})])


def wish_submit(store: Store, by: By, owner: str, submit: str, initialdir: str) -> Operation:
    """Ask to queue the jobs of a submit description."""
    value = {"submit": submit, "initialdir": initialdir, "owner": owner}
    # The description itself may hold secrets: the journal keeps by what it can be recognised.
    told = {"initialdir": initialdir, "submit_sha256": sha256(submit.encode(errors="replace")).hexdigest()}
    with store.writing() as writing:
        return _record(writing, by, "submit", [_Want("jobs", owner, Aspect.SUBMIT, value, user=owner, after=told)])


def wish_setting(store: Store, by: By, aspect: Aspect, value: Any = None) -> Operation:
    """Ask for a log level, the quick-exit flag (None toggles it) or the reloading of a file."""
    with store.writing() as writing:
        if aspect not in _SETTINGS:
            return _record(writing, by, aspect.value, [_Want("scheduler", "", aspect, value)])
        asked = _asked(writing, "scheduler", "", aspect)
        before = asked[-1].value if asked else read_settings(writing.connection).get(aspect.value)
        value = not before if aspect is Aspect.QUICK_EXIT and value is None else value
        want = _Want("scheduler", "", aspect, value, before={aspect.value: before}, after={aspect.value: value})
        return _record(writing, by, aspect.value, [want])


def wish_proxy(store: Store, by: By, user: str, aspect: Aspect) -> Operation:
    """Ask to renew a user's job or VM proxies. Raises NotFound for a user without jobs and VMs."""
    with store.writing() as writing:
        if user not in jobs.users(writing.connection):
            raise NotFound("user", user)
        return _record(writing, by, aspect.value, [_Want("user", user, aspect, user=user)])


def _asked(writing: Writing, kind: str, name: str, aspect: Aspect) -> list[Wish]:
    """The wishes in force for one thing that the engine has not got to yet: what it will be before ours."""
    return operations.unsettled_for(writing.connection, kind, name, aspect)


def _vm_want(vm: VM, aspect: Aspect) -> _Want:
    want = _Want("vm", vm.uid, aspect, {"id": vm.id}, label=vm.id, cloud=vm.cloud, user=vm.user)
    return replace(want, before={"status": vm.shown_status})


def _no_target(by: By, verb: str) -> Entry:
    """The journal's entry for a verb before anything is known of its target."""
    asked = Entry(EntryKind.ASKED, verb, by.at, address=by.address, request_id=by.request_id, reason=by.reason)
    return replace(asked, actor=by.actor.removesuffix(f"@{by.address}") if by.address else by.actor)


def _entry(asked: Entry, want: _Want) -> Entry:
    about = {name: getattr(want, name) for name in ("name", "label", "cloud", "user", "before", "after")}
    return replace(asked, noun=want.kind, **about)


def _record(writing: Writing, by: By, verb: str, wants: Sequence[_Want], about: Entry | None = None) -> Operation:
    """Record a verb with its targets, and the journal's entries; `about` is that of a verb which found no target."""
    connection = writing.connection
    _hold_against(connection, by, wants)
    operation = rows.next_id(writing, tables.operations)
    values = {"verb": verb, "actor": by.actor, "request_id": by.request_id, "reason": by.reason, "made_at": by.at}
    connection.execute(insert(tables.operations).values(id=operation, **values))
    asked, entries = replace(_no_target(by, verb), operation=operation), list[Entry]()
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


def _hold_against(connection: Connection, by: By, wants: Sequence[_Want]) -> None:
    """Raise PictureChanged unless what was seen is what there is."""
    if by.seen is None:
        return
    row = state_row(connection)
    topics = {topic for want in wants for topic in SEEN_IN[want.kind]}
    revision = max((getattr(row, topic) for topic in topics), default=row.index)
    if revision not in by.seen:
        raise PictureChanged(f"It has changed since: its state index is {revision} now. Read it again.")


def _supersede(writing: Writing, want: _Want, wish: int) -> None:
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
