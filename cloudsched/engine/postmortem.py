"""What is learnt from VMs that end without having been of any use: why, and what their consoles said."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from cloudsched.errors import CloudError
from cloudsched.model.adapters import CloudAdapter, Consoles
from cloudsched.model.failures import LARGEST_CONSOLE, VMFailure
from cloudsched.model.snapshot import Block
from cloudsched.model.vms import VM
from cloudsched.store import Writing, jobs, vm_failures

log = logging.getLogger("cloudscheduler")

BLOCKED_SECONDS = 60
"""How long the jobs of a shape are kept off a cloud after one of their VMs was of no use there."""


def consoles(adapter: CloudAdapter, failed: Iterable[VM]) -> dict[str, str]:
    """The ends of the VMs' consoles by uid, as far as their cloud gives them; asks the cloud."""
    found: dict[str, str] = {}
    for vm in failed:
        if isinstance(adapter, Consoles):
            try:
                found[vm.uid] = adapter.console(vm.id)[-LARGEST_CONSOLE:]
            except CloudError as ex:
                log.info("The console of %s on %s cannot be had: %s", vm.uid, vm.cloud, ex)
    return found


def record(writing: Writing, vm: VM, failure: VMFailure) -> None:
    """Keep what became of a VM, and tell its jobs; they are tried there again after a while."""
    vm_failures.record_failure(writing, failure)
    if vm.shape:
        reason = f"{vm.cloud}: {failure.reason}"
        jobs.record_block(
            writing, Block(vm.shape, vm.cloud, failure.failed_at + BLOCKED_SECONDS, reason), failure.failed_at
        )


def failure_of(vm: VM, image: str, why: Mapping[str, str], now: int) -> VMFailure:
    """The record of a VM that failed; `why` has its `cause`, the `reason` of its end and its `console`."""
    fault = vm.reason.strip()
    reason = f"{why['reason']} {fault}" if fault and fault not in why["reason"] else why["reason"]
    return VMFailure(
        uid=vm.uid,
        cloud=vm.cloud,
        failed_at=now,
        cause=why["cause"],
        reason=reason,
        id=vm.id,
        user=vm.user,
        vmtype=vm.vmtype,
        image=image,
        flavor=vm.flavor,
        console=why.get("console", ""),
    )
