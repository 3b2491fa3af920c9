"""The HTCondor adapter on a real pool: what is told apart, what is noticed, what is said."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudsched.batch.htcondor import HTCondorBatch, Settings
from cloudsched.batch.htcondor_ads import Rules
from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.batch.htcondor_pool import HTCondorPool
from cloudsched.batch.htcondor_tokens import SigningKey, read_key
from cloudsched.clouds.local import LocalCloud
from cloudsched.config.options import JobDefaults
from cloudsched.errors import BatchError
from cloudsched.model.clouds import BootRequest
from cloudsched.model.jobs import Job, JobDelta, JobOrder, JobStatus, Machine
from cloudsched.model.vms import VM
from tests.real.condor import DOMAIN, CondorPool, commands, eventually, kill_vm, local_command, vm_environment

pytest.importorskip("htcondor2")
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("htcondor")]

RULES = Rules(JobDefaults(), 3600)
Make = Callable[..., HTCondorBatch]


@pytest.fixture
def make(pool: CondorPool) -> Iterator[Make]:
    """Makes adapters for the pool, which has no jobs at first."""
    pool.clear()
    made: list[HTCondorBatch] = []

    def adapter(way: HTCondorPool | None = None, **settings: Any) -> HTCondorBatch:
        made.append(HTCondorBatch(way or Bindings(pool.environment, 15.0), Settings(RULES, **settings)))
        return made[-1]

    yield adapter
    for each in made:
        each.close()


def submit(adapter: HTCondorBatch, text: str = "queue", owner: str = "alice", **payload: str) -> list[str]:
    """Submit; the jobs as CLUSTER.PROC."""
    description = f"executable = /bin/sleep\narguments = 1000\n{text}\n"
    given = {"submit": description, "initialdir": "/tmp", "owner": owner, **payload}
    (outcome,) = adapter.act(
        [JobOrder(f"{os.environ['PYTEST_CURRENT_TEST']} {time.monotonic_ns()}", "submit", payload=given)]
    )
    assert outcome.error == ""
    return [f"{outcome.cluster}.{number}" for number in range(outcome.jobs)]


def statuses(delta: JobDelta) -> dict[str, int]:
    return {f"{job.cluster_id}.{job.proc_id}": job.job_status for job in delta.changed}


def test_jobs_that_end_unseen_are_explained_by_the_history(pool: CondorPool, make: Make) -> None:
    adapter = make()
    adapter.jobs()
    first, second = submit(adapter, "queue 2")
    adapter.jobs()
    pool.run("condor_rm", first, "-reason", "enough")
    (job,) = adapter.jobs().changed
    assert (job.job_status, job.hold_reason.split(" (")[0], job.finished_at is not None) == (3, "enough", True)
    assert adapter.jobs() == replace(adapter.jobs(), changed=(), gone=(), complete=False)
    assert second


def test_a_restarted_engine_learns_how_its_jobs_ended(pool: CondorPool, make: Make) -> None:
    before = make()
    submit(before, "queue 3")
    known = [job.id for job in before.jobs().changed]
    pool.run("condor_rm", known[0].split("#")[1], known[1].split("#")[1])
    after = make(known=lambda: known)
    delta = after.jobs()
    assert delta.complete
    assert {job.id: job.job_status for job in delta.changed} == {known[0]: 3, known[1]: 3, known[2]: 1}


def test_a_purged_history_leaves_jobs_gone(pool: CondorPool, make: Make) -> None:
    adapter = make()
    adapter.jobs()
    submit(adapter)
    (job,) = adapter.jobs().changed
    pool.clear()
    (pool.directory / "spool" / "history").write_text("")
    delta = adapter.jobs()
    assert (delta.changed, delta.gone) == ((), (job.id,))


def test_a_restarted_schedd_has_lost_nothing(pool: CondorPool, make: Make) -> None:
    adapter = make()
    submit(adapter, "queue 3")
    adapter.jobs()
    pool.signal("schedd", signal.SIGKILL)
    failures = 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            delta = adapter.jobs()
            if failures:
                break
        except BatchError:
            failures += 1
        time.sleep(0.1)
    assert failures
    assert (delta.changed, delta.gone, delta.complete) == ((), (), False)
    submit(adapter)
    assert len(adapter.jobs().changed) == 1


def test_an_edit_is_seen_by_the_whole_reading(pool: CondorPool) -> None:
    now = [time.time()]
    pool.clear()
    adapter = HTCondorBatch(Bindings(pool.environment, 15.0), Settings(RULES), lambda: now[0])
    try:
        (name,) = submit(adapter)
        adapter.jobs()
        pool.run("condor_prio", "-p", "7", name)
        now[0] += 61
        (job,) = adapter.jobs().changed
        assert job.priority == 7
    finally:
        adapter.close()


def test_a_stopped_schedd_costs_a_deadline_and_no_machine(pool: CondorPool, make: Make) -> None:
    adapter = make(Bindings(pool.environment, 2.0))
    submit(adapter)
    adapter.jobs()
    pool.signal("schedd", signal.SIGSTOP)
    try:
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(BatchError, match="The schedd gave no answer within 2 seconds."):
                adapter.jobs()
            assert time.monotonic() - started < 20
        assert adapter.machines() == []
    finally:
        pool.signal("schedd", signal.SIGCONT)
    assert (adapter.jobs().changed, adapter.jobs().gone) == ((), ())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"_CONDOR_SCHEDD_HOST": "nobody@lab.test"},
            "There is no schedd 'nobody@lab.test' at the collector 127.0.0.1:",
        ),
        ({"_CONDOR_COLLECTOR_HOST": "127.0.0.1:1"}, "The collector 127.0.0.1:1 does not answer (Connection refused)"),
        ({"_CONDOR_SEC_TOKEN_DIRECTORY": "/nowhere"}, "refuses us ("),
        ({"PYTHONPATH": "{broken}"}, "The HTCondor bindings cannot be imported (no such thing): mend them with pip"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    pool: CondorPool, make: Make, tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    (tmp_path / "htcondor2.py").write_text("raise ImportError('no such thing')")
    settings = {name: value.format(broken=tmp_path) for name, value in changes.items()}
    for name in list(settings):
        if name == "_CONDOR_SEC_TOKEN_DIRECTORY":
            settings["_CONDOR_SEC_TOKEN_SYSTEM_DIRECTORY"] = settings[name]
    adapter = make(Bindings(pool.environment | settings, 15.0))
    with pytest.raises(BatchError) as caught:
        adapter.jobs()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_commands_are_one_sentence(pool: CondorPool, make: Make) -> None:
    way = commands(pool)
    way._lines = replace(way._lines, query=["condor_q_is_not_here"])
    with pytest.raises(BatchError, match="condor_q_is_not_here is not here, and neither are the bindings: pip install"):
        make(way).jobs()


def test_commands_that_cannot_reach_the_schedd_never_mean_an_empty_queue(pool: CondorPool, make: Make) -> None:
    way = commands(pool)
    adapter = make(way)
    submit(adapter)
    adapter.jobs()
    way._environment["_CONDOR_SCHEDD_HOST"] = "nobody@lab.test"
    with pytest.raises(BatchError, match="condor_q failed with status 1"):
        adapter.jobs()


@pytest.mark.parametrize("by", ["bindings", "commands"])
def test_submitting_for_others_and_in_parts(pool: CondorPool, make: Make, tmp_path: Path, by: str) -> None:
    adapter = make(commands(pool) if by == "commands" else None)
    adapter.jobs()
    tmp_path.chmod(0o755)
    submit(adapter, "queue 2\narguments = 7\nqueue", owner="carol", initialdir=str(tmp_path))
    jobs = adapter.jobs().changed
    assert {(job.shape.user, job.spool_dir) for job in jobs} == {("carol", str(tmp_path))}
    assert len(jobs) == 3


@pytest.mark.parametrize("by", ["bindings", "commands"])
@pytest.mark.parametrize(
    ("text", "initialdir", "sentence"),
    [
        ("+VMMem = foo bar\nqueue", "/tmp", "HTCondor refuses the description: "),
        ("queue\nrequirements = ((\nqueue", "/tmp", "HTCondor refuses the description: "),
        ("queue", "/nowhere", "/nowhere"),
    ],
)
def test_what_htcondor_refuses_is_the_outcome_and_nothing_is_queued(
    make: Make, pool: CondorPool, by: str, text: str, initialdir: str, sentence: str
) -> None:
    adapter = make(commands(pool) if by == "commands" else None)
    adapter.jobs()
    payload = {"submit": f"executable = /bin/true\n{text}\n", "initialdir": initialdir, "owner": "alice"}
    (outcome,) = adapter.act([JobOrder(f"{time.monotonic_ns()}", "submit", payload=payload)])
    assert sentence in outcome.error
    assert pool.run("condor_q", "-allusers", "-af", "ClusterId").stdout.strip() == ""


def test_an_order_of_a_killed_engine_is_found_again(make: Make) -> None:
    token = f"wish {time.monotonic_ns()}"
    payload = {"submit": "executable = /bin/true\nqueue 2", "initialdir": "/tmp", "owner": "alice"}
    first, again = (make().act([JobOrder(token, "submit", payload=payload)])[0] for _ in range(2))
    assert again == first


def test_tokens_are_for_one_vm_and_expire() -> None:
    key = SigningKey("POOL", b"0123456789abcdef")
    assert key.derived("a").content != key.derived("b").content
    assert key.derived("a") == key.derived("a")
    assert key.token("condor@x", 1000, 60) != key.token("condor@x", 1000, 60)


@pytest.fixture
def cloud(pool: CondorPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """A local cloud whose VMs are startds of the pool; all are gone afterwards."""
    for name, value in vm_environment(pool).items():
        monkeypatch.setenv(name, value)
    made = LocalCloud("here", "installation", tmp_path, local_command())
    yield made
    made.destroy([vm.id for vm in made.vms()])


def boot(cloud: LocalCloud, adapter: HTCondorBatch, uid: str, vmtype: str = "x", user: str = "alice") -> VM:
    request = BootRequest(uid, uid, user, vmtype, memory=512, cpucores=2, join=adapter.join(uid, vmtype, user))
    (outcome,) = cloud.boot([request])
    assert outcome.error is None
    return VM(uid, "here", id=uid, user=user, vmtype=vmtype)


def job_of(adapter: HTCondorBatch, jobs: dict[str, Job]) -> dict[str, Job]:
    """Follow the queue."""
    delta = adapter.jobs()
    jobs.update({job.id: job for job in delta.changed})
    for job_id in delta.gone:
        jobs.pop(job_id)
    return jobs


@pytest.mark.parametrize("by", ["bindings", "commands"])
def test_a_vm_joins_runs_retires_and_leaves_nothing(pool: CondorPool, make: Make, cloud: LocalCloud, by: str) -> None:
    way = commands(pool) if by == "commands" else None
    adapter = make(way, collector=pool.collector, domain=DOMAIN, key=read_key(pool.key_file), forget_lost=True)
    vm = boot(cloud, adapter, f"vm-{by}")
    uid = vm.uid
    (joined,) = eventually(adapter.machines, "the VM joins")
    assert (joined.vm, joined.vmtype, joined.state, joined.slot_type) == (uid, "x", "Unclaimed", "Partitionable")
    assert joined.start_req == '(Owner == "alice")'
    text = 'arguments = 6\nshould_transfer_files = yes\nrequirements = VMType =?= "x"\nrequest_memory = 100\nqueue'
    submit(adapter, text.replace("queue", "request_cpus = 2\nqueue 2"))
    jobs: dict[str, Job] = {}
    running = eventually(
        lambda: [each for each in job_of(adapter, jobs).values() if each.job_status == JobStatus.RUNNING], "a job runs"
    )
    assert running[0].remote_host == f"slot1_1@{uid}.{DOMAIN}"
    slots = eventually(lambda: [each for each in adapter.machines() if each.global_job_id], "its slot names the job")
    assert (slots[0].vm, slots[0].state) == (uid, "Claimed")
    assert (slots[0].global_job_id, slots[0].remote_owner) == (running[0].id, f"alice@{DOMAIN}")
    for _ in range(2):
        assert [outcome.error for outcome in adapter.retire([vm])] == [""]
    eventually(lambda: job_of(adapter, jobs)[running[0].id].job_status == JobStatus.COMPLETE, "the job ends well")
    assert jobs[running[0].id].exit_code == 0
    eventually(lambda: not adapter.machines(), "the startd leaves")
    (waiting,) = [each for each in jobs.values() if each.id != running[0].id]
    assert waiting.job_status == JobStatus.IDLE
    adapter.machines()
    assert [outcome.error for outcome in cloud.destroy([uid])] == [None]
    adapter.lost([uid])
    assert not [name for name in pool.status("-master") if uid in name]


def test_a_vm_that_died_is_forgotten_at_once(pool: CondorPool, make: Make, cloud: LocalCloud) -> None:
    adapter = make(collector=pool.collector, domain=DOMAIN, key=read_key(pool.key_file), forget_lost=True)
    keeping = make(collector=pool.collector, domain=DOMAIN)
    uid = boot(cloud, adapter, "vm-dead").uid
    eventually(adapter.machines, "the VM joins")
    kill_vm(uid)
    assert pool.startds()
    keeping.lost([uid])
    assert keeping.machines() == []
    assert pool.startds()
    adapter.lost([uid])
    assert pool.startds() == []


def test_a_restarted_collector_hides_no_machine(pool: CondorPool, make: Make, cloud: LocalCloud) -> None:
    adapter = make(collector=pool.collector, domain=DOMAIN, key=read_key(pool.key_file))
    boot(cloud, adapter, "vm-stays")
    (before,) = eventually(adapter.machines, "the VM joins")
    pool.signal("collector", signal.SIGKILL)
    seen: list[list[str]] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (pool.startds() and len(seen) > 20):
        with suppress(BatchError):
            seen.append([machine.name for machine in adapter.machines()])
        time.sleep(0.1)
    assert seen
    assert [names for names in seen if names != [before.name]] == []


def slots_of(adapter: HTCondorBatch, uid: str) -> list[Machine]:
    """The VM's own slots: those of earlier tests stay in the collector until they expire."""
    return [each for each in adapter.machines() if each.vm == uid]


def working(adapter: HTCondorBatch, cloud: LocalCloud, uid: str) -> VM:
    """A VM that has joined and runs a job for as long as the test may last."""
    vm = boot(cloud, adapter, uid)
    submit(adapter, 'requirements = VMType =?= "x"\nrequest_memory = 100\nqueue')
    eventually(lambda: any(each.global_job_id for each in slots_of(adapter, uid)), "a job runs on the VM")
    return vm


@pytest.mark.parametrize("by", ["bindings", "commands"])
def test_a_vm_that_was_reset_takes_jobs_again(pool: CondorPool, make: Make, cloud: LocalCloud, by: str) -> None:
    way = commands(pool) if by == "commands" else None
    records: dict[str, VM] = {}
    adapter = make(way, vm=records.get, collector=pool.collector, domain=DOMAIN, key=read_key(pool.key_file))
    vm = working(adapter, cloud, f"vm-kept-{by}")
    records[vm.uid] = replace(vm, override_status="Retiring")
    eventually(lambda: any(each.retiring for each in slots_of(adapter, vm.uid)), "it drains as its record says")
    records[vm.uid] = vm
    eventually(lambda: not any(each.retiring for each in slots_of(adapter, vm.uid)), "the drain is cancelled")
    submit(adapter, 'requirements = VMType =?= "x"\nrequest_memory = 100\nqueue')
    eventually(lambda: len([each for each in slots_of(adapter, vm.uid) if each.global_job_id]) == 2, "both jobs run")


def test_a_drain_of_the_pools_administrator_is_his(pool: CondorPool, make: Make, cloud: LocalCloud) -> None:
    key, way = read_key(pool.key_file), Bindings(pool.environment, 15.0)
    records: dict[str, VM] = {}
    adapter = make(way, vm=records.get, collector=pool.collector, domain=DOMAIN, key=key)
    vm = working(adapter, cloud, "vm-his")
    slot = next(ad for ad in way.slots() if ad.get("state") and ad.get("cloudschedvm") == vm.uid)
    token = key.derived(vm.uid).token(f"cloudsched@{DOMAIN}", int(time.time()), 300)
    way.drain(slot, None, "kernel update", token)
    records[vm.uid] = vm
    eventually(lambda: any(each.retiring for each in slots_of(adapter, vm.uid)), "it drains")
    for _ in range(20):
        assert any(each.retiring for each in slots_of(adapter, vm.uid))
        time.sleep(0.1)


def test_nobody_but_us_may_drain_a_vm(pool: CondorPool, make: Make, cloud: LocalCloud) -> None:
    ours = make(collector=pool.collector, domain=DOMAIN, key=read_key(pool.key_file))
    vm = boot(cloud, ours, "vm-own")
    eventually(lambda: slots_of(ours, vm.uid), "the VM joins")
    stranger = make(collector=pool.collector, domain=DOMAIN, key=SigningKey("POOL", b"another key"))
    (outcome,) = stranger.retire([vm])
    assert outcome.error != ""
