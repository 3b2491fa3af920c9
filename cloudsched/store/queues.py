"""The jobs as readers need them: some of them by the database's own sorting out, all of them only as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, false, func, or_, select

from cloudsched.model.jobs import Job, Shape
from cloudsched.store import rows, tables
from cloudsched.store.jobs import to_shape
from cloudsched.store.prepared import Prepared

_TABLE = tables.jobs
_COLUMNS, _build = rows.reader(Job, _TABLE)
_ID, _SHAPE = (tuple(Job.__dataclass_fields__).index(name) for name in ("id", "shape"))


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells jobs apart for those who count them; names are those of Job, `shape` is its key."""

    shape: str
    priority: int
    job_status: int
    status: str
    banned: bool
    blocked_clouds: tuple[str, ...]
    problem: str = ""
    failed_boot_reason: tuple[str, ...] = ()


Census = Mapping[Kind, int]


@dataclass(frozen=True, slots=True)
class Found:
    """One job, and the index of its last change."""

    job: Job
    revision: int


_ONE = select(*_COLUMNS, _TABLE.c.revision)
_BY_ID = Prepared(_ONE.where(or_(_TABLE.c.id == bindparam("first"), _TABLE.c.id == bindparam("second"))))
_BY_NUMBER = Prepared(_ONE.where(_TABLE.c.cluster_id == bindparam("cluster"), _TABLE.c.proc_id == bindparam("proc")))
_SHAPE_OF = Prepared(select(tables.shapes.c.key, tables.shapes.c.shape).where(tables.shapes.c.key == bindparam("key")))
NOTHING: Mapping[str, Shape] = {}
_KIND = [_TABLE.c[name] for name in Kind.__dataclass_fields__]
_COMMON = len(_KIND) - 2
_ODD = or_(_TABLE.c.problem != "", _TABLE.c.failed_boot_reason != [])


@dataclass(frozen=True, slots=True)
class Where:
    """Which jobs to read: all conditions that are given hold; `odd` are those with a problem or a failed boot."""

    job_status: int | None = None
    status: str | None = None
    shapes: Collection[str] | None = None
    odd: bool = False
    finished: bool | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """The same for the database."""
        if self.job_status is not None:
            yield _TABLE.c.job_status == self.job_status
        if self.status is not None:
            yield _TABLE.c.status == self.status
        if self.shapes is not None:
            yield _TABLE.c.shape.in_(sorted(self.shapes)) if self.shapes else false()
        if self.odd:
            yield _ODD
        if self.finished is not None:
            yield _TABLE.c.finished_at.is_not(None) if self.finished else _TABLE.c.finished_at.is_(None)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads jobs inside a transaction of the caller's; `shapes` are always all that there are, by key."""

    connection: Connection

    def selected(self, where: Where, shapes: Mapping[str, Shape]) -> Iterator[Job]:
        """The jobs of a selection, in no order."""
        return _jobs(self.connection, shapes, *where.conditions())

    def changed(self, since: int, shapes: Mapping[str, Shape]) -> tuple[list[Job], list[str]]:
        """The jobs that changed after an index, and the ids of those that went."""
        changed = list(_jobs(self.connection, shapes, _TABLE.c.revision > since))
        return changed, rows.gone(self.connection, "jobs", since)


def to_values(job: Job) -> list[Any]:
    """A job as plain values, in which the key stands for its shape."""
    values = [getattr(job, name) for name in Job.__dataclass_fields__]
    values[_SHAPE] = job.shape.key
    return values


def from_values(values: Sequence[Any], shapes: Mapping[str, Shape]) -> Job:
    """The same job again."""
    found = list(values)
    found[_SHAPE] = shapes[found[_SHAPE]]
    job: Job = _build(found)
    return job


def job(
    connection: Connection,
    references: Sequence[str],
    numbers: Sequence[tuple[int, int]],
    shapes: Mapping[str, Shape] = NOTHING,
) -> Found | None:
    """The first of these that there is: jobs by their ids, of which there are one or two, then by (cluster, proc).

    `shapes` are those that are known already; for another one there is a second query.
    """
    first, *second = references
    found = {row[_ID]: row for row in _BY_ID.rows(connection, first=first, second=second[0] if second else first)}
    named = (found[each] for each in references if each in found)
    numbered = (row for cluster, proc in numbers for row in _BY_NUMBER.rows(connection, cluster=cluster, proc=proc))
    chosen = next(chain(named, numbered), None)
    if chosen is None:
        return None
    *values, revision = chosen
    key = values[_SHAPE]
    if key not in shapes:
        shapes = {each: to_shape(shape) for each, shape in _SHAPE_OF.rows(connection, key=key)}
    # Gone already where the two queries are no transaction: then so is the job.
    return Found(from_values(values, shapes), revision) if key in shapes else None


def _jobs(connection: Connection, shapes: Mapping[str, Shape], *conditions: ColumnElement[bool]) -> Iterator[Job]:
    for row in connection.execute(select(*_COLUMNS).where(*conditions)):
        yield from_values(row, shapes)


def census(connection: Connection) -> Census:
    """How many jobs there are of each kind: the common ones from an index alone, then the odd ones."""
    common = _counted(connection, select(*_KIND[:_COMMON], func.count()).group_by(*_KIND[:_COMMON]))
    odd = _counted(connection, select(*_KIND, func.count()).where(_ODD).group_by(*_KIND))
    for kind, number in odd.items():
        common[_plain(kind)] -= number
    return {kind: number for kind, number in (common + odd).items() if number}


def _counted(connection: Connection, query: Any) -> Counter[Kind]:
    found: Counter[Kind] = Counter()
    for *values, number in connection.execute(query):
        fields: list[Any] = [tuple(each) if isinstance(each, list) else each for each in values]
        found[Kind(*fields)] = number
    return found


def _plain(kind: Kind) -> Kind:
    return Kind(kind.shape, kind.priority, kind.job_status, kind.status, kind.banned, kind.blocked_clouds)
