"""Which VMs give way so that another VM fits (PARITY 6.6e)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM, is_leaving
from cloudsched.policy.boots import TURN_SECONDS
from cloudsched.policy.fairshare import Shares
from cloudsched.policy.machines import Slots, is_busy
from cloudsched.policy.room import Room
from cloudsched.policy.vms import is_settled

_ERROR, _NOT_JOINED, _IDLE, _BUSY = range(4)
_NEARLY = 1e-6
SETTLE_SECONDS = 600


class Sacrifices:
    """The VMs of types beyond their share, each given up once at most.

    `room` is what clouds have left once the VMs that are leaving now are gone; `excess` says by user:vmtype how
    many VMs are beyond its share. Both are used up.
    """

    def __init__(self, snapshot: Snapshot, slots: Slots, room: Room, excess: Shares) -> None:
        self._now = snapshot.now
        self._slots = slots
        self._room = room
        self._excess = excess
        self._offered: dict[str, list[VM]] = {}
        for vm in snapshot.vms:
            if excess.get(vm.uservmtype, 0) <= _NEARLY or is_leaving(vm) or vm.uid in snapshot.in_flight:
                continue
            if is_settled(vm, self._now, SETTLE_SECONDS):
                self._offered.setdefault(vm.cloud, []).append(vm)
        for vms in self._offered.values():
            vms.sort(key=lambda vm: (self._value(vm), -excess[vm.uservmtype], -vm.position))

    def make_room(self, shape: Shape, clouds: Iterable[Cloud], starving: bool) -> list[VM] | None:
        """The VMs that must go for one more VM of this shape on one of the clouds; None when that is not to be had.

        None of them has been requested or has changed of late, and each type has at least one VM too many; for a
        `starving` user part of a VM too many is enough, but an hour must have passed. The list is empty where the
        shape fits already. The room is taken either way.
        """
        best: tuple[tuple[int, int, int, int], Cloud, list[VM]] | None = None
        for cloud in clouds:
            vms = self._enough(shape, cloud, starving)
            if vms is not None:
                worst = max(map(self._value, vms), default=-1)
                price = (worst, len(vms), cloud.priority, cloud.position)
                if best is None or price < best[0]:
                    best = price, cloud, vms
        if best is None:
            return None
        _, cloud, vms = best
        for vm in vms:
            self._room.give_back(vm)
            self._excess[vm.uservmtype] -= 1
            self._offered[cloud.name].remove(vm)
        self._room.take(shape, cloud)
        return vms

    def has_joined(self, vm: VM) -> bool:
        """Whether the VM can be told to retire: only one that has slots can."""
        return vm.uid in self._slots

    def _enough(self, shape: Shape, cloud: Cloud, starving: bool) -> list[VM] | None:
        if not self._room.lacks(shape, cloud):
            return []
        least = _NEARLY if starving else 1 - _NEARLY
        spent: Counter[str] = Counter()
        vms: list[VM] = []
        room = self._room.copy(cloud)
        for vm in self._offered.get(cloud.name, ()):
            if self._excess[vm.uservmtype] - spent[vm.uservmtype] < least:
                continue
            if starving and not is_settled(vm, self._now, TURN_SECONDS):
                continue
            spent[vm.uservmtype] += 1
            vms.append(vm)
            room.give_back(vm)
            if not room.lacks(shape, cloud):
                return vms
        return None

    def _value(self, vm: VM) -> int:
        if vm.uid not in self._slots:
            return _ERROR if vm.status == "Error" else _NOT_JOINED
        return _BUSY if is_busy(self._slots[vm.uid]) else _IDLE
