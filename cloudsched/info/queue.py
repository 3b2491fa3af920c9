"""What a picture holds of the jobs: never all of them, but encoded rows of the queues that are read, and counts.

A queue that somebody reads is followed from index to index: a job that changed is encoded again, the others are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cloudsched.model.jobs import Job, JobGroup, JobStatus, Shape
from cloudsched.render import documents, failures, jobs
from cloudsched.render.failures import Reasons
from cloudsched.store.queues import Census, Where

Row = tuple[int, int, str, str, str]
"""An encoded job: cluster, proc and id, by which rows are sorted, the shape's key, the text."""

ROW_BYTES = 400
"""What a row takes beside its text, in this interpreter."""

FAILING = "failing"
"""Beside v1's words: the jobs that have a reason to have no VM."""

_STATUS = {"new": "Unscheduled", "sched": "Scheduled"}
_JOB_STATUS = {
    "idle": JobStatus.IDLE,
    "running": JobStatus.RUNNING,
    "complete": JobStatus.COMPLETE,
    "held": JobStatus.HELD,
}
_WITH_REASONS = frozenset(("new", "idle", "high", FAILING))
"""Queues that hold waiting jobs, about whom reasons of their shape are told."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Which jobs, as a word of v1's or `failing`, and in which form: rows of text or documents."""

    word: str
    as_json: bool

    @property
    def tells_reasons(self) -> bool:
        """Whether the reasons of shapes show in it."""
        return self.word in _WITH_REASONS and (self.as_json or self.word == FAILING)


@dataclass(frozen=True, slots=True)
class Shapes:
    """The shapes by key, and why their waiting jobs have no VM."""

    known: Mapping[str, Shape]
    reasons: Reasons


@dataclass(frozen=True, slots=True)
class Listing:
    """The encoded jobs of one queue at one index."""

    rows: Mapping[str, Row] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Roughly the bytes that it takes in memory."""
        return sum(ROW_BYTES + len(row[4]) for row in self.rows.values())

    def texts(self) -> Iterator[str]:
        """The jobs' texts in the order of submission."""
        return (row[4] for row in sorted(self.rows.values()))


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to the jobs: these are others now, those ids are gone, those shapes' reasons are others."""

    jobs: tuple[Job, ...] = ()
    gone: tuple[str, ...] = ()
    reasoned: frozenset[str] = frozenset()


def wheres(word: str, shapes: Shapes) -> Iterator[Where]:
    """What to read of the store for a queue: all of it, and maybe more."""
    if word == FAILING:
        yield Where(odd=True)
        yield Where(status="Unscheduled", shapes=shapes.reasons.keys())
    elif word == "high":
        yield Where(shapes=[key for key, shape in shapes.known.items() if shape.high_priority])
    else:
        yield Where(_JOB_STATUS.get(word), _STATUS.get(word))


def listing(queue: Queue, found: Iterable[Job], shapes: Shapes) -> Listing:
    """The queue, of jobs that hold all of it."""
    return Listing(_encoded(queue, found, shapes))


def follow(queue: Queue, before: Listing, change: Change, shapes: Shapes) -> Listing:
    """The queue after a change; of reasoned shapes `change.jobs` holds every job."""
    again = change.reasoned if queue.tells_reasons else frozenset()
    touched = {*change.gone, *(job.id for job in change.jobs)}
    kept = {key: row for key, row in before.rows.items() if key not in touched and row[3] not in again}
    return Listing(kept | _encoded(queue, change.jobs, shapes))


_ENCODE: Mapping[tuple[bool, bool], Callable[[Job, Reasons], str]] = {
    # (failing, as JSON)
    (False, False): lambda job, _: jobs.row(job),
    (False, True): lambda job, reasons: documents.encode(documents.job(job, reasons)),
    (True, False): failures.boot_entry,
    (True, True): lambda job, reasons: documents.encode(documents.boot_failure(job, reasons)),
}


def _encoded(queue: Queue, found: Iterable[Job], shapes: Shapes) -> dict[str, Row]:
    encode, reasons = _ENCODE[queue.word == FAILING, queue.as_json], shapes.reasons
    return {
        job.id: (job.cluster_id, job.proc_id, job.id, job.shape.key, encode(job, reasons))
        for job in found
        if _is_in(queue.word, job, reasons)
    }


def _is_in(word: str, job: Job, reasons: Reasons) -> bool:
    return bool(failures.reasons(job, reasons)) if word == FAILING else jobs.QUEUES[word](job)


def by_user(census: Census, shapes: Shapes) -> Mapping[tuple[int, str], int]:
    """How many jobs there are by job_status and user."""
    counts: Counter[tuple[int, str]] = Counter()
    for kind, number in census.items():
        counts[kind.job_status, shapes.known[kind.shape].user] += number
    return counts


def by_reason(census: Census, shapes: Shapes) -> Mapping[str, int]:
    """How many jobs have each reason to have no VM."""
    counts: Counter[str] = Counter()
    for kind, number in census.items():
        for reason in failures.why(kind, shapes.reasons.get(kind.shape, ())):
            counts[reason] += number
    return counts


def groups(census: Census) -> list[JobGroup]:
    """The queue as the planner sees it."""
    counts: Counter[tuple[str, int, int, str, bool, tuple[str, ...]]] = Counter()
    for kind, number in census.items():
        if not kind.problem:
            key = (kind.shape, kind.priority, kind.job_status, kind.status, kind.banned, kind.blocked_clouds)
            counts[key] += number
    return [JobGroup(*key, jobs=number) for key, number in sorted(counts.items())]
