"""The engine's own entries for the journal: what it does that nobody has just asked for.

What an operator asked for ends in the outcome of a wish instead, which `store.operations` writes down.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.vms import VM
from cloudsched.store import Writing, journal


def record(writing: Writing, *entries: Entry) -> None:
    """Write entries in this transaction, which exists for something else."""
    journal.ENGINE.record(writing, entries)


def of_vm(verb: str, vm: VM, reason: str = "", **detail: Any) -> Entry:
    """An act on a VM, now."""
    whose: dict[str, Any] = {"noun": "vm", "name": vm.uid, "label": vm.id, "cloud": vm.cloud, "user": vm.user}
    return Entry(EntryKind.ACT, verb, int(time.time()), reason=reason, detail=detail, **whose)


def of_cloud(verb: str, cloud: str, reason: str = "", **values: Any) -> Entry:
    """An act on a cloud, now; `values` are `before`, `after` and `detail` of the entry."""
    return Entry(EntryKind.ACT, verb, int(time.time()), reason=reason, noun="cloud", name=cloud, cloud=cloud, **values)


def of_user(verb: str, user: str, **detail: Any) -> Entry:
    """An act for a user, now."""
    return Entry(EntryKind.ACT, verb, int(time.time()), noun="user", name=user, user=user, detail=detail)


def of_scheduler(verb: str, reason: str = "", **values: Any) -> Entry:
    """An act on a setting, a file, or the engine itself, now; `values` as for a cloud, or the `wish` it serves."""
    return Entry(EntryKind.ACT, verb, int(time.time()), reason=reason, **values)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """`before` and `after` of what differs between two states of one thing; null stands for what is not there."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return {side: {name: of.get(name) for name in names} for side, of in (("before", before), ("after", after))}
