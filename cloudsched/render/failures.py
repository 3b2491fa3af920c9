"""Why jobs have no VM, and which images fail where, as text (PARITY 2.10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from cloudsched.model.clouds import Cloud
from cloudsched.model.failures import VMFailure
from cloudsched.model.jobs import WAITING, Job
from cloudsched.render.cells import cell

Reasons = Mapping[str, Sequence[str]]
"""Why the waiting jobs of a shape have no VM, by the shape's key."""

_CONSOLE_LINES = 5


class Waiting(Protocol):
    """What of a job its reasons depend on; the fields are Job's."""

    @property
    def problem(self) -> str: ...
    @property
    def job_status(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def failed_boot_reason(self) -> tuple[str, ...]: ...


def reasons(job: Job, of_shape: Reasons) -> tuple[str, ...]:
    """Why the job has no VM, each reason once: what is wrong with the job, what stopped its boots, and while it
    waits unscheduled, what stops those of its shape."""
    return why(job, of_shape.get(job.shape.key, ()))


def why(job: Waiting, of_shape: Sequence[str]) -> tuple[str, ...]:
    """The same for whatever is known of a job; `of_shape` are the reasons of its own shape."""
    own = (job.problem,) if job.problem else ()
    waits = job.job_status in WAITING and job.status == "Unscheduled"
    return tuple(dict.fromkeys((*own, *job.failed_boot_reason, *(of_shape if waits else ()))))


def boot(jobs: Iterable[Job], of_shape: Reasons) -> str:
    """Every job that has a reason to have no VM, `GET /failures/boot` (PARITY 2.10)."""
    return boot_listed(boot_entry(job, of_shape) for job in jobs if reasons(job, of_shape))


def boot_entry(job: Job, of_shape: Reasons) -> str:
    """One job's entry of that list."""
    return _entry("Job ID", job.id, "", reasons(job, of_shape))


def boot_listed(entries: Iterable[str]) -> str:
    """The list of entries made by `boot_entry`."""
    return "Job Failure Reasons:\n" + "".join(entries)


def image(clouds: Iterable[Cloud]) -> str:
    """Every cloud that has a failing image, `GET /failures/image` (PARITY 2.10)."""
    failing = (cloud for cloud in clouds if cloud.failed_images)
    return "Image Failure List\n" + "".join(
        _entry("Cloud", cloud.name, "Image: ", cloud.failed_images) for cloud in failing
    )


def vm(found: Iterable[VMFailure]) -> str:
    """VMs that were of no use, each with the last lines of its console."""
    return "VM Failure List\n" + "".join(
        _entry("VM", each.uid, "", (f"{each.cloud}: {each.reason}", *_last_lines(each.console))) for each in found
    )


def _last_lines(console: str) -> list[str]:
    return [f"| {line}" for line in console.splitlines()[-_CONSOLE_LINES:]]


def _entry(kind: str, name: str, prefix: str, lines: Iterable[str]) -> str:
    return f"   {kind}: {cell(name)}\n" + "".join(f"      {prefix}{cell(line)}\n" for line in lines)
