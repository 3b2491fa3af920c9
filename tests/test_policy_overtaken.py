"""What is left of a plan when something has changed since it was made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from policy_world import a_cloud, a_shape, a_snapshot, a_vm

from cloudsched.model.actions import (
    Action,
    Boot,
    Destroy,
    Drop,
    Explain,
    OrderJobs,
    Reload,
    Renew,
    Retire,
    Schedule,
    SetCloud,
    Settle,
    SetVM,
)
from cloudsched.model.jobs import JobOrder
from cloudsched.model.snapshot import Block, Snapshot
from cloudsched.model.wishes import Aspect, Wish
from cloudsched.policy.overtaken import remaining

SHAPE = a_shape()
BEFORE = a_snapshot(
    [a_cloud("mouse"), a_cloud("cat")],
    [SHAPE],
    vms=[a_vm("one"), a_vm("two", cloud="cat"), a_vm("three", cloud="cat")],
    wishes=(Wish(7, 1, "scheduler", "", Aspect.RECONFIG),),
)
ON_MOUSE: tuple[Action, ...] = (SetCloud("mouse", {"enabled": False}), Boot("mouse", SHAPE.key, 2))
ON_CAT: tuple[Action, ...] = (SetCloud("cat", {"enabled": False}), Boot("cat", SHAPE.key, 2))
OF_ONE: tuple[Action, ...] = (SetVM("one", {}), Retire("one", ""), Destroy("one", ""), Drop("one", ""))
OF_TWO: tuple[Action, ...] = (SetVM("two", {}), Retire("two", ""), Destroy("two", ""), Drop("two", ""))
OF_THREE: tuple[Action, ...] = (Retire("three", ""),)
OF_SEVEN: tuple[Action, ...] = (
    Settle(7),
    Reload("reconfig", wish=7),
    Renew(Aspect.JOB_PROXY, "alice", 7),
    OrderJobs(JobOrder("wish-7", "hold", ("1.0",)), wish=7),
    Destroy("three", "", wish=7),
)
TELLING: tuple[Action, ...] = (Explain(SHAPE.key, ()), Schedule(SHAPE.key, 0, 1))
PLAN = (*ON_MOUSE, *ON_CAT, *OF_ONE, *OF_TWO, *OF_THREE, *OF_SEVEN, *TELLING)


def but(*gone: Action) -> tuple[Action, ...]:
    return tuple(action for action in PLAN if action not in gone)


def changed_vm(uid: str) -> Snapshot:
    return replace(BEFORE, vms=tuple(replace(vm, retired=True) if vm.uid == uid else vm for vm in BEFORE.vms))


def changed_cloud(name: str) -> Snapshot:
    found = tuple(replace(each, enabled=False) if each.name == name else each for each in BEFORE.clouds)
    return replace(BEFORE, clouds=found)


def test_of_a_plan_that_nothing_has_changed_for_all_is_left() -> None:
    assert remaining(PLAN, BEFORE, replace(BEFORE, index=2, now=BEFORE.now + 1)) == PLAN


def test_nothing_is_done_to_a_cloud_that_has_changed_nor_booted_on_it() -> None:
    assert remaining(PLAN, BEFORE, changed_cloud("mouse")) == but(*ON_MOUSE)


def test_a_cloud_that_is_gone_has_changed() -> None:
    assert remaining(PLAN, BEFORE, replace(BEFORE, clouds=BEFORE.clouds[:1])) == but(*ON_CAT)


def test_nothing_is_done_to_a_vm_that_has_changed_nor_counted_on_in_its_cloud() -> None:
    assert remaining(PLAN, BEFORE, changed_vm("two")) == but(*OF_TWO, *ON_CAT)


def test_a_vm_that_is_gone_has_changed() -> None:
    assert remaining(PLAN, BEFORE, replace(BEFORE, vms=BEFORE.vms[1:])) == but(*OF_ONE, *ON_MOUSE)


def test_a_vm_that_is_taken_back_counts_on_its_cloud() -> None:
    now = replace(BEFORE, vms=(*BEFORE.vms, a_vm("four", cloud="cat")))
    assert remaining(PLAN, BEFORE, now) == but(*ON_CAT)


def test_what_was_answered_is_not_answered_again() -> None:
    assert remaining(PLAN, BEFORE, replace(BEFORE, wishes=())) == but(*OF_SEVEN)


@pytest.mark.parametrize(
    "bounds",
    [
        {"user_limits": {"alice": 0}},
        {"cloud_aliases": {"pets": ("cat",)}},
        {"banned_images": {"image": ("cat",)}},
        {"blocks": (Block(SHAPE.key, "cat", 9, ""),)},
    ],
    ids=str,
)
def test_where_other_bounds_hold_nothing_is_booted(bounds: dict[str, Any]) -> None:
    assert remaining(PLAN, BEFORE, replace(BEFORE, **bounds)) == but(ON_MOUSE[1], ON_CAT[1])


def test_of_two_equal_values_only_the_same_object_is_unchanged() -> None:
    """What is read anew after a change may be equal to what it was: somebody has touched it all the same."""
    equal = tuple(replace(each) for each in BEFORE.clouds)
    assert equal == BEFORE.clouds
    assert remaining(PLAN, BEFORE, replace(BEFORE, clouds=equal)) == but(*ON_MOUSE, *ON_CAT)
