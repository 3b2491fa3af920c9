"""What a cloud's allowance has room for: which of its VMs would have to go (PARITY 1.4, 9.2)."""

from __future__ import annotations

from collections.abc import Iterable

from cloudsched.model.clouds import Cloud
from cloudsched.model.vms import VM, is_leaving


def beyond(cloud: Cloud, vms: Iterable[VM]) -> list[VM]:
    """The VMs of a cloud that no longer fit its allowance, of those that are not leaving anyway.

    VMs are counted in the order given, oldest first, those in Error last. A removed cloud has room for none.
    """
    staying = sorted((vm for vm in vms if not is_leaving(vm)), key=lambda each: each.status == "Error")
    if cloud.removed:
        return staying
    found = []
    slots, memory, storage = cloud.vm_slots, cloud.memory_mb, cloud.storage_gb
    for vm in staying:
        if slots > 0 and vm.memory <= memory and vm.storage <= storage:
            slots, memory, storage = slots - 1, memory - vm.memory, storage - vm.storage
        else:
            found.append(vm)
    return found
