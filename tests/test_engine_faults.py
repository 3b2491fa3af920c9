"""What goes wrong beyond the engine, and beneath it: clouds, answers, the state."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import databases
import pytest
from engine_bench import Built, World
from sqlalchemy import update

from cloudsched.clouds.fake import FakeCloud, Script
from cloudsched.errors import (
    BadRequirement,
    CloudError,
    CredentialRefused,
    Outage,
    QuotaExceeded,
    StateTakenOver,
    Transient,
)
from cloudsched.model.clouds import BootOutcome, BootRequest, DestroyOutcome, ObservedVM
from cloudsched.model.jobs import JobStatus
from cloudsched.model.wishes import Aspect
from cloudsched.render import failures
from cloudsched.store import Store, jobs, tables, verbs, wishes

BY = wishes.By("tester")
LITERALS = {
    QuotaExceeded: "Resource Availability / Quota Problem",
    BadRequirement: "Other VM Create Error",
    CredentialRefused: "Proxy/Auth related issue",
    Outage: "Endpoint / Region problem",
    Transient: "Error when making VM request: check log",
}


@dataclass
class Faulty:
    """A cloud that can hang, lose its answers or answer nonsense."""

    fake: FakeCloud
    hanging: threading.Event = field(default_factory=threading.Event)
    listings: int = 0
    nonsense: Any = None
    answer_lost: CloudError | None = None

    def __post_init__(self) -> None:
        self.hanging.set()

    def vms(self) -> list[ObservedVM]:
        self.listings += 1
        self.hanging.wait()
        return self.fake.vms() if self.nonsense is None else self.nonsense

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        found = self.fake.boot(requests)
        if self.answer_lost is not None:
            raise self.answer_lost
        return found

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        return self.fake.destroy(vm_ids)


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the engine logs, also when another test has sent its log elsewhere."""
    logging.getLogger("cloudscheduler").propagate = True
    caplog.set_level(logging.INFO, "cloudscheduler")
    return caplog


def reasons(world: World) -> str:
    """What `/failures/boot` shows."""
    with world.store.reading() as connection:
        return failures.boot(jobs.all_jobs(connection), jobs.reasons(connection))


def blocked(world: World) -> dict[str, int]:
    """For how many seconds from now shapes are kept off clouds, by the reason."""
    with world.store.reading() as connection:
        return {block.reason: block.until - int(time.time()) for block in jobs.blocks(connection)}


# -- clouds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [QuotaExceeded, BadRequirement, CredentialRefused])
def test_refused_boot_leaves_no_record_and_says_why(world: World, kind: type[CloudError]) -> None:
    world.cloud().script = Script(boot_failures=(kind("mouse says no."),))
    built = world.build()
    world.submit(1)
    built.until(lambda: LITERALS[kind] in reasons(world), f"{LITERALS[kind]} is among the reasons")
    (seconds,) = [left for reason, left in blocked(world).items() if reason.startswith(LITERALS[kind])]
    assert (seconds > 1000) == (kind is BadRequirement)
    assert ("mouse says no." in reasons(world)) == (kind is not QuotaExceeded)
    built.turns(0.2)
    assert (world.vms(), world.listed()) == ([], {})


@pytest.mark.parametrize("kind", [Outage, Transient])
def test_boot_that_may_have_worked_counts_until_its_deadline(store: Store, kind: type[CloudError]) -> None:
    world = World(store, options={"boot_deadline_seconds": 1})
    fake = world.cloud()
    fake.script = Script(boot_failures=(kind("mouse says no."),))
    built = world.build()
    world.submit(1)
    built.until(lambda: blocked(world))
    assert 0 < blocked(world)[LITERALS[kind]] <= 60
    assert (world.vm().reason, world.vm().requested_until is None) == ("Booting failed: mouse says no.", False)
    built.until(lambda: not world.vms(), "its deadline is over")
    built.until(lambda: LITERALS[kind] in reasons(world))


def test_boot_whose_answer_was_lost_is_found_by_listing_and_not_repeated(world: World) -> None:
    faulty = Faulty(FakeCloud("mouse"), answer_lost=Transient("The connection broke."))
    world.cloud(adapter=faulty)
    built = world.build()
    world.submit(1)
    built.until(lambda: world.jobs(JobStatus.RUNNING))
    built.turns(0.3)
    assert world.listed() == world.recorded()
    assert len(world.listed()) == 1


def test_other_cloud_is_used_while_one_refuses(world: World) -> None:
    world.cloud().script = Script(quota=0)
    world.cloud("cheetah")
    built = world.build()
    world.submit(2)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2)
    assert {vm.cloud for vm in world.vms()} == {"cheetah"}


def test_hanging_cloud_delays_nobody_and_keeps_its_last_observation(world: World) -> None:
    faulty = Faulty(FakeCloud("mouse"))
    world.cloud(adapter=faulty, vm_slots=1)
    world.cloud("cheetah")
    world.poll_limit_seconds = 0.3
    built = world.build()
    world.submit(1, '+TargetClouds = "mouse"')
    built.until(lambda: world.jobs(JobStatus.RUNNING))
    faulty.hanging.clear()
    seen = world.vm()
    built.until(lambda: world.find_cloud().stale)
    assert world.find_cloud().last_error == "No answer within 0.3 seconds."
    assert world.find_cloud().errorconnect is not None
    listings = faulty.listings
    world.submit(2, '+TargetClouds = "cheetah"')
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 3, "the other cloud is used")
    assert [(vm.uid, vm.status) for vm in world.vms() if vm.cloud == "mouse"] == [(seen.uid, "Running")]
    assert faulty.listings == listings, "it is not asked again before it has answered"
    faulty.hanging.set()
    built.until(lambda: not world.find_cloud().stale)
    assert (world.find_cloud().last_error, world.find_cloud().errorconnect) == ("", None)


def test_failing_cloud_is_asked_less_and_less_often(world: World) -> None:
    faulty = Faulty(FakeCloud("mouse", script=Script(failure=Outage("mouse: connection refused."))))
    world.cloud(adapter=faulty)
    built = world.build()
    built.until(lambda: faulty.listings >= 4)
    start = time.monotonic()
    built.until(lambda: faulty.listings >= 6)
    # 0.02 s, doubled by each failure, is between 0.96 and 1.6 s for these two with the jitter.
    assert time.monotonic() - start > 0.5
    assert (world.find_cloud().stale, world.find_cloud().last_error) == (True, "mouse: connection refused.")


def test_cloud_that_answers_nonsense_costs_nobody_else(world: World) -> None:
    faulty = Faulty(FakeCloud("mouse"), nonsense=[None])
    world.cloud(adapter=faulty)
    world.cloud("cheetah")
    built = world.build()
    world.submit(2)
    built.until(lambda: world.jobs(JobStatus.RUNNING))
    built.until(lambda: world.find_cloud().stale)
    assert "AttributeError" in world.find_cloud().last_error
    faulty.nonsense = None
    built.until(lambda: not world.find_cloud().stale)


def test_adapter_that_answers_too_little_costs_its_own_call_only(world: World) -> None:
    @dataclass
    class Curt:
        fake: FakeCloud

        def vms(self) -> list[ObservedVM]:
            return self.fake.vms()

        def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
            self.fake.boot(requests)
            return []

        def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
            return self.fake.destroy(vm_ids)

    world.cloud(adapter=Curt(FakeCloud("mouse")))
    built = world.build()
    world.submit(2)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2)
    assert len(world.listed()) == 2
    built.until(lambda: built.engine.idle, "the call has ended")


# -- the state -----------------------------------------------------------------------------------------------------


def broken_row(store: Store, aspect: str) -> None:
    with store.writing() as writing:
        writing.connection.execute(update(tables.wishes).values(aspect=aspect))
        writing.touch("wishes")


def test_broken_row_stops_a_stage_and_not_the_loop(world: World, said: pytest.LogCaptureFixture) -> None:
    world.cloud()
    built = world.build()
    operation = verbs.wish_setting(world.store, BY, Aspect.QUICK_EXIT, True)
    broken_row(world.store, "nonsense")
    built.turns(2.5)
    tracebacks = [record for record in said.records if record.exc_info]
    assert [record.getMessage() for record in tracebacks] == ["The stage plan failed."]
    assert world.find_cloud().stale is False
    broken_row(world.store, "quick_exit")
    built.until(lambda: world.done(operation))
    assert "The stage plan works again." in said.messages


def complaints(said: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in said.records if record.levelno == logging.ERROR]


def finished_during(world: World, built: Built, seconds: float) -> None:
    """Have the running jobs end while the state cannot be written."""
    world.clock += 1000
    built.turns(seconds)


@pytest.mark.sqlite
def test_state_locked_by_another_program_loses_nothing(world: World, said: pytest.LogCaptureFixture) -> None:
    world.cloud()
    built = world.build()
    world.submit(2)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2)
    other = sqlite3.connect(str(world.store.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    finished_during(world, built, 5.0)
    assert len(world.jobs(JobStatus.RUNNING)) == 2
    other.execute("ROLLBACK")
    other.close()
    built.until(lambda: len(world.jobs(JobStatus.COMPLETE)) == 2, "what the batch system said once is not lost")
    built.until(lambda: not world.vms())
    assert len(complaints(said)) <= 2, "it is said once, not at every try"
    assert "locked" in complaints(said)[0]


@pytest.mark.sqlite
def test_state_file_that_is_away_for_a_while_is_used_again(world: World, said: pytest.LogCaptureFixture) -> None:
    world.cloud()
    built = world.build()
    world.submit(2)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2)
    path = world.store.path
    assert path is not None
    aside = path.rename(path.with_suffix(".aside"))
    finished_during(world, built, 1.0)
    assert not path.exists()
    aside.rename(path)
    built.until(lambda: len(world.jobs(JobStatus.COMPLETE)) == 2)
    built.until(lambda: not world.vms())
    assert len(complaints(said)) <= 2
    assert f"The state file {path} is gone." in complaints(said)[0]


def test_state_taken_over_by_another_engine_stops_this_one(world: World) -> None:
    world.cloud()
    world.store.begin_epoch()
    built = world.build()
    built.turns(0.1)
    other = databases.open_store(world.store.directory)
    other.begin_epoch()
    other.close()
    with pytest.raises(StateTakenOver, match="Another engine holds this state now"):
        built.turns(10.0)
