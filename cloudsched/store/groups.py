"""How many jobs of each kind there are, kept beside the jobs: a plan costs kinds of jobs, not jobs.

Whoever changes jobs says so (`moved`), and the counts are brought up to date before the same transaction ends. A whole
queue is counted anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, delete, func, insert, literal, select, update

from cloudsched.model.jobs import JobGroup
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing

_KIND = tuple(name for name in JobGroup.__dataclass_fields__ if name != "jobs")
_JOB = tuple(tables.jobs.c[name] for name in _KIND)
_GROUP = tuple(tables.job_groups.c[name] for name in _KIND)
_NUMBER = (tables.jobs.c.cluster_id, tables.jobs.c.proc_id)

COLUMNS = (tables.jobs.c.id, *_JOB, tables.jobs.c.problem)
"""What `moved` must know of a job; jobs with a problem are counted nowhere."""

Kind = tuple[Any, ...]
Job = Mapping[str, Any] | RowMapping

_ALL: tuple[Kind, int] = ((), 0)
"""In place of a step: nothing that was counted before counts."""


def groups(connection: Connection) -> list[JobGroup]:
    """The queue as the planner sees it: how many jobs of each kind, those submitted first first."""
    table = tables.job_groups
    found = select(*_GROUP, table.c.jobs).order_by(table.c.cluster_id, table.c.proc_id, *_GROUP)
    return [JobGroup(*row[:5], blocked_clouds=tuple(row[5]), jobs=row[6]) for row in connection.execute(found)]


def moved(writing: Writing, changes: Iterable[tuple[Job | None, Job | None]]) -> None:
    """Jobs are to be counted as after a change instead of as before it; columns it leaves out are as before."""
    steps: list[tuple[Kind, int]] = []
    for before, after in changes:
        old = _kind(before) if before is not None else None
        new = _kind({**(before or {}), **after}) if after is not None else None
        if old != new:
            steps += [(kind, step) for kind, step in ((old, -1), (new, 1)) if kind is not None]
    if steps:
        writing.collect(_count, steps)


def count_again(writing: Writing) -> None:
    """Count every job anew at the end of the transaction, whatever was counted before."""
    writing.collect(_count, (_ALL,))


def of_kind(kind: Kind) -> Any:
    """The condition that a job is of a kind and is counted."""
    return and_(*(column == value for column, value in zip(_JOB, kind, strict=True)), tables.jobs.c.problem == "")


def waiting_kinds(writing: Writing, shape: str, priority: int, statuses: Iterable[int]) -> list[Kind]:
    """The kinds that jobs of a shape and priority are of which are not banned and in one of these job statuses."""
    writing.record_now(_count)
    groups, connection = tables.job_groups.c, writing.connection
    same = (groups.shape == shape, groups.priority == priority, groups.banned.is_(False))
    return [tuple(row) for row in connection.execute(select(*_GROUP).where(*same, groups.job_status.in_(statuses)))]


def _kind(job: Job) -> Kind | None:
    if job["problem"]:
        return None
    return (*(job[name] for name in _KIND[:-1]), tuple(job[_KIND[-1]]))


def _count(writing: Writing, steps: list[tuple[Kind, int]]) -> None:
    if _ALL in steps:
        _count_all(writing.connection)
        return
    change: Counter[Kind] = Counter()
    for kind, step in steps:
        change[kind] += step
    present = _present(writing.connection, {kind[0] for kind in change})
    for kind, step in change.items():
        _save(writing.connection, kind, present.get(kind), step)


def _present(connection: Connection, shapes: Iterable[str]) -> dict[Kind, int]:
    table, found = tables.job_groups, {}
    for part in rows.chunks(sorted(shapes)):
        query = select(*_GROUP, table.c.jobs).where(table.c.shape.in_(part))
        found.update({(*row[:-2], tuple(row[-2])): row[-1] for row in connection.execute(query)})
    return found


def _save(connection: Connection, kind: Kind, before: int | None, step: int) -> None:
    groups = tables.job_groups
    same = and_(*(column == value for column, value in zip(_GROUP, kind, strict=True)))
    first = connection.execute(select(*_NUMBER).where(of_kind(kind)).order_by(*_NUMBER).limit(1)).first()
    if first is None:
        connection.execute(delete(groups).where(same))
        return
    values = {"jobs": (before or 0) + step, "cluster_id": first[0], "proc_id": first[1]}
    if before is None:
        connection.execute(insert(groups).values(**dict(zip(_KIND, kind, strict=True)), **values))
    else:
        connection.execute(update(groups).where(same).values(values))


def _count_all(connection: Connection) -> None:
    groups = tables.job_groups
    connection.execute(delete(groups))
    first = func.min(tables.jobs.c.cluster_id)
    counted = select(*_JOB, func.count(), first, literal(0)).where(tables.jobs.c.problem == "").group_by(*_JOB)
    connection.execute(insert(groups).from_select([*_KIND, "jobs", "cluster_id", "proc_id"], counted))
    of_group = and_(*(job == group for job, group in zip(_JOB, _GROUP, strict=True)))
    in_first = and_(of_group, tables.jobs.c.cluster_id == groups.c.cluster_id, tables.jobs.c.problem == "")
    lowest = select(func.min(tables.jobs.c.proc_id)).where(in_first).scalar_subquery()
    connection.execute(update(groups).values(proc_id=lowest))
