"""Which VMs are booted: v1's worked examples (PARITY 6.4), limits, algorithms, and the cost of it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from policy_world import (
    DEFAULTS,
    NOW,
    SETTINGS,
    a_cloud,
    a_group,
    a_shape,
    a_slot,
    a_snapshot,
    a_vm,
    apply,
    booted,
    cycle,
    end_jobs,
    planned,
)

from cloudsched.model.actions import Boot, Explain, Schedule
from cloudsched.model.jobs import JobGroup, JobStatus, Shape
from cloudsched.model.snapshot import Block, Snapshot
from cloudsched.policy import plan


def reasons(snapshot: Snapshot, shape: Shape) -> tuple[str, ...]:
    explained = {each.shape: each.reasons for each in plan(snapshot, SETTINGS, DEFAULTS) if isinstance(each, Explain)}
    return explained[shape.key]


def test_worked_example_two_users_share_four_slots() -> None:
    a, b = a_shape("A", "x"), a_shape("B", "y")
    snapshot = a_snapshot([a_cloud(slots=4)], (a, b), groups=(a_group(a, 5), a_group(b, 2)))
    assert booted(planned(snapshot), snapshot) == {"A:x": 2, "B:y": 2}


def test_worked_example_high_priority_jobs_go_first() -> None:
    h, a = a_shape("H", "x", high_priority=1), a_shape("A", "x")
    groups = (a_group(a, 1, priority=9), a_group(h, 2))
    snapshot = a_snapshot([a_cloud(slots=2)], (h, a), groups=groups)
    assert booted(planned(snapshot), snapshot) == {"H:x": 2}
    roomy = replace(snapshot, clouds=(a_cloud(slots=3),))
    assert [each.shape for each in planned(roomy)] == [h.key, a.key]


def test_one_shape_on_a_free_cloud_boots_in_one_plan() -> None:
    shape = a_shape()
    cloud = a_cloud(slots=2000, memory_mb=10_000_000)
    snapshot = a_snapshot([cloud], [shape], groups=(a_group(shape, 1000),))
    assert planned(snapshot) == (Boot("mouse", shape.key, 1000),)


def test_clouds_fill_evenly_then_by_priority_then_by_position() -> None:
    shape = a_shape()
    clouds = [a_cloud("late", 4), a_cloud("preferred", 4, priority=-1), a_cloud("last", 4)]
    snapshot = a_snapshot(clouds, [shape], groups=(a_group(shape, 7),))
    boots = [(each.cloud, each.vms) for each in planned(snapshot) if isinstance(each, Boot)]
    assert boots == [("preferred", 3), ("late", 2), ("last", 2)]


def test_the_most_under_served_goes_first() -> None:
    a, b = a_shape("A"), a_shape("B")
    vms = [a_vm(f"a{number}", user="A") for number in range(2)]
    machines = tuple(a_slot(vm, busy=True) for vm in vms)
    groups = (a_group(a, 2, JobStatus.RUNNING), a_group(a, 5), a_group(b, 5))
    snapshot = a_snapshot([a_cloud(slots=6)], (a, b), vms=vms, machines=machines, groups=groups)
    assert booted(planned(snapshot), snapshot) == {"A:x": 1, "B:x": 3}


def test_a_lone_user_may_go_beyond_his_share_with_all_his_types() -> None:
    x, y = a_shape("A", "x"), a_shape("A", "y")
    snapshot = a_snapshot([a_cloud(slots=4)], (x, y), groups=(a_group(x, 5, priority=10), a_group(y, 5)))
    assert booted(planned(snapshot), snapshot) == {"A:x": 2, "A:y": 2}


def test_users_without_room_elsewhere_leave_theirs_to_others() -> None:
    a, b = a_shape("A", target_clouds=("small",)), a_shape("B", target_clouds=("large",))
    clouds = [a_cloud("small", 1), a_cloud("large", 6)]
    snapshot = a_snapshot(clouds, (a, b), groups=(a_group(a, 5), a_group(b, 5)))
    assert booted(planned(snapshot), snapshot) == {"A:x": 1, "B:x": 5}


def test_a_job_that_fits_nowhere_does_not_hold_up_the_next_one() -> None:
    huge, small = a_shape(req_memory=10**9), a_shape()
    groups = (a_group(huge, 1, priority=10), a_group(small, 1))
    snapshot = a_snapshot([a_cloud()], (huge, small), groups=groups)
    assert planned(snapshot) == (Boot("mouse", small.key, 1),)
    assert reasons(snapshot, huge) == ("needs 1000000000 MB, mouse has 100000 MB in all",)


def test_existing_and_starting_vms_take_waiting_jobs_before_new_ones_boot() -> None:
    shape = a_shape()
    idle, starting = a_vm("idle"), a_vm("starting", status="Starting", initialize_time=NOW)
    snapshot = a_snapshot(
        [a_cloud()], [shape], vms=[idle, starting], machines=(a_slot(idle),), groups=(a_group(shape, 3),)
    )
    assert planned(snapshot) == (Boot("mouse", shape.key, 1),)


def test_vms_too_small_for_the_waiting_jobs_do_not_count() -> None:
    shape = a_shape(req_memory=2048)
    small = a_vm("small", memory=512)
    snapshot = a_snapshot([a_cloud()], [shape], vms=[small], machines=(a_slot(small),), groups=(a_group(shape, 1),))
    assert Boot("mouse", shape.key, 1) in planned(snapshot)


def test_a_job_that_has_just_started_boots_nothing() -> None:
    shape, vm = a_shape(), a_vm("one")
    claimed = a_snapshot([a_cloud()], [shape], vms=[vm], machines=(a_slot(vm, busy=True),), groups=(a_group(shape, 1),))
    assert planned(claimed) == ()


def test_a_slot_not_yet_shown_claimed_does_not_count_as_free() -> None:
    shape, vm = a_shape(), a_vm("one")
    groups = (a_group(shape, 1, JobStatus.RUNNING), a_group(shape, 1))
    behind = a_snapshot([a_cloud()], [shape], vms=[vm], machines=(a_slot(vm),), groups=groups)
    assert planned(behind) == (Boot("mouse", shape.key, 1),)


def test_jobs_running_on_machines_that_are_no_vm_of_ours_do_not_hide_free_slots() -> None:
    shape, vm = a_shape(), a_vm("one")
    foreign = replace(a_slot(a_vm("desk"), busy=True), vm="")
    groups = (a_group(shape, 1, JobStatus.RUNNING), a_group(shape, 1))
    snapshot = a_snapshot([a_cloud()], [shape], vms=[vm], machines=(a_slot(vm), foreign), groups=groups)
    assert planned(snapshot) == ()


def test_job_per_core_vms_supply_a_slot_per_core() -> None:
    shape = a_shape(job_per_core=True, req_cpucores=4)
    snapshot = a_snapshot([a_cloud()], [shape], groups=(a_group(shape, 6),))
    assert planned(snapshot) == (Boot("mouse", shape.key, 2),)
    assert planned(apply(snapshot, planned(snapshot))) == ()


@pytest.mark.parametrize(("starting", "expected"), [(0, 3), (2, 1), (3, 0), (5, 0)])
def test_max_starting_vm_caps_the_cycle(starting: int, expected: int) -> None:
    shape = a_shape()
    other = [a_vm(f"s{number}", user="bob", status="Starting", initialize_time=NOW) for number in range(starting)]
    snapshot = a_snapshot([a_cloud(slots=20)], [shape], vms=other, groups=(a_group(shape, 10),))
    assert sum(booted(planned(snapshot, replace(SETTINGS, max_starting_vm=3)), snapshot).values()) == expected


def test_user_limit_holds_and_is_explained() -> None:
    shape = a_shape("bob")
    snapshot = a_snapshot([a_cloud()], [shape], groups=(a_group(shape, 4),), user_limits={"bob": 2})
    assert booted(planned(snapshot), snapshot) == {"bob:x": 2}
    assert reasons(snapshot, shape) == ("user bob has 2 VMs, the limit is 2",)


def test_vmtype_limit_holds_and_is_explained() -> None:
    shape = a_shape(usertype_limit=1)
    snapshot = a_snapshot([a_cloud()], [shape], groups=(a_group(shape, 4),))
    assert booted(planned(snapshot), snapshot) == {"alice:x": 1}
    assert reasons(snapshot, shape) == ("alice:x has 1 VMs, its VMTypeLimit is 1",)


def test_high_priority_jobs_are_above_their_users_limit() -> None:
    shape = a_shape("bob", high_priority=1)
    snapshot = a_snapshot([a_cloud()], [shape], groups=(a_group(shape, 2),), user_limits={"bob": 0})
    assert booted(planned(snapshot), snapshot) == {"bob:x": 2}


def test_room_on_which_a_high_priority_job_waits_is_kept() -> None:
    big, small = a_shape("H", high_priority=1, req_memory=900, target_clouds=("mouse",)), a_shape("A", req_memory=100)
    vm = a_vm("busy", user="B", memory=500)
    clouds = [a_cloud(memory_mb=1000), a_cloud("rat", 1)]
    snapshot = a_snapshot(
        clouds, (big, small), vms=[vm], machines=(a_slot(vm, busy=True),), groups=(a_group(big, 1), a_group(small, 2))
    )
    assert [each for each in planned(snapshot) if isinstance(each, Boot)] == [Boot("rat", small.key, 1)]
    assert "room on mouse is kept for high-priority jobs" in reasons(snapshot, small)


def test_a_high_priority_job_that_fits_nowhere_stops_nobody() -> None:
    lost, small = a_shape("H", high_priority=1, target_clouds=("nowhere",)), a_shape("A")
    snapshot = a_snapshot([a_cloud()], (lost, small), groups=(a_group(lost, 1), a_group(small, 1)))
    assert planned(snapshot) == (Boot("mouse", small.key, 1),)


def test_fifo_serves_by_priority_then_submission() -> None:
    first, second, urgent = a_shape("A"), a_shape("B"), a_shape("C")
    groups = (a_group(first, 3), a_group(second, 3), a_group(urgent, 1, priority=5))
    snapshot = a_snapshot([a_cloud(slots=4)], (first, second, urgent), groups=groups)
    fifo = replace(SETTINGS, scheduling_algorithm="fifo")
    assert booted(planned(snapshot, fifo), snapshot) == {"C:x": 1, "A:x": 3}


def test_held_and_banned_jobs_get_nothing() -> None:
    shape = a_shape()
    groups = (a_group(shape, 1, JobStatus.HELD), a_group(shape, 1, banned=True), a_group(shape, 1, JobStatus.COMPLETE))
    assert plan(a_snapshot([a_cloud()], [shape], groups=groups), SETTINGS, DEFAULTS) == ()


def test_nothing_is_booted_before_the_queue_is_known() -> None:
    shape = a_shape()
    snapshot = a_snapshot([a_cloud()], [shape], groups=(a_group(shape, 1),), jobs_known=False)
    assert plan(snapshot, SETTINGS, DEFAULTS) == ()


def test_unknown_machines_leave_running_vms_to_running_jobs() -> None:
    shape, vm = a_shape(), a_vm("one")
    groups = (a_group(shape, 1, JobStatus.RUNNING), a_group(shape, 1))
    snapshot = a_snapshot([a_cloud()], [shape], vms=[vm], groups=groups, machines_known=False)
    assert planned(snapshot) == (Boot("mouse", shape.key, 1),)


def test_users_tied_for_the_last_slot_take_turns_by_the_hour() -> None:
    shapes = [a_shape(user) for user in ("A", "B", "C")]
    snapshot = a_snapshot([a_cloud(slots=1)], shapes, groups=[a_group(each, 1) for each in shapes])
    winners = {tuple(booted(planned(replace(snapshot, now=3600 * hour)), snapshot)) for hour in range(3)}
    assert winners == {("A:x",), ("B:x",), ("C:x",)}


def test_room_freed_piecemeal_for_a_large_job_is_not_taken_by_those_above_their_share() -> None:
    small, large = a_shape("A", req_memory=100), a_shape("B", req_memory=300)
    vms = [a_vm(f"a{n}", user="A", memory=100) for n in range(3)]
    vms[2] = replace(vms[2], override_status="Retiring")
    machines = tuple(a_slot(vm, busy=True) for vm in vms)
    groups = (a_group(small, 3, JobStatus.RUNNING), a_group(small, 5), a_group(large, 1))
    snapshot = a_snapshot([a_cloud(memory_mb=400)], (small, large), vms=vms, machines=machines, groups=groups)
    assert booted(planned(snapshot), snapshot) == {}
    assert "room on mouse is kept for users below their share" in reasons(snapshot, small)


def test_jobs_are_scheduled_up_to_the_slots_that_will_take_them() -> None:
    shape = a_shape()
    vm, coming = a_vm("one"), a_vm("two", status="Starting", initialize_time=NOW)
    groups = (
        a_group(shape, 1, JobStatus.RUNNING, status="Scheduled"),
        a_group(shape, 2, priority=5),
        a_group(shape, 1, status="Scheduled"),
    )
    snapshot = a_snapshot(
        [a_cloud(slots=2)], [shape], vms=[vm, coming], machines=(a_slot(vm, busy=True),), groups=groups
    )
    orders = [each for each in plan(snapshot, SETTINGS, DEFAULTS) if isinstance(each, Schedule)]
    assert orders == [Schedule(shape.key, 5, 1), Schedule(shape.key, 0, 0)]
    after = apply(snapshot, orders)
    assert [each for each in plan(after, SETTINGS, DEFAULTS) if isinstance(each, Schedule)] == []


def test_jobs_whose_vm_is_lost_become_unscheduled() -> None:
    shape = a_shape()
    snapshot = a_snapshot([a_cloud(slots=0)], [shape], groups=(a_group(shape, 2, status="Scheduled"),))
    assert Schedule(shape.key, 0, 0) in plan(snapshot, SETTINGS, DEFAULTS)


def test_reasons_are_told_while_jobs_wait_and_cleared_when_served() -> None:
    shape = a_shape()
    waiting = a_snapshot([a_cloud(slots=0)], [shape], groups=(a_group(shape, 1),))
    assert reasons(waiting, shape) == ("Insufficient Resources on cloud", "no VM slot left on mouse: 0 of 0 in use")
    assert reasons(replace(waiting, clouds=(a_cloud(),)), shape) == ()


def test_a_blocked_cloud_is_passed_over_until_its_time_is_over() -> None:
    shape = a_shape()
    block = Block(shape.key, "mouse", NOW + 10, "Resource Request Denied")
    snapshot = a_snapshot([a_cloud()], [shape], groups=(a_group(shape, 1),), blocks=(block,))
    assert planned(snapshot) == ()
    assert reasons(snapshot, shape) == ("Resource Request Denied",)
    assert planned(replace(snapshot, now=NOW + 10)) == (Boot("mouse", shape.key, 1),)


def test_fair_share_is_reached_by_real_jobs_and_kept() -> None:
    a, b = a_shape("A"), a_shape("B")
    world = a_snapshot([a_cloud(slots=4)], (a, b), groups=(a_group(a, 50), a_group(b, 50)))
    for _ in range(20):
        world = cycle(world, seconds=60)
        world = end_jobs(world, [vm.uid for vm in world.vms][: world.now // 60 % 4])
    held = sorted(vm.user for vm in world.vms)
    assert held == ["A", "A", "B", "B"]


def many(shapes: int, clouds: int, jobs: int, slots: int) -> Snapshot:
    made = [a_shape(f"u{number % 200}", f"t{number % 7}", req_memory=512 + number) for number in range(shapes)]
    groups: list[JobGroup] = [a_group(each, jobs, priority=number % 5) for number, each in enumerate(made)]
    places = [a_cloud(f"c{number}", slots, memory_mb=10**7, priority=number % 3) for number in range(clouds)]
    return a_snapshot(places, made, groups=groups)


@pytest.mark.parametrize(("jobs", "slots"), [(10, 100), (10, 20), (10, 0), (1, 10)])
def test_a_thousand_shapes_on_a_hundred_clouds_cost_little(jobs: int, slots: int) -> None:
    snapshot = many(1000, 100, jobs, slots)
    start = time.perf_counter()
    actions = plan(snapshot, SETTINGS, DEFAULTS)
    assert time.perf_counter() - start < 10
    assert sum(each.vms for each in actions if isinstance(each, Boot)) == min(1000 * jobs, 100 * slots)
