"""What is asked of clouds as a whole: ends by itself, is reached, drains; and which VMs go when some stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from policy_world import DEFAULTS, NOW, SETTINGS, a_cloud, a_slot, a_snapshot, a_vm, apply

from cloudsched.model.actions import Destroy, Reload, Retire, SetCloud
from cloudsched.model.clouds import Origin, Request, Requested
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.wishes import Aspect, Wish
from cloudsched.policy import plan
from cloudsched.policy.selection import beyond

FOR_A_TIME = Request(Requested.DISABLED, NOW - 60, "ann", "power work", until=NOW, then=Requested.ENABLED)
CALM = {"connection_problem": False, "errorconnect": None}


def a_wish(aspect: Aspect, value: Any = None, **fields: Any) -> Wish:
    return Wish(7, 1, "cloud", "mouse", aspect, value, NOW - 5, "moved", "ann", **fields)


def set_clouds(snapshot: Snapshot) -> list[SetCloud]:
    return [each for each in plan(snapshot, SETTINGS, DEFAULTS) if isinstance(each, SetCloud)]


def test_what_was_asked_for_a_time_ends_by_itself_with_its_reason() -> None:
    cloud = a_cloud(enabled=False, request=FOR_A_TIME)
    assert set_clouds(a_snapshot([cloud], now=NOW - 1)) == [
        SetCloud("mouse", {"request": replace(FOR_A_TIME, reached_at=NOW - 1)})
    ]
    ended, reached = set_clouds(a_snapshot([cloud]))
    back = Request(Requested.ENABLED, since=NOW)
    assert ended == SetCloud(
        "mouse", {"request": back, "enabled": True, **CALM}, "It was disabled for a time that is over: power work"
    )
    assert reached == SetCloud("mouse", {"request": replace(back, reached_at=NOW)})


def test_what_ended_by_itself_is_done_once() -> None:
    snapshot = a_snapshot([a_cloud(enabled=False, request=FOR_A_TIME)])
    after = apply(snapshot, plan(snapshot, SETTINGS, DEFAULTS))
    assert after.clouds[0].enabled
    assert plan(after, SETTINGS, DEFAULTS) == ()


def test_wish_that_was_over_before_it_was_seen_leaves_what_was_before() -> None:
    wish = a_wish(Aspect.ENABLED, {"enabled": False, "until": NOW - 1, "then": True})
    snapshot = a_snapshot([a_cloud()], wishes=(wish,))
    after = apply(snapshot, plan(snapshot, SETTINGS, DEFAULTS))
    assert (after.clouds[0].enabled, after.wishes) == (True, ())


@pytest.mark.parametrize("fields", [{"unusable": "host is missing"}, {"removed": True}])
def test_cloud_that_cannot_be_enabled_stays_disabled_when_the_time_is_over(fields: dict[str, Any]) -> None:
    snapshot = a_snapshot([a_cloud(**{"enabled": False, "request": FOR_A_TIME, **fields})])
    assert not apply(snapshot, plan(snapshot, SETTINGS, DEFAULTS)).clouds[0].enabled


def test_disabled_cloud_is_reached_when_its_last_vm_is_gone() -> None:
    request = Request(Requested.DISABLED, NOW - 60)
    cloud, vm = a_cloud(enabled=False, request=request), a_vm("one")
    busy = a_snapshot([cloud], vms=[vm], machines=(a_slot(vm, busy=True),))
    assert set_clouds(busy) == []
    assert set_clouds(a_snapshot([cloud])) == [SetCloud("mouse", {"request": replace(request, reached_at=NOW)})]


def test_enabled_cloud_that_its_trouble_disables_is_reached_no_more() -> None:
    request = Request(Requested.ENABLED, NOW - 60, reached_at=NOW - 60)
    snapshot = a_snapshot([a_cloud(enabled=False, request=request)])
    assert set_clouds(snapshot) == [SetCloud("mouse", {"request": replace(request, reached_at=None)})]


def drained(snapshot: Snapshot) -> Snapshot:
    return apply(snapshot, [each for each in plan(snapshot, SETTINGS, DEFAULTS) if not isinstance(each, Reload)])


def test_deleted_cloud_boots_no_more_lets_jobs_finish_and_goes_last() -> None:
    vms = [a_vm("busy"), a_vm("idle")]
    slots = (a_slot(vms[0], busy=True), a_slot(vms[1]))
    cloud = a_cloud(origin=Origin.API)
    snapshot = a_snapshot([cloud], vms=vms, machines=slots, wishes=(a_wish(Aspect.DELETE),))
    asked, *rest = plan(snapshot, SETTINGS, DEFAULTS)
    request = Request(Requested.DRAINED, NOW - 5, "ann", "moved")
    assert asked == SetCloud("mouse", {"removed": True, "enabled": False, "request": request})
    why = "Cloud mouse is being deleted."
    ends = [each for each in rest if isinstance(each, (Retire, Destroy, Reload))]
    assert ends == [Retire("busy", why, drain=True), Retire("idle", why, drain=True)]
    after = drained(snapshot)
    assert not any(isinstance(each, (Destroy, Reload)) for each in plan(after, SETTINGS, DEFAULTS)), "a job runs"
    gone = replace(after, vms=(), machines=())
    assert plan(gone, SETTINGS, DEFAULTS)[0] == Reload("delete", "mouse", wish=7)


def test_deleted_cloud_waits_for_released_vms_only_while_it_can_be_listed() -> None:
    wish = a_wish(Aspect.DELETE)
    held = {"wishes": (wish,), "released_on": frozenset({"mouse"})}
    going = Reload("delete", "mouse", wish=7)
    assert going not in plan(a_snapshot([a_cloud()], **held), SETTINGS, DEFAULTS)
    assert going in plan(a_snapshot([a_cloud(stale=True)], **held), SETTINGS, DEFAULTS)
    assert going in plan(a_snapshot([a_cloud(unusable="no adapter")], **held), SETTINGS, DEFAULTS)


def test_cloud_that_is_not_there_is_deleted_all_the_same() -> None:
    assert plan(a_snapshot([], wishes=(a_wish(Aspect.DELETE),)), SETTINGS, DEFAULTS) == (
        Reload("delete", "mouse", wish=7),
    )


def test_those_go_first_that_leave_then_those_that_are_idle_then_the_newest() -> None:
    vms = [
        a_vm("busy-old"),
        a_vm("idle-old"),
        a_vm("busy-new"),
        a_vm("idle-new"),
        a_vm("retiring", override_status="Retiring"),
        a_vm("starting", status="Starting"),
    ]
    vms = [replace(vm, position=number) for number, vm in enumerate(vms)]
    slots = [a_slot(vms[n], busy=busy) for n, busy in ((0, True), (1, False), (2, True), (3, False), (4, True))]
    order = ["retiring", "starting", "idle-new", "idle-old", "busy-new", "busy-old"]
    for retain in range(8):
        assert [vm.uid for vm in beyond(vms, slots, retain)] == order[: max(len(vms) - retain, 0)]
