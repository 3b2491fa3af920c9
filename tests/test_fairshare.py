"""The distributions, against the original's recorded answer and PARITY 6.4."""

from __future__ import annotations

from dataclasses import replace

import pytest
from policy_world import SETTINGS, a_cloud, a_group, a_shape, a_snapshot, a_vm

from cloudsched.model.jobs import JobStatus
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.fairshare import distributions

DAVE = "dave-with-a-long-username"


def golden_snapshot() -> Snapshot:
    """The state in which v1's /diff-types was recorded, as far as shares depend on it."""
    held = [
        ("alice", "atlas-worker"),
        ("alice", "atlas-worker"),
        ("bob", "belle2"),
        ("bob", "belle2"),
        (DAVE, "atlas-worker"),
        ("carol", "atlas-worker"),
        ("carol", "default"),
        ("alice", "default"),
    ]
    vms = [a_vm(f"vm{number}", user=user, vmtype=vmtype) for number, (user, vmtype) in enumerate(held)]
    atlas = a_shape("alice", "atlas-worker", usertype_limit=3)
    plain = a_shape("alice", "default")
    carol = a_shape("carol", "default", high_priority=1)
    belle = a_shape("bob", "belle2")
    groups = (
        a_group(atlas, 1, JobStatus.NEW, priority=5),
        a_group(atlas, 1, priority=10),
        a_group(atlas, 1, JobStatus.RUNNING, status="Scheduled"),
        a_group(plain, 1, JobStatus.NEW),
        a_group(carol, 1, priority=20),
        a_group(belle, 1, status="Scheduled"),
        a_group(belle, 1, JobStatus.HELD, banned=True),
    )
    limits = {"bob": 2, "carol": 50}
    shapes = (atlas, plain, carol, belle)
    return a_snapshot([a_cloud()], shapes, groups=groups, vms=vms, user_limits=limits)


def test_distributions_equal_the_recorded_answer() -> None:
    diff, current, desired = distributions(golden_snapshot(), SETTINGS)
    assert {name: f"{share:.6f}" for name, share in diff.items()} == {
        "alice:atlas-worker": "-0.083333",
        "alice:default": "1.000000",
        f"{DAVE}:atlas-worker": "1.000000",
        "carol:atlas-worker": "1.000000",
        "carol:default": "-0.541667",
        "bob:belle2": "1.000000",
    }
    assert {name: f"{share:.6f}" for name, share in current.items()} == {
        "alice:atlas-worker": "0.250000",
        "alice:default": "0.125000",
        f"{DAVE}:atlas-worker": "0.125000",
        "carol:atlas-worker": "0.125000",
        "carol:default": "0.125000",
        "bob:belle2": "0.250000",
    }
    assert {name: f"{share:.6f}" for name, share in desired.items()} == {
        "alice:atlas-worker": "0.333333",
        "carol:default": "0.666667",
    }


def test_split_divides_a_users_unit_among_his_top_types() -> None:
    first, second, low = a_shape("alice", "x"), a_shape("alice", "y"), a_shape("alice", "z")
    groups = (a_group(first, 3, priority=5), a_group(second, 1, priority=5), a_group(low, 9))
    snapshot = a_snapshot([a_cloud()], (first, second, low), groups=groups)
    split = replace(SETTINGS, job_distribution_type="split")
    assert distributions(snapshot, split)[2] == {"alice:x": 0.5, "alice:y": 0.5}
    assert distributions(snapshot, SETTINGS)[2] == {"alice:x": 1.0}


def test_high_priority_weight_shifts_the_desired_shares() -> None:
    ordinary, high = a_shape("alice", "x"), a_shape("bob", "y", high_priority=1)
    snapshot = a_snapshot([a_cloud()], (ordinary, high), groups=(a_group(ordinary, 1), a_group(high, 1)))
    desired = distributions(snapshot, replace(SETTINGS, high_priority_job_weight=2))[2]
    assert desired == {"alice:x": pytest.approx(0.5 / 3), "bob:y": pytest.approx(2.5 / 3)}


@pytest.mark.parametrize(
    ("metric", "share"),
    [("slot", 0.5), ("memory", 0.25), ("memory_cpu", 0.1), ("memory_cpu_storage", 1 / 46)],
)
def test_metrics_weigh_what_the_vms_hold(metric: str, share: float) -> None:
    small = a_vm("a", user="alice", memory=1000, cpucores=1, storage=10)
    large = a_vm("b", user="bob", memory=3000, cpucores=3, storage=50)
    snapshot = a_snapshot([a_cloud()], vms=[small, large])
    current = distributions(snapshot, replace(SETTINGS, scheduling_metric=metric))[1]
    assert current["alice:x"] == pytest.approx(share)


def test_storage_is_left_out_of_the_product_when_there_is_none() -> None:
    vms = [a_vm("a", user="alice", memory=1000, storage=0), a_vm("b", user="bob", memory=1000, storage=0)]
    metric = replace(SETTINGS, scheduling_metric="memory_cpu_storage")
    assert distributions(a_snapshot([a_cloud()], vms=vms), metric)[1] == {"alice:x": 0.5, "bob:x": 0.5}


def test_what_a_limited_type_lacks_goes_to_the_others() -> None:
    limited, free = a_shape("alice", "x"), a_shape("bob", "x")
    vms = [a_vm("a"), *(a_vm(f"c{number}", user="carol") for number in range(9))]
    snapshot = a_snapshot(
        [a_cloud()],
        (limited, free),
        groups=(a_group(limited, 5), a_group(free, 5)),
        vms=vms,
        user_limits={"alice": 1, "carol": 9},
    )
    diff = distributions(snapshot, SETTINGS)[0]
    assert diff["alice:x"] == pytest.approx(-0.4)
    assert diff["bob:x"] == pytest.approx(-0.5 - 0.4)


def test_no_vms_and_no_jobs_have_no_shares() -> None:
    assert distributions(a_snapshot([a_cloud()]), SETTINGS) == ({}, {}, {})


def test_drained_vms_do_not_count() -> None:
    vms = [a_vm("a"), a_vm("b", user="bob", retired=True, override_status="Retiring")]
    assert distributions(a_snapshot([a_cloud()], vms=vms), SETTINGS)[1] == {"alice:x": 1.0}
