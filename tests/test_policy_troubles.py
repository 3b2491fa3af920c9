"""A cloud's failures and answers: from one state to the next, and what each state lets the planner ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from policy_world import DEFAULTS, NOW, SETTINGS, a_cloud, a_group, a_shape, a_snapshot, a_vm, apply

from cloudsched.model.actions import Boot, Explain, SetCloud
from cloudsched.model.clouds import Cloud
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.troubles import CloudCall, Failure, Size, Trouble, TroubleKind
from cloudsched.policy import plan
from cloudsched.policy.troubles import after_failure, after_success

QUOTA, TRANSIENT, OUTAGE, CREDENTIAL = TroubleKind
LISTING, BOOT = CloudCall


def trouble(kind: TroubleKind, call: CloudCall = BOOT, **fields: Any) -> Trouble:
    return Trouble(**{"kind": kind, "call": call, "cause": "before", "since": 50.0, "next_try": 90.0} | fields)


@pytest.mark.parametrize(
    ("before", "kind", "call", "chance", "expected"),
    [
        # what was           the call met       for chance    kind, since, next try, failures
        (None, QUOTA, BOOT, 0.0, (QUOTA, 100.0, 160.0, 1)),
        (None, TRANSIENT, BOOT, 0.0, (TRANSIENT, 100.0, 110.0, 1)),
        (None, TRANSIENT, BOOT, 1.0, (TRANSIENT, 100.0, 105.0, 1)),
        (None, OUTAGE, BOOT, 0.0, (OUTAGE, 100.0, 130.0, 1)),
        (None, CREDENTIAL, BOOT, 0.5, (CREDENTIAL, 100.0, None, 1)),
        (trouble(TRANSIENT), TRANSIENT, BOOT, 0.0, (TRANSIENT, 50.0, 120.0, 2)),
        (trouble(TRANSIENT, failures=2), TRANSIENT, BOOT, 0.0, (TRANSIENT, 50.0, 140.0, 3)),
        (trouble(TRANSIENT, failures=999), TRANSIENT, BOOT, 0.0, (TRANSIENT, 50.0, 400.0, 1000)),
        (trouble(TRANSIENT, failures=9), OUTAGE, BOOT, 0.0, (OUTAGE, 100.0, 130.0, 1)),
        (trouble(OUTAGE, failures=9), TRANSIENT, BOOT, 0.0, (TRANSIENT, 100.0, 110.0, 1)),
        (trouble(OUTAGE, LISTING), QUOTA, BOOT, 0.0, (OUTAGE, 50.0, 90.0, 1)),
        (trouble(QUOTA, failures=3), OUTAGE, LISTING, 0.0, (OUTAGE, 100.0, 130.0, 1)),
        (trouble(CREDENTIAL, LISTING, next_try=None), OUTAGE, BOOT, 0.0, (CREDENTIAL, 50.0, None, 1)),
        (trouble(OUTAGE, LISTING), OUTAGE, BOOT, 0.0, (OUTAGE, 50.0, 130.0, 1)),
    ],
)
def test_a_failure_leads_on(
    before: Trouble | None,
    kind: TroubleKind,
    call: CloudCall,
    chance: float,
    expected: tuple[TroubleKind, float, float | None, int],
) -> None:
    found = after_failure(before, Failure(kind, call, "now"), 100.0, chance)
    assert (found.kind, found.since, found.next_try, found.failures) == expected


def test_a_listing_is_tried_again_when_its_poll_is_due() -> None:
    assert after_failure(None, Failure(OUTAGE, LISTING, "now", 123.0), 100.0, 0.0).next_try == 123.0
    assert after_failure(None, Failure(CREDENTIAL, LISTING, "now", 123.0), 100.0, 0.0).next_try is None


@pytest.mark.parametrize("kind", TroubleKind)
@pytest.mark.parametrize("call", CloudCall)
def test_an_answer_ends_the_trouble_of_its_own_call(kind: TroubleKind, call: CloudCall) -> None:
    (other,) = set(CloudCall) - {call}
    before = trouble(kind, call)
    assert after_success(before, call) is None
    assert after_success(before, other) == before
    assert after_success(None, call) is None


# -- what a plan asks of clouds in trouble -----------------------------------------------------------------------------


def waiting(cloud: Cloud, jobs: int = 5, vms: int = 0, **shape: Any) -> Snapshot:
    wanted = a_shape(**shape)
    held = [a_vm(f"vm{number}", memory=512) for number in range(vms)]
    return a_snapshot([cloud], [wanted], vms=held, groups=(a_group(wanted, jobs),))


def boots(snapshot: Snapshot) -> int:
    return sum(action.vms for action in plan(snapshot, SETTINGS, DEFAULTS) if isinstance(action, Boot))


def reasons(snapshot: Snapshot) -> list[str]:
    return [
        each for action in plan(snapshot, SETTINGS, DEFAULTS) if isinstance(action, Explain) for each in action.reasons
    ]


LATER, SOON = NOW + 10.0, NOW - 10.0


@pytest.mark.parametrize(
    ("found", "vms", "expected"),
    [
        (None, 0, 5),
        (trouble(TRANSIENT, next_try=LATER), 0, 0),
        (trouble(TRANSIENT, next_try=SOON), 0, 1),
        (trouble(OUTAGE, next_try=LATER), 0, 0),
        (trouble(OUTAGE, next_try=SOON), 2, 1),
        (trouble(OUTAGE, LISTING, next_try=SOON), 0, 0),
        (trouble(CREDENTIAL, next_try=None), 0, 0),
        (trouble(QUOTA, vms=2, next_try=LATER), 2, 0),
        (trouble(QUOTA, vms=2, next_try=LATER), 0, 2),
        (trouble(QUOTA, vms=2, next_try=SOON), 2, 1),
        (trouble(QUOTA, vms=2, cores=64, memory=512, next_try=LATER), 2, 5),
    ],
)
def test_a_cloud_in_trouble_gets_as_many_boots_as_its_class_allows(
    found: Trouble | None, vms: int, expected: int
) -> None:
    assert boots(waiting(a_cloud(slots=50, trouble=found), 5, vms)) == expected


def test_a_probe_is_alone_until_its_answer_can_have_come() -> None:
    snapshot = waiting(a_cloud(slots=50, trouble=trouble(OUTAGE, next_try=SOON)))
    actions = plan(snapshot, SETTINGS, DEFAULTS)
    (change,) = [each for each in actions if isinstance(each, SetCloud)]
    assert change.fields["trouble"].next_try == NOW + SETTINGS.call_timeout_seconds
    assert boots(replace(apply(snapshot, actions), now=NOW + 5)) == 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TRANSIENT, ["Error when making VM request: check log", "mouse has failed and is left alone for a while: why"]),
        (OUTAGE, ["Endpoint / Region problem", "mouse does not answer: why"]),
        (
            CREDENTIAL,
            ["Proxy/Auth related issue", "mouse refuses our credentials until somebody mends them: why"],
        ),
        (QUOTA, ["Insufficient Resources on cloud", "mouse had no room for more than 0 VMs: why"]),
    ],
)
def test_jobs_are_told_v1s_reason_and_the_clouds_own(kind: TroubleKind, expected: list[str]) -> None:
    found = trouble(kind, cause="why", next_try=None if kind is CREDENTIAL else LATER)
    assert reasons(waiting(a_cloud(trouble=found))) == expected


def test_refused_credentials_disable_a_cloud_until_it_is_enabled() -> None:
    refused = trouble(CREDENTIAL, LISTING, next_try=None)
    snapshot = waiting(a_cloud(trouble=refused))
    fields = {"enabled": False, "connection_problem": True, "errorconnect": 50.0}
    disabled = SetCloud("mouse", fields, refused.cause)
    assert disabled in plan(snapshot, SETTINGS, DEFAULTS)
    later = replace(apply(snapshot, (disabled,)), now=NOW + 10**7)
    assert [each for each in plan(later, SETTINGS, DEFAULTS) if isinstance(each, SetCloud)] == []


def test_a_try_that_nobody_needs_is_forgotten() -> None:
    old = a_cloud(trouble=trouble(TRANSIENT, next_try=NOW - 3601.0))
    assert plan(a_snapshot([old]), SETTINGS, DEFAULTS) == (SetCloud("mouse", {"trouble": None}),)


def test_the_size_that_was_refused_is_remembered() -> None:
    failure = Failure(QUOTA, BOOT, "full", None, 7, Size(4, 1024))
    found = after_failure(None, failure, 100.0, 0.0)
    assert (found.vms, found.cores, found.memory) == (7, 4, 1024)
