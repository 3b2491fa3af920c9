"""What a VM's record says about its part in a plan (PARITY 5.2)."""

from __future__ import annotations

from cloudsched.model.vms import VM

STARTING = frozenset({"Starting", "Unpropagated", "Provisioning"})


def takes_jobs(vm: VM) -> bool:
    """Whether the VM runs jobs now or will once it has started."""
    usable = vm.status == "Running" or vm.status in STARTING
    return usable and vm.override_status is None and not vm.destroying and not vm.retired


def job_slots(vm: VM) -> int:
    """How many jobs the VM runs at once: one per core with VMJobPerCore, else one (PARITY 5.3)."""
    return max(1, vm.cpucores) if vm.job_per_core else 1


def is_settled(vm: VM, now: int, seconds: int) -> bool:
    """Whether the VM's request and its last change of status are at least `seconds` ago."""
    return now - max(vm.initialize_time, vm.last_state_change or 0) >= seconds
