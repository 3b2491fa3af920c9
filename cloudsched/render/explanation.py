"""What a job waits for, in sentences and as a document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cloudsched.model.explanations import Explanation, Standing
from cloudsched.model.jobs import WAITING, Job, JobStatus
from cloudsched.render.cells import cell

_WOULD = "would take it"


def waits(job: Job) -> bool:
    """Whether the scheduler looks for a VM for the job."""
    return job.job_status in WAITING and not job.banned and not job.problem


def text(job: Job, reasons: Iterable[str], explanation: Explanation | None) -> str:
    """The answer for a person; `reasons` are the job's own, `explanation` is None for a job that does not wait."""
    lines = [f"Job {cell(job.id)} of {cell(job.shape.user)}, VM type {cell(job.shape.req_vmtype)}: {_state(job)}"]
    lines += [f"   {cell(reason)}" for reason in reasons]
    if explanation is not None:
        lines += [cell(_held(job, explanation)), cell(_fate(explanation))]
        if explanation.left and not explanation.limit:
            lines += [f"   {cell(each.cloud)}: {cell(each.reason or _WOULD)}" for each in _by_cloud(explanation)]
    return "\n".join(lines) + "\n"


def document(job: Job, reasons: Iterable[str], explanation: Explanation | None) -> dict[str, Any]:
    """The same for a program; `waiting` is null for a job that does not wait."""
    return {
        "id": job.id,
        "user": job.shape.user,
        "vmtype": job.shape.req_vmtype,
        "job_status": job.job_status,
        "state": _state(job),
        "reasons": list(reasons),
        "waiting": None if explanation is None else _document(job, explanation),
    }


def _document(job: Job, explanation: Explanation) -> dict[str, Any]:
    numbers = {name: getattr(explanation, name) for name in ("served", "booted", "left", "limit", "vms", "user_vms")}
    clouds = [{"name": each.cloud, "reason": each.reason, "lacks_room": each.lacks_room} for each in explanation.clouds]
    return {"like_it": explanation.waiting, **numbers, "summary": _fate(explanation), "clouds": clouds}


def _by_cloud(explanation: Explanation) -> Iterator[Standing]:
    """First the clouds that would take the job, then those that are full, then those that never could."""
    yield from sorted(explanation.clouds, key=lambda each: (bool(each.reason), not each.lacks_room))


def _held(job: Job, explanation: Explanation) -> str:
    user, count = job.shape.user, explanation.user_vms
    if not count:
        return f"User {user} has no VMs."
    return f"User {user} has {count} VM{'s' if count > 1 else ''}, {explanation.vms} of VM type {job.shape.req_vmtype}."


def _fate(explanation: Explanation) -> str:
    """What becomes of the jobs like this one."""
    numbers = explanation.served, explanation.booted, explanation.left
    if explanation.waiting == 1:
        told = next((sentence for number, sentence in zip(numbers, _ALONE, strict=True) if number), "")
        return f"{told}{_because(explanation)}"
    parts = [sentence.format(number) for number, sentence in zip(numbers, _TOGETHER, strict=True) if number]
    return f"{explanation.waiting} jobs like it wait: {', '.join(parts)}{_because(explanation)}"


_ALONE = "A VM that is up or starting takes it", "A VM is booted for it now", "It gets no VM"
_TOGETHER = "VMs that are up or starting take {}", "VMs are booted now for {}", "{} get none"


def _because(explanation: Explanation) -> str:
    if not explanation.left:
        return "."
    if explanation.limit:
        return f": {explanation.limit}."
    return ":" if explanation.clouds else ": no cloud is configured."


def _state(job: Job) -> str:
    if job.problem:
        return f"its attributes are wrong: {job.problem}"
    known = _STATES.get(job.job_status)
    return known(job) if known else f"it has the status {job.job_status}."


def _ended(job: Job) -> str:
    return f"it has ended with exit code {job.exit_code}." if job.exit_code is not None else "it has ended."


def _running(job: Job) -> str:
    where = f" on {job.running_cloud}" if job.running_cloud else ""
    return f"it runs{where}{f', {job.remote_host}' if job.remote_host else ''}."


def _because_of(job: Job) -> str:
    return f": {job.hold_reason}" if job.hold_reason else "."


def _waiting(job: Job) -> str:
    if job.banned:
        return "it waits, and is left alone for a while after its boots failed."
    return "it waits, and a VM has been found for it." if job.status == "Scheduled" else "it waits, and has no VM."


_STATES: Mapping[int, Callable[[Job], str]] = {
    JobStatus.NEW: _waiting,
    JobStatus.IDLE: _waiting,
    JobStatus.RUNNING: _running,
    JobStatus.REMOVED: lambda job: f"it was removed{_because_of(job)}",
    JobStatus.COMPLETE: _ended,
    JobStatus.HELD: lambda job: f"it is held{_because_of(job)}",
    JobStatus.ERROR: lambda job: "it could not be submitted.",
}
