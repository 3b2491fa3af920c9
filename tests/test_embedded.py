"""The embedded batch before a real queue: who may speak, leases over gaps, ids, tokens."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudsched.batch.embedded import EmbeddedBatch, Session, Settings
from cloudsched.batch.wire import Link, Service, listen, serve
from cloudsched.config.options import JobDefaults
from cloudsched.model.jobs import JobOrder, JobStatus
from cloudsched.model.vms import VM
from cloudsched.store import Store
from cloudsched.store.queue import SQLQueue

LEASE_SECONDS = 30.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A queue, a clock, the VMs on record, and the batch system under test."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, Clock()
        self.known: dict[str, VM] = {}
        self.restart()

    def restart(self) -> None:
        settings = Settings(self.store.directory, JobDefaults(), LEASE_SECONDS, max_keepalive=600)
        self.batch = EmbeddedBatch(SQLQueue(self.store), settings, self.known.get, self.clock)

    def submit(self, *lines: str, token: str = "t", owner: str = "alice") -> tuple[str, int, int]:
        text = "\n".join(["executable = /bin/true", *lines, "queue"])
        payload = {"submit": text, "initialdir": "/tmp", "owner": owner}
        (outcome,) = self.batch.act([JobOrder(token, "submit", payload=payload)])
        return outcome.error, outcome.cluster, outcome.jobs

    def vm(self, uid: str = "vm-1", **fields: Any) -> VM:
        self.known[uid] = VM(uid, "local", user="alice", cpucores=2, memory=2048, **fields)
        return self.known[uid]

    def joined(self, uid: str = "vm-1", slots: int = 1) -> Session:
        session = Session()
        token = self.batch.join(uid, "default", "alice")["token"]
        answer = self.ask(session, op="hello", vm=uid, token=token, slots=slots)
        assert answer["ok"]
        return session

    def ask(self, session: Session, **message: Any) -> dict[str, Any]:
        return self.batch.handle(message, os.geteuid(), session)

    def leased(self, session: Session, slot: int = 1) -> dict[str, Any]:
        job = self.ask(session, op="lease", slot=slot)["job"]
        assert job is not None
        return dict(job)

    def expired(self) -> list[str]:
        """Serve workers once, then see whose leases have run out."""
        self.batch.awake()
        return self.batch.expire()

    def statuses(self) -> list[int]:
        return [job.job_status for job in SQLQueue(self.store).changes(0)[1]]


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    return World(store)


def test_submit_queues_and_a_repeated_token_does_not_queue_again(world: World) -> None:
    assert world.submit("queue 2") == ("", 1, 3)
    assert world.submit("queue 2") == ("", 1, 3)
    assert world.submit(token="u") == ("", 2, 1)
    assert len(world.batch.jobs().changed) == 4


def test_a_refused_description_is_the_outcomes_error(world: World) -> None:
    error, cluster, jobs = world.submit("universe = docker")
    assert error.startswith("line 2: universe is 'docker'") and (cluster, jobs) == (0, 0)


def test_keep_alive_is_capped(world: World) -> None:
    world.submit("+VMKeepAlive = 60")
    assert world.batch.jobs().changed[0].shape.keep_alive == 600


def test_cluster_macro_is_replaced_by_the_queue(world: World) -> None:
    world.submit("output = out.$(ClusterId).$(Process)", "+Note = n$(Cluster)")
    world.vm()
    spec = world.leased(world.joined())["spec"]
    assert (spec["output"], spec["attributes"]["Note"]) == ("/tmp/out.1.0", "n1")


def test_jobs_are_complete_at_first_and_then_changes(world: World) -> None:
    world.submit()
    first = world.batch.jobs()
    assert (first.complete, len(first.changed), first.server_time) == (True, 1, 1_000_000)
    assert world.batch.jobs().changed == ()
    world.submit(token="u")
    second = world.batch.jobs()
    assert (second.complete, len(second.changed)) == (False, 1)
    world.restart()
    assert (world.batch.jobs().complete, len(SQLQueue(world.store).changes(0)[1])) == (True, 2)


@pytest.mark.parametrize("short", [False, True])
def test_verbs_take_both_forms_of_an_id(world: World, short: bool) -> None:
    world.submit()
    (job,) = world.batch.jobs().changed
    name = f"{job.cluster_id}.{job.proc_id}" if short else job.id
    for action, status in (("hold", JobStatus.HELD), ("release", JobStatus.IDLE), ("remove", JobStatus.REMOVED)):
        (outcome,) = world.batch.act([JobOrder(f"{action}", action, (name,), "why")])
        assert (outcome.error, outcome.jobs, world.statuses()) == ("", 1, [status])
    (outcome,) = world.batch.act([JobOrder("again", "hold", (name,), "why")])
    assert outcome.error == "Job 1.0 has ended already."


def test_an_unknown_job_is_named(world: World) -> None:
    (outcome,) = world.batch.act([JobOrder("h", "hold", ("9.9",))])
    assert outcome.error == "There is no job '9.9' in the queue."


def test_a_vm_gets_jobs_of_its_user_only_and_machines_show_them(world: World) -> None:
    world.submit(owner="bob")
    world.submit("request_cpus = 1", token="u")
    world.vm()
    session = world.joined(slots=2)
    job = world.leased(session)
    assert (job["owner"], job["attempt"]) == ("alice", 1)
    assert world.ask(session, op="lease", slot=2) == {"job": None, "retire": False, "wait_seconds": 0.25}
    busy, free = world.batch.machines()
    assert (busy.name, busy.vm, busy.state, busy.activity, busy.job_id) == (
        "slot1@vm-1",
        "vm-1",
        "Claimed",
        "Busy",
        "2.0",
    )
    assert (busy.global_job_id, busy.remote_owner, busy.vmtype, busy.total_slots) == (job["id"], "alice", "default", 2)
    assert (free.state, free.activity, free.job_id, free.start_req) == ("Unclaimed", "Idle", "", '(Owner == "alice")')


def test_a_finished_job_frees_its_slot(world: World) -> None:
    world.submit()
    world.vm()
    session = world.joined()
    job = world.leased(session)
    result = {"exit_code": 4, "signal": None, "reason": "", "hold": False}
    done = {"op": "done", "job": job["id"], "attempt": job["attempt"], "result": result}
    assert world.ask(session, **done) == {"ok": True}
    assert world.ask(session, **done) == {"ok": True}
    assert world.batch.machines()[0].state == "Unclaimed"
    assert world.batch.jobs().changed[0].exit_code == 4


def test_a_free_worker_learns_of_a_new_job_although_it_was_told_there_is_none(world: World) -> None:
    world.vm()
    session = world.joined()
    assert world.ask(session, op="lease", slot=1)["job"] is None
    world.submit()
    assert world.leased(session)["id"]


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ({"op": "hello", "vm": "vm-1", "token": "wrong", "slots": 1}, True),
        ({"op": "hello", "vm": "vm-1", "slots": 1}, True),
        ({"op": "hello", "vm": 5, "token": "é"}, True),
        ({"op": "hello", "vm": "vm-1", "token": "x", "slots": 0}, True),
        ({"op": "lease", "slot": 1}, False),
        ({"op": "nonsense"}, False),
        ({}, False),
    ],
)
def test_nobody_gets_in_without_the_token(world: World, message: dict[str, Any], refused: bool) -> None:
    world.vm()
    session = Session()
    answer = world.ask(session, **message)
    assert answer["error"] and answer.get("refused", False) == refused
    assert (session.vm, world.batch.machines()) == ("", [])


def test_a_token_is_good_for_one_vm_and_outlives_the_engine(world: World) -> None:
    before = world.batch.join("vm-1", "default", "alice")["token"]
    world.restart()
    assert world.batch.join("vm-1", "default", "alice")["token"] == before
    assert world.batch.join("vm-2", "default", "alice")["token"] != before
    assert (world.store.directory / "batch.key").stat().st_mode & 0o777 == 0o600


def test_another_account_may_not_speak(world: World) -> None:
    token = world.batch.join("vm-1", "default", "alice")["token"]
    answer = world.batch.handle({"op": "hello", "vm": "vm-1", "token": token}, 12345, Session())
    assert answer["refused"]


@pytest.mark.parametrize(
    "message",
    [
        {"op": "lease"},
        {"op": "lease", "slot": 2},
        {"op": "lease", "slot": "1"},
        {"op": "renew"},
        {"op": "renew", "jobs": [5]},
        {"op": "evict", "jobs": "ab"},
        {"op": "done", "job": "x"},
        {"op": "done", "job": "x", "attempt": "y", "result": 1},
    ],
)
def test_malformed_messages_are_errors_not_exceptions(world: World, message: dict[str, Any]) -> None:
    world.vm()
    assert world.ask(world.joined(), **message)["error"]


def test_leases_expire_only_while_workers_could_renew(world: World) -> None:
    world.submit()
    world.vm()
    world.leased(world.joined())
    assert world.expired() == []
    for _ in range(3):
        world.clock.now += LEASE_SECONDS * 10
        assert world.batch.expire() == [], "nobody has been served"
        assert world.expired() == [], "after a gap everything is re-armed"
    lost: list[str] = []
    for _ in range(5):
        world.clock.now += LEASE_SECONDS / 3
        lost += world.expired()
    assert (len(lost), world.statuses()) == (1, [JobStatus.IDLE])


@pytest.mark.sqlite
def test_leases_begin_anew_after_the_state_was_away(world: World) -> None:
    world.submit()
    world.vm()
    session = world.joined()
    job = world.leased(session)
    assert world.expired() == []
    path = world.store.path
    assert path is not None
    aside = path.rename(path.with_suffix(".aside"))
    for _ in range(9):
        world.clock.now += LEASE_SECONDS / 3
        world.batch.awake()
        assert "gone" in world.ask(session, op="renew", jobs=[[job["id"], 1]])["error"]
    aside.rename(path)
    assert world.batch.expire() == []
    assert world.expired() == []
    assert world.ask(session, op="renew", jobs=[[job["id"], 1]])["stop"] == []


def test_a_restarted_engine_keeps_leases_and_their_machines(world: World) -> None:
    world.submit()
    world.vm()
    job = world.leased(world.joined())
    world.restart()
    world.clock.now += LEASE_SECONDS * 2
    assert world.expired() == []
    (machine,) = world.batch.machines()
    assert (machine.vm, machine.state, machine.global_job_id) == ("vm-1", "Claimed", job["id"])
    session = world.joined()
    assert world.ask(session, op="renew", jobs=[[job["id"], job["attempt"]]]) == {"stop": [], "retire": False}
    assert world.leased(session)["attempt"] == job["attempt"], "a slot that holds a lease gets it again"


def test_renewals_keep_a_lease(world: World) -> None:
    world.submit()
    world.vm()
    session = world.joined()
    job = world.leased(session)
    for _ in range(30):
        world.clock.now += LEASE_SECONDS / 10
        assert world.ask(session, op="renew", jobs=[[job["id"], 1]])["stop"] == []
        assert world.expired() == []


@pytest.mark.parametrize("action", ["hold", "remove"])
def test_a_job_taken_away_is_stopped_at_the_next_renewal(world: World, action: str) -> None:
    world.submit()
    world.vm()
    session = world.joined()
    job = world.leased(session)
    assert world.ask(session, op="renew", jobs=[[job["id"], 1]])["stop"] == []
    world.batch.act([JobOrder("x", action, (job["id"],))])
    assert world.ask(session, op="renew", jobs=[[job["id"], 1]])["stop"] == [job["id"]]


def test_evicted_and_lost_jobs_are_idle_at_once(world: World) -> None:
    world.submit()
    world.vm()
    session = world.joined()
    job = world.leased(session)
    assert world.ask(session, op="evict", jobs=[[job["id"], 1]]) == {"ok": True}
    assert world.statuses() == [JobStatus.IDLE]
    assert world.leased(session)["attempt"] == 2
    world.batch.lost(["vm-1"])
    assert world.statuses() == [JobStatus.IDLE]
    assert world.batch.machines() == []


def test_retire_holds_through_joining_and_ends_with_the_record(world: World) -> None:
    world.submit()
    vm = world.vm()
    assert [outcome.error for outcome in world.batch.retire([vm])] == [""]
    session = world.joined()
    assert world.ask(session, op="lease", slot=1) == {"job": None, "retire": True, "wait_seconds": 0.25}
    assert world.batch.machines()[0].retiring
    world.batch.learn({"vm-1": vm})
    assert world.ask(session, op="renew", jobs=[])["retire"], "its record does not say so yet"
    world.batch.learn({"vm-1": world.vm(override_status="Retiring")})
    world.batch.learn({"vm-1": world.vm(override_status=None)})
    assert not world.batch.machines()[0].retiring
    assert not world.ask(session, op="renew", jobs=[])["retire"], "an operator took it back before the worker asked"
    world.restart()
    world.vm(override_status="Retiring")
    assert world.ask(world.joined(), op="lease", slot=1)["retire"], "the record is enough for a new engine"


def test_a_silent_worker_is_no_machine_and_a_closed_one_neither(world: World) -> None:
    world.vm()
    session = world.joined()
    world.clock.now += LEASE_SECONDS + 1
    assert world.batch.machines() == []
    world.ask(session, op="renew", jobs=[])
    assert len(world.batch.machines()) == 1
    newer = world.joined()
    world.batch.closed(session)
    assert len(world.batch.machines()) == 1, "the worker has a newer connection"
    world.batch.closed(newer)
    assert world.batch.machines() == []


def test_a_vm_without_a_record_gets_nothing(world: World) -> None:
    world.submit()
    assert world.ask(world.joined("vm-9"), op="lease", slot=1)["job"] is None


def test_the_socket_path_may_be_longer_than_an_address(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    stop = threading.Event()
    service = Service(dict, lambda message, uid, session: {"uid": uid, **message}, lambda session: None)
    thread = threading.Thread(target=serve, args=(listen(directory / "batch.sock"), service, stop))
    thread.start()
    try:
        link = Link(directory / "batch.sock", 10.0)
        assert link.ask(op="x" * 300_000) == {"uid": os.geteuid(), "op": "x" * 300_000}
        link._socket.sendall(b"nonsense\n[1]\n")
        assert b"not JSON" in link._file.readline() and b"not a JSON object" in link._file.readline()
        link.close()
    finally:
        stop.set()
        thread.join()
    assert (directory / "batch.sock").stat().st_mode & 0o777 == 0o600
