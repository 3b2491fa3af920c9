"""What a verb asks of one target, made of what is there: the same for the verb itself, its preview and its undoing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cloudsched.model import allowance
from cloudsched.model.clouds import Cloud, Requested
from cloudsched.model.jobs import Job, JobStatus
from cloudsched.model.vms import RETIRING, VM
from cloudsched.model.wishes import Aspect
from cloudsched.store import operations, vms, wishes
from cloudsched.store.connect import Writing
from cloudsched.store.limits import read_settings
from cloudsched.store.wishes import Want

_JOB_STATUSES = {Aspect.HOLD: JobStatus.HELD, Aspect.RELEASE: JobStatus.IDLE, Aspect.REMOVE: JobStatus.REMOVED}


def is_enabled(writing: Writing, cloud: Cloud) -> bool:
    """Whether a cloud is enabled, or will be once the engine has got to what was asked."""
    return _switch(writing, cloud)[0]


def _switch(writing: Writing, cloud: Cloud) -> tuple[bool, bool]:
    """Whether a cloud is or will be enabled, and whether it is so for good when what holds for a time is over.

    One that was disabled for its silence is enabled for good: that ends by itself.
    """
    pending = wishes.pending(writing, "cloud", cloud.name, Aspect.ENABLED)
    if pending:
        value = pending[-1].value
        return (value["enabled"], value["then"]) if isinstance(value, dict) else (value, value)
    if cloud.request is not None and cloud.request.then is not None:
        return cloud.enabled, cloud.request.then is Requested.ENABLED
    return cloud.enabled, cloud.enabled or cloud.connection_problem


def slots_of(writing: Writing, cloud: Cloud) -> int:
    """A cloud's quota, as it is or will be."""
    pending = wishes.pending(writing, "cloud", cloud.name, Aspect.VM_SLOTS)
    return int(pending[-1].value["slots"] if pending else cloud.vm_slots)


def setting(writing: Writing, aspect: Aspect) -> Any:
    """A setting, as it is or will be; None before the engine's first start."""
    pending = wishes.pending(writing, "scheduler", "", aspect)
    return pending[-1].value if pending else read_settings(writing.connection).get(aspect.value)


def of_enabled(writing: Writing, cloud: Cloud, enabled: bool, until: int | None = None) -> Want:
    """That a cloud may boot new VMs, or not; with `until` (Unix seconds) only for so long."""
    present, then = _switch(writing, cloud)
    before, after = {"enabled": present}, dict[str, Any](enabled=enabled)
    value: Any = enabled
    if until is not None:
        value = {"enabled": enabled, "until": until, "then": then}
        after |= {"until": until}
    problem = f"Cloud {cloud.name!r} cannot be used: {cloud.unusable}" if enabled and cloud.unusable else ""
    name = cloud.name
    return Want("cloud", name, Aspect.ENABLED, value, cloud=name, before=before, after=after, problem=problem)


def of_slots(writing: Writing, cloud: Cloud, slots: int) -> Want:
    """That a cloud has another quota.

    The wish remembers the file's value: when somebody edits the file, the file wins again (DESIGN 7).
    """
    value = {"slots": slots, "file": configured_slots(cloud.options, _unasked_slots(writing, cloud))}
    before, after = {"vm_slots": slots_of(writing, cloud)}, {"vm_slots": slots}
    going = allowance.beyond(replace(cloud, vm_slots=slots), vms.of_cloud(writing.connection, cloud.name))
    drains, name = tuple(vm.uid for vm in going), cloud.name
    return Want("cloud", name, Aspect.VM_SLOTS, value, cloud=name, before=before, after=after, drains=drains)


def _unasked_slots(writing: Writing, cloud: Cloud) -> int:
    """A cloud's quota without any verb, where its options say none: what the last quota asked for remembers of it."""
    about = (Aspect.VM_SLOTS, cloud.name)
    values = [wish.value for wish in operations.lasting(writing.connection) if (wish.aspect, wish.name) == about]
    is_in_force = bool(values) and values[-1]["slots"] == slots_of(writing, cloud)
    return int(values[-1]["file"] if is_in_force else cloud.vm_slots)


def configured_slots(options: Any, otherwise: int) -> int:
    """The quota that the file gives a cloud, from its raw options."""
    text = str(options.get("vm_slots", ""))
    return int(text) if text.strip().isdecimal() else otherwise


def of_vm(vm: VM, aspect: Aspect) -> Want:
    """That a VM is shut down, retired, reset or forgotten."""
    value: dict[str, Any] = {"id": vm.id}
    before: dict[str, Any] = {"status": vm.shown_status}
    after: dict[str, Any] = {"status": {Aspect.RETIRE: RETIRING, Aspect.RESET: vm.status}.get(aspect)}
    if aspect is Aspect.RELEASED:
        value |= {"retired": True} if vm.retired else {}
        before, after = {"released": False}, {"released": True}
    return Want("vm", vm.uid, aspect, value, label=vm.id, cloud=vm.cloud, user=vm.user, before=before, after=after)


def of_job(job: Job, aspect: Aspect) -> Want:
    """That a job is held, released or removed."""
    before, after = {"job_status": int(job.job_status)}, {"job_status": int(_JOB_STATUSES[aspect])}
    label = f"{job.cluster_id}.{job.proc_id}"
    return Want("job", job.id, aspect, label=label, user=job.shape.user, before=before, after=after)


def of_setting(writing: Writing, aspect: Aspect, value: Any) -> Want:
    """That a setting has another value."""
    before, after = {aspect.value: setting(writing, aspect)}, {aspect.value: value}
    return Want("scheduler", "", aspect, value, before=before, after=after)
