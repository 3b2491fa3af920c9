"""Undoing operations: what can be had back, what cannot and why, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from admin_bench import JSON, Bench, bench, failed, make_config, make_store, put, settle
from wsgi import Client

from cloudsched import admin as admin_daemon
from cloudsched.model.access import Role
from cloudsched.model.actions import Retire, SetCloud, SetVM
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.wishes import Aspect, OutcomeState, Wish
from cloudsched.policy.wishes import wishes as planned
from cloudsched.store import Store, clouds, jobs, limits, operations, tokens, vms
from cloudsched.store.snapshot import Seen, SnapshotReader
from cloudsched.store.tokens import Grant


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, admin_auth="token") as made:
        yield made


def undo(client: Any, operation: int, **given: str) -> Any:
    return client.post(f"/operations/{operation}/undo", given, headers=JSON)


def engine(store: Store) -> None:
    """What the policy makes of the wishes, as far as it is a record alone; everything else is done."""
    snapshot = SnapshotReader(store).snapshot(Seen(now=0))
    with store.writing() as writing:
        for action in planned(snapshot):
            match action:
                case SetCloud(name, fields):
                    clouds.record_fields(writing, name, fields)
                case SetVM(uid, fields):
                    vms.record_fields(writing, [{"uid": uid, **fields}])
                case Retire(uid):
                    vms.record_fields(writing, [{"uid": uid, "override_status": "Retiring", "force_retire": True}])
                case _:
                    pass
        for wish in snapshot.wishes:
            _settle_one(writing, wish)
    operations.settle(store, [(wish.id, OutcomeState.DONE, {}) for wish in snapshot.wishes])


def _settle_one(writing: Any, wish: Wish) -> None:
    statuses = {Aspect.HOLD: 5, Aspect.RELEASE: 1}
    if wish.aspect in statuses:
        found = jobs.find(writing.connection, wish.name)
        jobs.record_jobs(writing, [replace(found, job_status=statuses[wish.aspect])])
    if wish.aspect in (Aspect.LOG_LEVEL, Aspect.QUICK_EXIT):
        limits.record_setting(writing, wish.aspect.value, wish.value)


def state(store: Store) -> Any:
    """All that verbs can change and undo."""
    with store.reading() as connection:
        return (
            {each.name: (each.enabled, each.vm_slots) for each in clouds.all_clouds(connection)},
            {vm.uid: (vm.shown_status, vm.retired, vm.released) for vm in vms.all_vms(connection)},
            {job.id: job.job_status for job in jobs.all_jobs(connection)},
            limits.read_settings(connection),
        )


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    """A daemon that waits for nobody, and its state, in which a VM runs and a job waits."""
    with closing(make_store(tmp_path)) as store:
        with store.writing() as writing:
            waiting = next(job for job in jobs.all_jobs(writing.connection) if job.job_status == 1)
            jobs.record_jobs(writing, [replace(waiting, id="waits#77.0#1", cluster_id=77, proc_id=0)])
            limits.record_setting(writing, "log_level", "INFO")
            limits.record_setting(writing, "quick_exit", False)
        config = make_config(tmp_path, verb_wait_seconds=0)
        yield Client(admin_daemon.create_app(store, config)), store


REVERSIBLE = [
    ("PUT", "/clouds/mouse", {"action": "disable"}),
    ("PUT", "/clouds/mouse", {"allocations": "1"}),
    ("PUT", "/clouds/mouse/vms/vm-mouse-1", {"action": "force_retire"}),
    ("DELETE", "/clouds/mouse/vms/vm-mouse-1", {}),
    ("PUT", "/jobs/77.0", {"action": "hold"}),
    ("PUT", "/settings", {"log_level": "ERROR"}),
    ("POST", "/", {"action": "quick_shutdown"}),
]


@pytest.mark.parametrize(("method", "url", "given"), REVERSIBLE)
@pytest.mark.parametrize("settled", [True, False], ids=["settled", "at once"])
def test_undo_brings_back_what_was_and_can_be_undone(
    quiet: tuple[Client, Store], method: str, url: str, given: dict[str, str], settled: bool
) -> None:
    client, store = quiet
    before = state(store)
    first = client.request(url, method=method, headers=JSON, **({"POST": given} if given else {})).json["id"]
    if settled:
        engine(store)
        assert state(store) != before
    told = undo(client, first, dry_run="true")
    assert (told.status_int, told.json["verb"]) == (200, "undo")
    second = undo(client, first, reason="a mistake")
    assert (second.status_int, second.json["verb"], second.json["reason"]) == (202, "undo", "a mistake")
    engine(store)
    assert state(store) == before
    entry = client.get(f"/journal.json?operation={second.json['id']}&kind=asked").json["entries"][0]
    assert entry["detail"] == {"undoes": first}
    again = undo(client, first)
    assert (again.status_int, again.json["code"]) == (409, "cannot-undo")
    if settled:
        assert undo(client, second.json["id"]).status_int == 202
        engine(store)
        assert state(store) != before


@pytest.mark.parametrize(
    ("method", "url", "given", "why"),
    [
        ("PUT", "/clouds/mouse/vms/testvm", {"action": "shutdown"}, "vm testvm: a VM that was shut down does not"),
        ("DELETE", "/jobs/77.0", {}, "job 77.0: a job that was removed does not come back"),
        ("POST", "/", {"action": "reconfig"}, "scheduler: what a file says is changed in the file."),
        ("PUT", "/clouds/mouse", {"action": "enable"}, "cloud mouse: it changed nothing."),
        ("PUT", "/clouds/mouse/vms", {"action": "shutdown", "count": "0"}, "it had no target."),
    ],
)
def test_what_cannot_be_undone_says_why(
    quiet: tuple[Client, Store], method: str, url: str, given: dict[str, str], why: str
) -> None:
    client, store = quiet
    with store.writing() as writing:
        clouds.record_fields(writing, "mouse", {"enabled": True})
    made = client.request(url, method=method, headers=JSON, **({"POST": given} if given else {})).json["id"]
    engine(store)
    answer = undo(client, made)
    assert (answer.status_int, answer.json["code"]) == (409, "cannot-undo")
    assert f"Operation {made} cannot be undone: {why}" in answer.json["detail"]


def test_what_has_changed_since_is_not_undone(quiet: tuple[Client, Store]) -> None:
    client, store = quiet
    first = put(client, "/clouds/mouse", allocations="1").json["id"]
    engine(store)
    put(client, "/clouds/mouse", allocations="2")
    engine(store)
    detail = undo(client, first).json["detail"]
    assert detail == f"Operation {first} cannot be undone: cloud mouse: it has changed since: vm_slots is 2 now."


def test_failed_verb_has_nothing_to_undo(quiet: tuple[Client, Store]) -> None:
    client, store = quiet
    made = put(client, "/clouds/mouse", action="disable").json["id"]
    settle(store, made, failed("It is on fire."))
    assert undo(client, made).json["detail"].endswith("cloud mouse: it failed.")


def test_bulk_is_undone_as_a_whole_or_in_part_as_asked(quiet: tuple[Client, Store]) -> None:
    client, store = quiet
    made = put(client, "/clouds/mouse/vms", action="force_retire", count="2").json["id"]
    engine(store)
    with store.writing() as writing:
        vms.forget(writing, ["vm-mouse-1"])
    whole = undo(client, made)
    assert whole.status_int == 409
    assert whole.json["detail"].endswith("-000000000001: it is gone. With partial=true the other 1 are undone.")
    part = undo(client, made, partial="true")
    assert [each["aspect"] for each in part.json["targets"]] == ["reset"]


def test_undo_of_an_unknown_operation_is_404(quiet: tuple[Client, Store]) -> None:
    assert [undo(quiet[0], each).status_int for each in (99, "x", "1.json")] == [404] * 3


def test_undo_takes_the_role_that_the_verb_took(admin: Bench) -> None:
    operation = put(admin.client, "/settings", log_level="DEBUG").json["id"]
    text, _ = tokens.make(admin.store, Grant(Role.OPERATOR), Entry(EntryKind.ASKED, "token_create", 1))
    client = Client(admin.client.app)
    client.authorization = ("Bearer", text)
    assert undo(client, operation).json["detail"] == (
        "Undoing what concerns the scheduler takes the role admin; yours is operator."
    )
    mine = put(client, "/clouds/cheetah", allocations="3").json["id"]
    assert undo(client, mine).status_int in (200, 409)
