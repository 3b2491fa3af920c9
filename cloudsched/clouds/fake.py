"""A cloud that obeys a script: for tests, demonstrations and `--simulate`.

It keeps the promises of CloudAdapter as a real cloud does, lag and failures included. Nothing happens by time: a VM
that was booted becomes visible and then Running by being listed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cloudsched.errors import BadRequirement, CloudError, QuotaExceeded, Transient
from cloudsched.model.clouds import AdoptOutcome, BootOutcome, BootRequest, DestroyOutcome, ObservedVM, VMStatus
from cloudsched.model.vms import VM


@dataclass(frozen=True, slots=True)
class Script:
    """How a fake cloud behaves; may be replaced at any time.

    `lag` listings pass before a boot shows. `quota` is how many VMs it holds, None for any number. `failure` is raised
    by every call, `boot_failures` meet the boots one by one. `bad_images` cannot be booted, `destroy_fails` are ids
    that cannot be destroyed, `foreign` the ids of VMs that somebody else has booted here. `console` is what every VM
    has written.
    """

    lag: int = 0
    quota: int | None = None
    failure: CloudError | None = None
    boot_failures: tuple[CloudError | None, ...] = ()
    bad_images: frozenset[str] = frozenset()
    destroy_fails: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    console: str = ""


@dataclass(slots=True)
class _Machine:
    observed: ObservedVM
    hidden: int = 0


@dataclass(slots=True)
class _Held:
    machines: dict[str, _Machine] = field(default_factory=dict)
    boots: int = 0


class FakeCloud:
    """CloudAdapter in memory, seeded with the VMs it has."""

    def __init__(self, name: str, vms: Iterable[ObservedVM] = (), script: Script | None = None) -> None:
        self._name = name
        self.script = script or Script()
        self._lock = threading.Lock()
        self._held = _Held({vm.uid: _Machine(vm) for vm in vms})

    def vms(self) -> list[ObservedVM]:
        """List the VMs whose lag is over; a Starting one is Running at the next listing."""
        self._fail()
        with self._lock:
            return [seen for machine in self._held.machines.values() if (seen := _listed(machine))]

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        """Boot as the script lets it; a uid that is there already is the same VM."""
        self._fail()
        with self._lock:
            return [self._booted(request) for request in requests]

    def console(self, vm_id: str) -> str:
        """What the script says that VMs write."""
        self._fail()
        return self.script.console

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        """Destroy as the script lets it; an id that is not there is gone."""
        self._fail()
        with self._lock:
            return [self._destroyed(vm_id) for vm_id in vm_ids]

    def adopt(self, vms: Sequence[VM]) -> list[AdoptOutcome]:
        """List VMs that somebody else has booted here (Script.foreign) as ours from now on."""
        self._fail()
        with self._lock:
            return [self._adopted(vm) for vm in vms]

    def set_status(self, uid: str, status: str) -> None:
        """Have a VM show a status from now on."""
        with self._lock:
            machine = self._held.machines[uid]
            machine.observed = replace(machine.observed, status=status)

    def vanish(self, uid: str) -> None:
        """Lose a VM without being asked to."""
        with self._lock:
            self._held.machines.pop(uid, None)

    def _fail(self) -> None:
        if self.script.failure is not None:
            raise self.script.failure

    def _booted(self, request: BootRequest) -> BootOutcome:
        there = self._held.machines.get(request.uid)
        if there:
            return BootOutcome(request.uid, id=there.observed.id)
        error = self._refusal(request)
        if error:
            return BootOutcome(request.uid, error=error)
        vm_id = f"{self._name}-{request.uid}"
        observed = ObservedVM(request.uid, vm_id, VMStatus.STARTING, hostname=request.uid, ipaddress="127.0.0.1")
        self._held.machines[request.uid] = _Machine(observed, self.script.lag)
        return BootOutcome(request.uid, id=vm_id)

    def _refusal(self, request: BootRequest) -> CloudError | None:
        scripted = self.script.boot_failures[self._held.boots : self._held.boots + 1]
        self._held.boots += 1
        if scripted and scripted[0]:
            return scripted[0]
        if request.image in self.script.bad_images:
            return BadRequirement(f"{self._name}: there is no image {request.image!r}.")
        if self.script.quota is not None and len(self._held.machines) >= self.script.quota:
            return QuotaExceeded(f"{self._name}: the quota of {self.script.quota} VMs is used up.")
        return None

    def _adopted(self, vm: VM) -> AdoptOutcome:
        if vm.id not in self.script.foreign:
            return AdoptOutcome(vm.uid, BadRequirement(f"{self._name}: there is no VM {vm.id!r} to take over."))
        self._held.machines.setdefault(vm.uid, _Machine(observed(vm)))
        return AdoptOutcome(vm.uid)

    def _destroyed(self, vm_id: str) -> DestroyOutcome:
        if vm_id in self.script.destroy_fails:
            return DestroyOutcome(vm_id, Transient(f"{self._name}: {vm_id} could not be destroyed."))
        kept: Mapping[str, _Machine] = self._held.machines
        self._held.machines = {uid: each for uid, each in kept.items() if vm_id not in (uid, each.observed.id)}
        return DestroyOutcome(vm_id)


def observed(vm: VM) -> ObservedVM:
    """How a cloud would list a VM of a recorded state, to seed a fake with."""
    return ObservedVM(
        uid=vm.uid,
        id=vm.id or vm.uid,
        status=vm.status,
        hostname=vm.hostname,
        ipaddress=vm.ipaddress,
        alt_hostname=vm.alt_hostname,
        spot_id=vm.spot_id,
        ssh_port=vm.ssh_port,
    )


def _listed(machine: _Machine) -> ObservedVM | None:
    if machine.hidden > 0:
        machine.hidden -= 1
        return None
    shown = machine.observed
    if shown.status == VMStatus.STARTING:
        machine.observed = replace(shown, status=VMStatus.RUNNING)
    return shown
