"""Verbs become wishes with explicit targets; outcomes, replacement and forgetting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from cloudsched.errors import Conflict, NotFound
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Job, Shape
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, Operation, Outcome, OutcomeState, Wish
from cloudsched.store import Store, clouds, jobs, limits, operations, rows, tables, verbs, vms, wishes
from cloudsched.store.retention import prune_engine, prune_operations

DAY = 86400
BY = wishes.By("root", "request-1", "because", at=1000)
NAMES = ["test/name?x#y 100%", "ü 'quoted\" name", "."]


@pytest.fixture
def fleet(store: Store) -> Store:
    """Two clouds; on the first four VMs, one of them released, one retired; one job."""
    with store.writing() as writing:
        clouds.record_clouds(
            writing, [Cloud("mouse", "local", vm_slots=5, options={"vm_slots": "7"}), Cloud("empty", "local")]
        )
        known = [
            VM("old", "mouse", id="i-1", position=1, retired=True),
            VM("first", "mouse", id="i-2", position=2, user="alice"),
            VM("gone", "mouse", id="i-3", position=3, released=True),
            VM("second", "mouse", id="i-4", spot_id="s-4", position=4),
        ]
        vms.record_vms(writing, known)
        jobs.record_jobs(writing, [Job("host#1.0#9", Shape("bob"), cluster_id=1)])
    return store


def wished(operation: Operation) -> list[tuple[str, str, Aspect, Any]]:
    return [(each.wish.kind, each.wish.name, each.wish.aspect, each.wish.value) for each in operation.targets]


def in_force(store: Store) -> list[Wish]:
    with store.reading() as connection:
        return operations.lasting(connection)


def unsettled(store: Store) -> list[int]:
    with store.reading() as connection:
        return [wish.id for wish in operations.unsettled(connection)]


def settle(store: Store, wish: int, state: OutcomeState = OutcomeState.DONE) -> None:
    operations.settle(store, [(wish, state, {})])


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (lambda s: verbs.wish_enabled(s, BY, "MOUSE", True), [("cloud", "mouse", Aspect.ENABLED, True)]),
        (
            lambda s: verbs.wish_vm_slots(s, BY, "mouse", 9),
            [("cloud", "mouse", Aspect.VM_SLOTS, {"slots": 9, "file": 7})],
        ),
        (
            lambda s: verbs.wish_vms(s, BY, "mouse", Aspect.SHUTDOWN, 2),
            [("vm", "first", Aspect.SHUTDOWN, {"id": "i-2"}), ("vm", "second", Aspect.SHUTDOWN, {"id": "i-4"})],
        ),
        (
            lambda s: verbs.wish_vms(s, BY, "mouse", Aspect.RETIRE, None),
            [
                ("vm", uid, Aspect.RETIRE, {"id": vm})
                for uid, vm in (("first", "i-2"), ("second", "i-4"), ("old", "i-1"))
            ],
        ),
        (lambda s: verbs.wish_vms(s, BY, "mouse", Aspect.RETIRE, 0), []),
        (lambda s: verbs.wish_vms(s, BY, "empty", Aspect.RETIRE, None), []),
        (lambda s: verbs.wish_vm(s, BY, "mouse", "i-2", Aspect.RESET), [("vm", "first", Aspect.RESET, {"id": "i-2"})]),
        (
            lambda s: verbs.wish_vm(s, BY, "mouse", "s-4", Aspect.RELEASED),
            [("vm", "second", Aspect.RELEASED, {"id": "i-4"})],
        ),
        (
            lambda s: verbs.wish_vm(s, BY, "mouse", "old", Aspect.SHUTDOWN),
            [("vm", "old", Aspect.SHUTDOWN, {"id": "i-1"})],
        ),
        (lambda s: verbs.wish_job(s, BY, "1.0", Aspect.HOLD), [("job", "host#1.0#9", Aspect.HOLD, None)]),
        (lambda s: verbs.wish_job(s, BY, "host#1.0#9", Aspect.REMOVE), [("job", "host#1.0#9", Aspect.REMOVE, None)]),
        (lambda s: verbs.wish_setting(s, BY, Aspect.QUICK_EXIT), [("scheduler", "", Aspect.QUICK_EXIT, True)]),
        (
            lambda s: verbs.wish_setting(s, BY, Aspect.LOG_LEVEL, "DEBUG"),
            [("scheduler", "", Aspect.LOG_LEVEL, "DEBUG")],
        ),
        (lambda s: verbs.wish_proxy(s, BY, "bob", Aspect.JOB_PROXY), [("user", "bob", Aspect.JOB_PROXY, None)]),
        (lambda s: verbs.wish_proxy(s, BY, "alice", Aspect.VM_PROXY), [("user", "alice", Aspect.VM_PROXY, None)]),
    ],
)
def test_a_verb_is_resolved_when_it_is_asked(
    fleet: Store, verb: Callable[[Store], Operation], expected: list[tuple[str, str, Aspect, Any]]
) -> None:
    made = verb(fleet)
    assert wished(made) == expected
    assert (made.actor, made.made_at) == ("root", 1000)
    assert made.state == ("running" if expected else "done")
    assert operations.read(fleet, made.id) == made


@pytest.mark.parametrize(
    ("verb", "kind", "name"),
    [
        (lambda s: verbs.wish_enabled(s, BY, "rat", True), "cloud", "rat"),
        (lambda s: verbs.wish_vm_slots(s, BY, "rat", 1), "cloud", "rat"),
        (lambda s: verbs.wish_vms(s, BY, "rat", Aspect.RETIRE, 1), "cloud", "rat"),
        (lambda s: verbs.wish_vm(s, BY, "rat", "i-2", Aspect.RETIRE), "cloud", "rat"),
        (lambda s: verbs.wish_vm(s, BY, "mouse", "i-9", Aspect.RETIRE), "vm", "i-9"),
        (lambda s: verbs.wish_vm(s, BY, "mouse", "i-3", Aspect.RETIRE), "vm", "i-3"),
        (lambda s: verbs.wish_vm(s, BY, "empty", "i-2", Aspect.RETIRE), "vm", "i-2"),
        (lambda s: verbs.wish_vm(s, BY, "mouse", "", Aspect.RETIRE), "vm", ""),
        (lambda s: verbs.wish_job(s, BY, "2.0", Aspect.HOLD), "job", "2.0"),
        (lambda s: verbs.wish_job(s, BY, "9" * 40 + ".0", Aspect.HOLD), "job", "9" * 40 + ".0"),
        (lambda s: verbs.wish_proxy(s, BY, "carol", Aspect.JOB_PROXY), "user", "carol"),
        (lambda s: operations.read(s, 77), "operation", "77"),
    ],
)
def test_what_is_not_there_is_named_and_nothing_is_recorded(
    fleet: Store, verb: Callable[[Store], Operation], kind: str, name: str
) -> None:
    before = fleet.state()
    with pytest.raises(NotFound) as caught:
        verb(fleet)
    assert (caught.value.kind, caught.value.name) == (kind, name)
    assert fleet.state() == before


def test_the_same_quota_is_a_conflict(fleet: Store) -> None:
    with pytest.raises(Conflict, match="is 5 already") as caught:
        verbs.wish_vm_slots(fleet, BY, "mouse", 5)
    assert caught.value.code == "unchanged"


def test_a_toggle_is_a_value(fleet: Store) -> None:
    assert [wished(verbs.wish_setting(fleet, BY, Aspect.QUICK_EXIT))[0][3] for _ in range(3)] == [True, False, True]


def test_a_toggle_starts_from_what_is_in_force(fleet: Store) -> None:
    with fleet.writing() as writing:
        limits.record_setting(writing, "quick_exit", True)
    assert wished(verbs.wish_setting(fleet, BY, Aspect.QUICK_EXIT))[0][3] is False


def test_a_lasting_wish_replaces_the_one_before(fleet: Store) -> None:
    first = verbs.wish_enabled(fleet, BY, "mouse", True).targets[0].wish.id
    settle(fleet, first)
    verbs.wish_enabled(fleet, BY, "empty", True)
    verbs.wish_vm_slots(fleet, BY, "mouse", 9)
    last = verbs.wish_enabled(fleet, BY, "mouse", False).targets[0].wish.id
    assert [(wish.name, wish.aspect) for wish in in_force(fleet)] == [
        ("empty", Aspect.ENABLED),
        ("mouse", Aspect.VM_SLOTS),
        ("mouse", Aspect.ENABLED),
    ]
    assert in_force(fleet)[-1].id == last


@pytest.mark.parametrize(
    ("first", "second"),
    [(Aspect.RETIRE, Aspect.RESET), (Aspect.RESET, Aspect.RETIRE)],
)
def test_an_unsettled_wish_is_replaced_by_its_opposite(fleet: Store, first: Aspect, second: Aspect) -> None:
    one = verbs.wish_vm(fleet, BY, "mouse", "i-2", first)
    other = verbs.wish_vm(fleet, BY, "mouse", "i-4", first)
    two = verbs.wish_vm(fleet, BY, "mouse", "i-2", second)
    assert unsettled(fleet) == [other.targets[0].wish.id, two.targets[0].wish.id]
    with fleet.writing() as writing:
        operations.record_superseded(writing, 2000)
    outcome = operations.read(fleet, one.id).targets[0].outcome
    assert outcome == Outcome(one.targets[0].wish.id, OutcomeState.SUPERSEDED, {}, 2000)
    assert operations.read(fleet, one.id).state == "done"


def test_a_settled_wish_is_not_replaced(fleet: Store) -> None:
    held = verbs.wish_job(fleet, BY, "1.0", Aspect.HOLD)
    settle(fleet, held.targets[0].wish.id)
    verbs.wish_job(fleet, BY, "1.0", Aspect.RELEASE)
    outcome = operations.read(fleet, held.id).targets[0].outcome
    assert outcome is not None
    assert outcome.state is OutcomeState.DONE


def test_equal_wishes_both_stand(fleet: Store) -> None:
    made = [verbs.wish_vm(fleet, BY, "mouse", "i-2", Aspect.RETIRE).targets[0].wish.id for _ in range(2)]
    assert unsettled(fleet) == made


def test_the_first_outcome_stands(fleet: Store) -> None:
    made = verbs.wish_vms(fleet, BY, "mouse", Aspect.RETIRE, 2)
    one, two = (target.wish.id for target in made.targets)
    operations.settle(fleet, [(one, OutcomeState.FAILED, {"error": "no"}), (one, OutcomeState.DONE, {})])
    assert operations.read(fleet, made.id).state == "running"
    settle(fleet, one)
    settle(fleet, two)
    found = operations.read(fleet, made.id)
    assert [target.outcome.state for target in found.targets if target.outcome] == [
        OutcomeState.FAILED,
        OutcomeState.DONE,
    ]
    assert found.state == "failed"


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_wished_for_and_found(store: Store, name: str) -> None:
    with store.writing() as writing:
        clouds.record_clouds(writing, [Cloud(name, "local")])
        vms.record_vms(writing, [VM(name, name)])
        jobs.record_jobs(writing, [Job(name, Shape(name))])
    assert wished(verbs.wish_vm(store, BY, name, name, Aspect.RETIRE))[0][1] == name
    assert wished(verbs.wish_job(store, BY, name, Aspect.HOLD))[0][1] == name
    assert wished(verbs.wish_proxy(store, BY, name, Aspect.JOB_PROXY))[0][1] == name


def prune(store: Store, now: int) -> None:
    with store.writing() as writing:
        prune_operations(writing, now, 30)
    with store.writing() as writing:
        prune_engine(writing, now, 30)


def ids(store: Store, table: str) -> list[int]:
    with store.reading() as connection:
        found = tables.metadata.tables[table]
        return sorted(connection.execute(select(*found.primary_key.columns)).scalars())


def test_old_operations_are_forgotten_with_wishes_and_outcomes(fleet: Store) -> None:
    made = [verbs.wish_vm(fleet, BY, "mouse", "i-2", Aspect.RETIRE) for _ in range(3)]
    for operation in made:
        settle(fleet, operation.targets[0].wish.id)
    prune(fleet, 1000 + 31 * DAY)
    assert ids(fleet, "operations") == ids(fleet, "wishes") == ids(fleet, "outcomes") == [made[-1].id]


def test_what_is_unsettled_or_in_force_is_kept(fleet: Store) -> None:
    lasting = verbs.wish_enabled(fleet, BY, "mouse", True)
    waiting = verbs.wish_vm(fleet, BY, "mouse", "i-2", Aspect.RETIRE)
    done = verbs.wish_vm(fleet, BY, "mouse", "i-4", Aspect.RETIRE)
    newest = verbs.wish_vm(fleet, BY, "mouse", "i-4", Aspect.SHUTDOWN)
    for operation in (lasting, done, newest):
        settle(fleet, operation.targets[0].wish.id)
    prune(fleet, 1000 + 31 * DAY)
    assert ids(fleet, "operations") == [lasting.id, waiting.id, newest.id]


def test_no_number_is_given_twice_after_a_quiet_month(fleet: Store) -> None:
    """The outcome of an old wish must not settle a new one that got its number."""
    made = verbs.wish_vms(fleet, BY, "mouse", Aspect.RETIRE, None)
    for target in made.targets:
        settle(fleet, target.wish.id)
    later = wishes.By("root", at=1000 + 60 * DAY)
    again = verbs.wish_vm(fleet, later, "mouse", "i-2", Aspect.RETIRE)
    assert again.id == made.id + 1
    assert again.targets[0].wish.id == made.targets[-1].wish.id + 1
    assert again.state == "running"


def test_finished_jobs_and_unused_shapes_are_forgotten(fleet: Store) -> None:
    shapes = [Shape(name) for name in ("old", "new", "vm")]
    with fleet.writing() as writing:
        jobs.record_jobs(
            writing, [Job("old", shapes[0], finished_at=1000), Job("new", shapes[1], finished_at=1000 + 20 * DAY)]
        )
        jobs.record_jobs(writing, [Job("x", shapes[2])])
        vms.record_vms(writing, [VM("u", "mouse", shape=shapes[2].key)])
    with fleet.writing() as writing:
        rows.remove(writing, tables.jobs, ["x"], topic="jobs")
    with fleet.writing() as writing:
        assert prune_engine(writing, 1000 + 31 * DAY, 30) == ["old"]
    with fleet.reading() as connection:
        assert {shape.user for shape in jobs.all_shapes(connection).values()} == {"bob", "new", "vm"}
    before = fleet.state()
    prune(fleet, 1000 + 31 * DAY)
    assert fleet.state() == before


@pytest.mark.sqlite
def test_verb_costs_no_more_for_all_that_was_asked_before_it(fleet: Store) -> None:
    """Counted in steps of SQLite, on the connection that wrote last, which the next writer gets again."""
    steps, raw = [0], None

    def step() -> int:
        steps[0] += 1
        return 0

    def taken(number: int) -> int:
        nonlocal raw
        with fleet.writing() as writing:
            raw = writing.connection.connection.driver_connection
        assert raw
        raw.set_progress_handler(step, 1)
        before = steps[0]
        verbs.wish_enabled(fleet, BY, "mouse", bool(number % 2))
        raw.set_progress_handler(None, 0)
        return steps[0] - before

    first = [taken(number) for number in range(10)]
    for number in range(500):
        verbs.wish_enabled(fleet, BY, "mouse", bool(number % 2))
    last = [taken(number) for number in range(10)]
    assert min(first) > 100
    assert max(last) < 1.2 * max(first)
