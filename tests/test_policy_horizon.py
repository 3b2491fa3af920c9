"""No rule of the policy waits for a moment that `horizon` does not know."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from cloudsched.model.actions import Explain, Plan, SetVM
from cloudsched.model.clouds import Request, Requested
from cloudsched.model.snapshot import Block, Snapshot
from cloudsched.model.troubles import CloudCall, Trouble, TroubleKind
from cloudsched.policy import plan
from cloudsched.policy.horizon import horizon
from tests.policy_world import DEFAULTS, NOW, SETTINGS, a_cloud, a_group, a_shape, a_slot, a_snapshot, a_vm, apply

LATER = 50
SHAPE = a_shape()
OFTEN = replace(SETTINGS, vm_proxy_refresher_interval=5)


def _trouble(kind: TroubleKind, call: CloudCall, next_try: float) -> Trouble:
    return Trouble(kind=kind, call=call, cause="It said so.", since=float(NOW), next_try=next_try, failures=1)


def _busy(**fields: object) -> Snapshot:
    """One VM that runs the only job."""
    vm = replace(a_vm("v"), **fields)
    group = a_group(SHAPE, 1, job_status=2, status="Scheduled")
    return a_snapshot([a_cloud(slots=1)], [SHAPE], vms=[vm], machines=(a_slot(vm, busy=True),), groups=(group,))


def _waiting(**fields: object) -> Snapshot:
    """A job that waits for a cloud."""
    return replace(a_snapshot([a_cloud()], [SHAPE], groups=(a_group(SHAPE, 1),)), **fields)


def _silent_cloud() -> Snapshot:
    cloud = a_cloud(errorconnect=float(NOW + LATER - SETTINGS.vm_connection_fail_threshold), stale=True)
    return replace(_busy(), clouds=(cloud,), stale_clouds=frozenset({"mouse"}))


def _left_alone() -> Snapshot:
    cloud = a_cloud(enabled=False, connection_problem=True)
    long = cloud.connection_fail_disable_time + SETTINGS.vm_connection_fail_threshold
    return _waiting(clouds=(replace(cloud, errorconnect=float(NOW + LATER - long)),))


def _in_trouble() -> Snapshot:
    trouble = _trouble(TroubleKind.OUTAGE, CloudCall.BOOT, NOW + LATER)
    return _waiting(clouds=(a_cloud(trouble=trouble),))


def _forgotten() -> Snapshot:
    trouble = _trouble(TroubleKind.OUTAGE, CloudCall.BOOT, NOW + LATER - 3600)
    return replace(_busy(), clouds=(a_cloud(slots=1, trouble=trouble),))


def _idle() -> Snapshot:
    vm = a_vm("v", idle_start=NOW + LATER - 600, keep_alive=600)
    return a_snapshot([a_cloud()], vms=[vm], machines=(a_slot(vm),))


def _unshared() -> Snapshot:
    """A user with nothing waits for the VMs of another, which have changed of late."""
    vms = [a_vm(f"v{n}", last_state_change=NOW + LATER - 600) for n in range(4)]
    bob = a_shape("bob")
    groups = (a_group(SHAPE, 4, job_status=2, status="Scheduled"), a_group(bob, 4))
    slots = tuple(a_slot(vm, busy=True) for vm in vms)
    return a_snapshot([a_cloud(slots=4)], [SHAPE, bob], vms=vms, machines=slots, groups=groups)


def _starving() -> Snapshot:
    """More users than VMs: one takes over after an hour."""
    vm = a_vm("v", last_state_change=NOW + LATER - 3600)
    bob = a_shape("bob")
    groups = (a_group(SHAPE, 4, job_status=2, status="Scheduled"), a_group(bob, 4))
    return a_snapshot([a_cloud(slots=1)], [SHAPE, bob], vms=[vm], machines=(a_slot(vm, busy=True),), groups=groups)


def _for_a_time() -> Snapshot:
    request = Request(
        Requested.ENABLED, since=NOW - 60, until=NOW + LATER, then=Requested.DISABLED, reached_at=NOW - 60
    )
    return replace(_busy(), clouds=(a_cloud(slots=1, request=request),))


WAITS: dict[str, Callable[[], Snapshot]] = {
    "requested": lambda: _with(_busy(), requested_until=NOW + LATER, condorname="v"),
    "boot timeout": lambda: replace(
        _busy(status="Starting", initialize_time=NOW + LATER - 900), clouds=(a_cloud(slots=1, boot_timeout=900),)
    ),
    "joining": lambda: replace(
        _busy(last_state_change=NOW + LATER - SETTINGS.condor_register_time_limit), machines=(), groups=()
    ),
    "proxy": lambda: _busy(x509userproxy_expiry_time="1970-01-12 14:17:30"),
    "silent cloud": _silent_cloud,
    "cloud left alone": _left_alone,
    "trouble": _in_trouble,
    "trouble forgotten": _forgotten,
    "block": lambda: _waiting(blocks=(Block(SHAPE.key, "mouse", NOW + LATER, "It failed."),)),
    "keep alive": _idle,
    "asked for a time": _for_a_time,
    "balance": _unshared,
    "turn": _starving,
}


def _with(snapshot: Snapshot, **fields: object) -> Snapshot:
    (vm,) = snapshot.vms
    return replace(snapshot, vms=(replace(vm, **fields),))


def _plan(snapshot: Snapshot, now: int) -> Plan:
    return plan(replace(snapshot, now=now), OFTEN, DEFAULTS)


def _settled(snapshot: Snapshot) -> Snapshot:
    """The same once what the plan says of the slots' addresses has been recorded."""
    return apply(snapshot, (each for each in _plan(snapshot, NOW) if isinstance(each, SetVM)))


@pytest.mark.parametrize("rule", WAITS)
def test_each_rule_that_waits_has_its_moment(rule: str) -> None:
    snapshot = _settled(WAITS[rule]())
    first = _plan(snapshot, NOW)
    assert all(isinstance(each, Explain) for each in first), first
    changed = next(now for now in range(NOW + 1, NOW + 2 * LATER) if _plan(snapshot, now) != first)
    assert NOW < horizon(snapshot, OFTEN) <= changed <= NOW + LATER + 1


def test_random_worlds_do_not_change_before_their_horizon() -> None:
    chosen, quiet = random.Random(11), 0
    for _ in range(300):
        snapshot = _settled(_random(chosen))
        first = _plan(snapshot, NOW)
        if not all(isinstance(each, Explain) for each in first):
            continue
        quiet += 1
        end = min(int(horizon(snapshot, OFTEN)), NOW + 4000)
        for now in {NOW + 1, (NOW + end) // 2, end - 1} & set(range(NOW, end)):
            assert _plan(snapshot, now) == first
    assert quiet > 30


def _random(chosen: random.Random) -> Snapshot:
    def ago(seconds: int) -> int:
        return NOW - chosen.randrange(seconds)

    vms = [
        a_vm(
            f"v{number}",
            user=chosen.choice(("alice", "bob")),
            status=chosen.choice(("Running", "Running", "Starting")),
            initialize_time=ago(5000),
            last_state_change=chosen.choice((None, ago(4000))),
            idle_start=chosen.choice((None, ago(600))),
            keep_alive=chosen.randrange(2000),
            requested_until=chosen.choice((None, None, NOW + chosen.randrange(300))),
        )
        for number in range(chosen.randrange(5))
    ]
    slots = tuple(a_slot(vm, busy=vm.idle_start is None) for vm in vms if chosen.random() < 0.8)
    shapes = [a_shape("alice"), a_shape("bob"), a_shape("carol")]
    groups = tuple(a_group(each, chosen.randrange(4), job_status=chosen.choice((1, 2))) for each in shapes)
    blocks = tuple(Block(each.key, "mouse", NOW + chosen.randrange(300), "It failed.") for each in shapes[:1])
    clouds = [a_cloud(slots=chosen.choice((len(vms), len(vms) + 2)), boot_timeout=chosen.choice((0, 900)))]
    return a_snapshot(clouds, shapes, vms=vms, machines=slots, groups=groups, blocks=blocks)
