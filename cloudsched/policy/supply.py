"""Which waiting jobs the present VMs will take, and which VMs no job needs (PARITY 5.3, 6.4).

The batch system gives a job to any VM of its user and VMType that is large enough, wherever it is; so does this
reckoning. It sees queue and slots at slightly different moments: a slot that is claimed by a job still shown as
waiting, or free though its job is shown as running, is put right here by number, or VMs would be booted for jobs
that have just started.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cloudsched.model.jobs import WAITING, JobGroup, JobStatus, Machine, Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy.machines import Slots, is_claimed, owner
from cloudsched.policy.vms import job_slots, takes_jobs


@dataclass(frozen=True, slots=True)
class Demand:
    """Waiting jobs that only their ids tell apart. `key` is the shape's key."""

    key: str
    shape: Shape
    priority: int
    blocked: tuple[str, ...]
    jobs: int


@dataclass(frozen=True, slots=True)
class Supply:
    """`unserved` waits for VMs still to be booted, best first; `served` counts the waiting jobs that a VM will take.

    `served` is keyed by shape key and priority. `spare` are VMs that run no job and that no waiting job needs.
    """

    unserved: tuple[Demand, ...]
    served: Mapping[tuple[str, int], int]
    spare: frozenset[str]


def fits(shape: Shape, offered: VM | Shape) -> bool:
    """Whether a VM, or one booted for another shape of the same user and VMType, is large enough for a shape."""
    if isinstance(offered, VM):
        memory, cores, storage = offered.memory, offered.cpucores, offered.storage
    else:
        memory, cores, storage = offered.req_memory, offered.req_cpucores, offered.req_storage
    return shape.req_memory <= memory and shape.req_cpucores <= cores and shape.req_storage <= storage


def plannable(groups: Iterable[JobGroup]) -> list[JobGroup]:
    """The groups that need a VM or have one: neither banned nor held, complete or removed (PARITY 5.3)."""
    return [each for each in groups if not each.banned and each.job_status <= JobStatus.RUNNING]


def supply(snapshot: Snapshot, slots: Slots) -> Supply:
    """Match the waiting jobs to what the VMs have free, high-priority and higher JobPrio first."""
    groups = plannable(snapshot.groups)
    offers = _offers(snapshot, groups, slots)
    served: Counter[tuple[str, int]] = Counter()
    unserved = []
    for demand in _demands(snapshot, groups):
        taken = offers[demand.shape.uservmtype].take(demand) if demand.shape.uservmtype in offers else 0
        served[demand.key, demand.priority] += taken
        if taken < demand.jobs:
            unserved.append(replace(demand, jobs=demand.jobs - taken))
    spare = frozenset(uid for offer in offers.values() for uid in offer.untouched())
    return Supply(tuple(unserved), served, spare)


def _demands(snapshot: Snapshot, groups: Iterable[JobGroup]) -> list[Demand]:
    waiting = [
        Demand(each.shape, snapshot.shapes[each.shape], each.priority, each.blocked_clouds, each.jobs)
        for each in groups
        if each.job_status in WAITING and each.jobs > 0
    ]
    return sorted(waiting, key=lambda each: (not each.shape.high_priority, -each.priority))


class _Offer:
    """The free job slots of one user:vmtype: VMs of equal size together, the best to use last in each list."""

    def __init__(self, started: int) -> None:
        self.started = started
        self._sizes: dict[tuple[int, int, int], list[list[VM]]] = {}
        self._whole: set[str] = set()

    def add(self, vm: VM, free: int) -> None:
        self._sizes.setdefault((vm.memory, vm.cpucores, vm.storage), []).append([vm] * free)
        if free == job_slots(vm):
            self._whole.add(vm.uid)

    def take(self, demand: Demand) -> int:
        """Give as many of the demand's jobs a slot as there are, in the smallest VMs that will do."""
        taken = min(self.started, demand.jobs)
        self.started -= taken
        for size in sorted(self._sizes):
            vms = self._sizes[size]
            while taken < demand.jobs and vms and fits(demand.shape, vms[-1][-1]):
                self._whole.discard(vms[-1][-1].uid)
                count = min(len(vms[-1]), demand.jobs - taken)
                taken += count
                del vms[-1][-count:]
                if not vms[-1]:
                    vms.pop()
        return taken

    def untouched(self) -> set[str]:
        return self._whole


def _offers(snapshot: Snapshot, groups: Iterable[JobGroup], slots: Slots) -> dict[str, _Offer]:
    usable = [vm for vm in snapshot.vms if takes_jobs(vm)]
    behind = _behind(snapshot, groups, slots)
    offers = {name: _Offer(started=max(0, -behind[name])) for name in {vm.uservmtype for vm in usable}}
    free = {vm.uid: left for vm in usable if (left := _free(vm, slots.get(vm.uid, ()))) > 0}
    with_room = [vm for vm in usable if vm.uid in free]
    with_room.sort(key=lambda vm: (vm.status == "Running", vm.uid in slots, -vm.position))
    for vm in reversed(with_room):
        if vm.status == "Running" and behind[vm.uservmtype] > 0:
            hidden = min(free[vm.uid], behind[vm.uservmtype])
            free[vm.uid] -= hidden
            behind[vm.uservmtype] -= hidden
    for vm in with_room:
        if free[vm.uid]:
            offers[vm.uservmtype].add(vm, free[vm.uid])
    return offers


def _free(vm: VM, slots: Sequence[Machine]) -> int:
    """How many more jobs the VM could take, by its slots."""
    return job_slots(vm) - sum([is_claimed(each) for each in slots])


def _behind(snapshot: Snapshot, groups: Iterable[JobGroup], slots: Slots) -> Counter[str]:
    """By user:vmtype, how many more jobs the queue shows running than slots are claimed; negative for fewer."""
    behind: Counter[str] = Counter()
    for group in groups:
        if group.job_status == JobStatus.RUNNING:
            behind[snapshot.shapes[group.shape].uservmtype] += group.jobs
    claimed: Counter[tuple[str, str]] = Counter()
    unclear: list[tuple[str, Machine]] = []
    for uid, machines in slots.items():
        for machine in machines:
            if is_claimed(machine):
                if machine.remote_owner and machine.vmtype:
                    claimed[machine.remote_owner, machine.vmtype] += 1
                else:
                    unclear.append((uid, machine))
    for (remote_owner, vmtype), count in claimed.items():
        behind[f"{owner(remote_owner)}:{vmtype}"] -= count
    vms = {vm.uid: vm for vm in snapshot.vms} if unclear else {}
    for uid, machine in unclear:
        behind[_claimant(machine, vms.get(uid))] -= 1
    return behind


def _claimant(machine: Machine, vm: VM | None) -> str:
    """Whose job holds a slot, as user:vmtype; what the slot does not tell is that of its VM."""
    user, vmtype = owner(machine.remote_owner), machine.vmtype
    return f"{user}:{vmtype}" if vm is None else f"{user or vm.user}:{vmtype or vm.vmtype}"
