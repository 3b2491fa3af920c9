"""Cores that we hold and that run no job, by cause."""

from __future__ import annotations

from collections.abc import Sequence

from cloudsched.model.jobs import Machine
from cloudsched.model.metrics import IDLE_CAUSES
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM, is_leaving
from cloudsched.policy.machines import is_claimed, slots_by_vm
from cloudsched.policy.vms import STARTING


def idle_cores(snapshot: Snapshot) -> dict[str, float]:
    """How many cores run no job, for every cause there is; a VM with some of its slots claimed counts in part."""
    slots = slots_by_vm(snapshot)
    found = dict.fromkeys(IDLE_CAUSES, 0.0)
    for vm in snapshot.vms:
        own = slots.get(vm.uid, ())
        found[_cause(vm, own)] += vm.cpucores * _idle_part(own)
    return found


def _idle_part(slots: Sequence[Machine]) -> float:
    return 1.0 - sum(map(is_claimed, slots)) / len(slots) if slots else 1.0


def _cause(vm: VM, slots: Sequence[Machine]) -> str:
    if is_leaving(vm):
        return "retiring"
    if vm.status in STARTING:
        return "starting"
    if vm.status != "Running":
        return "failed"
    if not slots:
        return "unjoined"
    return "keep_alive" if vm.keep_alive and vm.idle_start is not None else "unclaimed"
