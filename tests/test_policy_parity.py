"""Many of v1's cycles against one of ours: the same final allocation, give or take a tie (PARITY 6.4).

v1's cycle is retold here as PARITY describes it, for jobs that all fit anywhere.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_world import a_cloud, a_group, a_shape, a_slot, a_snapshot, a_vm, planned

from cloudsched.model.actions import Boot
from cloudsched.model.jobs import JobStatus

TYPES = ("A:x", "A:y", "B:x", "C:x", "D:x")


def v1_cycle(held: Counter[str], waiting: dict[str, int], slots: int) -> None:
    """One turn per user:vmtype: those at or below their share, and others where nobody else is behind."""
    total = sum(held.values())
    open_types = [name for name in TYPES if waiting[name]]
    users = {name[0] for name in open_types}
    tops = {user: min(name for name in open_types if name[0] == user) for user in users}
    diff = {
        name: held[name] / total - (1 / len(users) if name in tops.values() else 0) if total else 0.0
        for name in open_types
    }
    for name in open_types:
        if name not in tops.values():
            diff[name] = 1.0
    for name in open_types:
        others = [each for each in open_types if each[0] != name[0] and diff[each] <= 0 and waiting[each]]
        if sum(held.values()) < slots and waiting[name] and (diff[name] <= 1e-12 or not others):
            held[name] += 1
            waiting[name] -= 1


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries({name: st.integers(0, 4) for name in TYPES}),
    st.fixed_dictionaries({name: st.integers(0, 12) for name in TYPES}),
    st.integers(0, 20),
)
def test_one_plan_ends_where_v1_ended(running: dict[str, int], waiting: dict[str, int], free: int) -> None:
    slots = sum(running.values()) + free
    expected = Counter(running)
    left = dict(waiting)
    for _ in range(free + 1):
        v1_cycle(expected, left, slots)
    shapes = {name: a_shape(*name.split(":")) for name in TYPES}
    vms = [a_vm(f"{name}{number}", user=name[0], vmtype=name[2]) for name in TYPES for number in range(running[name])]
    groups = [a_group(shapes[name], running[name], JobStatus.RUNNING) for name in TYPES if running[name]]
    groups += [a_group(shapes[name], waiting[name]) for name in TYPES if waiting[name]]
    snapshot = a_snapshot(
        [a_cloud(slots=slots)],
        shapes.values(),
        vms=vms,
        machines=tuple(a_slot(vm, busy=True) for vm in vms),
        groups=tuple(groups),
    )
    ours = Counter(running)
    for each in planned(snapshot, kinds=(Boot,)):
        assert isinstance(each, Boot)
        ours[snapshot.shapes[each.shape].uservmtype] += each.vms
    assert ours.total() == expected.total()
    assert all(abs(ours[name] - expected[name]) <= 1 for name in TYPES), (ours, expected)
