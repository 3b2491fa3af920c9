"""Making room for users below their share (PARITY 6.6, B-41, B-46)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from policy_world import (
    NOW,
    SETTINGS,
    a_cloud,
    a_group,
    a_shape,
    a_slot,
    a_snapshot,
    a_vm,
    apply,
    cycle,
    end_jobs,
    planned,
)

from cloudsched.config.options import Global
from cloudsched.model.actions import Boot, Destroy, Retire
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import JobStatus, Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.entitlement import divide, entitlements

A, B = a_shape("A"), a_shape("B")


def full(held: int, waiting: int, other: Shape = B, others: int = 5, **fields: Any) -> Snapshot:
    """A holds `held` busy VMs, which is all there is, and has `waiting` jobs; `others` jobs of `other` wait too."""
    vms = [a_vm(f"a{number}", user="A") for number in range(held)]
    groups = (a_group(A, held, JobStatus.RUNNING), a_group(A, waiting), a_group(other, others))
    known: dict[str, Any] = {
        "vms": vms,
        "machines": tuple(a_slot(vm, busy=True) for vm in vms),
        "groups": tuple(each for each in groups if each.jobs),
    }
    return a_snapshot([a_cloud(slots=held)], (A, other), **{**known, **fields})


def retired(snapshot: Snapshot, settings: Global = SETTINGS) -> list[str]:
    return [each.uid for each in planned(snapshot, settings) if isinstance(each, Retire)]


@pytest.mark.parametrize(
    ("held", "waiting", "others", "gone"), [(4, 50, 50, 2), (5, 50, 50, 2), (4, 50, 1, 1), (4, 0, 50, 2), (3, 9, 9, 1)]
)
def test_the_excess_over_the_share_retires_as_far_as_it_is_wanted(
    held: int, waiting: int, others: int, gone: int
) -> None:
    snapshot = full(held, waiting, others=others)
    found = planned(snapshot)
    assert len(found) == gone
    assert all(isinstance(each, Retire) and not each.forced and not each.drain for each in found)
    assert planned(apply(snapshot, found)) == ()


def test_nothing_retires_while_there_is_room_somewhere() -> None:
    snapshot = full(4, 50, others=2)
    roomy = replace(snapshot, clouds=(*snapshot.clouds, a_cloud("rat", 2, position=1)))
    assert planned(roomy) == (Boot("rat", B.key, 2),)


def test_nothing_retires_for_jobs_that_may_not_go_there() -> None:
    elsewhere = a_shape("B", target_clouds=("rat",))
    snapshot = full(4, 50, other=elsewhere)
    busy = replace(snapshot, clouds=(*snapshot.clouds, a_cloud("rat", 0, position=1)))
    assert planned(busy) == ()


def test_nothing_retires_for_a_user_at_his_limit() -> None:
    assert planned(full(4, 50, user_limits={"B": 0})) == ()
    assert len(retired(full(4, 50, user_limits={"B": 1}))) == 1


def test_nothing_retires_by_fifo_or_without_machines() -> None:
    assert retired(full(4, 50), replace(SETTINGS, scheduling_algorithm="fifo")) == []
    assert retired(full(4, 50, machines=())) == []


@pytest.mark.parametrize("field", ["initialize_time", "last_state_change"])
def test_vms_changed_within_ten_minutes_are_left_alone(field: str) -> None:
    snapshot = full(4, 50)
    recent = tuple(replace(vm, **{field: NOW - 599}) for vm in snapshot.vms)
    assert planned(replace(snapshot, vms=recent)) == ()


def test_error_and_starting_vms_go_before_idle_and_idle_before_busy() -> None:
    old = NOW - 7000
    idle, other = a_vm("idle", user="A", keep_alive=99999), a_shape("A", "y")
    vms = [
        a_vm("busy", user="A"),
        idle,
        a_vm("broken", user="A", status="Error"),
        a_vm("starting", user="A", status="Starting", initialize_time=old),
        *(a_vm(f"more{number}", user="A") for number in range(4)),
    ]
    machines = [a_slot(vm, busy=vm is not idle) for vm in vms if vm.status == "Running"]
    groups = (a_group(A, 5, JobStatus.RUNNING), a_group(other, 1), a_group(B, 9))
    for wanted, expected in ((1, ["broken"]), (3, ["broken", "starting", "idle"])):
        limits = {"B": wanted, "A": 0}
        snapshot = a_snapshot([a_cloud(slots=8)], (A, B, other), vms=vms, machines=tuple(machines), groups=groups)
        found = planned(replace(snapshot, user_limits=limits))
        assert [each.uid for each in found if isinstance(each, (Retire, Destroy))] == expected
        assert [type(each) for each in found[:2]] == [Destroy, Destroy][: len(found)]


def test_without_graceful_shutdown_busy_vms_are_destroyed() -> None:
    found = planned(full(4, 50), replace(SETTINGS, graceful_shutdown=False))
    assert [type(each) for each in found] == [Destroy, Destroy]


@pytest.mark.parametrize(("memory", "gone"), [(512, 2), (1000, 2), (1500, 0)])
def test_vms_go_only_if_the_job_will_then_fit(memory: int, gone: int) -> None:
    snapshot = full(4, 50, other=a_shape("B", req_memory=memory), others=50)
    tight = replace(snapshot, clouds=(a_cloud(slots=4, memory_mb=2048),))
    found = planned(tight)
    assert len(found) == gone
    assert planned(apply(tight, found)) == ()


def test_a_users_urgent_type_displaces_his_other_one() -> None:
    urgent = a_shape("A", "y")
    snapshot = full(4, 50, other=urgent)
    groups = tuple(replace(each, priority=10) if each.shape == urgent.key else each for each in snapshot.groups)
    assert planned(snapshot) == ()
    assert len(retired(replace(snapshot, groups=groups))) == 4


def test_a_user_with_all_his_jobs_running_keeps_his_share() -> None:
    assert len(retired(full(10, 0, others=50))) == 5


def test_users_without_any_vm_take_over_after_an_hour() -> None:
    snapshot = full(1, 50)
    assert len(retired(snapshot)) == 1
    young = tuple(replace(vm, initialize_time=NOW - 3599) for vm in snapshot.vms)
    assert planned(replace(snapshot, vms=young)) == ()


def test_balanced_users_stay_balanced_and_vms_are_not_booted_per_job() -> None:
    world = full(4, 200, others=200)
    boots = 0
    for step in range(240):
        before = {vm.uid for vm in world.vms}
        world = cycle(world, seconds=30)
        boots += len({vm.uid for vm in world.vms} - before)
        world = end_jobs(world, [vm.uid for number, vm in enumerate(world.vms) if (step + number) % 4 == 0])
    assert sorted(vm.user for vm in world.vms) == ["A", "A", "B", "B"]
    assert boots == 2


def test_three_users_on_one_slot_all_get_their_turn() -> None:
    shapes = [a_shape(user) for user in ("A", "B", "C")]
    world = a_snapshot([a_cloud(slots=1)], shapes, groups=[a_group(each, 500) for each in shapes])
    seen = set()
    for _ in range(3 * 24):
        world = cycle(world, seconds=1200)
        seen |= {vm.user for vm in world.vms}
        world = end_jobs(world, [vm.uid for vm in world.vms])
    assert seen == {"A", "B", "C"}


def test_shares_that_are_not_needed_go_to_the_others() -> None:
    assert divide(12, {"a": 1, "b": 100, "c": 100}, {"a": 1, "b": 1, "c": 1}) == {"a": 1, "b": 5.5, "c": 5.5}
    assert divide(12, {"a": 100, "b": 100}, {"a": 1, "b": 2}) == {"a": 4, "b": 8}
    assert divide(0, {}, {}) == {}


def test_entitlements_follow_priority_within_a_user() -> None:
    x, y, z = a_shape("A", "x"), a_shape("A", "y"), a_shape("A", "z")
    live = [(x, 5), (y, 9), (z, 5)]
    held, wanted = {"A:x": 4.0}, {"A:y": 2.0, "A:z": 4.0}
    assert entitlements(6, live, held, wanted, SETTINGS) == {"A:x": 4, "A:y": 2, "A:z": 0}
    split = replace(SETTINGS, job_distribution_type="split")
    assert entitlements(6, live, held, wanted, split) == {"A:x": 2, "A:y": 2, "A:z": 2}


def test_high_priority_jobs_entitle_their_user_to_more() -> None:
    urgent = a_shape("B", high_priority=1)
    given = entitlements(6, [(A, 0), (urgent, 0)], {"A:x": 6.0}, {"B:x": 9.0}, SETTINGS)
    assert given == {"A:x": 2, "B:x": 4}


def test_memory_metric_weighs_large_vms() -> None:
    cloud: Cloud = a_cloud(slots=4, memory_mb=10_000)
    vms = [a_vm(f"a{n}", user="A", memory=3000) for n in range(2)] + [a_vm(f"b{n}", user="B") for n in range(2)]
    groups = (a_group(A, 2, JobStatus.RUNNING), a_group(A, 9), a_group(B, 2, JobStatus.RUNNING), a_group(B, 9))
    machines = tuple(a_slot(vm, busy=True) for vm in vms)
    snapshot = a_snapshot([cloud], (A, B), vms=vms, machines=machines, groups=groups)
    assert planned(snapshot) == ()
    assert retired(snapshot, replace(SETTINGS, scheduling_metric="memory")) == ["a1"]
