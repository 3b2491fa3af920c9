"""Every batch adapter keeps the promises of BatchAdapter; the fake also lets time pass."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from cloudsched import batch
from cloudsched.batch import htcondor as condor
from cloudsched.batch.embedded import EmbeddedBatch, Settings
from cloudsched.batch.fake import FakeBatch
from cloudsched.batch.htcondor import HTCondorBatch
from cloudsched.batch.htcondor_ads import Rules
from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.batch.htcondor_pool import HTCondorPool
from cloudsched.config.options import JobDefaults
from cloudsched.model.adapters import BatchAdapter
from cloudsched.model.jobs import Job, JobOrder, JobStatus, Machine, Shape
from cloudsched.model.vms import VM
from cloudsched.store.queue import SQLQueue
from tests.real.condor import CondorPool, commands

NOW = 5000.0


def _embedded(request: pytest.FixtureRequest) -> BatchAdapter:
    store = request.getfixturevalue("store")
    return EmbeddedBatch(SQLQueue(store), Settings(store.directory, JobDefaults()), lambda uid: None, lambda: NOW)


def _fake(request: pytest.FixtureRequest) -> BatchAdapter:
    return FakeBatch(clock=lambda: NOW)


def _bindings(request: pytest.FixtureRequest) -> BatchAdapter:
    pytest.importorskip("htcondor2")
    pool = request.getfixturevalue("pool")
    return _condor(request, pool, Bindings(pool.environment, 30.0))


def _commands(request: pytest.FixtureRequest) -> BatchAdapter:
    pool = request.getfixturevalue("pool")
    return _condor(request, pool, commands(pool))


def _condor(request: pytest.FixtureRequest, pool: CondorPool, way: HTCondorPool) -> BatchAdapter:
    pool.clear()
    adapter = HTCondorBatch(way, condor.Settings(Rules(JobDefaults(), 3600)))
    request.addfinalizer(adapter.close)
    return adapter


_REAL = (pytest.mark.real, pytest.mark.xdist_group("htcondor"))


@pytest.fixture(params=[_embedded, _fake, pytest.param(_bindings, marks=_REAL), pytest.param(_commands, marks=_REAL)])
def adapter(request: pytest.FixtureRequest) -> BatchAdapter:
    make: Callable[[pytest.FixtureRequest], BatchAdapter] = request.param
    return make(request)


def is_now(adapter: BatchAdapter, seconds: int) -> bool:
    """A real pool has a clock of its own."""
    return abs(seconds - time.time()) < 600 if isinstance(adapter, HTCondorBatch) else seconds == NOW


def order(text: str = "queue", token: str = "t") -> JobOrder:
    payload = {"submit": f"executable = /bin/true\n{text}", "initialdir": "/tmp", "owner": "alice"}
    return JobOrder(of_this_test(token), "submit", payload=payload)


def of_this_test(token: str) -> str:
    """A real pool's history knows the tokens of other tests."""
    return f"{token} of {os.environ['PYTEST_CURRENT_TEST']}"


def act(adapter: BatchAdapter, action: str, *names: str, token: str = "") -> str:
    asked = of_this_test(token or f"{action} {names}")
    (outcome,) = adapter.act([JobOrder(asked, action, names, "because")])
    assert outcome.token == asked
    return outcome.error


def test_an_empty_batch_has_no_jobs_and_no_machines(adapter: BatchAdapter) -> None:
    delta = adapter.jobs()
    assert (delta.changed, delta.gone, delta.complete) == ((), (), True)
    assert is_now(adapter, delta.server_time)
    assert adapter.machines() == []


def test_submit_tells_the_cluster_and_how_many(adapter: BatchAdapter) -> None:
    first, second = adapter.act([order("queue 2"), order(token="u")])
    assert (first.error, first.jobs, second.jobs) == ("", 2, 1)
    assert second.cluster == first.cluster + 1
    jobs = adapter.jobs().changed
    numbers = [(job.cluster_id - first.cluster, job.proc_id) for job in jobs]
    assert sorted(numbers) == [(0, 0), (0, 1), (1, 0)]
    assert all(job.id.endswith(f"#{job.cluster_id}.{job.proc_id}#{job.submitted_at}") for job in jobs)
    assert {(job.shape.user, job.job_status) for job in jobs} == {("alice", JobStatus.IDLE)}
    assert all(is_now(adapter, job.submitted_at) for job in jobs)


def test_a_repeated_token_gives_the_first_outcome_again(adapter: BatchAdapter) -> None:
    first = adapter.act([order()])
    assert adapter.act([order()]) == first
    (job,) = adapter.jobs().changed
    assert act(adapter, "hold", job.id, token="h") == ""
    assert act(adapter, "hold", job.id, token="h") == ""
    assert act(adapter, "hold", job.id, token="h2") != ""


def test_a_bad_description_is_an_outcome(adapter: BatchAdapter) -> None:
    (outcome,) = adapter.act([order("bad line")])
    assert (outcome.error.startswith("line 2: "), outcome.jobs) == (True, 0)
    assert adapter.jobs().changed == ()


def test_jobs_are_told_once_and_again_when_they_change(adapter: BatchAdapter) -> None:
    assert adapter.jobs().complete
    adapter.act([order("queue 2")])
    delta = adapter.jobs()
    assert (delta.complete, len(delta.changed)) == (False, 2)
    assert adapter.jobs().changed == ()
    act(adapter, "hold", delta.changed[0].id)
    (held,) = adapter.jobs().changed
    assert (held.id, held.job_status, held.hold_reason) == (delta.changed[0].id, JobStatus.HELD, "because")


@pytest.mark.parametrize("short", [True, False])
def test_hold_release_and_remove(adapter: BatchAdapter, short: bool) -> None:
    adapter.act([order()])
    (job,) = adapter.jobs().changed
    name = f"{job.cluster_id}.{job.proc_id}" if short else job.id
    for action, status in (("hold", JobStatus.HELD), ("release", JobStatus.IDLE), ("remove", JobStatus.REMOVED)):
        assert act(adapter, action, name) == ""
        assert adapter.jobs().changed[0].job_status == status
    assert adapter.jobs().changed == ()


@pytest.mark.parametrize(
    ("before", "action", "error"),
    [
        ((), "release", "is not held."),
        (("hold",), "hold", "is held already."),
        (("remove",), "hold", "has ended already."),
        (("remove",), "remove", "has ended already."),
    ],
)
def test_verbs_that_make_no_sense_are_refused(
    adapter: BatchAdapter, before: tuple[str, ...], action: str, error: str
) -> None:
    adapter.act([order()])
    (job,) = adapter.jobs().changed
    for verb in before:
        assert act(adapter, verb, job.id) == ""
    assert act(adapter, action, job.id, token="last") == f"Job {job.cluster_id}.0 {error}"


def test_an_unknown_job_changes_nothing_for_the_others(adapter: BatchAdapter) -> None:
    adapter.act([order()])
    (job,) = adapter.jobs().changed
    assert act(adapter, "remove", job.id, "nobody#1.0#1") == "There is no job 'nobody#1.0#1' in the queue."
    assert adapter.jobs().changed == ()


def test_retire_and_lost_may_name_vms_that_never_joined(adapter: BatchAdapter) -> None:
    vm = VM("vm-1", "local")
    for _ in range(2):
        assert [(outcome.vm, outcome.error) for outcome in adapter.retire([vm])] == [("vm-1", "")]
    adapter.lost(["vm-1"])


def test_kinds_are_found_by_name() -> None:
    assert batch.load("embedded") is EmbeddedBatch
    assert batch.load("fake") is FakeBatch
    with pytest.raises(KeyError):
        batch.load("unheard-of")


def seeded(**options: Any) -> tuple[FakeBatch, list[float]]:
    shape = Shape("alice")
    jobs = [
        Job("h#1.0#1", shape, 1, 0, job_status=JobStatus.RUNNING, jobstarttime=int(NOW)),
        Job("h#2.0#1", shape, 2, 0, job_status=JobStatus.IDLE),
        Job("h#3.0#1", shape, 3, 0, priority=5, job_status=JobStatus.IDLE),
    ]
    machine = Machine(
        "slot1@vm-1", "vm-1", vm="vm-1", global_job_id="h#1.0#1", state="Claimed", activity="Busy", vmtype="default"
    )
    now = [NOW]
    return FakeBatch(jobs, [machine], clock=lambda: now[0], **options), now


def test_a_fake_stays_as_seeded_until_it_is_stepped() -> None:
    fake, now = seeded()
    now[0] += 1000
    assert (len(fake.jobs().changed), len(fake.machines()), fake.jobs().changed) == (3, 1, ())


def test_a_fake_runs_jobs_on_vms_by_priority() -> None:
    fake, now = seeded(run_seconds=60)
    fake.jobs()
    vms = [VM("vm-1", "c", user="alice", status="Running"), VM("vm-2", "c", user="bob", status="Running")]
    now[0] += 60
    fake.step(vms)
    assert {job.id: job.job_status for job in fake.jobs().changed} == {"h#1.0#1": 4, "h#3.0#1": 2}
    first, second = fake.machines()
    assert (first.global_job_id, first.state, second.vm, second.state) == ("h#3.0#1", "Claimed", "vm-2", "Unclaimed")


def test_a_fakes_retired_machine_vanishes_with_its_job() -> None:
    fake, now = seeded(run_seconds=60)
    fake.retire([VM("vm-1", "c")])
    assert fake.machines()[0].retiring
    now[0] += 60
    fake.step([VM("vm-1", "c", user="alice", status="Running")])
    assert fake.machines() == []


def test_a_fakes_lost_vm_gives_its_job_back() -> None:
    fake, _ = seeded()
    fake.jobs()
    fake.lost(["vm-1"])
    assert [(job.id, job.job_status) for job in fake.jobs().changed] == [("h#1.0#1", JobStatus.IDLE)]
    assert fake.machines() == []
