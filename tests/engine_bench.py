"""The engine on a real state, with played clouds and a played batch system that outlive it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloudsched.batch.fake import FakeBatch
from cloudsched.clouds.fake import FakeCloud
from cloudsched.config import Config, Global
from cloudsched.engine.apply import Apply
from cloudsched.engine.bans import Bans
from cloudsched.engine.boots import Boots
from cloudsched.engine.calls import Call, Calls
from cloudsched.engine.endings import Endings
from cloudsched.engine.loop import Engine, Stages
from cloudsched.engine.observe import Observer
from cloudsched.engine.orders import Orders
from cloudsched.engine.places import Places
from cloudsched.engine.polls import Poll, Polls
from cloudsched.engine.proxies import Proxies
from cloudsched.engine.reloads import Reloads
from cloudsched.engine.renewal import Renewal
from cloudsched.model.adapters import CloudAdapter
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Job, JobDelta, JobStatus
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Operation
from cloudsched.policy import plan as make_plan
from cloudsched.store import Store, clouds, jobs, operations, verbs, vms, wishes

DEADLINE_SECONDS = 300.0
RUN_SECONDS = 60


@dataclass
class Built:
    """One life of the engine, and the parts that a test may drive by itself."""

    engine: Engine
    stages: Stages
    wake: threading.Event
    learned: Mapping[str, VM]

    def turn(self) -> None:
        """One turn of the loop, and a moment for the threads it has started."""
        self.engine.cycle()
        self.wake.wait(0.01)
        self.wake.clear()

    def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Turn until something holds; returns it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            self.turn()
            if found := condition():
                return found
        raise AssertionError(f"never came true: {what or condition}")

    def watch_until(self, condition: Callable[[], Any]) -> None:
        """Poll and record until something holds, but plan nothing."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline
            self.stages.polls.start_due()
            self.engine.record_ends()
            self.wake.wait(0.01)
            self.wake.clear()

    def turns(self, seconds: float) -> None:
        """Turn for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()


@dataclass
class World:
    """The state, and what lies beyond the adapters. `clock` is the batch system's."""

    store: Store
    clouds: dict[str, CloudAdapter] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    clock: float = field(default_factory=time.time)
    poll_seconds: float = 0.02
    poll_limit_seconds: float = 10.0

    def __post_init__(self) -> None:
        self.batch = FakeBatch(run_seconds=RUN_SECONDS, clock=lambda: self.clock)
        self.config = Config(Global(state_dir=self.store.directory, **self.options))

    def cloud(self, name: str = "mouse", adapter: CloudAdapter | None = None, **fields: Any) -> FakeCloud:
        """Configure a cloud; returns its fake, which an `adapter` given may wrap."""
        sizes: Mapping[str, Any] = {"vm_slots": 4, "memory_mb": 10**7, "storage_gb": 10**7, "cpu_cores": 64}
        with self.store.writing() as writing:
            present = clouds.all_clouds(writing.connection)
            cloud = Cloud(name, "fake", position=len(present), **{"enabled": True, **sizes, **fields})
            clouds.record_clouds(writing, [*present, cloud])
        fake = FakeCloud(name)
        self.clouds[name] = adapter or fake
        return fake

    def build(self) -> Built:
        """A new engine, as a new process would make it: nothing of the last one's memory is left."""
        self.batch.reconnect()
        wake = threading.Event()
        settings = self.config.global_
        polls, calls, bans = Polls(wake.set, self.poll_limit_seconds), Calls(wake.set), Bans(settings)
        places = Places(self.clouds, self.batch)
        held: list[Engine] = []
        proxies = Proxies(self.store, settings, Renewal(settings))
        observer = Observer(proxies=proxies)
        endings = Endings(
            places,
            bans,
            10,
            settings.call_timeout_seconds,
            lambda uid, seconds: held[0].hold_off(uid, seconds),
            observer.retired,
            _now,
        )
        reloads = Reloads(settings.user_limit_file, settings.target_cloud_alias_file, lambda: (), *[lambda *_: []] * 3)
        orders = Orders(places, observer.settle_later)
        apply = Apply(self.store, Boots(self.config, places, bans, proxies), endings, reloads, orders, proxies)
        stages = Stages(self.store, self.config, polls, calls, observer, apply, lambda _: None)
        learned: dict[str, VM] = {}
        engine = Engine(stages, wake, learned.update)
        held.append(engine)
        polls.replace(self._polls())
        return Built(engine, stages, wake, learned)

    def _polls(self) -> Iterable[Poll]:
        yield Poll("JobPoller", "JobPoller", self._jobs, self.poll_seconds, told_once=True)
        yield Poll("MachinePoller", "MachinePoller", self.batch.machines, self.poll_seconds)
        for name, adapter in self.clouds.items():
            yield Poll(f"VMPoller:{name}", "VMPoller", adapter.vms, self.poll_seconds)

    def _jobs(self) -> JobDelta:
        self.batch.step(self.vms())
        return self.batch.jobs()

    def submit(self, count: int = 1, *lines: str, owner: str = "alice") -> Operation:
        """Wish for jobs."""
        text = "\n".join(["executable = /bin/true", *lines, f"queue {count}"])
        return verbs.wish_submit(self.store, wishes.By("tester"), owner, text, "/tmp")

    def vms(self) -> list[VM]:
        """Every VM on record."""
        with self.store.reading() as connection:
            return vms.all_vms(connection)

    def vm(self) -> VM:
        """The only VM on record."""
        (found,) = self.vms()
        return found

    def jobs(self, *states: JobStatus) -> list[Job]:
        """Jobs on record, in one of these states."""
        with self.store.reading() as connection:
            return [job for job in jobs.all_jobs(connection) if not states or job.job_status in states]

    def find_cloud(self, name: str = "mouse") -> Cloud:
        """A cloud on record."""
        with self.store.reading() as connection:
            return clouds.find(connection, name)

    def done(self, operation: Operation) -> Operation | None:
        """The operation once every wish of it is settled."""
        found = operations.read(self.store, operation.id)
        return None if found.state == "running" else found

    def settled(self) -> bool:
        """Whether no wish is open."""
        with self.store.reading() as connection:
            return not operations.unsettled(connection)

    def listed(self) -> dict[str, str]:
        """What the fakes hold: cloud by VM id."""
        return {seen.id: name for name, cloud in self.clouds.items() for seen in cloud.vms()}

    def recorded(self) -> dict[str, str]:
        """What the state holds: cloud by VM id."""
        return {vm.id: vm.cloud for vm in self.vms()}


def recorded_calls(built: Built) -> list[Call]:
    """Plan and record as the loop does, but make none of the calls."""
    snapshot = built.engine.snapshot()
    config = built.stages.config
    return built.stages.apply.plan(snapshot, make_plan(snapshot, config.global_, config.job))


def made(built: Built, call: Call) -> None:
    """Make one call and record its end."""
    result = call.work()
    with built.stages.store.writing() as writing:
        call.finish(writing, result)


def file(path: Path, text: str) -> Path:
    """A file with this content."""
    path.write_text(text, encoding="utf-8")
    return path


def _now() -> int:
    return int(time.time())


def waiting(world: World, built: Built, jobs: int) -> None:
    """Have this many new jobs in the state, which the engine has not planned for yet."""
    world.submit(jobs)
    for call in recorded_calls(built):
        made(built, call)
    built.watch_until(lambda: len(world.jobs()) == jobs)
