"""Jobs as the batch system reports them, grouped by shape for the planner."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, func, select

from cloudsched.errors import NotFound
from cloudsched.model.jobs import SHAPE_FIELDS, Job, JobDelta, JobGroup, JobStatus, Shape
from cloudsched.model.snapshot import Block
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing

_ENGINE_COLUMNS = frozenset(
    (
        *("status", "override_status", "blocked_clouds", "block_time", "banned", "ban_time", "failed_boot_reason"),
        "x509userproxy_expiry_time",
    )
)
"""Columns the engine decides: a report of the batch system changes them only by changing the job's status."""

_FIRST_STATUS: Mapping[int, str] = {
    JobStatus.RUNNING: "Scheduled",
    JobStatus.COMPLETE: "Finished",
    JobStatus.REMOVED: "Finished",
}
"""v1 forgot finished jobs; here they stay visible, and are neither `new` nor `sched` (B-37)."""

_NUMBER = re.compile(r"(\d{1,18})\.(\d{1,18})")
_GROUP = [tables.jobs.c[name] for name in JobGroup.__dataclass_fields__ if name != "jobs"]


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A job stopped running on a host after so many seconds; the host is empty when it was never seen running."""

    remote_host: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Happened:
    """What a report of the batch system tells beside the jobs: runs that ended, first starts after so many seconds."""

    ended: tuple[RunEnded, ...] = ()
    waited: tuple[int, ...] = ()


def to_shape(values: Mapping[str, Any]) -> Shape:
    """A stored shape as a value; lists become the tuples they were."""
    known: dict[str, Any] = {}
    for name in SHAPE_FIELDS:
        if name in values:
            known[name] = tuple(values[name]) if isinstance(values[name], list) else values[name]
    return Shape(**known)


def to_job(row: RowMapping, shape: Shape) -> Job:
    """A row of the jobs table as a value."""
    return rows.from_row(Job, {**row, "shape": shape})


def all_shapes(connection: Connection) -> dict[str, Shape]:
    """Every shape by its key."""
    found = connection.execute(select(tables.shapes.c.key, tables.shapes.c.shape))
    return {key: to_shape(shape) for key, shape in found}


def reasons(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Why the waiting jobs of each shape have no VM; shapes without reasons are left out."""
    found = connection.execute(select(tables.shapes.c.key, tables.shapes.c.reasons))
    return {key: tuple(texts) for key, texts in found if texts}


def blocks(connection: Connection) -> list[Block]:
    """Every cloud that a shape is kept off, expired ones too."""
    found = connection.execute(select(tables.shapes.c.key, tables.shapes.c.blocks))
    return [Block(key, cloud, until, reason) for key, held in found for cloud, (until, reason) in held.items()]


def groups(connection: Connection) -> list[JobGroup]:
    """The queue as the planner sees it: how many jobs of each kind, those submitted first first."""
    query = (
        select(*_GROUP, func.count().label("jobs"))
        .where(tables.jobs.c.problem == "")
        .group_by(*_GROUP)
        .order_by(func.min(tables.jobs.c.cluster_id), func.min(tables.jobs.c.proc_id), *_GROUP)
    )
    found = (row._asdict() for row in connection.execute(query))
    return [JobGroup(**{**row, "blocked_clouds": tuple(row["blocked_clouds"])}) for row in found]


def all_jobs(connection: Connection) -> list[Job]:
    """Every job, in order of submission."""
    return _read(connection, select(tables.jobs).order_by(tables.jobs.c.cluster_id, tables.jobs.c.proc_id))


def find(connection: Connection, ref: str) -> Job:
    """A job by its id (GlobalJobId) or as CLUSTER.PROC. Raises NotFound."""
    table = tables.jobs
    number = _NUMBER.fullmatch(ref)
    found = _read(connection, select(table).where(table.c.id == ref))
    if not found and number:
        cluster, proc = int(number[1]), int(number[2])
        found = _read(connection, select(table).where(and_(table.c.cluster_id == cluster, table.c.proc_id == proc)))
    if not found:
        raise NotFound("job", ref)
    return found[0]


def unfinished(connection: Connection) -> list[str]:
    """The ids of all jobs that have not finished."""
    return list(connection.execute(select(tables.jobs.c.id).where(tables.jobs.c.finished_at.is_(None))).scalars())


def users(connection: Connection) -> set[str]:
    """Everybody who has a shape or a VM."""
    owners = {shape.user for shape in all_shapes(connection).values()}
    return owners | set(connection.execute(select(tables.vms.c.user).distinct()).scalars())


def record_delta(writing: Writing, delta: JobDelta, cloud_of: Callable[[str], str]) -> Happened:
    """Record what the batch system reported; returns the runs that ended and the waits that are over with it.

    `cloud_of` gives the cloud of a remote host, for `running_cloud`; what the engine itself decided about a job
    stays as long as the job's status stays (PARITY 6.2).
    """
    _record_shapes(writing, {job.shape.key: job.shape for job in delta.changed})
    ended: list[RunEnded] = []
    waited: list[int] = []
    for part in rows.chunks(delta.changed):
        present = _present(writing.connection, [job.id for job in part])
        ended += [run for job in part if (run := _run_ended(job, present.get(job.id), delta.server_time))]
        waited += [job.jobstarttime - job.submitted_at for job in part if _has_started(job, present.get(job.id))]
        found = [_job_row(job, present.get(job.id), cloud_of) for job in part]
        rows.save(writing, tables.jobs, found, topic="jobs")
    gone: Iterable[str] = delta.gone
    if delta.complete:
        # A whole queue is what is alive: finished jobs stay until their time is over.
        gone = set(unfinished(writing.connection)) - {job.id for job in delta.changed}
    rows.remove(writing, tables.jobs, sorted(gone), topic="jobs")
    return Happened(tuple(ended), tuple(max(each, 0) for each in waited))


def record_jobs(writing: Writing, jobs: Sequence[Job]) -> None:
    """Record jobs whole, with what the engine decided about them (loading a state)."""
    _record_shapes(writing, {job.shape.key: job.shape for job in jobs})
    found = [{**rows.to_row(job), "shape": job.shape.key} for job in jobs]
    rows.save(writing, tables.jobs, found, topic="jobs")


def record_scheduled(writing: Writing, shape: str, priority: int, jobs: int) -> None:
    """Of the waiting jobs of a shape and priority make exactly `jobs` Scheduled: those that are, then the oldest."""
    table = tables.jobs
    query = (
        select(table.c.id, table.c.status)
        .where(table.c.shape == shape, table.c.priority == priority)
        .where(table.c.job_status.in_((JobStatus.NEW, JobStatus.IDLE)))
        .where(table.c.problem == "", table.c.banned.is_(False))
        .order_by(table.c.status, table.c.cluster_id, table.c.proc_id)
    )
    found = []
    for number, (job_id, status) in enumerate(writing.connection.execute(query)):
        wanted = "Scheduled" if number < jobs else "Unscheduled"
        if status != wanted:
            found.append({"id": job_id, "status": wanted})
    rows.save(writing, tables.jobs, found, topic="jobs")


def record_reasons(writing: Writing, shape: str, texts: Sequence[str]) -> None:
    """Record why the waiting jobs of a shape have no VM; none clears."""
    rows.save_existing(writing, tables.shapes, [{"key": shape, "reasons": list(texts)}], topic="shapes")


def record_block(writing: Writing, block: Block, now: int) -> None:
    """Keep a shape off a cloud for a while; blocks that have run out are forgotten."""
    query = select(tables.shapes.c.blocks).where(tables.shapes.c.key == block.shape)
    held = writing.connection.execute(query).scalar() or {}
    kept = {cloud: [until, reason] for cloud, (until, reason) in held.items() if until > now}
    kept[block.cloud] = [block.until, block.reason]
    rows.save_existing(writing, tables.shapes, [{"key": block.shape, "blocks": kept}], topic="shapes")


def prune_shapes(writing: Writing) -> None:
    """Forget shapes that no job and no VM has any more."""
    used = select(tables.jobs.c.shape).union(select(tables.vms.c.shape))
    unused = select(tables.shapes.c.key).where(tables.shapes.c.key.not_in(used)).limit(500)
    rows.remove(writing, tables.shapes, list(writing.connection.execute(unused).scalars()), topic="shapes")


def prune_finished(writing: Writing, before: int, limit: int) -> list[str]:
    """Forget at most `limit` jobs that finished before `before`; returns their ids."""
    table = tables.jobs
    old = select(table.c.id).where(table.c.finished_at < before).order_by(table.c.finished_at).limit(limit)
    return rows.remove(writing, table, list(writing.connection.execute(old).scalars()), topic="jobs")


def _read(connection: Connection, query: Any) -> list[Job]:
    found = connection.execute(query).mappings().all()
    keys = sorted({row["shape"] for row in found})
    shapes = {}
    for part in rows.chunks(keys):
        named = select(tables.shapes.c.key, tables.shapes.c.shape).where(tables.shapes.c.key.in_(part))
        shapes.update({key: to_shape(shape) for key, shape in connection.execute(named)})
    return [to_job(row, shapes[row["shape"]]) for row in found]


def _record_shapes(writing: Writing, wanted: Mapping[str, Shape]) -> None:
    present: set[str] = set()
    for part in rows.chunks(wanted):
        present |= set(
            writing.connection.execute(select(tables.shapes.c.key).where(tables.shapes.c.key.in_(part))).scalars()
        )
    new = [
        {"key": key, "shape": asdict(shape), "reasons": [], "blocks": {}}
        for key, shape in sorted(wanted.items())
        if key not in present
    ]
    rows.save(writing, tables.shapes, new, topic="shapes")


def _present(connection: Connection, ids: Sequence[str]) -> dict[str, Any]:
    table = tables.jobs
    query = select(table.c.id, table.c.job_status, table.c.remote_host, table.c.jobstarttime)
    return {row.id: row for row in connection.execute(query.where(table.c.id.in_(ids)))}


def _run_ended(job: Job, present: Any, server_time: int) -> RunEnded | None:
    if job.job_status == JobStatus.RUNNING:
        return None
    if present is None or present.job_status != JobStatus.RUNNING:
        return _run_unseen(job, present)
    if not present.remote_host or not present.jobstarttime:
        return None
    return RunEnded(present.remote_host, max((job.finished_at or server_time) - present.jobstarttime, 0))


def _run_unseen(job: Job, present: Any) -> RunEnded | None:
    """The run of a job that started and finished between two reports."""
    is_new = present is None or not present.jobstarttime
    if is_new and job.jobstarttime and job.finished_at:
        return RunEnded("", max(job.finished_at - job.jobstarttime, 0))
    return None


def _has_started(job: Job, present: Any) -> bool:
    return bool(job.jobstarttime and job.submitted_at and (present is None or not present.jobstarttime))


def _job_row(job: Job, present: Any, cloud_of: Callable[[str], str]) -> rows.Row:
    row = {**rows.to_row(job), "shape": job.shape.key}
    row["running_cloud"] = cloud_of(job.remote_host) if job.remote_host else ""
    if present is None or present.job_status != job.job_status:
        row["status"] = _FIRST_STATUS.get(job.job_status, "Unscheduled")
        return row
    return {name: value for name, value in row.items() if name not in _ENGINE_COLUMNS}
