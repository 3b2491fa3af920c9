"""The admin daemon's writes: each verb becomes an operation with explicit targets, in one transaction.

A one-shot verb is resolved here and now ("shut 3 down" becomes three VM uids, a toggle becomes a value), so that what
was asked does not change its meaning before the engine gets to it (DESIGN 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from cloudsched.errors import Conflict, NotFound
from cloudsched.model.jobs import Machine
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.store import clouds, definitions, jobs, keys, machines, tokens, vms, wants, wishes
from cloudsched.store.connect import Store, Writing
from cloudsched.store.retention import prune_operations
from cloudsched.store.wishes import By, Foresight, Want

Choice = Callable[[Sequence[VM], Sequence[Machine]], Sequence[VM]]
"""Chooses among a cloud's VMs, the oldest first, by what the batch system's machines do."""

_SETTINGS = frozenset({Aspect.LOG_LEVEL, Aspect.QUICK_EXIT})


def forget_old(store: Store, now: int, days: int) -> None:
    """Forget what is older than `days`, settled and no longer in force: admin keeps its own tables."""
    with store.writing() as writing:
        keys.forget_old(writing, now)
        prune_operations(writing, now, days)
        definitions.forget_secrets(writing)
        tokens.forget_old(writing, now, days)


def wish_enabled(store: Store, by: By, cloud: str, enabled: bool, until: int | None = None) -> Operation:
    """Ask that a cloud may boot new VMs, or not; with `until` (Unix seconds) only for so long. Raises NotFound.

    What holds for a time lies over what holds for good: a second such wish goes back to the same as the first.
    """
    with store.writing() as writing:
        found = clouds.find(writing.connection, cloud)
        want = wants.of_enabled(writing, found, enabled, until)
        return wishes.record(writing, by, "enable" if enabled else "disable", [want])


def wish_vm_slots(store: Store, by: By, cloud: str, slots: int) -> Operation:
    """Ask for another VM quota. Raises NotFound; Conflict `unchanged` when it is that already."""
    with store.writing() as writing:
        found = clouds.find(writing.connection, cloud)
        if found.vm_slots == slots:
            if by.terms.dry_run:
                return wishes.record(writing, by, "allocations", [])
            raise Conflict(f"The quota of {found.name} is {slots} already.", code="unchanged")
        return wishes.record(writing, by, "allocations", [wants.of_slots(writing, found, slots)])


def wish_vms(store: Store, by: By, cloud: str, aspect: Aspect, which: int | Choice | None) -> Operation:
    """Ask the same of some VMs of a cloud: so many of the oldest, all (None), or the chosen. Raises NotFound."""
    with store.writing() as writing:
        name = clouds.find(writing.connection, cloud).name
        found = vms.of_cloud(writing.connection, name)
        chosen = _chosen(writing, found, which)
        about = wishes.asked(by, aspect.value, noun="cloud", name=name, cloud=name)
        return wishes.record(writing, by, aspect.value, [wants.of_vm(vm, aspect) for vm in chosen], about)


def _chosen(writing: Writing, found: Sequence[VM], which: int | Choice | None) -> Sequence[VM]:
    if callable(which):
        return which(found, machines.all_machines(writing.connection))
    return found if which is None else found[: max(which, 0)]


def wish_vm(store: Store, by: By, cloud: str, vm_id: str, aspect: Aspect) -> Operation:
    """Ask something of one VM, found by id, spot id or uid. Raises NotFound for the cloud or the VM."""
    with store.writing() as writing:
        name = clouds.find(writing.connection, cloud).name
        found = vms.find(writing.connection, name, vm_id)
        return wishes.record(writing, by, aspect.value, [wants.of_vm(found, aspect)])


def wish_job(store: Store, by: By, ref: str, aspect: Aspect) -> Operation:
    """Ask to hold, release or remove one job, named by id or as CLUSTER.PROC. Raises NotFound."""
    with store.writing() as writing:
        found = jobs.find(writing.connection, ref)
        return wishes.record(writing, by, aspect.value, [wants.of_job(found, aspect)])


def wish_submit(store: Store, by: By, owner: str, submit: str, initialdir: str) -> Operation:
    """Ask to queue the jobs of a submit description."""
    value = {"submit": submit, "initialdir": initialdir, "owner": owner}
    # The description itself may hold secrets: the journal keeps by what it can be recognised.
    told = {"initialdir": initialdir, "submit_sha256": sha256(submit.encode(errors="replace")).hexdigest()}
    with store.writing() as writing:
        return wishes.record(writing, by, "submit", [Want("jobs", owner, Aspect.SUBMIT, value, user=owner, after=told)])


def wish_setting(
    store: Store, by: By, aspect: Aspect, value: Any = None, foresight: Foresight = wishes.nothing_more
) -> Operation:
    """Ask for a log level, the quick-exit flag (None toggles it) or the reloading of a file.

    `foresight` tells what a reload would change; the scheduler reads the file itself, and journals what it changed.
    """
    with store.writing() as writing:
        if aspect not in _SETTINGS:
            want = Want("scheduler", "", aspect, value, foresight=foresight)
            return wishes.record(writing, by, aspect.value, [want])
        if aspect is Aspect.QUICK_EXIT and value is None:
            value = not wants.setting(writing, aspect)
        return wishes.record(writing, by, aspect.value, [wants.of_setting(writing, aspect, value)])


def wish_proxy(store: Store, by: By, user: str, aspect: Aspect) -> Operation:
    """Ask to renew a user's job or VM proxies. Raises NotFound for a user without jobs and VMs."""
    with store.writing() as writing:
        if user not in jobs.users(writing.connection):
            raise NotFound("user", user)
        return wishes.record(writing, by, aspect.value, [Want("user", user, aspect, user=user)])
