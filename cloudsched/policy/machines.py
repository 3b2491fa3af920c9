"""Which batch slots belong to which VM, and what they do (PARITY 5.5, 8.2)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

from cloudsched.model.jobs import Machine
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM

Slots = Mapping[str, Sequence[Machine]]


def slots_by_vm(snapshot: Snapshot) -> Slots:
    """The slots of each VM, by uid; a slot that names no VM is matched by host name (PARITY 5.5).

    Slots of machines that are no VM of ours are kept under the empty name. Partitionable parents are left out, as
    their children do the work, unless the parent is the only slot.
    """
    machines = [each for each in snapshot.machines if each.slot_type != "Partitionable" or each.total_slots == 1]
    nameless = any(not each.vm for each in machines)
    known = {name: vm.uid for vm in reversed(snapshot.vms) for name in _names(vm)} if nameless else {}
    slots: dict[str, list[Machine]] = {}
    for machine in machines:
        slots.setdefault(machine.vm or _uid(machine, known), []).append(machine)
    return slots


def is_claimed(machine: Machine) -> bool:
    """Whether the slot has been given to a job."""
    return machine.state == "Claimed"


def is_idle(slots: Sequence[Machine]) -> bool:
    """Whether there are slots and all of them are Idle and none Claimed."""
    return bool(slots) and all(not is_claimed(each) and each.activity == "Idle" for each in slots)


def is_busy(slots: Sequence[Machine]) -> bool:
    """Whether any slot has been given to a job."""
    return any([each.state == "Claimed" for each in slots])


def owner(remote_owner: str) -> str:
    """The user of a slot's RemoteOwner, empty when none is told."""
    return remote_owner.partition("@")[0]


def _uid(machine: Machine, known: Mapping[str, str]) -> str:
    names = (machine.address_master, *_spellings(machine.machine_name), *_spellings(machine.name))
    return next((known[name] for name in names if name and name in known), "")


def _names(vm: VM) -> Iterator[str]:
    for host in (vm.hostname, vm.alt_hostname, vm.condorname):
        yield from _spellings(host or "")
    if vm.condormasteraddr:
        yield vm.condormasteraddr


def _spellings(host: str) -> Iterator[str]:
    host = host.rpartition("@")[2]
    if not host:
        return
    yield host
    try:
        ipaddress.ip_address(host)
    except ValueError:
        yield host.partition(".")[0]
