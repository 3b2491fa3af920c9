"""Jobs as text, and which of them a queue word means (PARITY 2.8, 5.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from cloudsched.model.jobs import Job, JobStatus
from cloudsched.render.cells import cell

_HEADING = f"{'Global ID':<20} {'User':<15} {'VM Type':<15} {'Job Status':<10} {'Status':<12} {'Cloud':<15}\n"

_NUMBER = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")

NO_JOB = "Job not found."

QUEUES: Mapping[str, Callable[[Job], bool]] = {
    "new": lambda job: job.status == "Unscheduled",
    "sched": lambda job: job.status == "Scheduled",
    "high": lambda job: job.shape.high_priority != 0,
    "idle": lambda job: job.job_status == JobStatus.IDLE,
    "running": lambda job: job.job_status == JobStatus.RUNNING,
    "complete": lambda job: job.job_status == JobStatus.COMPLETE,
    "held": lambda job: job.job_status == JobStatus.HELD,
}
"""v1's queue words; new and sched are told apart by the scheduler's status, whatever the batch system's."""


def table(jobs: Iterable[Job]) -> str:
    """The job table, its heading always present, `GET /jobs?state=S` and `GET /jobs/ID` (PARITY 2.8)."""
    return _HEADING + "".join(map(row, jobs))


def listed(rows: Iterable[str]) -> str:
    """The job table of rows made by `row`."""
    return _HEADING + "".join(rows)


def row(job: Job) -> str:
    """One job as a line of the table."""
    user, vmtype = cell(job.shape.user)[:15], cell(job.shape.req_vmtype)[:15]
    status = cell(job.override_status or job.status)[:12]
    return (
        f"{cell(job.id)[-20:]:<20} {user:<15} {vmtype:<15} {_word(job.job_status):<10} {status:<12}"
        f" {cell(job.running_cloud)[:15]:<15}\n"
    )


def _word(job_status: int) -> str:
    known = {status.value: status.name.capitalize() for status in JobStatus}
    return known.get(job_status, str(job_status))


def numbers(references: Iterable[str]) -> list[tuple[int, int]]:
    """The (cluster, proc) of all names that mean one."""
    return [found for each in references if (found := number(each))]


def number(job_id: str) -> tuple[int, int] | None:
    """The (cluster, proc) that a name means which is no id: `CLUSTER.PROC`."""
    found = _NUMBER.fullmatch(job_id)
    return (int(found[1]), int(found[2])) if found else None
