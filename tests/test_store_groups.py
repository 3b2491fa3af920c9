"""The counts of jobs by kind are always those of the jobs themselves."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from sqlalchemy import select

from cloudsched.model.jobs import Job, JobDelta, JobGroup, Shape
from cloudsched.store import Store, groups, jobs, retention, tables

SHAPES = [Shape("alice"), Shape("bob"), Shape("bob", req_memory=4096)]
KIND = [tables.jobs.c[name] for name in JobGroup.__dataclass_fields__ if name != "jobs"]


def counted(store: Store) -> list[JobGroup]:
    """What the jobs come to, counted one by one, in the order of each kind's first job."""
    with store.reading() as connection:
        ordered = (
            select(*KIND)
            .where(tables.jobs.c.problem == "")
            .order_by(tables.jobs.c.cluster_id, tables.jobs.c.proc_id, *KIND)
        )
        found: dict[tuple[object, ...], int] = {}
        for row in connection.execute(ordered):
            kind = (*row[:-1], tuple(row[-1]))
            found[kind] = found.get(kind, 0) + 1
    return [JobGroup(*kind, jobs=number) for kind, number in found.items()]  # type: ignore[arg-type]


def kept(store: Store) -> list[JobGroup]:
    with store.reading() as connection:
        return groups.groups(connection)


def a_job(number: int, chosen: random.Random) -> Job:
    finished = chosen.random() < 0.2
    return Job(
        f"h#{number}",
        chosen.choice(SHAPES),
        cluster_id=number // 5 + 1,
        proc_id=number % 5,
        priority=chosen.choice((0, 0, 7)),
        job_status=4 if finished else chosen.choice((1, 1, 2, 5)),
        problem=chosen.choice(("", "", "", "It is not whole.")),
        finished_at=100 if finished else None,
    )


def test_counts_follow_whatever_happens_to_jobs(store: Store) -> None:
    chosen, there = random.Random(5), set[int]()
    for _ in range(60):
        numbers = chosen.sample(range(40), 6)
        gone = [number for number in there if chosen.random() < 0.1 and number not in numbers]
        delta = JobDelta(tuple(a_job(each, chosen) for each in numbers), tuple(f"h#{each}" for each in gone))
        with store.writing() as writing:
            jobs.record_delta(writing, delta, lambda host: "")
            if chosen.random() < 0.5:
                shape = chosen.choice(SHAPES).key
                jobs.record_scheduled(writing, shape, chosen.choice((0, 7)), chosen.randrange(6))
        there = (there | set(numbers)) - set(gone)
        assert kept(store) == counted(store)
    assert len(kept(store)) > 5


def test_counts_of_a_whole_queue_do_not_trust_those_before(store: Store) -> None:
    chosen = random.Random(6)
    queue = tuple(a_job(number, chosen) for number in range(30))
    with store.writing() as writing:
        jobs.record_jobs(writing, queue)
        writing.connection.execute(tables.job_groups.update().values(jobs=99))
    with store.writing() as writing:
        jobs.record_delta(writing, JobDelta(queue[:20], complete=True), lambda host: "")
    assert kept(store) == counted(store)


def test_counts_forget_jobs_whose_time_is_over(store: Store) -> None:
    chosen = random.Random(7)
    with store.writing() as writing:
        jobs.record_jobs(writing, [a_job(number, chosen) for number in range(30)])
    with store.writing() as writing:
        assert retention.prune_engine(writing, 100 + 10 * 86400, 7)
    assert kept(store) == counted(store)


@pytest.mark.parametrize(
    ("told", "wanted", "expected"), [(0, 3, {0, 1, 2}), (5, 2, {0, 1}), (2, 4, {0, 1, 2, 3}), (3, 3, {0, 1, 2})]
)
def test_the_oldest_waiting_jobs_are_scheduled(store: Store, told: int, wanted: int, expected: set[int]) -> None:
    shape = SHAPES[0]
    queue = [Job(f"h#{n}", shape, cluster_id=n // 2 + 1, proc_id=n % 2, job_status=1) for n in range(6)]
    with store.writing() as writing:
        jobs.record_jobs(
            writing, [replace(job, status="Scheduled" if n < told else "Unscheduled") for n, job in enumerate(queue)]
        )
    with store.writing() as writing:
        jobs.record_scheduled(writing, shape.key, 0, wanted)
    with store.reading() as connection:
        found = [number for number, job in enumerate(jobs.all_jobs(connection)) if job.status == "Scheduled"]
    assert set(found) == expected
    assert kept(store) == counted(store)
