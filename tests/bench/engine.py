"""What the engine's work costs: plans by kinds of jobs, cycles in which nothing happens, boots, answers to wishes.

Engine, store and policy are the real ones; clouds and batch system are played. Costs are CPU times: what else runs on
the machine does not count. Only the answers to wishes are timed by the clock.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cloudsched.config import Global, JobDefaults
from cloudsched.engine.loop import GARBAGE
from cloudsched.model.actions import Boot
from cloudsched.model.jobs import JobStatus
from cloudsched.policy import plan
from cloudsched.store import Store, verbs, vms, wishes
from cloudsched.store.snapshot import Seen, SnapshotReader
from cloudsched.store.watch import Watch
from tests.bench.busy import FEW, MANY, STEADY, Busy
from tests.bench.figure import QUICK, Effort, Figure
from tests.bench.homes import copied, shared
from tests.bench.played import Played
from tests.engine_bench import World, recorded_calls

PLAN_SECONDS, GROWTH_BAR = 1.0, 1.2
CYCLE_MS, CYCLES_BAR, ACT_MS = 30.0, 2.0, 100.0
RESTING_SECONDS, WISHES, LATEST = 15.0, 200, 30.0
BOOTS = 1_000


def figures(effort: Effort) -> Iterator[Figure]:
    """Boots, cycles without news, answers to wishes, plans."""
    gc.set_threshold(*GARBAGE)
    with tempfile.TemporaryDirectory() as directory:
        yield _boots(Path(directory))
    with tempfile.TemporaryDirectory() as directory:
        state = copied(STEADY, Path(directory) / "home")
        yield from _rest(state, effort)
        yield from _acts(state, WISHES // 4 if effort is QUICK else WISHES)
    yield from _plans(effort)


def opened(state: Path) -> Store:
    """The state in a directory, for writing."""
    return Store.open(f"sqlite:///{state / 'state.db'}", state)


def _boots(directory: Path) -> Figure:
    """How many cycles pass until so many queued jobs of one user and VMType have had a VM asked for each of them."""
    with closing(opened(directory)) as store:
        world = World(store)
        for name in ("mouse", "rat", "vole", "shrew"):
            world.cloud(name, vm_slots=BOOTS)
        built = world.build()
        world.submit(BOOTS, "request_memory = 512")
        built.watch_until(lambda: built.stages.observer.jobs_known)
        built.until(lambda: world.jobs(JobStatus.IDLE) or world.vms(), "jobs queued")
        cycles = 0
        while (asked := sum(len(cloud.vms()) for cloud in world.clouds.values())) < BOOTS:
            cycles += 1
            for call in recorded_calls(built):
                call.work()
            if cycles > 2 * BOOTS:
                raise RuntimeError(f"only {asked} VMs were asked for")
    return Figure(f"engine.boots.{BOOTS}", max(cycles, 1), "cycles", CYCLES_BAR)


def _rest(state: Path, effort: Effort) -> Iterator[Figure]:
    """What it takes when every cloud, the slots and the jobs have been read and told nothing new."""
    with closing(opened(state)) as store:
        played = Played(store)
        played.come_to_rest()
        before = store.state()
        cycles = [played.round_seconds() for _ in range(effort.rounds)]
        began, spent = time.monotonic(), time.process_time()
        played.built.turns(RESTING_SECONDS)
        share = (time.process_time() - spent) / (time.monotonic() - began)
        if store.state() != before:
            raise RuntimeError("cycles without news have written something")
        played.close()
    yield Figure(f"engine.cycle.{STEADY.vms}", statistics.median(cycles) * 1000, "ms-CPU", CYCLE_MS)
    yield Figure(f"engine.rest.{STEADY.vms}", share * 100, "%-of-a-core")


@contextmanager
def _changing(state: Path) -> Iterator[Path]:
    """An engine in another process, whose clouds show 200 changes a second; gives where its CPU time is told."""
    command = [sys.executable, "-m", "tests.bench.played", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            if process.stdout.readline().strip() != "running":
                raise RuntimeError("the played engine did not start")
            yield Path(f"/proc/{process.pid}/schedstat")
        finally:
            process.kill()


def _acts(state: Path, count: int) -> Iterator[Figure]:
    """From the commit of a wish until another process sees what the engine made of it, amid 200 changes a second."""
    times, spent = [], []
    with closing(opened(state)) as store, closing(Watch(store)) as watch, _changing(state) as cpu:
        time.sleep(5)
        index, began = store.state().index, time.monotonic()
        for number in range(count):
            before = int(cpu.read_text().split()[0])
            times.append(_act(store, watch, number))
            spent.append((int(cpu.read_text().split()[0]) - before) / 1e9)
            time.sleep(0.05 + number % 7 * 0.017)
        seconds = time.monotonic() - began
        with store.reading() as connection:
            changed, _ = vms.changed(connection, index)
    yield Figure("engine.act.p50", statistics.median(times) * 1000, "ms")
    yield Figure("engine.act.p99", sorted(times)[count * 99 // 100] * 1000, "ms", ACT_MS)
    yield Figure("engine.act.p99.cpu", sorted(spent)[count * 99 // 100] * 1000, "ms-CPU")
    # Half of the changes are to addresses that come back, so that a VM may change twice.
    yield Figure("engine.act.changed", len(changed) / seconds, "VMs/s-changed")


def _act(store: Store, watch: Watch, number: int) -> float:
    name = f"cloud-{number // 2 % STEADY.clouds:03}"
    verbs.wish_enabled(store, wishes.By("bench"), name, enabled=bool(number % 2))
    began = time.perf_counter()
    while watch.verbs() <= watch.wishes():
        if time.perf_counter() > began + LATEST:
            raise RuntimeError("the engine does not answer wishes")
        time.sleep(0.001)
    return time.perf_counter() - began


def _plans(effort: Effort) -> Iterator[Figure]:
    """Reading the state for the first time and planning on it, for many jobs and for a tenth of them."""
    many, few = shared(MANY) / "state", shared(FEW) / "state"
    of_many, of_few = [], []
    for _ in range(effort.rounds):
        of_many.append(_plan_seconds(many, MANY))
        of_few.append(_plan_seconds(few, FEW))
    label, median = f"engine.plan.{MANY.idle}", statistics.median(of_many)
    yield Figure(label, median, "s-CPU", PLAN_SECONDS)
    yield Figure(f"{label}.growth", median / statistics.median(of_few), f"x-{FEW.idle}", GROWTH_BAR)


def _plan_seconds(state: Path, size: Busy) -> float:
    with closing(opened(state)) as store:
        began = time.process_time()
        snapshot = SnapshotReader(store).snapshot(Seen(int(time.time()), jobs_known=True, machines_known=True))
        found = plan(snapshot, Global(), JobDefaults())
        spent = time.process_time() - began
    waiting = sum(group.jobs for group in snapshot.groups if group.job_status == JobStatus.IDLE)
    booted = sum(action.vms for action in found if isinstance(action, Boot))
    if (waiting, booted, len(snapshot.shapes)) != (size.idle, size.room, size.shapes):
        raise RuntimeError(f"planned {booted} VMs for {waiting} jobs of {len(snapshot.shapes)} shapes")
    return spent
