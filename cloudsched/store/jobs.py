"""Jobs as the batch system reports them, grouped by shape for the planner."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, exists, func, select

from cloudsched.errors import NotFound
from cloudsched.model.jobs import SHAPE_FIELDS, Job, JobDelta, JobGroup, JobStatus, Shape
from cloudsched.model.snapshot import Block
from cloudsched.store import groups, rows, tables
from cloudsched.store.connect import Writing
from cloudsched.store.following import Followed, Following

_ENGINE_COLUMNS = frozenset(
    (
        *("status", "override_status", "blocked_clouds", "block_time", "banned", "ban_time", "failed_boot_reason"),
        "x509userproxy_expiry_time",
    )
)
"""Columns the engine decides: a report of the batch system changes them only by changing the job's status."""

_SCHEDULED = "Scheduled"
_STATUS = tuple(JobGroup.__dataclass_fields__).index("status")

_FIRST_STATUS: Mapping[int, str] = {
    JobStatus.RUNNING: _SCHEDULED,
    JobStatus.COMPLETE: "Finished",
    JobStatus.REMOVED: "Finished",
}
"""v1 forgot finished jobs; here they stay visible, and are neither `new` nor `sched` (B-37)."""

_NUMBER = re.compile(r"(\d{1,18})\.(\d{1,18})")


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


@dataclass(frozen=True, slots=True)
class KnownShape:
    """A shape as recorded: why its waiting jobs have no VM, and the clouds it is kept off, expired blocks too."""

    key: str
    shape: Shape
    reasons: tuple[str, ...]
    blocks: tuple[Block, ...]


def shapes_following() -> Following[KnownShape]:
    """Every shape, for a reader that looks again and again."""
    columns = [tables.shapes.c[name] for name in ("key", "shape", "reasons", "blocks")]
    return Following(Followed(tables.shapes, "shapes", columns, _known_shape, attrgetter("key"), attrgetter("key")))


def _known_shape(row: Sequence[Any]) -> KnownShape:
    key, shape, reasons, blocks = row
    held = tuple(Block(key, cloud, until, reason) for cloud, (until, reason) in blocks.items())
    return KnownShape(key, to_shape(shape), tuple(reasons), held)


def reasons(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Why the waiting jobs of each shape have no VM; shapes without reasons are left out."""
    found = connection.execute(select(tables.shapes.c.key, tables.shapes.c.reasons))
    return {key: tuple(texts) for key, texts in found if texts}


def blocks(connection: Connection) -> list[Block]:
    """Every cloud that a shape is kept off, expired ones too."""
    found = connection.execute(select(tables.shapes.c.key, tables.shapes.c.blocks))
    return [Block(key, cloud, until, reason) for key, held in found for cloud, (until, reason) in held.items()]


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
        _save(writing, found, present)
    gone: Iterable[str] = delta.gone
    if delta.complete:
        # A whole queue is what is alive: finished jobs stay until their time is over.
        gone = set(unfinished(writing.connection)) - {job.id for job in delta.changed}
        groups.count_again(writing)
    _remove(writing, sorted(gone))
    return Happened(tuple(ended), tuple(max(each, 0) for each in waited))


def record_jobs(writing: Writing, jobs: Sequence[Job]) -> None:
    """Record jobs whole, with what the engine decided about them (loading a state)."""
    _record_shapes(writing, {job.shape.key: job.shape for job in jobs})
    for part in rows.chunks(jobs):
        present = _present(writing.connection, [job.id for job in part])
        _save(writing, [{**rows.to_row(job), "shape": job.shape.key} for job in part], present)


def record_scheduled(writing: Writing, shape: str, priority: int, jobs: int) -> None:
    """Of the waiting jobs of a shape and priority make exactly `jobs` Scheduled: those that are, then the oldest."""
    connection = writing.connection
    kinds = groups.waiting_kinds(writing, shape, priority, (JobStatus.NEW, JobStatus.IDLE))
    told = [kind for kind in kinds if kind[_STATUS] == _SCHEDULED]
    untold = [kind for kind in kinds if kind[_STATUS] != _SCHEDULED]
    count = sum(connection.execute(select(func.count()).where(groups.of_kind(kind))).scalar_one() for kind in told)
    if count > jobs:
        chosen, status = _first(connection, told, count - jobs, newest=True), "Unscheduled"
    else:
        chosen, status = _first(connection, untold, jobs - count), _SCHEDULED
    present = {row["id"]: row for row in chosen}
    _save(writing, [{"id": job_id, "status": status} for job_id in present], present)


def record_reasons(writing: Writing, reasons: Mapping[str, Sequence[str]]) -> None:
    """Record why the waiting jobs of these shapes have no VM; none clears."""
    found = [{"key": shape, "reasons": list(texts)} for shape, texts in reasons.items()]
    rows.save_existing(writing, tables.shapes, found, topic="shapes")


def record_block(writing: Writing, block: Block, now: int) -> None:
    """Keep a shape off a cloud for a while; blocks that have run out are forgotten."""
    query = select(tables.shapes.c.blocks).where(tables.shapes.c.key == block.shape)
    held = writing.connection.execute(query).scalar() or {}
    kept = {cloud: [until, reason] for cloud, (until, reason) in held.items() if until > now}
    kept[block.cloud] = [block.until, block.reason]
    rows.save_existing(writing, tables.shapes, [{"key": block.shape, "blocks": kept}], topic="shapes")


def prune_shapes(writing: Writing) -> None:
    """Forget shapes that no job and no VM has any more."""
    key = tables.shapes.c.key
    used = exists().where(tables.jobs.c.shape == key) | exists().where(tables.vms.c.shape == key)
    unused = select(key).where(~used).limit(500)
    rows.remove(writing, tables.shapes, list(writing.connection.execute(unused).scalars()), topic="shapes")


def prune_finished(writing: Writing, before: int, limit: int) -> list[str]:
    """Forget at most `limit` jobs that finished before `before`; returns their ids."""
    table = tables.jobs
    old = select(table.c.id).where(table.c.finished_at < before).order_by(table.c.finished_at).limit(limit)
    return _remove(writing, list(writing.connection.execute(old).scalars()))


def _save(writing: Writing, found: Sequence[rows.Row], present: Mapping[str, RowMapping]) -> None:
    """Record rows of jobs, of which those `present` were there before."""
    rows.save(writing, tables.jobs, found, topic="jobs")
    groups.moved(writing, ((present.get(row["id"]), row) for row in found))


def _remove(writing: Writing, ids: Sequence[str]) -> list[str]:
    """Forget jobs; returns those that were there."""
    gone: list[str] = []
    for part in rows.chunks(ids):
        present = _present(writing.connection, part)
        gone += rows.remove(writing, tables.jobs, part, topic="jobs")
        groups.moved(writing, ((row, None) for row in present.values()))
    return gone


def _first(
    connection: Connection, kinds: Iterable[groups.Kind], most: int, *, newest: bool = False
) -> list[RowMapping]:
    """The oldest or newest jobs of some kinds, read no further than so many of each."""
    table, found = tables.jobs, list[RowMapping]()
    order = [column.desc() if newest else column for column in (table.c.cluster_id, table.c.proc_id)]
    for kind in kinds if most > 0 else ():
        query = select(*groups.COLUMNS, table.c.cluster_id, table.c.proc_id).where(groups.of_kind(kind))
        found += connection.execute(query.order_by(*order).limit(most)).mappings()
    found.sort(key=lambda row: (row["cluster_id"], row["proc_id"]), reverse=newest)
    return found[:most]


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


def _present(connection: Connection, ids: Sequence[str]) -> dict[str, RowMapping]:
    table = tables.jobs
    query = select(*groups.COLUMNS, table.c.remote_host, table.c.jobstarttime).where(table.c.id.in_(ids))
    return {row["id"]: row for row in connection.execute(query).mappings()}


def _run_ended(job: Job, present: RowMapping | None, server_time: int) -> RunEnded | None:
    if job.job_status == JobStatus.RUNNING:
        return None
    if present is None or present["job_status"] != JobStatus.RUNNING:
        return _run_unseen(job, present)
    if not present["remote_host"] or not present["jobstarttime"]:
        return None
    return RunEnded(present["remote_host"], max((job.finished_at or server_time) - present["jobstarttime"], 0))


def _run_unseen(job: Job, present: RowMapping | None) -> RunEnded | None:
    """The run of a job that started and finished between two reports."""
    is_new = present is None or not present["jobstarttime"]
    if is_new and job.jobstarttime and job.finished_at:
        return RunEnded("", max(job.finished_at - job.jobstarttime, 0))
    return None


def _has_started(job: Job, present: RowMapping | None) -> bool:
    return bool(job.jobstarttime and job.submitted_at and (present is None or not present["jobstarttime"]))


def _job_row(job: Job, present: RowMapping | None, cloud_of: Callable[[str], str]) -> rows.Row:
    row = {**rows.to_row(job), "shape": job.shape.key}
    row["running_cloud"] = cloud_of(job.remote_host) if job.remote_host else ""
    if present is None or present["job_status"] != job.job_status:
        row["status"] = _FIRST_STATUS.get(job.job_status, "Unscheduled")
        return row
    return {name: value for name, value in row.items() if name not in _ENGINE_COLUMNS}
