"""Which VMs of a cloud go when some of them shall stay."""

from __future__ import annotations

from collections.abc import Sequence

from cloudsched.model.jobs import Machine
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM, is_leaving
from cloudsched.policy.machines import is_busy, slots_by_vm


def beyond(vms: Sequence[VM], machines: Sequence[Machine], retain: int) -> list[VM]:
    """The VMs that go when `retain` stay: those on their way out, then those that run no job, then the newest.

    `vms` are those of one cloud; the first that goes comes first.
    """
    slots = slots_by_vm(Snapshot(index=0, now=0, vms=tuple(vms), machines=tuple(machines)))

    def worth(vm: VM) -> tuple[bool, bool, int]:
        return not is_leaving(vm), is_busy(slots.get(vm.uid, ())), -vm.position

    in_order = sorted(vms, key=worth)
    return in_order[: max(len(in_order) - retain, 0)]
