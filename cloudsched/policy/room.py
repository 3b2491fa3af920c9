"""What each cloud's allowance has left while a plan is made (PARITY 5.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy import troubles

_NOTHING = Snapshot(0, 0)


@dataclass(slots=True)
class _Left:
    used: int
    slots: int
    memory: int
    storage: int
    most: int | None = None


class Room:
    """Slots, memory (MB) and storage (GB) left on each cloud; drained VMs lie outside the allowance (PARITY 5.1).

    A cloud in trouble has room for `most` VMs of the sizes that its trouble concerns.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        clouds = snapshot.clouds
        self._left = {each.name: _Left(0, each.vm_slots, each.memory_mb, each.storage_gb) for each in clouds}
        for vm in snapshot.vms:
            if not vm.retired and vm.cloud in self._left:
                self._use(vm.cloud, 1, vm.memory, vm.storage)
        for each in clouds:
            self._left[each.name].most = troubles.most(each, self._left[each.name].used, snapshot.now)

    def copy(self, only: Cloud | None = None) -> Room:
        """The same room, or that of one cloud, to try things out in."""
        other = Room(_NOTHING)
        names = self._left if only is None else (only.name,)
        other._left = {name: replace(self._left[name]) for name in names}
        return other

    def lacks(self, shape: Shape, cloud: Cloud) -> str:
        """What the cloud has too little of for one more VM of this shape, as a sentence; empty when it fits."""
        left = self._left[cloud.name]
        if left.most is not None and left.used >= left.most and troubles.concerns(cloud, shape):
            return troubles.sentence(cloud)
        if left.slots < 1:
            return f"no VM slot left on {cloud.name}: {left.used} of {cloud.vm_slots} in use"
        if shape.req_memory > left.memory:
            return f"needs {shape.req_memory} MB, {max(0, left.memory)} MB left on {cloud.name}"
        if shape.req_storage > left.storage:
            return f"needs {shape.req_storage} GB of storage, {max(0, left.storage)} GB left on {cloud.name}"
        return ""

    def has_slots(self, cloud: Cloud) -> bool:
        """Whether the cloud has a slot left, for a VM of whatever shape."""
        return self._left[cloud.name].slots >= 1

    def fill(self, cloud: Cloud) -> float:
        """The used share of the slots: 1 where there are none (PARITY 5.4)."""
        return self._left[cloud.name].used / cloud.vm_slots if cloud.vm_slots > 0 else 1.0

    def take(self, shape: Shape, cloud: Cloud) -> None:
        """Count one more VM of this shape."""
        self._use(cloud.name, 1, shape.req_memory, shape.req_storage)

    def give_back(self, vm: VM) -> None:
        """Count a VM as gone; a drained one gives nothing back."""
        if not vm.retired:
            self._use(vm.cloud, -1, -vm.memory, -vm.storage)

    def _use(self, name: str, vms: int, memory: int, storage: int) -> None:
        left = self._left[name]
        left.used += vms
        left.slots -= vms
        left.memory -= memory
        left.storage -= storage
