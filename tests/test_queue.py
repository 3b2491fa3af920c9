"""The embedded batch's queue: each promise of model.adapters.JobQueue, on a real store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cloudsched.model.adapters import JobQueue, Lease, QueuedJob
from cloudsched.model.jobs import Job, JobStatus, Shape
from cloudsched.model.vms import VM
from cloudsched.store import Store
from cloudsched.store.queue import SQLQueue

SHAPE = Shape("alice")
BIG = VM("vm1", "c", user="alice", cpucores=8, memory=16000)


def job(priority: int = 0, shape: Shape = SHAPE, **spec: Any) -> QueuedJob:
    return QueuedJob(Job("", shape, priority=priority), {"executable": "/bin/true", **spec})


@pytest.fixture
def queue(store: Store) -> SQLQueue:
    made: JobQueue = SQLQueue(store)
    assert isinstance(made, SQLQueue)
    return made


def add(queue: SQLQueue, *cluster: QueuedJob, now: int = 100) -> list[str]:
    """Queue jobs; returns their ids."""
    number, _ = queue.add(f"token-{now}-{id(cluster)}", cluster, now)
    return [each.id for each in every(queue) if each.cluster_id == number]


def every(queue: SQLQueue) -> list[Job]:
    return queue.changes(0)[1]


def one(queue: SQLQueue, job_id: str) -> Job:
    (found,) = [each for each in every(queue) if each.id == job_id]
    return found


def leased(queue: SQLQueue, vm: VM = BIG, slot: int = 1, now: float = 200.0, seconds: float = 60.0) -> Lease:
    lease = queue.lease(vm, slot, now, seconds)
    assert lease is not None
    return lease


def held_ids(queue: SQLQueue) -> list[str]:
    return [lease.job.job.id for lease in queue.leases()]


def test_added_jobs_are_numbered(queue: SQLQueue) -> None:
    assert queue.add("a", [job(), job()], 100) == (1, 2)
    assert queue.add("b", [job(arguments=["$(Cluster).x", {"deep": "$(ClusterId)"}])], 101) == (2, 1)
    found = every(queue)
    assert [(each.cluster_id, each.proc_id) for each in found] == [(1, 0), (1, 1), (2, 0)]
    host = found[0].id.partition("#")[0]
    assert [each.id for each in found] == [f"{host}#1.0#100", f"{host}#1.1#100", f"{host}#2.0#101"]
    assert {each.job_status for each in found} == {JobStatus.IDLE}
    assert [each.submitted_at for each in found] == [100, 100, 101]
    taken = [leased(queue, slot=slot).job.spec for slot in (1, 2, 3)]
    assert taken[2]["arguments"] == ["2.x", {"deep": "2"}]


def test_what_a_job_says_of_its_proxy_is_kept(queue: SQLQueue) -> None:
    carries = Job("", SHAPE, x509userproxy="/home/alice/proxy", myproxy_server="px", proxy_renew_time="5")
    queue.add("a", [QueuedJob(carries, {}), job()], 100)
    first, second = every(queue)
    assert (first.x509userproxy, first.myproxy_server, first.proxy_renew_time) == ("/home/alice/proxy", "px", "5")
    assert (second.x509userproxy, second.proxy_renew_time) == (None, "12")


def test_a_repeated_token_adds_nothing(queue: SQLQueue) -> None:
    assert queue.add("a", [job()], 100) == (1, 1)
    assert queue.add("a", [job(), job()], 500) == (1, 1)
    assert len(every(queue)) == 1


def test_a_repeated_token_adds_nothing_after_a_restart(queue: SQLQueue, store: Store) -> None:
    queue.add("a", [job()], 100)
    assert SQLQueue(store).add("a", [job()], 500) == (1, 1)
    assert len(every(queue)) == 1


def test_no_jobs_are_a_cluster_too(queue: SQLQueue) -> None:
    assert queue.add("a", [], 100) == (1, 0)
    assert queue.add("b", [job()], 100) == (2, 1)


def test_a_job_added_held_stays_held(queue: SQLQueue) -> None:
    held = QueuedJob(Job("", SHAPE, job_status=JobStatus.HELD, hold_reason="submitted on hold"))
    (job_id,) = add(queue, held)
    assert queue.lease(BIG, 1, 200.0, 60.0) is None
    assert (one(queue, job_id).job_status, one(queue, job_id).hold_reason) == (JobStatus.HELD, "submitted on hold")


def test_changes_tell_what_came_since(queue: SQLQueue) -> None:
    first, found, gone = queue.changes(0)
    assert (found, gone) == ([], [])
    (job_id,) = add(queue, job())
    second, found, _ = queue.changes(first)
    assert [each.id for each in found] == [job_id]
    assert queue.changes(second) == (second, [], [])
    leased(queue)
    third, found, _ = queue.changes(second)
    assert [(each.job_status, each.remote_host) for each in found] == [(JobStatus.RUNNING, "slot1@vm1")]
    assert third > second


def test_changes_tell_what_went(queue: SQLQueue) -> None:
    kept, gone_id = add(queue, job(), job())
    queue.set_status("t", "remove", [gone_id], "", 300)
    cursor, _, _ = queue.changes(0)
    queue.forget([kept, gone_id, "unknown"])
    later, found, gone = queue.changes(cursor)
    assert (found, gone) == ([], [gone_id])
    assert queue.changes(later) == (later, [], [])
    assert [each.id for each in every(queue)] == [kept]


def test_the_best_job_has_the_highest_priority_then_is_the_oldest(queue: SQLQueue) -> None:
    low, high, older, newer = add(queue, job(-1), job(5), job(1), job(1))
    taken = [leased(queue, slot=slot).job.job.id for slot in range(4)]
    assert taken == [high, older, newer, low]
    assert queue.lease(BIG, 9, 200.0, 60.0) is None


@pytest.mark.parametrize(
    "vm", [VM("v", "c", user="bob", memory=999), VM("v", "c", user="alice", vmtype="other", memory=999)]
)
def test_a_vm_serves_its_user_and_type_only(queue: SQLQueue, vm: VM) -> None:
    add(queue, job())
    assert queue.lease(vm, 1, 200.0, 60.0) is None
    assert queue.lease(replace(vm, user="alice", vmtype="default"), 1, 200.0, 60.0) is not None


def test_a_lease_fits_what_the_others_leave(queue: SQLQueue) -> None:
    vm = VM("vm1", "c", user="alice", cpucores=4, memory=4000)
    large, wide, small = add(
        queue,
        job(3, request_cpus=1, request_memory_mb=3000),
        job(2, request_cpus=4, request_memory_mb=100),
        job(1, request_cpus=3, request_memory_mb=1000),
    )
    assert leased(queue, vm, slot=1).job.job.id == large
    assert leased(queue, vm, slot=2).job.job.id == small
    assert queue.lease(vm, 3, 200.0, 60.0) is None
    assert queue.lease(VM("vm2", "c", user="alice", cpucores=3, memory=50), 1, 200.0, 60.0) is None
    assert one(queue, wide).job_status == JobStatus.IDLE


def test_a_slot_that_holds_a_lease_gets_it_again(queue: SQLQueue) -> None:
    add(queue, job(), job())
    first = leased(queue)
    again = leased(queue, now=230.0)
    assert (again.job, again.attempt) == (first.job, first.attempt)
    assert (first.until, again.until) == (260.0, 290.0)
    assert len(queue.leases()) == 1


def test_a_lease_is_never_given_twice(queue: SQLQueue, store: Store) -> None:
    """Two engines that do not know of each other yet: the transaction decides."""
    add(queue, *[job() for _ in range(20)])
    taken: list[str] = []

    def take(own: SQLQueue, slots: Sequence[int]) -> None:
        taken.extend(leased(own, slot=slot, vm=replace(BIG, cpucores=99)).job.job.id for slot in slots)

    threads = [threading.Thread(target=take, args=(SQLQueue(store), range(n, n + 10))) for n in (0, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 20


def test_a_renewed_lease_does_not_expire(queue: SQLQueue) -> None:
    (job_id,) = add(queue, job())
    lease = leased(queue)
    assert queue.renew("vm1", [(job_id, lease.attempt)], 250.0, 60.0) == []
    assert queue.expire(300.0) == []
    assert [each.until for each in queue.leases()] == [310.0]
    assert queue.expire(310.1) == [job_id]
    assert one(queue, job_id).job_status == JobStatus.IDLE
    assert one(queue, job_id).jobstarttime == 0


def test_an_expired_lease_is_told_to_stop(queue: SQLQueue) -> None:
    (job_id,) = add(queue, job())
    lease = leased(queue)
    queue.expire(1000.0)
    assert queue.renew("vm1", [(job_id, lease.attempt)], 1001.0, 60.0) == [job_id]
    assert queue.expire(5000.0) == []


@pytest.mark.parametrize(
    ("vm", "attempt", "job_id"), [("vm2", 1, ""), ("vm1", 0, ""), ("vm1", 2, ""), ("vm1", 1, "unknown")]
)
def test_only_ones_own_lease_is_renewed(queue: SQLQueue, vm: str, attempt: int, job_id: str) -> None:
    (known,) = add(queue, job())
    leased(queue)
    asked = job_id or known
    assert queue.renew(vm, [(asked, attempt)], 250.0, 60.0) == [asked]
    assert queue.expire(261.0) == [known]


def test_a_result_ends_the_job(queue: SQLQueue) -> None:
    (job_id,) = add(queue, job())
    lease = leased(queue)
    assert queue.finish("vm1", job_id, lease.attempt, {"exit_code": 3}, 300)
    found = one(queue, job_id)
    assert (found.job_status, found.exit_code, found.finished_at) == (JobStatus.COMPLETE, 3, 300)
    assert found.remote_host is None
    assert queue.leases() == []
    assert queue.expire(9999.0) == []


def test_a_repeated_result_changes_nothing(queue: SQLQueue) -> None:
    (job_id,) = add(queue, job())
    lease = leased(queue)
    queue.finish("vm1", job_id, lease.attempt, {"exit_code": 3}, 300)
    cursor, _, _ = queue.changes(0)
    assert queue.finish("vm1", job_id, lease.attempt, {"exit_code": 3}, 400)
    assert queue.changes(cursor)[1] == []
    assert one(queue, job_id).finished_at == 300


def test_a_result_may_hold_the_job(queue: SQLQueue) -> None:
    (job_id,) = add(queue, job())
    lease = leased(queue)
    for _ in range(2):
        assert queue.finish("vm1", job_id, lease.attempt, {"hold": True, "reason": "No such file."}, 300)
    found = one(queue, job_id)
    assert (found.job_status, found.hold_reason, found.finished_at) == (JobStatus.HELD, "No such file.", None)
    assert queue.set_status("t", "release", [job_id], "", 301) == ""
    assert one(queue, job_id).hold_reason == ""
    assert leased(queue).attempt == lease.attempt + 1


def test_a_vm_that_lost_its_lease_cannot_finish_the_job(queue: SQLQueue) -> None:
    (job_id,) = add(queue, job())
    lost = leased(queue)
    queue.expire(1000.0)
    assert not queue.finish("vm1", job_id, lost.attempt, {"exit_code": 0}, 1001)
    won = leased(queue, replace(BIG, uid="vm2"), now=1002.0)
    assert not queue.finish("vm1", job_id, lost.attempt, {"exit_code": 0}, 1003)
    assert not queue.finish("vm1", job_id, won.attempt, {"exit_code": 0}, 1003)
    assert one(queue, job_id).job_status == JobStatus.RUNNING
    assert queue.finish("vm2", job_id, won.attempt, {"exit_code": 7}, 1004)
    assert not queue.finish("vm1", job_id, lost.attempt, {"exit_code": 0}, 1005)
    assert one(queue, job_id).exit_code == 7


@pytest.mark.parametrize("action", ["hold", "remove"])
def test_a_job_taken_by_a_verb_is_not_its_vms_any_more(queue: SQLQueue, action: str) -> None:
    (job_id,) = add(queue, job())
    lease = leased(queue)
    assert queue.set_status("t", action, [job_id], "by bob", 300) == ""
    assert queue.renew("vm1", [(job_id, lease.attempt)], 301.0, 60.0) == [job_id]
    assert not queue.finish("vm1", job_id, lease.attempt, {"exit_code": 0}, 302)
    assert (one(queue, job_id).hold_reason, one(queue, job_id).exit_code) == ("by bob", None)
    assert queue.expire(9999.0) == []


def test_an_unknown_job_has_no_result(queue: SQLQueue) -> None:
    assert not queue.finish("vm1", "unknown", 1, {"exit_code": 0}, 300)


def test_rearming_saves_every_lease(queue: SQLQueue) -> None:
    add(queue, job(), job())
    for slot in (1, 2):
        leased(queue, slot=slot)
    queue.rearm(10_000.0, 60.0)
    assert queue.expire(10_059.0) == []
    assert {lease.until for lease in queue.leases()} == {10_060.0}
    assert len(queue.expire(10_061.0)) == 2


def test_leases_survive_a_restart_and_expire_only_once_armed(queue: SQLQueue, store: Store) -> None:
    (job_id,) = add(queue, job())
    lease = leased(queue)
    restarted = SQLQueue(store)
    assert held_ids(restarted) == [job_id]
    assert restarted.expire(1e9) == []
    restarted.rearm(1000.0, 60.0)
    assert restarted.renew("vm1", [(job_id, lease.attempt)], 1010.0, 60.0) == []
    assert restarted.expire(1069.0) == []
    assert restarted.expire(1071.0) == [job_id]


def test_jobs_of_vms_that_are_gone_come_back_at_once(queue: SQLQueue) -> None:
    lost, kept = add(queue, job(1), job())
    leased(queue)
    leased(queue, replace(BIG, uid="vm2"))
    assert queue.give_back(["vm1", "unknown"], 201.0) == [lost]
    assert queue.give_back(["vm1"], 202.0) == []
    assert held_ids(queue) == [kept]
    assert leased(queue, replace(BIG, uid="vm3")).job.job.id == lost


def test_statuses_go_round(queue: SQLQueue) -> None:
    ids = add(queue, job(), job())
    assert queue.set_status("1", "hold", ids, "for a while", 300) == ""
    assert {(each.job_status, each.hold_reason) for each in every(queue)} == {(JobStatus.HELD, "for a while")}
    assert queue.set_status("2", "release", ids, "again", 301) == ""
    assert {(each.job_status, each.hold_reason) for each in every(queue)} == {(JobStatus.IDLE, "")}
    assert queue.set_status("3", "remove", ids, "not needed", 302) == ""
    assert {(each.job_status, each.finished_at) for each in every(queue)} == {(JobStatus.REMOVED, 302)}


@pytest.mark.parametrize(
    ("before", "action", "error"),
    [
        ("", "release", "Job 1.0 is not held."),
        ("lease", "release", "Job 1.0 is not held."),
        ("hold", "hold", "Job 1.0 is held already."),
        ("remove", "hold", "Job 1.0 has ended already."),
        ("remove", "release", "Job 1.0 has ended already."),
        ("remove", "remove", "Job 1.0 has ended already."),
    ],
)
def test_a_status_that_cannot_be_is_refused_whole(queue: SQLQueue, before: str, action: str, error: str) -> None:
    ids = add(queue, job(1), job())
    if before == "lease":
        leased(queue)
    elif before:
        queue.set_status("before", before, ids[:1], "", 300)
    found = every(queue)
    assert queue.set_status("t", action, ids, "", 301) == error
    assert every(queue) == found


def test_an_unknown_job_is_refused_by_name(queue: SQLQueue) -> None:
    (job_id,) = add(queue, job())
    assert queue.set_status("t", "hold", [job_id, "x#9.9#1"], "", 300) == "There is no job 'x#9.9#1' in the queue."
    assert one(queue, job_id).job_status == JobStatus.IDLE


def test_a_repeated_order_gets_its_first_answer(queue: SQLQueue) -> None:
    (job_id,) = add(queue, job())
    assert queue.set_status("good", "hold", [job_id], "", 300) == ""
    assert queue.set_status("bad", "hold", [job_id], "", 300) == "Job 1.0 is held already."
    queue.set_status("between", "release", [job_id], "", 301)
    assert queue.set_status("good", "hold", [job_id], "", 302) == ""
    assert queue.set_status("bad", "hold", [job_id], "", 302) == "Job 1.0 is held already."
    assert one(queue, job_id).job_status == JobStatus.IDLE


def test_only_finished_jobs_are_forgotten(queue: SQLQueue) -> None:
    ids = add(queue, job(3), job(2), job(1), job(0))
    leased(queue)
    queue.set_status("h", "hold", [ids[1]], "", 300)
    queue.set_status("r", "remove", [ids[2]], "", 300)
    queue.forget(ids)
    assert [each.id for each in every(queue)] == [ids[0], ids[1], ids[3]]


def test_old_answers_are_forgotten_in_the_end(queue: SQLQueue) -> None:
    day = 86400
    assert queue.add("old", [job()], 0) == (1, 1)
    assert queue.add("recent", [job()], 10 * day) == (2, 1)
    assert queue.add("new", [job()], 31 * day) == (3, 1)
    queue.forget([])
    assert queue.add("recent", [job()], 31 * day) == (2, 1)
    assert queue.add("old", [job()], 31 * day) == (4, 1)


def test_the_queue_does_not_move_the_states_index(queue: SQLQueue, store: Store) -> None:
    """What others see of a job is what the next poll records, as with any batch system."""
    add(queue, job())
    leased(queue)
    assert store.state().index == 1
