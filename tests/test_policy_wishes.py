"""What wishes become, and that nothing else in the same plan contradicts them."""

from __future__ import annotations

from typing import Any

import pytest
from policy_world import DEFAULTS, SETTINGS, a_cloud, a_group, a_shape, a_slot, a_snapshot, a_vm, apply, planned

from cloudsched.model.actions import (
    Action,
    Boot,
    Destroy,
    OrderJobs,
    Reload,
    Renew,
    Retire,
    SetCloud,
    Settle,
    SetVM,
)
from cloudsched.model.clouds import Request, Requested
from cloudsched.model.jobs import JobOrder
from cloudsched.model.wishes import Aspect, OutcomeState, Wish
from cloudsched.policy import plan


def a_wish(aspect: Aspect, name: str = "one", value: Any = None, number: int = 7, **fields: Any) -> Wish:
    known = {"id": number, "operation": 1, "kind": "vm", "name": name, "aspect": aspect, "value": value}
    return Wish(**{**known, **fields})


FAILED = OutcomeState.FAILED
ENABLE = {"connection_problem": False, "errorconnect": None}
DISABLED = Request(Requested.DISABLED, since=0)
ASKED = "An operator asked for it."


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (
            a_wish(Aspect.ENABLED, "Mouse", False),
            (SetCloud("mouse", {"enabled": False, **ENABLE, "request": DISABLED}), Settle(7)),
        ),
        (a_wish(Aspect.ENABLED, "rat", True), (Settle(7, FAILED, {"error": "There is no cloud 'rat'."}),)),
        (
            a_wish(Aspect.ENABLED, "broken", True),
            (Settle(7, FAILED, {"error": "Cloud 'broken' cannot be used: host is missing"}),),
        ),
        (
            a_wish(Aspect.VM_SLOTS, "mouse", {"slots": 9, "file": 4}),
            (SetCloud("mouse", {"vm_slots": 9}), Settle(7)),
        ),
        (
            a_wish(Aspect.VM_SLOTS, "mouse", {"slots": -1, "file": 4}),
            (Settle(7, FAILED, {"error": "A cloud's VM slots must be 0 or more, not -1."}),),
        ),
        (a_wish(Aspect.SHUTDOWN), (Destroy("one", ASKED, wish=7),)),
        (a_wish(Aspect.SHUTDOWN, reason="maintenance"), (Destroy("one", "maintenance", wish=7),)),
        (a_wish(Aspect.SHUTDOWN, "gone"), (Settle(7),)),
        (a_wish(Aspect.RETIRE), (Retire("one", ASKED, wish=7),)),
        (a_wish(Aspect.RETIRE, "retiring"), (SetVM("retiring", {"force_retire": True}), Settle(7))),
        (
            a_wish(Aspect.RESET, "retiring"),
            (SetVM("retiring", {"override_status": None, "force_retire": False, "retired": False}), Settle(7)),
        ),
        (a_wish(Aspect.RELEASED), (SetVM("one", {"released": True}), Settle(7))),
        (a_wish(Aspect.SHUTDOWN, "going"), ()),
        (a_wish(Aspect.RETIRE, "called"), ()),
        (
            a_wish(Aspect.HOLD, "s#1.0#5", reason="why"),
            (OrderJobs(JobOrder("wish-7", "hold", ("s#1.0#5",), "why"), 7),),
        ),
        (a_wish(Aspect.RELEASE, "j"), (OrderJobs(JobOrder("wish-7", "release", ("j",)), 7),)),
        (a_wish(Aspect.REMOVE, "j"), (OrderJobs(JobOrder("wish-7", "remove", ("j",)), 7),)),
        (
            a_wish(Aspect.SUBMIT, "alice", {"submit": "queue"}),
            (OrderJobs(JobOrder("wish-7", "submit", payload={"submit": "queue"}), 7),),
        ),
        (a_wish(Aspect.LOG_LEVEL, "", "DEBUG", kind="scheduler"), (Reload("log_level", "DEBUG", 7),)),
        (a_wish(Aspect.QUICK_EXIT, "", True, kind="scheduler"), (Reload("quick_exit", True, 7),)),
        (a_wish(Aspect.RECONFIG, "", kind="scheduler"), (Reload("reconfig", None, 7),)),
        (a_wish(Aspect.USER_LIMITS, "", kind="scheduler"), (Reload("user_limits", None, 7),)),
        (a_wish(Aspect.CLOUD_ALIASES, "", kind="scheduler"), (Reload("cloud_aliases", None, 7),)),
        (a_wish(Aspect.JOB_PROXY, "alice", kind="user"), (Renew(Aspect.JOB_PROXY, "alice", 7),)),
        (a_wish(Aspect.VM_PROXY, "alice", kind="user"), (Renew(Aspect.VM_PROXY, "alice", 7),)),
    ],
)
def test_a_wish_becomes_actions(wish: Wish, expected: tuple[Action, ...]) -> None:
    vms = [
        a_vm("one"),
        a_vm("retiring", override_status="Retiring"),
        a_vm("going", destroying=True),
        a_vm("called", status="Starting"),
    ]
    snapshot = a_snapshot(
        [a_cloud(slots=9), a_cloud("broken", enabled=False, unusable="host is missing")],
        vms=vms,
        machines=tuple(a_slot(vm, busy=True) for vm in vms[:2]),
        wishes=(wish,),
        in_flight=frozenset({"called"}),
        jobs_known=False,
        machines_known=False,
    )
    assert plan(snapshot, SETTINGS, DEFAULTS) == expected
    assert plan(apply(snapshot, expected), SETTINGS, DEFAULTS) == ()


def test_every_aspect_has_an_answer() -> None:
    for number, aspect in enumerate(Aspect):
        value = {"slots": 1, "file": 1} if aspect is Aspect.VM_SLOTS else None
        wish = a_wish(aspect, "one", {} if aspect is Aspect.SUBMIT else value, number)
        assert plan(a_snapshot([a_cloud("one")], vms=[a_vm("one", "one")], wishes=(wish,)), SETTINGS, DEFAULTS)


def test_a_cloud_just_disabled_takes_no_boots_and_one_just_enabled_does() -> None:
    shape = a_shape()
    wishes = (a_wish(Aspect.ENABLED, "mouse", False), a_wish(Aspect.ENABLED, "rat", True, 8))
    clouds = [a_cloud("mouse"), a_cloud("rat", enabled=False)]
    snapshot = a_snapshot(clouds, [shape], groups=(a_group(shape, 1),), wishes=wishes)
    assert planned(snapshot) == (Boot("rat", shape.key, 1),)


def test_a_vm_is_ended_once_for_two_wishes_and_a_rule() -> None:
    vm = a_vm("one", status="Error", errorcount=9, idle_start=1)
    wishes = (a_wish(Aspect.SHUTDOWN), a_wish(Aspect.SHUTDOWN, number=8), a_wish(Aspect.RETIRE, number=9))
    snapshot = a_snapshot([a_cloud(slots=0)], vms=[vm], machines=(a_slot(vm),), wishes=wishes)
    found = planned(snapshot)
    assert found == (Destroy("one", ASKED, wish=7),)
    after = apply(snapshot, found)
    assert plan(after, SETTINGS, DEFAULTS) == (Settle(8), Settle(9))


def test_wishes_come_first_and_in_the_order_they_were_made() -> None:
    shape = a_shape()
    wishes = (a_wish(Aspect.ENABLED, "mouse", True, 9), a_wish(Aspect.ENABLED, "mouse", False, 8))
    snapshot = a_snapshot([a_cloud()], [shape], groups=(a_group(shape, 1),), wishes=wishes)
    found = plan(snapshot, SETTINGS, DEFAULTS)
    assert [each.wish for each in found[:4] if isinstance(each, Settle)] == [8, 9]
    assert planned(snapshot) == (Boot("mouse", shape.key, 1),)


def test_a_quota_cut_drains_in_the_same_plan() -> None:
    vms = [a_vm("one"), a_vm("two")]
    snapshot = a_snapshot(
        [a_cloud()],
        vms=vms,
        machines=tuple(a_slot(vm, busy=True) for vm in vms),
        wishes=(a_wish(Aspect.VM_SLOTS, "mouse", {"slots": 1, "file": 4}),),
    )
    assert [(each.uid, each.drain) for each in planned(snapshot) if isinstance(each, Retire)] == [("two", True)]


def test_a_released_vm_is_touched_no_more() -> None:
    vm = a_vm("one", status="Error", errorcount=9)
    snapshot = a_snapshot([a_cloud()], vms=[vm], wishes=(a_wish(Aspect.RELEASED),))
    found = plan(snapshot, SETTINGS, DEFAULTS)
    assert found == (SetVM("one", {"released": True}), Settle(7))
    assert plan(apply(snapshot, found), SETTINGS, DEFAULTS) == ()


def test_a_reset_vm_of_a_cut_cloud_counts_again_and_the_newest_goes() -> None:
    drained = a_vm("old", override_status="Retiring", retired=True)
    vms = [drained, a_vm("new")]
    machines = tuple(a_slot(vm, busy=True) for vm in vms)
    snapshot = a_snapshot([a_cloud(slots=1)], vms=vms, machines=machines, wishes=(a_wish(Aspect.RESET, "old"),))
    assert [each.uid for each in planned(snapshot) if isinstance(each, Retire)] == ["new"]
