"""What the batch system's slots tell about VMs: their addresses, and since when they are idle (PARITY 6.5.5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloudsched.model.actions import Plan, SetVM
from cloudsched.model.jobs import Machine
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM, is_leaving
from cloudsched.policy.machines import Slots, is_busy, is_idle


def registrations(snapshot: Snapshot, slots: Slots) -> Plan:
    """Keep `condorname`, `condoraddr`, `condormasteraddr` and `idle_start` of each VM in step with its slots.

    A VM that had registered and lost its slots is given `condor_register_time_limit` anew: its clock, which is
    `last_state_change`, starts again.
    """
    if not snapshot.machines_known:
        return ()
    found = ((vm, _fields(vm, slots.get(vm.uid, ()), snapshot.now)) for vm in snapshot.vms)
    return tuple(SetVM(vm.uid, fields) for vm, fields in found if fields)


def _fields(vm: VM, slots: Sequence[Machine], now: int) -> dict[str, Any]:
    if slots:
        fields = _present(vm, slots, now)
    elif vm.condorname is not None and vm.status == "Running" and not is_leaving(vm):
        fields = {"condorname": None, "condoraddr": None, "idle_start": None, "last_state_change": now}
    else:
        fields = {}
    return {name: value for name, value in fields.items() if getattr(vm, name) != value}


def _is_told(vm: VM, slot: Machine) -> bool:
    """Whether the VM's record has the names and addresses of its slot."""
    addresses = vm.condoraddr == slot.address_startd and vm.condormasteraddr == slot.address_master
    return bool(vm.condorname) and addresses


def _present(vm: VM, slots: Sequence[Machine], now: int) -> dict[str, Any]:
    first = slots[0]
    if vm.idle_start is None and _is_told(vm, first) and is_busy(slots):
        return {}  # most VMs, in most cycles
    idle_start = vm.idle_start
    if is_busy(slots):
        idle_start = None
    elif is_idle(slots) and idle_start is None:
        idle_start = now
    return {
        "condorname": vm.condorname or first.machine_name,
        "condoraddr": first.address_startd or vm.condoraddr,
        "condormasteraddr": first.address_master or vm.condormasteraddr,
        "idle_start": idle_start,
    }
