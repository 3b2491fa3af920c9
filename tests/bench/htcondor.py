"""What following a long queue of a real schedd costs, what the engine keeps, how the daemons answer when all fails.

It has rounds of its own: each takes minutes, whatever the effort asked for.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cloudsched.batch.htcondor import HTCondorBatch, Settings
from cloudsched.batch.htcondor_ads import Rules
from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.config.options import JobDefaults
from cloudsched.model.jobs import JobOrder
from tests.bench.figure import Effort, Figure, seconds
from tests.real.condor import CondorPool, condor_pool, eventually, site_options
from tests.real.condor_site import Watcher, condor_site, fail_in_turn, p99, started_apart, survived, watching, work
from tests.whole_bench import Site, a_site, stopped

JOBS = 10_000
CHANGES = 100
ROUNDS = 5
QUIET_SECONDS = 15


def resident_mb(pid: int) -> float:
    """A process's memory now, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def adapter(pool: CondorPool) -> HTCondorBatch:
    return HTCondorBatch(Bindings(pool.environment, 60.0), Settings(Rules(JobDefaults(), 3600)))


def fill(batch: HTCondorBatch) -> None:
    """Queue idle jobs that nothing can run."""
    text = 'executable = /bin/true\nrequirements = VMType =?= "none"\n+VMMem = 512\nqueue {}\n'
    payload = {"submit": text.format(JOBS), "initialdir": "/tmp", "owner": "alice"}
    (outcome,) = batch.act([JobOrder(f"fill {time.monotonic_ns()}", "submit", payload=payload)])
    assert (outcome.error, outcome.jobs) == ("", JOBS)


def poll_ratio(pool: CondorPool) -> float:
    """What a poll with some changes costs, as part of what the ads of the whole queue do."""
    batch = adapter(pool)
    fill(batch)
    batch.jobs()
    steady, whole = [], []
    for number in range(ROUNDS):
        first = number * CHANGES
        pool.run("condor_hold", "-constraint", f"ProcId >= {first} && ProcId < {first + CHANGES}")
        # What changed in the second of the last reading is read twice.
        time.sleep(2)
        found: list[int] = []
        steady.append(seconds(lambda found=found: found.append(len(batch.jobs().changed))))
        assert found == [CHANGES]
        reader = Bindings(pool.environment, 60.0)
        reader.size()
        whole.append(seconds(lambda reader=reader: reader.jobs(lambda ad: None)))
        reader.close()
    batch.close()
    return min(steady) / min(whole)


def growth_mb(pool: CondorPool, home: Path) -> float:
    """How much more memory a real engine has with the queue than without."""
    pool.clear()
    clouds = home / "cloud_resources.conf"
    clouds.write_text("[here]\ncloud_type = local\nvm_slots = 1\n")
    with a_site(home / "home", **site_options(pool, clouds)) as site:
        scheduler = site.start()
        time.sleep(5)
        before = resident_mb(scheduler.pid)
        batch = adapter(pool)
        fill(batch)
        batch.close()
        eventually(lambda: len(site.jobs()) == JOBS, "the engine knows the jobs")
        # Past one whole reading of the queue.
        time.sleep(65)
        return resident_mb(scheduler.pid) - before


def quietly(site: Site, pool: CondorPool) -> Watcher:
    """The daemons' answers while jobs run and nothing fails."""
    with watching(site) as watcher:
        work(site, pool)
        time.sleep(QUIET_SECONDS)
    return watcher


def in_trouble(site: Site, pool: CondorPool) -> Iterator[Figure]:
    """How long the slowest of 100 answers takes while everything fails in turn, against quiet before and after."""
    scheduler, daemons = started_apart(site)
    before = quietly(site, pool)
    with watching(site) as troubled:
        scheduler = fail_in_turn(site, pool, scheduler)
        survived(site, pool)
    after = quietly(site, pool)
    for name in ("info", "admin"):
        quiet = p99([*before.seconds[name], *after.seconds[name]])
        yield Figure(f"htcondor.faults.{name}.p99", p99(troubled.seconds[name]) / quiet, "x-quiet", 3.0)
    unanswered = len(before.failures + troubled.failures + after.failures)
    yield Figure("htcondor.faults.unanswered", unanswered, "requests", 0)
    stopped(scheduler)
    for process in daemons:
        process.terminate()
        process.communicate(timeout=30)


def figures(effort: Effort) -> Iterator[Figure]:
    """What a poll costs, what the engine keeps, and how the daemons answer."""
    with condor_pool() as pool, tempfile.TemporaryDirectory() as home:
        yield Figure(f"htcondor.poll.{JOBS}.changes{CHANGES}", poll_ratio(pool), "x-whole", 0.2)
        yield Figure(f"htcondor.memory.{JOBS}", growth_mb(pool, Path(home)), "MB", 40.0)
    # A pool of its own: the other one still removes jobs.
    with condor_pool() as pool, tempfile.TemporaryDirectory() as place, condor_site(pool, Path(place)) as site:
        yield from in_trouble(site, pool)
