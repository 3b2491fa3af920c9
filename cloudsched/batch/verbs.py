"""Which verbs make sense for a job, whatever batch system it is in."""

from __future__ import annotations

from cloudsched.model.jobs import Job, JobStatus

_ENDED = (JobStatus.REMOVED, JobStatus.COMPLETE)


def refusal(action: str, name: str, job: Job | None) -> str:
    """Say why a verb cannot be carried out, empty when it can; `name` is how the job was asked for."""
    if job is None:
        return f"There is no job {name!r} in the queue."
    if job.job_status in _ENDED:
        return f"Job {job.cluster_id}.{job.proc_id} has ended already."
    if action == "hold" and job.job_status == JobStatus.HELD:
        return f"Job {job.cluster_id}.{job.proc_id} is held already."
    if action == "release" and job.job_status != JobStatus.HELD:
        return f"Job {job.cluster_id}.{job.proc_id} is not held."
    return ""
