"""Rows: changed only where they differ, with revisions and tombstones that let a reader follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, func, select

from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Job, JobDelta, Machine, Shape
from cloudsched.model.snapshot import Heartbeat
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Outcome, Wish
from cloudsched.store import Store, clouds, jobs, limits, machines, rows, tables, vms
from cloudsched.store.retention import forget_everything, prune_engine


@pytest.mark.parametrize(
    ("table", "kind", "ours"),
    [
        (tables.clouds, Cloud, {"revision"}),
        (tables.vms, VM, {"revision"}),
        (tables.jobs, Job, {"revision"}),
        (tables.machines, Machine, {"revision"}),
        (tables.heartbeats, Heartbeat, set()),
        (tables.wishes, Wish, {"superseded_by"}),
        (tables.outcomes, Outcome, set()),
    ],
)
def test_columns_are_the_fields_of_the_model(table: Table, kind: Any, ours: set[str]) -> None:
    of_others = {"actor"} if kind is Wish else set()  # who asked stands with the operation
    assert set(table.c.keys()) == {each.name for each in fields(kind)} - of_others | ours


def changes_of(store: Store, since: int) -> tuple[dict[str, int], list[str]]:
    with store.reading() as connection:
        found, gone = rows.changes(connection, tables.user_limits, "limits", since)
    return {row["user"]: row["vms"] for row in found}, gone


def test_changes_tell_what_came_and_went_since(store: Store) -> None:
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1, "bob": 2, "carol": 3})
    since = store.state().index
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1, "bob": 5})
    assert changes_of(store, since) == ({"bob": 5}, ["carol"])
    assert changes_of(store, store.state().index) == ({}, [])
    assert changes_of(store, 0) == ({"alice": 1, "bob": 5}, [])


def test_what_comes_back_is_not_gone(store: Store) -> None:
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
    since = store.state().index
    for known in ({}, {"alice": 1}):
        with store.writing() as writing:
            limits.record_user_limits(writing, known)
    assert changes_of(store, since) == ({"alice": 1}, [])


def test_only_differing_rows_get_a_revision(store: Store) -> None:
    first = [VM(f"u{number}", "c") for number in range(3)]
    for known in (first, [first[0], replace(first[1], memory=5), first[2]]):
        with store.writing() as writing:
            vms.record_vms(writing, known)
    with store.reading() as connection:
        revisions = {row.uid: row.revision for row in connection.execute(select(tables.vms))}
    assert revisions == {"u0": 2, "u1": 3, "u2": 2}


def test_columns_left_out_are_kept(store: Store) -> None:
    with store.writing() as writing:
        vms.record_vms(writing, [VM("u", "c", memory=7)])
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "u", "status": "Running"}, {"uid": "unknown", "status": "Running"}])
        clouds.record_fields(writing, "unknown", {"enabled": True})
    with store.reading() as connection:
        assert vms.all_vms(connection) == [VM("u", "c", memory=7, status="Running")]
        assert clouds.all_clouds(connection) == []


def test_values_come_back_as_they_were(store: Store) -> None:
    vm = VM("ü/ '\"%", "c", image={"c": ["x", None, 1.5, {"ö": True}]}, job_run_times=(1, 2), errorconnect=1.25)
    cloud = Cloud("c", "local", network_pools=("a", "b"), options={"k": "v=;\n"}, failed_images=("i",), position=3)
    job = Job(
        "h#1.0#1",
        Shape("a", target_clouds=("x",), req_ami={"default": "é"}),
        cluster_id=1,
        blocked_clouds=("c",),
        ban_time=0.5,
    )
    with store.writing() as writing:
        vms.record_vms(writing, [vm])
        clouds.record_clouds(writing, [cloud])
        jobs.record_jobs(writing, [job])
    with store.reading() as connection:
        assert vms.by_uid(connection, vm.uid) == vm
        assert clouds.find(connection, "C") == cloud
        assert jobs.find(connection, "1.0") == job
        assert jobs.find(connection, job.id).shape.key == job.shape.key


def test_many_rows_go_through(store: Store) -> None:
    many = [VM(f"u{number}", "c", position=number) for number in range(1700)]
    with store.writing() as writing:
        vms.record_vms(writing, many)
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": vm.uid, "status": "Running"} for vm in many])
        vms.forget(writing, [vm.uid for vm in many[:900]])
    with store.reading() as connection:
        assert [vm.status for vm in vms.all_vms(connection)] == ["Running"] * 800
        assert len(rows.changes(connection, tables.vms, "vms", 2)[1]) == 900


def test_a_machines_clock_alone_changes_nothing(store: Store) -> None:
    for time in (100, 200):
        with store.writing() as writing:
            machines.record_machines(writing, [Machine("slot1@u", "u", current_time=time)])
    assert store.state().index == 2


def test_a_report_keeps_what_the_engine_decided(store: Store) -> None:
    shape = Shape("alice")
    idle = Job("h#1.0#1", shape, cluster_id=1, job_status=1)
    for job in (idle, replace(idle, priority=5), replace(idle, priority=5, job_status=2, remote_host="slot1@vm1")):
        with store.writing() as writing:
            jobs.record_delta(writing, JobDelta((job,)), {"slot1@vm1": "mouse"}.__getitem__)
            if job is idle:
                jobs.record_scheduled(writing, shape.key, 0, 1)
        with store.reading() as connection:
            found = jobs.find(connection, "1.0")
        assert (found.status, found.priority) == ("Scheduled", job.priority)
    assert found.running_cloud == "mouse"


def test_a_complete_report_forgets_the_others(store: Store) -> None:
    known = [Job(f"h#{number}.0#1", Shape("alice"), cluster_id=number) for number in range(3)]
    for delta in (
        JobDelta(tuple(known)),
        JobDelta((known[1],), gone=(known[2].id,)),
        JobDelta((known[1],), complete=True),
    ):
        with store.writing() as writing:
            jobs.record_delta(writing, delta, lambda host: "")
    with store.reading() as connection:
        assert jobs.all_jobs(connection) == [known[1]]


def test_tombstones_are_bounded_and_old_readers_are_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudsched.store.retention._TOMBSTONES", 1000)
    names = [f"user{number}" for number in range(1100)]
    for known in (names, names[-1:], []):
        with store.writing() as writing:
            limits.record_user_limits(writing, dict.fromkeys(known, 1))
    with store.writing() as writing:
        prune_engine(writing, now=0, days=1)
    row = store.state()
    assert (row.oldest, row.index) == (3, 4)
    assert changes_of(store, row.oldest) == ({}, [names[-1]])
    with store.reading() as connection:
        assert connection.execute(select(func.count()).select_from(tables.tombstones)).scalar_one() == 1


def test_forgetting_everything_makes_readers_reload(store: Store) -> None:
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
    with store.writing() as writing:
        forget_everything(writing)
    row = store.state()
    assert {getattr(row, topic) for topic in (*tables.TOPICS, "verbs", "oldest", "index")} == {3}
    assert limits.user_limits(store) == {}


USERS = st.sampled_from("abcdef")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("replace"), st.dictionaries(USERS, st.integers(0, 2))),
        st.tuples(st.just("save"), st.dictionaries(USERS, st.integers(0, 2), min_size=1)),
        st.tuples(st.just("remove"), st.lists(USERS, unique=True)),
        st.tuples(st.just("read"), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_following_changes_equals_reading_everything(store: Store, steps: Sequence[tuple[str, Any]]) -> None:
    seen, _ = changes_of(store, 0)
    at = store.state().index
    for step, argument in [*steps, ("read", None)]:
        if step == "read":
            came, went = changes_of(store, at)
            at = store.state().index
            seen = {key: value for key, value in (seen | came).items() if key not in went}
            assert seen == limits.user_limits(store)
            assert not came.keys() & set(went)
            continue
        before = (store.state().index, limits.user_limits(store))
        with store.writing() as writing:
            apply(writing, step, argument)
        after = (store.state().index, limits.user_limits(store))
        assert (after[0] > before[0]) == (after[1] != before[1])


def apply(writing: Any, step: str, argument: Any) -> None:
    if step == "replace":
        limits.record_user_limits(writing, argument)
    elif step == "save":
        found = [{"user": user, "vms": limit} for user, limit in argument.items()]
        rows.save(writing, tables.user_limits, found, topic="limits")
    else:
        rows.remove(writing, tables.user_limits, argument, topic="limits")
