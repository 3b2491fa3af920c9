"""The engine in process: what one cycle leaves behind, the next finds and finishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from engine_bench import Built, World, made, recorded_calls, waiting
from sqlalchemy import select

from cloudsched.clouds.fake import FakeCloud, Script
from cloudsched.model.clouds import BootOutcome, BootRequest, DestroyOutcome, ObservedVM, VMStatus
from cloudsched.model.jobs import JobStatus
from cloudsched.model.snapshot import HEARTBEATS
from cloudsched.model.wishes import Aspect
from cloudsched.store import Store, audit, heartbeats, limits, tables, verbs, vms, wishes

BY = wishes.By("tester")


@dataclass
class Counting:
    """A cloud that counts the calls it gets and the VMs asked of it."""

    fake: FakeCloud
    boots: int = 0
    asked: int = 0

    def vms(self) -> list[ObservedVM]:
        return self.fake.vms()

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        self.boots += 1
        self.asked += len(requests)
        return self.fake.boot(requests)

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        return self.fake.destroy(vm_ids)


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    yield World(store)


def running(world: World, jobs: int = 1, *lines: str) -> Built:
    """An engine that has this many new jobs running."""
    built = world.build()
    world.submit(jobs, *lines)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == jobs, f"{jobs} jobs run")
    return built


def test_jobs_get_vms_run_and_leave_none_behind(world: World) -> None:
    world.cloud()
    built = running(world, 3)
    assert len(world.vms()) == 3
    world.clock += 100
    built.until(lambda: not world.vms() and len(world.jobs(JobStatus.COMPLETE)) == 3)
    assert world.listed() == {}


@pytest.mark.parametrize("case", ["nothing", "running", "no room", "kept alive", "disabled", "quota", "unreachable"])
def test_second_cycle_has_nothing_to_do(world: World, case: str) -> None:
    script = Script(quota=1) if case == "quota" else Script()
    world.cloud(enabled=case != "disabled").script = script
    built = world.build()
    if case == "kept alive":
        world.submit(2, "+VMKeepAlive = 60")
        built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2)
        world.clock += 100
        built.until(lambda: len(world.jobs(JobStatus.COMPLETE)) == 2)
    elif case != "nothing":
        world.submit(9 if case == "no room" else 3)
        built.until(lambda: len(world.jobs()) > 2 and world.settled())
    if case == "unreachable":
        built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 3)
        fake = world.clouds["mouse"]
        assert isinstance(fake, FakeCloud)
        fake.vanish(world.vms()[0].uid)
    rested = any(comes_to_rest(world, built) for _ in range(30))
    if case == "unreachable":  # its errors count up to its end, then another VM is booted in its place
        built.until(lambda: len(world.listed()) == 3)
        return
    assert rested


def comes_to_rest(world: World, built: Built) -> bool:
    """Whether many turns of the engine change nothing."""
    index = world.store.state().index
    built.turns(0.7)
    return world.store.state().index == index


def test_a_thousand_jobs_are_booted_for_in_few_calls(world: World) -> None:
    world.poll_seconds = 0.5
    counting = Counting(FakeCloud("mouse"))
    world.cloud(adapter=counting, vm_slots=1000)
    running(world, 1000)
    assert (counting.asked, len(world.vms())) == (1000, 1000)
    assert counting.boots <= 3


# -- a plan interrupted after any action ------------------------------------------------------------------------


def boot_jobs(world: World, built: Built) -> None:
    waiting(world, built, 3)


def fresh_submit(world: World, built: Built) -> None:
    built.turns(0.1)
    world.submit(2)


def destroy_all(world: World, built: Built) -> None:
    world.submit(3)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 3)
    verbs.wish_vms(world.store, BY, "mouse", Aspect.SHUTDOWN, None)


def retire_one(world: World, built: Built) -> None:
    world.submit(2)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2)
    verbs.wish_vms(world.store, BY, "mouse", Aspect.RETIRE, 1)


def cut_quota(world: World, built: Built) -> None:
    world.submit(4)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 4)
    verbs.wish_vm_slots(world.store, BY, "mouse", 1)
    verbs.wish_enabled(world.store, BY, "cheetah", False)


def order_jobs(world: World, built: Built) -> None:
    world.submit(3)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 3)
    first, second, _ = world.jobs()
    verbs.wish_job(world.store, BY, first.id, Aspect.HOLD)
    verbs.wish_job(world.store, BY, second.id, Aspect.REMOVE)


SCENARIOS = [boot_jobs, fresh_submit, destroy_all, retire_one, cut_quota, order_jobs]
ENDS = {order_jobs: [JobStatus.REMOVED, JobStatus.COMPLETE, JobStatus.HELD]}
CUTS = ["after the record", "after a call", "after its end is recorded", "after every call"]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_interrupted_plan_is_finished_by_the_next_engine(
    world: World, scenario: Callable[[World, Built], None], cut: str
) -> None:
    counting = Counting(FakeCloud("mouse"))
    world.cloud("mouse", adapter=counting, vm_slots=3)
    world.cloud("cheetah", vm_slots=2)
    built = world.build()
    built.turns(0.1)
    scenario(world, built)
    calls = recorded_calls(built)
    assert calls
    requested = {vm.uid for vm in world.vms()}
    ended = {"after the record": 0, "after every call": len(calls)}.get(cut, 1)
    for call in calls[:ended]:
        if cut == "after its end is recorded":
            made(built, call)
        else:
            call.work()
    after = world.build()
    after.until(world.settled, "every wish is settled")
    after.until(lambda: _agree(world), "the state and the clouds agree")
    # Asked for once by each engine at most, but for the VM of a job that was put back.
    assert counting.asked <= 2 * len(requested | {vm.uid for vm in world.vms()})
    after.until(lambda: not world.jobs(JobStatus.IDLE, JobStatus.RUNNING) or _go_on(world), "every job ends")
    after.until(lambda: not world.vms() and not world.listed(), "no VM is left")
    assert sorted(job.job_status for job in world.jobs()) == ENDS.get(
        scenario, [JobStatus.COMPLETE] * len(world.jobs())
    )
    check_journal(world)


def check_journal(world: World) -> None:
    """Every chain is whole, and no VM, and no wish's end, is written down twice."""
    assert [each.problem for each in audit.verify(world.store, {})] == ["", ""]
    with world.store.reading() as connection:
        found = connection.execute(select(tables.acts.c.verb, tables.acts.c.name, tables.acts.c.wish)).all()
    boots = [row.name for row in found if row.verb == "boot"]
    ended = [row.wish for row in found if row.wish is not None]
    assert (len(boots), len(ended)) == (len(set(boots)), len(set(ended)))


def _agree(world: World) -> bool:
    followed = all(vm.requested_until is None and not vm.destroying for vm in world.vms())
    return followed and world.listed() == world.recorded()


def _go_on(world: World) -> bool:
    world.clock += 100
    return False


def test_a_job_submitted_by_a_killed_engine_is_queued_once(world: World) -> None:
    world.cloud()
    built = world.build()
    operation = world.submit(2)
    (call,) = recorded_calls(built)
    call.work()
    after = world.build()
    done = after.until(lambda: world.done(operation))
    outcome = done.targets[0].outcome
    assert outcome.detail == {"cluster": 1, "jobs": 2}
    after.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2)


def test_requested_vm_that_is_shut_down_before_the_engine_died_does_not_come_back(world: World) -> None:
    fake = world.cloud()
    fake.script = Script(lag=3)
    built = world.build()
    waiting(world, built, 1)
    recorded_calls(built)
    uid = world.vm().uid
    verbs.wish_vms(world.store, BY, "mouse", Aspect.SHUTDOWN, None)
    verbs.wish_enabled(world.store, BY, "mouse", False)
    after = world.build()
    after.until(lambda: world.settled() and not world.vms())
    after.turns(0.5)
    assert uid not in {seen.uid for _ in range(5) for seen in fake.vms()}


def test_requested_vm_of_long_ago_is_asked_for_again_not_dropped(world: World) -> None:
    fake = world.cloud()
    fake.script = Script(lag=20)
    built = world.build()
    waiting(world, built, 1)
    (call,) = recorded_calls(built)
    call.work()
    uid = world.vm().uid
    with world.store.writing() as writing:
        vms.record_fields(writing, [{"uid": uid, "requested_until": 1}])
    world.build().until(lambda: world.jobs(JobStatus.RUNNING))
    assert (world.vm().uid, world.vm().user, len(world.listed())) == (uid, "alice", 1)


# -- what VMs become ---------------------------------------------------------------------------------------------


def test_released_vm_lives_on_and_is_never_taken_back(world: World) -> None:
    fake = world.cloud(vm_slots=1)
    built = running(world)
    uid = world.vm().uid
    verbs.wish_vm(world.store, BY, "mouse", uid, Aspect.RELEASED)
    built.until(world.settled)
    assert world.vm().released
    after = world.build()
    world.submit(1)
    after.until(lambda: len(world.vms()) == 2, "it takes no slot of the quota")
    after.turns(0.3)
    assert [vm.released for vm in world.vms() if vm.uid == uid] == [True]
    fake.vanish(uid)
    after.until(lambda: uid not in {vm.uid for vm in world.vms()}, "it is forgotten when its cloud has lost it")
    after.turns(0.2)
    assert uid not in {vm.uid for vm in world.vms()}


def test_unknown_vm_of_ours_is_adopted(world: World) -> None:
    tags = {"user": "bob", "vmtype": "big", "memory": "2048", "cpucores": "2", "storage": "7"}
    world.cloud()
    world.clouds["mouse"] = FakeCloud("mouse", [ObservedVM("lost-1", "i-1", VMStatus.RUNNING, "host-1", tags=tags)])
    world.build().until(lambda: world.vms())
    vm = world.vm()
    assert (vm.uid, vm.id, vm.user, vm.vmtype, vm.memory, vm.cpucores, vm.storage, vm.status, vm.hostname) == (
        *("lost-1", "i-1", "bob", "big", 2048, 2, 7, "Running", "host-1"),
    )


@dataclass
class Lagging:
    """A cloud that goes on listing what it has destroyed."""

    fake: FakeCloud
    shown: dict[str, ObservedVM] = field(default_factory=dict)

    def vms(self) -> list[ObservedVM]:
        self.shown |= {seen.uid: seen for seen in self.fake.vms()}
        return list(self.shown.values())

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        return self.fake.boot(requests)

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        return self.fake.destroy(vm_ids)


def test_departed_vm_that_a_lagging_cloud_still_lists_is_not_taken_back(world: World) -> None:
    lagging = Lagging(FakeCloud("mouse"))
    world.cloud(adapter=lagging)
    built = running(world)
    verbs.wish_vms(world.store, BY, "mouse", Aspect.SHUTDOWN, None)
    uid = world.vm().uid
    built.until(lambda: world.settled() and world.jobs(JobStatus.RUNNING), "its job runs again elsewhere")
    built.turns(0.3)
    assert uid not in {vm.uid for vm in world.vms()}
    assert uid in {seen.uid for seen in lagging.vms()}


def test_vm_that_its_cloud_has_lost_becomes_an_error_and_goes(world: World) -> None:
    fake = world.cloud()
    built = running(world)
    first = world.vm().uid
    fake.vanish(first)
    built.until(lambda: [vm for vm in world.vms() if vm.uid == first and vm.status == "Error"])
    built.until(lambda: first not in {vm.uid for vm in world.vms()})
    built.until(lambda: world.jobs(JobStatus.RUNNING), "its job runs again elsewhere")


def test_failed_destroy_is_the_wishs_sentence_and_leaves_the_vm(world: World) -> None:
    fake = world.cloud()
    built = running(world)
    vm_id = world.vm().id
    fake.script = Script(destroy_fails=frozenset({vm_id}))
    operation = verbs.wish_vms(world.store, BY, "mouse", Aspect.SHUTDOWN, None)
    done = built.until(lambda: world.done(operation))
    assert done.state == "failed"
    sentence = f"mouse: {vm_id} could not be destroyed."
    assert done.targets[0].outcome.detail == {"vm": vm_id, "error": sentence}
    assert (world.vm().destroying, world.vm().reason, world.listed()) == (False, sentence, {vm_id: "mouse"})


def test_a_reset_vm_is_learnt_as_soon_as_it_is_answered(world: World) -> None:
    world.cloud()
    built = running(world)
    uid = world.vm().uid
    # One without slots would have finished retiring.
    built.until(lambda: built.engine.snapshot().machines, "its slots are known")
    retired = verbs.wish_vm(world.store, BY, "mouse", uid, Aspect.RETIRE)
    built.until(lambda: world.done(retired), "it is retired")
    reset = verbs.wish_vm(world.store, BY, "mouse", uid, Aspect.RESET)
    built.until(lambda: world.done(reset), "it is reset")
    assert built.learned[uid].override_status is None


def test_how_long_jobs_ran_is_kept_with_their_vm(world: World) -> None:
    world.cloud(vm_slots=1)
    built = running(world, 1, "+VMKeepAlive = 60")
    world.clock += 75
    built.until(lambda: world.jobs(JobStatus.COMPLETE))
    built.until(lambda: world.vm().job_run_times)
    assert world.vm().job_run_times == (75,)


def test_each_stage_beats_under_its_old_name(world: World) -> None:
    world.cloud()
    built = world.build()

    def beats() -> list[str]:
        with world.store.reading() as connection:
            return [each.name for each in heartbeats.all_heartbeats(connection)]

    built.until(lambda: beats() == list(HEARTBEATS))


def test_bans_begin_where_an_image_always_fails_and_stop_boots_there(store: Store) -> None:
    world = World(store, options={"ban_tracking": True, "ban_min_track": 2, "ban_file": store.directory / "banned"})
    world.cloud().script = Script(bad_images=frozenset({"sl5"}))
    world.cloud("cheetah")
    built = world.build()
    for number in range(2):
        world.submit(1, '+VMAMI = "mouse:sl5"', '+TargetClouds = "mouse"', f"+VMMem = {512 + number}")

    def banned() -> dict[str, tuple[str, ...]]:
        with store.reading() as connection:
            return limits.read_banned_images(connection)

    built.until(banned)
    assert banned() == {"sl5": ("mouse",)}
    assert (store.directory / "banned").read_text() == '{\n "sl5": [\n  "mouse"\n ]\n}'
