"""Which VMs end and why (PARITY 6.5, 6.6a, 1.4), and what slots tell about VMs (PARITY 5.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
    planned,
)

from cloudsched.model.actions import Boot, Destroy, Drop, Retire, SetCloud, SetVM
from cloudsched.model.jobs import JobStatus
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy import plan

ENDINGS = (Retire, Destroy, Drop)


def ended(snapshot: Snapshot) -> list[tuple[str, str]]:
    found = planned(snapshot, kinds=ENDINGS)
    return [(type(each).__name__, each.uid) for each in found if isinstance(each, ENDINGS)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "Starting", "initialize_time": NOW - 601}, [("Destroy", "one")]),
        ({"status": "Starting", "initialize_time": NOW - 600}, []),
        ({"status": "Error", "errorcount": 5}, [("Destroy", "one")]),
        ({"status": "Error", "errorcount": 4}, []),
        ({"initialize_time": NOW - 901}, [("Destroy", "one")]),
        ({"initialize_time": NOW - 9000, "last_state_change": NOW - 900}, []),
        ({"override_status": "Retiring"}, [("Destroy", "one")]),
        ({"override_status": "Retiring", "status": "Shutdown"}, [("Destroy", "one")]),
        ({"requested_until": NOW - 1, "id": "one", "status": "Starting"}, [("Drop", "one")]),
        ({"requested_until": NOW - 1, "status": "Starting"}, [("Destroy", "one")]),
        ({"requested_until": NOW, "id": "one", "status": "Starting"}, []),
        ({"status": "Error", "errorcount": 9, "destroying": True}, []),
    ],
)
def test_a_vm_that_failed_or_finished_ends(fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    cloud = a_cloud(boot_timeout=600)
    assert ended(a_snapshot([cloud], vms=[a_vm("one", **fields)])) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"stale_clouds": frozenset({"mouse"})},
        {"in_flight": frozenset({"one"})},
        {"clouds": (a_cloud(connection_problem=True, enabled=False),)},
        {"clouds": (a_cloud(unusable="host is missing", enabled=False),)},
    ],
)
def test_nothing_ends_where_nothing_can_be_known_or_done(fields: dict[str, Any]) -> None:
    snapshot = a_snapshot([a_cloud()], vms=[a_vm("one", status="Error", errorcount=99)])
    assert ended(replace(snapshot, **fields)) == []


def test_nothing_ends_for_want_of_machines_before_they_are_known() -> None:
    vms = [a_vm("one"), a_vm("two", override_status="Retiring")]
    snapshot = a_snapshot([a_cloud(slots=0, removed=True)], vms=vms, machines_known=False)
    assert ended(snapshot) == []


def test_images_are_remembered_as_failing_only_where_the_vm_never_worked() -> None:
    vms = [
        a_vm("slow", status="Starting"),
        a_vm("silent"),
        a_vm("broken", status="Error", errorcount=5),
        a_vm("done", override_status="Retiring"),
    ]
    found = planned(a_snapshot([a_cloud(boot_timeout=60)], vms=vms))
    assert {each.uid: each.failed_image for each in found if isinstance(each, Destroy)} == {
        "slow": True,
        "silent": True,
        "broken": False,
        "done": False,
    }


def test_a_retiring_vm_is_left_to_finish() -> None:
    vm = a_vm("one", override_status="Retiring")
    assert ended(a_snapshot([a_cloud()], vms=[vm], machines=(a_slot(vm, busy=True),))) == []


def test_a_vm_retired_since_slots_were_asked_for_may_have_a_job() -> None:
    vms = [a_vm("one", override_status="Retiring"), a_vm("two", override_status="Retiring")]
    assert ended(a_snapshot([a_cloud()], vms=vms, unseen=frozenset({"one"}))) == [("Destroy", "two")]


def test_a_vm_that_runs_is_drained_even_if_it_has_shown_no_slot() -> None:
    vms = [a_vm("up", initialize_time=NOW), a_vm("young", status="Starting", initialize_time=NOW)]
    assert ended(a_snapshot([a_cloud(removed=True)], vms=vms)) == [("Retire", "up"), ("Destroy", "young")]


@pytest.mark.parametrize(("idle", "keep_alive", "retired"), [(0, 0, True), (99, 100, False), (100, 100, True)])
def test_an_idle_vm_retires_after_its_keep_alive(idle: int, keep_alive: int, retired: bool) -> None:
    vm = a_vm("one", idle_start=NOW - idle, keep_alive=keep_alive)
    snapshot = a_snapshot([a_cloud()], vms=[vm], machines=(a_slot(vm),))
    assert ended(snapshot) == ([("Retire", "one")] if retired else [])


def test_idle_vms_stay_while_the_queue_is_unknown() -> None:
    vm = a_vm("one")
    assert ended(a_snapshot([a_cloud()], vms=[vm], machines=(a_slot(vm),), jobs_known=False)) == []


def test_a_vm_with_one_busy_slot_is_not_idle() -> None:
    vm = a_vm("one", job_per_core=True, cpucores=2)
    shape = a_shape(job_per_core=True, req_cpucores=2)
    snapshot = a_snapshot(
        [a_cloud()],
        [shape],
        vms=[vm],
        machines=(a_slot(vm, busy=True), a_slot(vm, number=2)),
        groups=(a_group(shape, 1, JobStatus.RUNNING),),
    )
    assert ended(snapshot) == []


def test_exactly_the_excess_retires() -> None:
    shape = a_shape()
    clouds = [a_cloud(), a_cloud("rat")]
    vms = [a_vm("m1"), a_vm("m2"), a_vm("r1", "rat"), a_vm("r2", "rat")]
    machines = (a_slot(vms[0], busy=True), a_slot(vms[1]), a_slot(vms[2]), a_slot(vms[3], busy=True))
    groups = (a_group(shape, 2, JobStatus.RUNNING), a_group(shape, 1))
    snapshot = a_snapshot(clouds, [shape], vms=vms, machines=machines, groups=groups)
    assert ended(snapshot) == [("Retire", "r1")]


def test_idle_vms_too_small_for_the_waiting_jobs_retire() -> None:
    large = a_shape(req_memory=4096)
    vm = a_vm("small", memory=512)
    snapshot = a_snapshot([a_cloud()], [large], vms=[vm], machines=(a_slot(vm),), groups=(a_group(large, 1),))
    assert ("Retire", "small") in ended(snapshot)


def test_a_quota_cut_drains_the_newest_and_only_once() -> None:
    shape = a_shape()
    vms = [a_vm(f"v{number}") for number in range(4)]
    machines = tuple(a_slot(vm, busy=True) for vm in vms)
    groups = (a_group(shape, 4, JobStatus.RUNNING), a_group(shape, 9))
    snapshot = a_snapshot([a_cloud(slots=2)], [shape], vms=vms, machines=machines, groups=groups)
    found = planned(snapshot)
    assert [(each.uid, each.drain) for each in found if isinstance(each, Retire)] == [("v2", True), ("v3", True)]
    assert planned(apply(snapshot, found)) == ()


def test_vms_in_error_go_first_in_a_quota_cut() -> None:
    vms = [a_vm("broken", status="Error"), a_vm("good")]
    shape = a_shape()
    snapshot = a_snapshot(
        [a_cloud(slots=1)],
        [shape],
        vms=vms,
        machines=(a_slot(vms[1], busy=True),),
        groups=(a_group(shape, 1, JobStatus.RUNNING),),
    )
    assert ended(snapshot) == [("Destroy", "broken")]


def test_vms_that_leave_anyway_count_towards_a_quota_cut() -> None:
    vms = [a_vm("old"), a_vm("leaving", override_status="Retiring")]
    machines = tuple(a_slot(vm, busy=True) for vm in vms)
    assert ended(a_snapshot([a_cloud(slots=1)], vms=vms, machines=machines)) == []


def test_a_memory_cut_drains_what_no_longer_fits() -> None:
    vms = [a_vm("one", memory=600), a_vm("two", memory=600)]
    machines = tuple(a_slot(vm, busy=True) for vm in vms)
    assert ended(a_snapshot([a_cloud(memory_mb=1000)], vms=vms, machines=machines)) == [("Retire", "two")]


def test_a_vm_drained_by_record_only_is_retired_again() -> None:
    vm = a_vm("one", retired=True, reason="Cut.")
    shape = a_shape()
    groups = (a_group(shape, 1, JobStatus.RUNNING),)
    snapshot = a_snapshot([a_cloud()], [shape], vms=[vm], machines=(a_slot(vm, busy=True),), groups=groups)
    found = planned(snapshot)
    assert found == (Retire("one", "Cut.", drain=True),)
    assert planned(apply(snapshot, found)) == ()


def test_a_removed_cloud_drains_and_takes_nothing() -> None:
    shape = a_shape()
    vms = [a_vm("busy"), a_vm("young", status="Starting", initialize_time=NOW)]
    snapshot = a_snapshot(
        [a_cloud(removed=True)],
        [shape],
        vms=vms,
        machines=(a_slot(vms[0], busy=True),),
        groups=(a_group(shape, 1, JobStatus.RUNNING), a_group(shape, 5)),
    )
    assert planned(snapshot) == (
        Retire("busy", "Cloud mouse is no longer configured.", drain=True),
        Destroy("young", "Cloud mouse is no longer configured."),
    )


def test_slots_fill_in_addresses_and_idle_time() -> None:
    vm = a_vm("one", keep_alive=60)
    slot = replace(a_slot(vm), address_startd="<10.0.0.1:9>", address_master="<10.0.0.1:8>")
    found = planned(a_snapshot([a_cloud()], vms=[vm], machines=(slot,)), kinds=(SetVM,))
    fields = {
        "condorname": "one",
        "condoraddr": "<10.0.0.1:9>",
        "condormasteraddr": "<10.0.0.1:8>",
        "idle_start": NOW,
    }
    assert found == (SetVM("one", fields),)
    busy = a_snapshot(
        [a_cloud()],
        vms=[replace(vm, **fields)],
        machines=(replace(slot, state="Claimed", activity="Busy", remote_owner="alice@pool"),),
    )
    assert planned(busy, kinds=(SetVM,)) == (SetVM("one", {"idle_start": None}),)


def test_a_vm_that_lost_its_slots_is_given_time_anew() -> None:
    vm = a_vm("one", condorname="one", condoraddr="<1>", idle_start=5)
    snapshot = a_snapshot([a_cloud()], vms=[vm])
    fields = {"condorname": None, "condoraddr": None, "idle_start": None, "last_state_change": NOW}
    assert planned(snapshot, kinds=(SetVM, Destroy)) == (SetVM("one", fields),)


@pytest.mark.parametrize(
    ("fields", "machine_name"),
    [
        ({"hostname": "mouse-1.example.org"}, "mouse-1"),
        ({"hostname": "mouse-1"}, "mouse-1.example.org"),
        ({"alt_hostname": "ip-10-0-0-7"}, "ip-10-0-0-7.ec2.internal"),
        ({"condorname": "slot1@mouse-1.example.org"}, "mouse-1.example.org"),
        ({"hostname": "10.0.0.7"}, "10.0.0.7"),
        ({"condormasteraddr": "<10.0.0.7:1>"}, "elsewhere"),
    ],
)
def test_slots_without_a_vm_are_matched_by_host(fields: dict[str, Any], machine_name: str) -> None:
    vm = a_vm("one", keep_alive=9, **fields)
    slot = replace(
        a_slot(vm), vm="", name=f"slot1@{machine_name}", machine_name=machine_name, address_master="<10.0.0.7:1>"
    )
    found = planned(a_snapshot([a_cloud()], vms=[vm], machines=(slot,)), kinds=(SetVM,))
    assert [each.uid for each in found if isinstance(each, SetVM)] == ["one"]


def test_addresses_are_not_cut_at_their_first_dot() -> None:
    vm = a_vm("one", hostname="10.0.0.7")
    slot = replace(a_slot(vm), vm="", name="slot1@10.0.0.8", machine_name="10.0.0.8")
    assert planned(a_snapshot([a_cloud()], vms=[vm], machines=(slot,)), kinds=(SetVM,)) == ()


def test_partitionable_parents_do_not_make_a_vm_idle() -> None:
    vm = a_vm("one")
    parent = replace(a_slot(vm), slot_type="Partitionable", total_slots=2)
    child = a_slot(vm, busy=True, number=2)
    shape = a_shape()
    snapshot = a_snapshot(
        [a_cloud()], [shape], vms=[vm], machines=(parent, child), groups=(a_group(shape, 1, JobStatus.RUNNING),)
    )
    assert ended(snapshot) == []


def test_a_silent_cloud_is_disabled_and_tried_again() -> None:
    settings = replace(SETTINGS, vm_connection_fail_threshold=100)
    silent = a_cloud(errorconnect=NOW - 101, connection_fail_disable_time=1000)
    snapshot = a_snapshot([silent], stale_clouds=frozenset({"mouse"}))
    disabled = SetCloud(
        "mouse",
        {"enabled": False, "connection_problem": True, "errorconnect": NOW},
        "It has not answered for 101 s: no error was told",
    )
    assert plan(snapshot, settings, DEFAULTS) == (disabled,)
    later = replace(apply(snapshot, (disabled,)), now=NOW + 1100)
    assert plan(later, settings, DEFAULTS) == ()
    again = SetCloud(
        "mouse",
        {"enabled": True, "connection_problem": False, "errorconnect": None},
        "It has been left alone long enough and is tried again.",
    )
    assert plan(replace(later, now=NOW + 1101), settings, DEFAULTS) == (again,)
    off = replace(snapshot, clouds=(replace(silent, enabled=False),))
    assert plan(off, settings, DEFAULTS) == ()


def test_a_vm_that_ends_leaves_its_room_only_once_it_is_gone() -> None:
    shape = a_shape()
    vm = a_vm("one", status="Error", errorcount=9)
    snapshot = a_snapshot([a_cloud(slots=1)], [shape], vms=[vm], groups=(a_group(shape, 1),))
    assert ended(snapshot) == [("Destroy", "one")]
    assert planned(apply(snapshot, planned(snapshot))) == (Boot("mouse", shape.key, 1),)
