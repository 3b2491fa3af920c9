"""Each class of failure from the cloud's answer to what operators see and what is asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from engine_bench import Built, World

from cloudsched.clouds.fake import FakeCloud, Script
from cloudsched.engine.inventory import record_inventory
from cloudsched.errors import CloudError, CredentialRefused, Outage, Transient
from cloudsched.model.clouds import BootOutcome, BootRequest, DestroyOutcome, ObservedVM
from cloudsched.model.jobs import JobStatus
from cloudsched.model.troubles import CloudCall, Trouble, TroubleKind, state
from cloudsched.store import Store, verbs, wishes

BY = wishes.By("tester")


@dataclass
class Counted:
    """A fake cloud that counts what it is asked, and whose boots can hang."""

    fake: FakeCloud
    listings: int = 0
    boots: int = 0
    go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.go.set()

    def vms(self) -> list[ObservedVM]:
        self.listings += 1
        return self.fake.vms()

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        self.boots += len(requests)
        self.go.wait()
        return self.fake.boot(requests)

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        return self.fake.destroy(vm_ids)


def counted(world: World, script: Script | None = None, **fields: object) -> Counted:
    cloud = Counted(FakeCloud("mouse", script=script))
    world.cloud(adapter=cloud, **fields)
    return cloud


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def shown(world: World) -> str:
    return state(world.find_cloud().trouble)


def listed(built: Built, cloud: Counted, more: int = 3) -> None:
    """Let a few listings pass."""
    seen = cloud.listings
    built.until(lambda: cloud.listings >= seen + more)


def test_a_full_cloud_keeps_what_it_has_room_for_and_is_asked_no_more(world: World) -> None:
    cloud = counted(world, Script(quota=2), vm_slots=10)
    world.cloud("cheetah")
    built = world.build()
    world.submit(8, '+TargetClouds = "mouse"')
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2)
    trouble = world.find_cloud().trouble
    assert trouble is not None
    assert (trouble.kind, trouble.vms, shown(world)) == (TroubleKind.QUOTA, 2, "full")
    asked = cloud.boots
    listed(built, cloud)
    assert cloud.boots == asked, "the refusal is remembered"
    world.submit(1)
    # The batch system knows no target clouds: any of the jobs may take the new VM, and then another one is booted.
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) > 2, "elsewhere there is room")
    assert "cheetah" in world.recorded().values()


@pytest.mark.parametrize("error", [Transient("500 Internal Server Error"), Outage("connection refused")])
def test_a_failing_listing_bars_boots_and_no_vm_becomes_an_error(world: World, error: CloudError) -> None:
    cloud = counted(world)
    built = world.build()
    world.submit(2)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2)
    cloud.fake.script = Script(failure=error)
    built.until(lambda: world.find_cloud().trouble)
    trouble = world.find_cloud().trouble
    assert trouble is not None
    assert (trouble.call, trouble.cause) == (CloudCall.LISTING, str(error))
    assert trouble.next_try is not None
    assert trouble.last_good is not None
    world.submit(1)
    seen = cloud.listings
    built.until(lambda: cloud.listings >= seen + 3)
    assert {vm.status for vm in world.vms()} == {"Running"}
    assert cloud.boots == 2
    cloud.fake.script = Script()
    built.until(lambda: shown(world) == "ok" and len(world.jobs(JobStatus.RUNNING)) == 3)


def test_refused_credentials_are_shown_and_not_tried_again_until_an_operator_enables(world: World) -> None:
    cloud = counted(world, Script(failure=CredentialRefused("The key is wrong.")))
    built = world.build()
    world.submit(1)
    built.until(lambda: not world.find_cloud().enabled)
    assert (shown(world), world.find_cloud().connection_problem) == ("refused", True)
    asked = cloud.listings
    built.turns(1.0)
    assert cloud.listings == asked, "no storm"
    verbs.wish_enabled(world.store, BY, "mouse", True)
    built.until(lambda: cloud.listings == asked + 1)
    built.until(lambda: shown(world) == "refused" and not world.find_cloud().enabled)
    cloud.fake.script = Script()
    verbs.wish_enabled(world.store, BY, "mouse", True)
    built.until(lambda: world.jobs(JobStatus.RUNNING))
    assert (shown(world), world.find_cloud().enabled) == ("ok", True)


def test_a_reconfig_tries_refused_credentials_and_gives_the_cloud_back_as_it_was(world: World) -> None:
    cloud = counted(world, Script(failure=CredentialRefused("The key is wrong.")))
    built = world.build()
    built.until(lambda: not world.find_cloud().enabled)
    cloud.fake.script = Script()
    with world.store.writing() as writing:
        record_inventory(writing, [world.find_cloud()])
    assert (shown(world), world.find_cloud().enabled) == ("ok", True)
    asked = cloud.listings
    built.until(lambda: cloud.listings > asked)


def test_a_cloud_disabled_by_an_operator_while_refused_stays_disabled(world: World) -> None:
    counted(world, Script(failure=CredentialRefused("The key is wrong.")))
    built = world.build()
    built.until(lambda: not world.find_cloud().enabled)
    verbs.wish_enabled(world.store, BY, "mouse", False)
    built.until(world.settled)
    with world.store.writing() as writing:
        record_inventory(writing, [world.find_cloud()])
    assert not world.find_cloud().enabled


def test_a_hung_boot_is_given_up_and_its_vm_looked_for(store: Store) -> None:
    world = World(store, options={"call_timeout_seconds": 1})
    cloud = counted(world)
    cloud.go.clear()
    world.cloud("cheetah")
    built = world.build()
    world.submit(1, '+TargetClouds = "mouse"')
    built.until(lambda: shown(world) == "out")
    assert world.vm().reason == "Booting failed: No answer within 1 seconds."
    assert built.stages.calls.in_flight == frozenset()
    world.submit(2, '+TargetClouds = "cheetah"')
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2, "the other cloud is used")
    cloud.go.set()
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 3, "what it did in the end is found")
    assert cloud.boots == 1
    assert world.listed() == world.recorded()


def test_boots_that_fail_in_a_row_are_tried_less_and_less(world: World) -> None:
    cloud = counted(world, Script(boot_failures=(Transient("throttled"),) * 3))
    built = world.build()
    world.submit(1)
    built.until(lambda: world.find_cloud().trouble)
    trouble = world.find_cloud().trouble
    assert trouble is not None
    assert (trouble.call, trouble.failures, shown(world)) == (CloudCall.BOOT, 1, "backing-off")
    assert trouble.next_try is not None
    assert 4 <= trouble.next_try - time.time() <= 10
    listed(built, cloud)
    assert shown(world) == "backing-off", "that listings work says nothing about boots"


def test_clouds_that_fail_together_are_not_tried_again_together(world: World) -> None:
    names = ("mouse", "rat", "cheetah", "eagle")
    for name in names:
        world.cloud(name, adapter=FakeCloud(name, script=Script(boot_failures=(Transient("busy"),) * 9)))
    built = world.build()
    for name in names:
        world.submit(1, f'+TargetClouds = "{name}"')
    found = built.until(lambda: all_troubles(world, names))
    pauses = [trouble.next_try - trouble.since for trouble in found]
    assert len({round(pause, 3) for pause in pauses}) > 1 and min(pauses) >= 5.0


def all_troubles(world: World, names: Sequence[str]) -> list[Trouble]:
    """The trouble of each cloud, once each has one."""
    found = [trouble for name in names if (trouble := world.find_cloud(name).trouble)]
    return found if len(found) == len(names) else []
