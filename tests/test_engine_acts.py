"""What the engine writes into the journal of its own doings, in the commits that it makes anyway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_bench import World
from sqlalchemy import select
from test_engine_scheduler import CLOUDS, Site

from cloudsched.clouds.fake import FakeCloud, Script
from cloudsched.errors import Outage, QuotaExceeded
from cloudsched.model.clouds import ObservedVM, VMStatus
from cloudsched.model.jobs import JobStatus
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.wishes import Aspect
from cloudsched.store import Store, audit, journal, limits, verbs, wishes

BY = wishes.By("tester")


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.store.close()


def told(store: Store, *verbs: str) -> list[Entry]:
    """The engine's entries, of some verbs or of all; the chain must be whole."""
    assert [each.problem for each in audit.verify(store, {})] == ["", ""]
    with store.reading() as connection:
        rows = connection.execute(select(journal.ENGINE.entries).order_by(journal.ENGINE.entries.c.id)).mappings()
        found = [journal.recorded("engine", dict(row)).entry for row in rows]
    return [each for each in found if each.verb in verbs or not verbs]


def test_the_life_of_a_vm_is_told(world: World) -> None:
    world.cloud()
    built = world.build()
    world.submit(1)
    built.until(lambda: world.jobs(JobStatus.RUNNING))
    vm = world.vm()
    world.clock += 100
    built.until(lambda: not world.vms() and world.jobs(JobStatus.COMPLETE))
    found = [each for each in told(world.store) if each.name == vm.uid]
    assert [each.verb for each in found if each.verb != "retire"] == ["boot", "booted", "destroy", "destroyed"]
    assert {(each.kind, each.actor, each.noun, each.cloud, each.user) for each in found} == {
        (EntryKind.ACT, "engine", "vm", "mouse", vm.user)
    }
    assert [each.label for each in found][1:] == [vm.id] * (len(found) - 1)
    assert all(each.reason for each in found if each.verb.startswith("destroy"))


def test_what_was_asked_ends_in_its_outcome_alone(world: World) -> None:
    world.cloud()
    built = world.build()
    world.submit(1)
    built.until(lambda: world.jobs(JobStatus.RUNNING))
    uid = world.vm().uid
    verbs.wish_enabled(world.store, BY, "mouse", False)
    verbs.wish_vms(world.store, BY, "mouse", Aspect.SHUTDOWN, None)
    built.until(lambda: world.settled() and not world.vms())
    found = [each for each in told(world.store) if each.name in (uid, "mouse") and each.verb not in ("boot", "booted")]
    assert [(each.kind, each.verb, each.detail["state"]) for each in found] == [
        (EntryKind.OUTCOME, "disable", "done"),
        (EntryKind.OUTCOME, "shutdown", "done"),
    ]


def test_a_refused_boot_says_why(world: World) -> None:
    world.cloud().script = Script(boot_failures=(QuotaExceeded("mouse is full."),))
    built = world.build()
    world.submit(1)
    built.until(lambda: told(world.store, "boot_failed"))
    asked, refused = told(world.store, "boot", "boot_failed")[:2]
    assert (asked.name, asked.verb) == (refused.name, "boot")
    assert (refused.reason, refused.detail) == ("mouse is full.", {"failure": "quota"})


def test_a_cloud_that_stops_answering_is_disabled_by_the_engine(store: Store) -> None:
    world = World(store, options={"vm_connection_fail_threshold": 0})
    world.cloud().script = Script(failure=Outage("Nobody is at home."))
    built = world.build()
    built.until(lambda: told(store, "disable"))
    entry = told(store, "disable")[0]
    assert (entry.kind, entry.noun, entry.name, entry.cloud) == (EntryKind.ACT, "cloud", "mouse", "mouse")
    assert (entry.before["enabled"], entry.after["enabled"]) == (True, False)
    assert (entry.before["connection_problem"], entry.after["connection_problem"]) == (False, True)
    assert entry.reason.endswith("Nobody is at home.")


def test_a_stranger_of_ours_and_a_released_vm_are_told(world: World) -> None:
    world.cloud()
    world.clouds["mouse"] = fake = FakeCloud("mouse", [ObservedVM("lost-1", "i-1", VMStatus.RUNNING, "host-1")])
    built = world.build()
    built.until(lambda: world.vms())
    verbs.wish_vm(world.store, BY, "mouse", "i-1", Aspect.RELEASED)
    built.until(world.settled)
    fake.vanish("lost-1")
    built.until(lambda: not world.vms())
    assert [each.verb for each in told(world.store) if each.noun == "vm"] == ["adopt", "released", "gone"]


def test_rest_writes_nothing(world: World) -> None:
    world.cloud()
    built = world.build()
    world.submit(3)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 3)
    before = len(told(world.store))
    built.turns(1.0)
    assert len(told(world.store)) == before


def test_a_start_and_the_configuration_are_told(site: Site) -> None:
    with site.running():
        site.ask(Aspect.LOG_LEVEL, "DEBUG")
        site.resources.write_text(CLOUDS.replace("vm_slots: 3", "vm_slots: 5").replace("[Cheetah]", "[lion]"))
        site.ask(Aspect.RECONFIG)
    with site.running():
        pass
    first, second = told(site.store, "start")
    assert (first.detail["epoch"], second.detail["epoch"]) == (1, 2)
    assert (second.before, second.after) == ({"log_level": "DEBUG"}, {"log_level": "INFO"})
    found = [(each.verb, each.cloud, each.after.get("vm_slots")) for each in told(site.store) if each.noun == "cloud"]
    assert found == [
        ("add", "mouse", 3),
        ("add", "cheetah", 2),
        ("change", "mouse", 5),
        ("add", "lion", 2),
        ("remove", "cheetah", None),
    ]
    assert "password" not in repr(told(site.store))


def test_what_a_file_changes_is_told_by_value(site: Site) -> None:
    users = site.file("users", '{"alice": 2, "carol": 5}')
    with site.running(user_limit_file=users):
        users.write_text('{"alice": 3, "bob": 1, "carol": 5}')
        assert site.ask(Aspect.USER_LIMITS)[0] == "done"
        assert site.ask(Aspect.USER_LIMITS)[0] == "done"
    read, change, outcome, again = told(site.store, "user_limits")
    assert (read.before, read.after) == ({"alice": None, "carol": None}, {"alice": 2, "carol": 5})
    assert (change.kind, change.before, change.after) == (
        EntryKind.ACT,
        {"alice": 2, "bob": None},
        {"alice": 3, "bob": 1},
    )
    assert (outcome.kind, again.kind, change.wish) == (EntryKind.OUTCOME, EntryKind.OUTCOME, outcome.wish)


def test_a_signal_is_told(site: Site) -> None:
    with site.running() as scheduler:
        scheduler.toggle_quick_exit()
        assert limits.setting(site.store, "quick_exit") is True
    (entry,) = told(site.store, "quick_exit")
    assert (entry.before, entry.after, entry.reason) == (
        {"quick_exit": False},
        {"quick_exit": True},
        "SIGUSR2 asked for it.",
    )
