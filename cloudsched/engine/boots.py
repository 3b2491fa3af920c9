"""Booting: record each VM under its unique name, then ask the cloud, then record what it answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cloudsched.cloudinit import Context
from cloudsched.config.load import Config
from cloudsched.engine import acts, troubles
from cloudsched.engine.bans import Bans
from cloudsched.engine.calls import Call
from cloudsched.engine.contexts import Contexts
from cloudsched.engine.places import Places
from cloudsched.engine.polls import failure_sentence
from cloudsched.engine.proxies import Proxies
from cloudsched.errors import (
    BadRequirement,
    CloudschedError,
    CredentialRefused,
    Outage,
    QuotaExceeded,
    Transient,
)
from cloudsched.model.actions import Boot
from cloudsched.model.clouds import BootOutcome, BootRequest, Cloud
from cloudsched.model.jobs import Shape
from cloudsched.model.metrics import BOOT_FAILURES, BOOTS
from cloudsched.model.names import unique_names
from cloudsched.model.snapshot import Block, Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy.request import boot_request, vm_record
from cloudsched.store import Writing, clouds, jobs, tallies, vms

log = logging.getLogger("cloudscheduler")

_BRIEFLY = 60


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a failed boot means: its class, v1's reason literal (PARITY 2.10), and for how long not to try again."""

    kind: str
    literal: str
    lasting: bool
    certain: bool


_REFUSALS: tuple[tuple[type[Exception], _Refusal], ...] = (
    (QuotaExceeded, _Refusal("quota", "Resource Availability / Quota Problem", lasting=False, certain=True)),
    (BadRequirement, _Refusal("requirement", "Other VM Create Error", lasting=True, certain=True)),
    (CredentialRefused, _Refusal("credential", "Proxy/Auth related issue", lasting=False, certain=True)),
    (Outage, _Refusal("outage", "Endpoint / Region problem", lasting=False, certain=False)),
    (Transient, _Refusal("transient", "Error when making VM request: check log", lasting=False, certain=False)),
    (TimeoutError, _Refusal("outage", "Endpoint / Region problem", lasting=False, certain=False)),
    (Exception, _Refusal("unknown", "Error when making VM request: check log", lasting=False, certain=False)),
)
"""Not `certain`: the cloud may have made the VM all the same, so its record stays until its deadline."""


@dataclass(frozen=True, slots=True)
class Boots:
    """Turns Boot actions into recorded VMs and calls. `contexts` is None where VMs need no user data to join."""

    config: Config
    places: Places
    bans: Bans
    proxies: Proxies
    contexts: Contexts | None = None

    def record(self, writing: Writing, snapshot: Snapshot, boots: Sequence[Boot]) -> list[VM]:
        """Record the VMs of these boots as requested; returns them."""
        if not boots:
            return []
        known = {cloud.name: cloud for cloud in snapshot.clouds}
        position = vms.next_position(writing.connection)
        found: list[VM] = []
        for boot in boots:
            cloud, shape = known[boot.cloud], snapshot.shapes[boot.shape]
            for uid in unique_names(cloud.name, boot.vms):
                request = self._request(cloud, shape, uid, snapshot)
                deadline = snapshot.now + self.config.global_.boot_deadline_seconds
                record = vm_record(shape, cloud, request, snapshot.now, deadline)
                proxy = self.proxies.promised(writing, shape, request.uid)
                found.append(replace(record, position=position + len(found), **proxy))
        vms.record_vms(writing, found)
        acts.record(writing, *(acts.of_vm("boot", vm, vmtype=vm.vmtype) for vm in found))
        tallies.add_tallies(writing, (((BOOTS, vm.cloud), 1.0) for vm in found))
        return found

    def extend(self, writing: Writing, snapshot: Snapshot, requested: Sequence[VM]) -> None:
        """Have requested VMs count from now on as if they had just been recorded: nobody has listed them meanwhile."""
        deadline = snapshot.now + self.config.global_.boot_deadline_seconds
        vms.record_fields(writing, [{"uid": vm.uid, "requested_until": deadline} for vm in requested])

    def calls(self, snapshot: Snapshot, requested: Sequence[VM], *, again: bool = False) -> list[Call]:
        """The calls that ask for recorded VMs, one per cloud; `again` for those a killed engine may have asked for."""
        by_cloud: dict[str, list[VM]] = {}
        for vm in requested:
            if vm.shape in snapshot.shapes and self.places.cloud(vm.cloud) is not None:
                by_cloud.setdefault(vm.cloud, []).append(vm)
        known = {cloud.name: cloud for cloud in snapshot.clouds}
        return [self._call(known[name], snapshot, group, again) for name, group in by_cloud.items()]

    def _request(self, cloud: Cloud, shape: Shape, uid: str, snapshot: Snapshot) -> BootRequest:
        return boot_request(shape, cloud, uid, self.config.job, snapshot.cloud_aliases)

    def _call(self, cloud: Cloud, snapshot: Snapshot, group: Sequence[VM], again: bool) -> Call:
        adapter = self.places.cloud(cloud.name)
        assert adapter is not None
        asked_for = [self._request(cloud, snapshot.shapes[vm.shape], vm.uid, snapshot) for vm in group]
        requests = [replace(request, again=again) for request in asked_for]
        unready: dict[str, CloudschedError] = {}
        proxyless: list[str] = []

        def work() -> list[BootOutcome]:
            contexts = self._contexts({vm.shape: snapshot.shapes[vm.shape] for vm in group})
            asked: list[BootRequest] = []
            for vm, request in zip(group, requests, strict=True):
                try:
                    asked.append(self._completed(cloud, request, contexts[vm.shape]))
                except CloudschedError as ex:
                    unready[vm.uid] = ex
            proxyless[:] = [vm.uid for vm in group if vm.proxy_file and not self.proxies.give(vm)]
            return adapter.boot(asked) if asked else []

        def finish(writing: Writing, result: list[BootOutcome] | Exception) -> None:
            vms.record_fields(writing, [{"uid": uid, "proxy_file": None} for uid in proxyless])
            asked = [vm for vm in group if vm.uid not in unready]
            outcomes = [BootOutcome(vm.uid, error=result) for vm in asked] if isinstance(result, Exception) else result
            for vm, outcome in zip(asked, outcomes, strict=True):
                self._finish(writing, vm, outcome, snapshot.now)
            if asked:
                troubles.record_boots(writing, asked, outcomes, time.time())
            for vm in group:
                if vm.uid in unready:
                    self._not_asked(writing, vm, unready[vm.uid], snapshot.now)

        return Call(cloud.name, tuple(vm.uid for vm in group), work, finish, self.config.global_.call_timeout_seconds)

    def _contexts(self, shapes: Mapping[str, Shape]) -> dict[str, Context | CloudschedError | None]:
        """What the VMs of each shape are given alike, or why that cannot be had."""
        found: dict[str, Context | CloudschedError | None] = {}
        for key, shape in shapes.items():
            try:
                found[key] = self.contexts.of(shape) if self.contexts else None
            except CloudschedError as ex:
                found[key] = ex
        return found

    def _completed(self, cloud: Cloud, request: BootRequest, context: Context | CloudschedError | None) -> BootRequest:
        """The request with all that its VM is given. Raises CloudschedError where that cannot be had."""
        if isinstance(context, CloudschedError):
            raise context
        joined = self.places.joined(request)
        if context is None or self.contexts is None:
            return joined
        return replace(joined, user_data=self.contexts.completed(joined, cloud, context))

    def _not_asked(self, writing: Writing, vm: VM, error: CloudschedError, now: int) -> None:
        """What a VM is to be given cannot be had: no cloud was asked for it, and the sentence is the job's reason."""
        log.warning("%s cannot be booted on %s: %s", vm.uid, vm.cloud, error)
        vms.forget(writing, [vm.uid])
        acts.record(writing, acts.of_vm("boot_failed", vm, str(error), failure="unready"))
        seconds = self.config.global_.job_ban_timeout if isinstance(error, BadRequirement) else _BRIEFLY
        jobs.record_block(writing, Block(vm.shape, vm.cloud, now + seconds, str(error)), now)

    def _finish(self, writing: Writing, vm: VM, outcome: BootOutcome, now: int) -> None:
        self.bans.record(writing, resolved_image(vm), vm.cloud, booted=outcome.error is None)
        if outcome.error is None:
            vms.record_fields(writing, [{"uid": vm.uid, "id": outcome.id or vm.uid}])
            acts.record(writing, acts.of_vm("booted", replace(vm, id=outcome.id or vm.uid)))
            return
        refusal = next(each for kind, each in _REFUSALS if isinstance(outcome.error, kind))
        sentence = failure_sentence(outcome.error)
        log.warning("Booting %s on %s failed: %s", vm.uid, vm.cloud, sentence)
        acts.record(writing, acts.of_vm("boot_failed", vm, sentence, failure=refusal.kind))
        tallies.add_tallies(writing, [((BOOT_FAILURES, vm.cloud, refusal.kind), 1.0)])
        if refusal.certain:
            vms.forget(writing, [vm.uid])
        else:
            vms.record_fields(writing, [{"uid": vm.uid, "reason": f"Booting failed: {sentence}"}])
        seconds = self.config.global_.job_ban_timeout if refusal.lasting else _BRIEFLY
        reason = f"{refusal.literal}\n{vm.cloud}: {sentence}" if refusal.lasting else refusal.literal
        jobs.record_block(writing, Block(vm.shape, vm.cloud, now + seconds, reason), now)
        clouds.record_fields(writing, vm.cloud, {"last_error": sentence})


def resolved_image(vm: VM) -> str:
    """The image a VM was booted from: by its own name, else the job's choice for its cloud (B-33)."""
    if isinstance(vm.image, str):
        return vm.image
    return str(vm.image.get(vm.cloud) or vm.image.get("default", ""))
