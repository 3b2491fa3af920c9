"""The jobs of a listing: read in one transaction, narrowed as far as the database can, and packed as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from cloudsched.info import nouns
from cloudsched.info.listed import Found, Source
from cloudsched.info.nouns import OF_SHAPE, Failing
from cloudsched.info.picture import Picture, Pictures
from cloudsched.info.queue import FAILING, Shapes, wheres
from cloudsched.model.jobs import Job
from cloudsched.render import documents, failures, jobs
from cloudsched.render.failures import Reasons
from cloudsched.store import Store, queues, state_row
from cloudsched.store.jobs import all_shapes, reasons
from cloudsched.store.queues import Where
from cloudsched.web.kept import Packed, Packing, Shown
from cloudsched.web.listing import Noun, Query, order

T = TypeVar("T")

TOPICS = ("jobs", "shapes")

MOST_SHAPES = 500
"""Beyond so many, shapes are not named to the database: its rows are narrowed here all the same."""


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """What a row is made of: `row` makes it of a job and its reasons, `job` gives the job back."""

    noun: Noun[T]
    row: Callable[[Job, Reasons], T]
    job: Callable[[T], Job]
    shown: Callable[[Reasons], Shown[T]]
    word: str = ""


def jobs_source(store: Store, pictures: Pictures) -> Source[Job]:
    """The listing `/jobs`."""
    return Source(nouns.JOBS, ("jobs",), TOPICS, _Read(store, pictures, _JOBS))


def boot_failures_source(store: Store, pictures: Pictures) -> Source[Failing]:
    """The listing `/failures/boot`: jobs that have no VM, and why."""
    return Source(nouns.BOOT_FAILURES, ("failures", "boot"), TOPICS, _Read(store, pictures, _FAILING))


def _shown_jobs(known: Reasons) -> Shown[Job]:
    return Shown(lambda job: documents.encode(documents.job(job, known)), lambda rows, _: jobs.table(rows))


def _shown_failing(known: Reasons) -> Shown[Failing]:
    return Shown(
        encode=lambda each: documents.encode(documents.boot_failure(each.job, known)),
        text=lambda rows, _: failures.boot_listed(failures.boot_entry(each.job, known) for each in rows),
    )


_JOBS = _Kind(nouns.JOBS, lambda job, _: job, lambda job: job, _shown_jobs)
_FAILING = _Kind(
    nouns.BOOT_FAILURES,
    lambda job, known: Failing(job, failures.reasons(job, known)),
    lambda each: each.job,
    _shown_failing,
    FAILING,
)


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    """Reads the rows of a query; the store's state at that moment is what all its pages show."""

    store: Store
    pictures: Pictures
    kind: _Kind[T]

    def __call__(self, picture: Picture, query: Query, now: float) -> Found[T]:
        """The rows, whatever the picture shows."""
        kind = self.kind
        with self.store.reading() as connection:
            row = state_row(connection)
            shapes = Shapes(all_shapes(connection), reasons(connection))
            found = _selected(queues.Reader(connection), kind, query, shapes)
            rows = _packed(kind, query, kind.noun.fitting(found, query, now), shapes)
        # What was read may be newer than the picture: no later answer shall show less.
        self.pictures.reach(row.index)
        return Found(rows, kind.shown(shapes.reasons), max(row.jobs, row.shapes))


def _selected(reader: queues.Reader, kind: _Kind[T], query: Query, shapes: Shapes) -> Iterator[T]:
    seen: set[str] = set()
    for where in _wheres(kind.word, query, shapes):
        for job in reader.selected(where, shapes.known):
            if kind.word == FAILING:
                if job.id in seen or not failures.reasons(job, shapes.reasons):
                    continue
                seen.add(job.id)
            yield kind.row(job, shapes.reasons)


def _wheres(word: str, query: Query, shapes: Shapes) -> Iterator[Where]:
    """What to read: all that fits, and maybe more."""
    wanted = dict(query.filters)
    held = [(OF_SHAPE[name], value) for name, value in wanted.items() if name in OF_SHAPE]
    fitting = {key for key, shape in shapes.known.items() if all(fits(shape, value) for fits, value in held)}
    word = word or wanted.get("state", "")
    for where in wheres(word, shapes) if word else [Where()]:
        named = fitting if where.shapes is None else fitting.intersection(where.shapes)
        narrows = held and len(named) <= MOST_SHAPES
        yield replace(where, finished=wanted.get("finished"), shapes=named if narrows else where.shapes)


def _packed(kind: _Kind[T], query: Query, rows: Iterable[T], shapes: Shapes) -> Packed[T]:
    packing, compared = Packing(), kind.noun.keys(query)
    keys = []
    for row in rows:
        job = kind.job(row)
        packing.add(queues.to_values(job))
        keys.append((*(key(row) for key in compared), (job.cluster_id, job.proc_id, job.id)))
    places = order(keys, (*query.sort, "submission"))
    return packing.packed(places, lambda values: kind.row(queues.from_values(values, shapes.known), shapes.reasons))
