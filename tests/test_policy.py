"""The whole plan: a second cycle has nothing to do, an interrupted one is finished, and invariants hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_world import DEFAULTS, NOW, SETTINGS, a_cloud, a_group, a_shape, a_slot, a_snapshot, a_vm, apply, planned

from cloudsched.config.options import Global
from cloudsched.model.actions import Action, Boot, Destroy, Drop, Plan, Retire
from cloudsched.model.jobs import JobStatus, Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.wishes import Aspect, Wish
from cloudsched.policy import plan

ORDERS = (Boot, Retire, Destroy, Drop)


def eventful() -> Snapshot:
    """A state in which nearly every rule has something to do."""
    a, b, h = a_shape("A"), a_shape("B", req_memory=1024), a_shape("H", high_priority=1)
    vms = [
        a_vm("a0", user="A"),
        a_vm("a1", user="A"),
        a_vm("a2", user="A"),
        a_vm("broken", user="A", status="Error", errorcount=9),
        a_vm("idle", user="C", idle_start=NOW - 100, keep_alive=50),
        a_vm("done", user="B", override_status="Retiring"),
        a_vm("lost", user="B", status="Starting", id="lost", requested_until=NOW - 1),
        a_vm("cut0", "rat", user="A"),
        a_vm("cut1", "rat", user="A"),
        a_vm("wished", "cat", user="A"),
        a_vm("removed", "old", user="A"),
    ]
    busy = {"a0", "a1", "a2", "cut0", "cut1", "wished", "removed"}
    clouds = [
        a_cloud("mouse", 9),
        a_cloud("rat", 1),
        a_cloud("cat", 3),
        a_cloud("old", 5, removed=True),
        a_cloud("off", 5, enabled=False),
    ]
    groups = (
        a_group(a, len(busy), JobStatus.RUNNING),
        a_group(a, 20),
        a_group(b, 20, status="Scheduled"),
        a_group(h, 2),
        a_group(h, 1, JobStatus.HELD),
    )
    wishes = (
        Wish(1, 1, "vm", "wished", Aspect.SHUTDOWN),
        Wish(2, 1, "cloud", "cat", Aspect.ENABLED, False),
        Wish(3, 1, "cloud", "off", Aspect.ENABLED, True),
        Wish(4, 1, "job", "h#1.0#1", Aspect.REMOVE),
    )
    machines = tuple(a_slot(vm, busy=vm.uid in busy) for vm in vms if vm.uid in busy | {"idle"})
    return a_snapshot(clouds, (a, b, h), vms=vms, groups=groups, machines=machines, wishes=wishes, user_limits={"B": 4})


def test_every_kind_of_order_occurs_in_the_eventful_state() -> None:
    kinds = {type(each).__name__ for each in plan(eventful(), SETTINGS, DEFAULTS)}
    expected = {"Boot", "Retire", "Destroy", "Drop", "SetVM", "SetCloud", "Schedule", "Explain", "OrderJobs", "Settle"}
    assert kinds == expected


def test_the_second_cycle_has_nothing_to_do() -> None:
    once = apply(eventful(), plan(eventful(), SETTINGS, DEFAULTS))
    freed_room_used = apply(once, plan(once, SETTINGS, DEFAULTS))
    assert planned(freed_room_used, kinds=ORDERS) == ()
    told = apply(freed_room_used, plan(freed_room_used, SETTINGS, DEFAULTS))
    assert {type(each).__name__ for each in plan(told, SETTINGS, DEFAULTS)} == {"Explain"}


def test_no_vm_is_ordered_about_twice_in_one_plan() -> None:
    found = plan(eventful(), SETTINGS, DEFAULTS)
    uids = Counter(each.uid for each in found if isinstance(each, (Retire, Destroy, Drop)))
    assert set(uids.values()) == {1}


def outline(snapshot: Snapshot) -> tuple[object, ...]:
    """What matters of a state: the VMs as a multiset without their names, and the rest as it is."""
    booted = Counter((vm.cloud, vm.shape) for vm in snapshot.vms if vm.shape)
    known = sorted(
        (vm.uid, vm.override_status or "", vm.retired, vm.idle_start or 0) for vm in snapshot.vms if not vm.shape
    )
    groups: Counter[object] = Counter()
    for each in snapshot.groups:
        groups[each.shape, each.priority, each.job_status, each.status] += each.jobs
    return booted, known, groups, snapshot.clouds, snapshot.wishes


def settle(snapshot: Snapshot) -> Snapshot:
    for _ in range(6):
        snapshot = apply(snapshot, plan(snapshot, SETTINGS, DEFAULTS))
    return snapshot


def test_a_plan_interrupted_after_any_action_is_finished_by_the_next_cycles() -> None:
    start = eventful()
    actions = plan(start, SETTINGS, DEFAULTS)
    expected = outline(settle(start))
    for done in range(len(actions) + 1):
        assert outline(settle(apply(start, actions[:done]))) == expected, actions[:done]


def test_the_same_snapshot_gives_the_same_plan_whatever_the_order_of_its_groups() -> None:
    start = eventful()
    turned = replace(start, groups=start.groups[::-1], shapes=dict(reversed(start.shapes.items())))
    first = [each for each in plan(start, SETTINGS, DEFAULTS) if isinstance(each, ORDERS)]
    assert first == [each for each in plan(turned, SETTINGS, DEFAULTS) if isinstance(each, ORDERS)]
    assert plan(start, SETTINGS, DEFAULTS) == plan(start, SETTINGS, DEFAULTS)


USERS = ("A", "B", "C")
SHAPES: tuple[Shape, ...] = tuple(
    a_shape(user, vmtype, req_memory=memory, high_priority=high, job_per_core=cores > 1, req_cpucores=cores, **limit)
    for user in USERS
    for vmtype, memory, high, cores, limit in (
        ("x", 512, 0, 1, {}),
        ("x", 2048, 0, 1, {}),
        ("y", 512, 0, 4, {"usertype_limit": 2}),
        ("z", 512, 1, 1, {"target_clouds": ("c1",)}),
    )
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    clouds = [
        a_cloud(
            f"c{number}",
            draw(st.integers(0, 6)),
            memory_mb=draw(st.sampled_from([0, 1000, 4096, 10_000])),
            enabled=draw(st.booleans()) or number == 0,
            removed=draw(st.integers(0, 5)) == 0,
            priority=draw(st.integers(0, 2)),
        )
        for number in range(3)
    ]
    vms = []
    machines = []
    running: Counter[str] = Counter()
    for number in range(draw(st.integers(0, 8))):
        shape = draw(st.sampled_from(SHAPES))
        vm = a_vm(
            f"v{number}",
            f"c{draw(st.integers(0, 2))}",
            user=shape.user,
            vmtype=shape.req_vmtype,
            memory=shape.req_memory,
            cpucores=shape.req_cpucores,
            job_per_core=shape.job_per_core,
            status=draw(st.sampled_from(["Running", "Running", "Running", "Starting", "Error"])),
            override_status=draw(st.sampled_from([None, None, None, "Retiring"])),
            initialize_time=NOW - draw(st.sampled_from([0, 700, 8000])),
            keep_alive=draw(st.sampled_from([0, 3600])),
            errorcount=draw(st.sampled_from([0, 0, 9])),
        )
        vms.append(vm)
        if vm.status == "Running" and draw(st.booleans()):
            busy = draw(st.booleans())
            machines.append(a_slot(vm, busy=busy))
            running[shape.key] += busy
    groups = []
    for shape in SHAPES:
        if running[shape.key]:
            groups.append(a_group(shape, running[shape.key], JobStatus.RUNNING, status="Scheduled"))
        if draw(st.booleans()):
            groups.append(a_group(shape, draw(st.integers(1, 9)), priority=draw(st.integers(0, 2))))
    limits = draw(st.dictionaries(st.sampled_from(USERS), st.integers(0, 3)))
    return a_snapshot(clouds, SHAPES, vms=vms, machines=tuple(machines), groups=tuple(groups), user_limits=limits)


@st.composite
def options(draw: st.DrawFn) -> Global:
    return replace(
        SETTINGS,
        max_starting_vm=draw(st.sampled_from([-1, 0, 2])),
        scheduling_algorithm=draw(st.sampled_from(["fairshare", "fairshare", "fifo"])),
        scheduling_metric=draw(st.sampled_from(["slot", "memory", "memory_cpu", "memory_cpu_storage"])),
        job_distribution_type=draw(st.sampled_from(["normal", "split"])),
        high_priority_job_weight=draw(st.integers(1, 3)),
    )


def check_room(snapshot: Snapshot, actions: Plan) -> None:
    """Booting leaves every cloud that got a VM within its slots and memory, and open ones only get any."""
    after = apply(snapshot, [each for each in actions if isinstance(each, (Boot, Retire))])
    for cloud in {each.cloud for each in actions if isinstance(each, Boot)}:
        place = next(each for each in snapshot.clouds if each.name == cloud)
        held = [vm for vm in after.vms if vm.cloud == cloud and not vm.retired]
        assert place.enabled and not place.removed
        assert len(held) <= place.vm_slots
        assert sum(vm.memory for vm in held) <= place.memory_mb


def check_limits(snapshot: Snapshot, chosen: Global, actions: Plan) -> None:
    """Ordinary boots stay within user, type and starting limits; drained VMs do not count."""
    boots = [each for each in actions if isinstance(each, Boot)]
    ordinary = [each for each in boots if not snapshot.shapes[each.shape].high_priority]
    after = apply(snapshot, [each for each in actions if isinstance(each, (Boot, Retire))])
    counted = [vm for vm in after.vms if not vm.retired]
    users = Counter(vm.user for vm in counted)
    types = Counter(vm.uservmtype for vm in counted)
    for boot in ordinary:
        shape = snapshot.shapes[boot.shape]
        assert users[shape.user] <= snapshot.user_limits.get(shape.user, 999)
        assert shape.usertype_limit < 0 or types[shape.uservmtype] <= shape.usertype_limit
    starting = sum(vm.status == "Starting" for vm in after.vms)
    assert not boots or chosen.max_starting_vm < 0 or starting <= chosen.max_starting_vm


def check_mercy(snapshot: Snapshot, actions: Plan) -> None:
    """No VM with a running job is destroyed, but for failing."""
    busy = {each.vm for each in snapshot.machines if each.state == "Claimed"}
    failing = {vm.uid for vm in snapshot.vms if vm.errorcount >= SETTINGS.polling_error_threshold}
    assert not busy - failing & {each.uid for each in actions if isinstance(each, Destroy)}


def names(actions: Plan) -> list[Action]:
    return [each for each in actions if isinstance(each, ORDERS)]


@settings(max_examples=150, deadline=None)
@given(snapshots(), options())
def test_plans_keep_their_promises(snapshot: Snapshot, chosen: Global) -> None:
    actions = plan(snapshot, chosen, DEFAULTS)
    assert plan(snapshot, chosen, DEFAULTS) == actions
    check_room(snapshot, actions)
    check_limits(snapshot, chosen, actions)
    check_mercy(snapshot, actions)
    after = apply(snapshot, actions)
    freed = any(isinstance(each, (Destroy, Drop)) for each in actions)
    if not freed:
        assert names(plan(after, chosen, DEFAULTS)) == []


@settings(max_examples=100, deadline=None)
@given(snapshots(), options())
def test_plans_come_to_rest(snapshot: Snapshot, chosen: Global) -> None:
    for _ in range(12):
        actions = plan(snapshot, chosen, DEFAULTS)
        if not names(actions):
            return
        # Slots are asked for between any two plans, and show the same.
        snapshot = replace(apply(snapshot, actions), unseen=frozenset())
    pytest.fail(f"still busy: {names(actions)}")
