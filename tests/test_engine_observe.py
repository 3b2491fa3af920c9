"""What polls tell again is left alone only while it is on record as it is told; no commit takes hundreds of them."""

from __future__ import annotations

import threading
import time

import pytest

from cloudsched.engine import intake
from cloudsched.engine.calls import Call, Calls
from cloudsched.engine.intake import Intake
from cloudsched.engine.minutes import Minutes
from cloudsched.engine.observe import Observer
from cloudsched.engine.polls import Poll, PollResult, Polls
from cloudsched.errors import CredentialRefused
from cloudsched.model.clouds import Cloud, ObservedVM
from cloudsched.model.jobs import Machine
from cloudsched.model.troubles import TroubleKind
from cloudsched.model.vms import VM
from cloudsched.store import Store, clouds, machines, polls, vms

DEADLINE_SECONDS = 300.0
LISTED = ObservedVM("one", "i-1", "Running", "host")
SLOT = Machine("slot1@host", "host")


@pytest.fixture
def observer(store: Store) -> Observer:
    """It knows two clouds, and has seen LISTED on one and SLOT."""
    with store.writing() as writing:
        clouds.record_clouds(writing, [Cloud("mouse", "local"), Cloud("cheetah", "local")])
        vms.record_vms(writing, [VM("one", "mouse", id="i-1", position=1), VM("two", "cheetah", id="i-2", position=2)])
    made = Observer()
    for _ in range(3):
        hear(store, made, "VMPoller:mouse", LISTED)
        hear(store, made, "MachinePoller", SLOT)
    return made


def hear(store: Store, observer: Observer, name: str, *told: object) -> int:
    """Have a poll bring something; returns by how many the index has moved."""
    before = store.state().index
    with store.writing() as writing:
        poll = Poll(name, name.partition(":")[0], lambda: None, 5.0)
        observer.record(writing, PollResult(poll, 0.0, list(told)), 1000)
    return store.state().index - before


def recorded(store: Store, uid: str = "one") -> VM | None:
    with store.reading() as connection:
        return next((vm for vm in vms.all_vms(connection) if vm.uid == uid), None)


def slots(store: Store) -> list[Machine]:
    with store.reading() as connection:
        return machines.all_machines(connection)


def test_what_is_told_again_writes_nothing(store: Store, observer: Observer) -> None:
    assert hear(store, observer, "VMPoller:mouse", LISTED) == 0
    assert hear(store, observer, "MachinePoller", SLOT) == 0
    assert recorded(store).status == "Running"
    assert slots(store) == [SLOT]


def test_the_same_listing_counts_once_the_record_is_another(store: Store, observer: Observer) -> None:
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "one", "status": "Starting", "hostname": ""}])
    assert hear(store, observer, "VMPoller:mouse", LISTED) == 1
    assert (recorded(store).status, recorded(store).hostname) == ("Running", "host")


def test_the_same_listing_ends_a_vm_that_is_being_destroyed_since(store: Store, observer: Observer) -> None:
    for _ in range(2):
        hear(store, observer, "VMPoller:cheetah", ObservedVM("two", "i-2", "Running"))
    assert hear(store, observer, "VMPoller:mouse") == 1, "it is missing"
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "one", "destroying": True}])
    assert hear(store, observer, "VMPoller:mouse") == 1
    assert recorded(store) is None
    assert recorded(store, "two").status == "Running"


def test_a_vm_forgotten_by_the_state_is_taken_up_again(store: Store, observer: Observer) -> None:
    with store.writing() as writing:
        vms.forget(writing, ["one"])
    assert hear(store, observer, "VMPoller:mouse", LISTED) == 1
    assert recorded(store).reason == "adopted: the cloud lists it as ours"


def test_the_same_report_counts_once_the_slots_are_others(store: Store, observer: Observer) -> None:
    with store.writing() as writing:
        machines.record_machines(writing, [])
    assert hear(store, observer, "MachinePoller", SLOT) == 1
    assert slots(store) == [SLOT]


def test_a_change_in_the_same_transaction_counts(store: Store, observer: Observer) -> None:
    poll = Poll("VMPoller:mouse", "VMPoller", lambda: None, 5.0)
    with store.writing() as writing:
        observer.record(writing, PollResult(poll, 0.0, [ObservedVM("one", "i-1", "Shutdown", "host")]), 1000)
        observer.record(writing, PollResult(poll, 0.0, [LISTED]), 1000)
    assert recorded(store).status == "Running"


def test_a_listing_from_before_a_cloud_was_enabled_is_no_trouble(store: Store, observer: Observer) -> None:
    poll, refused = Poll("VMPoller:mouse", "VMPoller", list, 5.0), CredentialRefused("The key is wrong.")
    asked_at = time.time()
    observer.tried_anew("mouse")
    for started_at, kind in ((asked_at, None), (time.time(), TroubleKind.CREDENTIAL)):
        with store.writing() as writing:
            observer.record(writing, PollResult(poll, started_at, error=refused), 1000)
            trouble = clouds.find(writing.connection, "mouse").trouble
        assert (trouble and trouble.kind) is kind


def reported(name: str, asked_at: float, error: Exception | None = None) -> PollResult:
    return PollResult(Poll(name, name, list, 5.0), asked_at, error=error)


def test_slots_are_known_while_their_polls_succeed() -> None:
    made, failed = Observer(), OSError("The collector does not answer.")
    known = []
    for error in (failed, None, failed, None):
        made.recorded([reported("JobPoller", 1.0, error), reported("MachinePoller", 1.0, error)])
        known.append((made.jobs_known, made.machines_known))
    assert known == [(False, False), (True, True), (True, False), (True, True)]


def test_a_retired_vm_is_seen_in_slots_that_were_asked_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 100.0)
    made = Observer()
    made.retired("one")
    failed = reported("MachinePoller", 101.0, OSError())
    for early in (reported("MachinePoller", 99.0), failed, reported("VMPoller:mouse", 101.0)):
        made.recorded([early])
        assert list(made.unseen) == ["one"]
    made.recorded([reported("MachinePoller", 101.0)])
    assert not made.unseen


def test_a_report_that_cannot_be_recorded_makes_nothing_known(store: Store) -> None:
    answered = threading.Semaphore(0)
    asked = Polls(answered.release, DEADLINE_SECONDS)
    asked.replace([Poll("MachinePoller", "", lambda: ["no slot"], 3600)])
    made = Intake(store, asked, Calls(answered.release), Observer(), Minutes())
    asked.start_due()
    assert answered.acquire(timeout=DEADLINE_SECONDS)
    assert made.record(1000.0) == (1, 0)
    assert not made.observer.machines_known


@pytest.mark.parametrize("ends", [0, 1])
def test_a_commit_takes_no_more_results_than_there_is_time_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, ends: int
) -> None:
    """Except with the end of a call, which comes after the listings from before it."""
    monkeypatch.setattr(intake, "_LONGEST_SECONDS", 0.0)
    monkeypatch.setattr(intake, "_AT_ONCE", 1)
    names = ["VMPoller:a", "VMPoller:b", "VMPoller:c"]
    with store.writing() as writing:
        clouds.record_clouds(writing, [Cloud(name[-1], "local") for name in names])
    came = threading.Semaphore(0)
    asked, calls = Polls(came.release, DEADLINE_SECONDS), Calls(came.release)
    asked.replace([Poll(name, "", list, 3600) for name in names])
    made = Intake(store, asked, calls, Observer(), Minutes())
    asked.start_due()
    calls.start([Call("a", (str(number),), int, lambda *_: None, 60.0) for number in range(ends)])
    assert all(came.acquire(timeout=DEADLINE_SECONDS) for _ in range(len(names) + ends))
    taken = [made.record(1000.0 + 10 * turn) for turn in range(4)]
    assert taken == ([(3, 1), (0, 0), (0, 0), (0, 0)] if ends else [(1, 0), (1, 0), (1, 0), (0, 0)])
    assert not made.is_behind
    with store.reading() as connection:
        assert [each.name for each in polls.all_polls(connection) if each.ok_at is not None] == names
