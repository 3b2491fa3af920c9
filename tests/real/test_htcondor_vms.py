"""VMs of a real pool through the adapter: how they join, work, retire, die and come back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudsched import processes
from cloudsched.batch.htcondor import HTCondorBatch
from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.batch.htcondor_tokens import SigningKey, read_key
from cloudsched.clouds.local import LocalCloud
from cloudsched.errors import BatchError
from cloudsched.model.clouds import BootRequest
from cloudsched.model.jobs import Job, JobStatus, Machine
from cloudsched.model.vms import VM
from tests.real.condor import (
    DOMAIN,
    CondorPool,
    commands,
    eventually,
    kill_vm,
    local_command,
    startd_of,
    vm_environment,
)
from tests.real.condor_adapters import Make, joining, submit

pytest.importorskip("htcondor2")
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("htcondor")]


@pytest.fixture
def cloud(pool: CondorPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """A local cloud whose VMs are startds of the pool; all are gone afterwards."""
    for name, value in vm_environment(pool).items():
        monkeypatch.setenv(name, value)
    made = LocalCloud("here", "installation", tmp_path, local_command())
    yield made
    made.destroy([vm.id for vm in made.vms()])
    pool.forget_vms()


def boot(cloud: LocalCloud, adapter: HTCondorBatch, uid: str) -> VM:
    """A VM of a type of its own, so that no other VM takes the jobs that are meant for it."""
    request = BootRequest(uid, uid, "alice", uid, memory=512, cpucores=2, join=adapter.join(uid, uid, "alice"))
    (outcome,) = cloud.boot([request])
    assert outcome.error is None
    return VM(uid, "here", id=uid, user="alice", vmtype=uid)


def slots_of(adapter: HTCondorBatch, uid: str) -> list[Machine]:
    """The VM's own slots: others may be in the collector too."""
    return [each for each in adapter.machines() if each.vm == uid]


def told_of(pool: CondorPool, uid: str) -> list[str]:
    """What the collector says of a VM."""
    return [name for name in (*pool.startds(), *pool.status("-master")) if f"{uid}.{DOMAIN}" in name]


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
    adapter = make(way, **joining(pool), forget_lost=True)
    vm = boot(cloud, adapter, f"vm-{by}")
    uid = vm.uid
    (joined,) = eventually(lambda: slots_of(adapter, uid), "the VM joins")
    assert (joined.vm, joined.vmtype, joined.state, joined.slot_type) == (uid, uid, "Unclaimed", "Partitionable")
    assert joined.start_req == '(Owner == "alice")'
    text = f'arguments = 6\nshould_transfer_files = yes\nrequirements = VMType =?= "{uid}"\nrequest_memory = 100\n'
    submit(adapter, f"{text}request_cpus = 2\nqueue 2")
    jobs: dict[str, Job] = {}
    running = eventually(
        lambda: [each for each in job_of(adapter, jobs).values() if each.job_status == JobStatus.RUNNING], "a job runs"
    )
    assert running[0].remote_host == f"slot1_1@{uid}.{DOMAIN}"
    slots = eventually(
        lambda: [each for each in slots_of(adapter, uid) if each.global_job_id], "its slot names the job"
    )
    assert slots[0].state == "Claimed"
    assert (slots[0].global_job_id, slots[0].remote_owner) == (running[0].id, f"alice@{DOMAIN}")
    for _ in range(2):
        assert [outcome.error for outcome in adapter.retire([vm])] == [""]
    eventually(lambda: job_of(adapter, jobs)[running[0].id].job_status == JobStatus.COMPLETE, "the job ends well")
    assert jobs[running[0].id].exit_code == 0
    eventually(lambda: not slots_of(adapter, uid), "the startd leaves")
    (waiting,) = [each for each in jobs.values() if each.id != running[0].id]
    assert waiting.job_status == JobStatus.IDLE
    adapter.machines()
    assert [outcome.error for outcome in cloud.destroy([uid])] == [None]
    adapter.lost([uid])
    assert told_of(pool, uid) == []


def test_a_vm_that_died_is_forgotten_at_once(pool: CondorPool, make: Make, cloud: LocalCloud) -> None:
    adapter = make(**joining(pool), forget_lost=True)
    keeping = make(collector=pool.collector, domain=DOMAIN)
    uid = boot(cloud, adapter, "vm-dead").uid
    eventually(lambda: slots_of(adapter, uid), "the VM joins")
    kill_vm(uid)
    assert told_of(pool, uid)
    keeping.lost([uid])
    assert slots_of(keeping, uid) == []
    assert told_of(pool, uid)
    adapter.lost([uid])
    assert told_of(pool, uid) == []


def test_a_restarted_collector_hides_no_machine(pool: CondorPool, make: Make, cloud: LocalCloud) -> None:
    adapter = make(**joining(pool))
    uid = boot(cloud, adapter, "vm-stays").uid
    (before,) = eventually(lambda: slots_of(adapter, uid), "the VM joins")
    pool.signal("collector", signal.SIGKILL)
    seen: list[list[str]] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (told_of(pool, uid) and len(seen) > 20):
        with suppress(BatchError):
            seen.append([machine.name for machine in slots_of(adapter, uid)])
        time.sleep(0.1)
    assert seen
    assert [names for names in seen if names != [before.name]] == []


def working(adapter: HTCondorBatch, cloud: LocalCloud, uid: str) -> VM:
    """A VM that has joined and runs a job for as long as the test may last."""
    vm = boot(cloud, adapter, uid)
    works(adapter, uid)
    return vm


def works(adapter: HTCondorBatch, uid: str, jobs: int = 1) -> None:
    """The VM takes a job more, and runs so many then."""
    submit(adapter, f'requirements = VMType =?= "{uid}"\nrequest_memory = 100\nqueue')
    eventually(lambda: len([each for each in slots_of(adapter, uid) if each.global_job_id]) == jobs, "the VM works")


@pytest.mark.parametrize("by", ["bindings", "commands"])
def test_a_startd_that_dies_while_it_drains_leaves_all_the_same(
    pool: CondorPool, make: Make, cloud: LocalCloud, by: str
) -> None:
    way = commands(pool) if by == "commands" else None
    records: dict[str, VM] = {}
    adapter = make(way, vm=records.get, **joining(pool))
    vm = working(adapter, cloud, f"vm-dies-{by}")
    records[vm.uid] = replace(vm, override_status="Retiring")
    eventually(lambda: any(each.retiring for each in slots_of(adapter, vm.uid)), "it drains")
    (first,) = startd_of(vm.uid)
    processes.send(first, signal.SIGKILL)
    eventually(lambda: [each for each in startd_of(vm.uid) if each != first], "its master starts another")
    eventually(lambda: not slots_of(adapter, vm.uid), "that one leaves too")
    assert told_of(pool, vm.uid), "of the first the collector still tells"


@pytest.mark.parametrize("by", ["bindings", "commands"])
def test_a_vm_that_was_reset_takes_jobs_again(pool: CondorPool, make: Make, cloud: LocalCloud, by: str) -> None:
    way = commands(pool) if by == "commands" else None
    records: dict[str, VM] = {}
    adapter = make(way, vm=records.get, **joining(pool))
    vm = working(adapter, cloud, f"vm-kept-{by}")
    records[vm.uid] = replace(vm, override_status="Retiring")
    eventually(lambda: any(each.retiring for each in slots_of(adapter, vm.uid)), "it drains as its record says")
    records[vm.uid] = vm
    eventually(lambda: not any(each.retiring for each in slots_of(adapter, vm.uid)), "the drain is cancelled")
    works(adapter, vm.uid, jobs=2)


@pytest.mark.parametrize("by", ["bindings", "commands"])
def test_a_vm_whose_startd_has_left_already_takes_jobs_again(
    pool: CondorPool, make: Make, cloud: LocalCloud, by: str
) -> None:
    way = commands(pool) if by == "commands" else None
    records: dict[str, VM] = {}
    adapter = make(way, vm=records.get, **joining(pool))
    vm = boot(cloud, adapter, f"vm-back-{by}")
    eventually(lambda: slots_of(adapter, vm.uid), "the VM joins")
    eventually(lambda: [name for name in pool.status("-master") if vm.uid in name], "its master is known")
    (outcome,) = adapter.retire([vm])
    assert outcome.error == ""
    eventually(lambda: not [name for name in pool.startds() if vm.uid in name], "the idle startd leaves")
    records[vm.uid] = vm
    eventually(lambda: slots_of(adapter, vm.uid), "its master starts it again")
    works(adapter, vm.uid)


def test_a_drain_of_the_pools_administrator_is_his(pool: CondorPool, make: Make, cloud: LocalCloud) -> None:
    key, way = read_key(pool.key_file), Bindings(pool.environment, 15.0)
    records: dict[str, VM] = {}
    adapter = make(way, vm=records.get, **joining(pool))
    vm = working(adapter, cloud, "vm-his")
    slot = next(ad for ad in way.slots() if ad.get("state") and ad.get("cloudschedvm") == vm.uid)
    token = key.derived(vm.uid).token(f"cloudsched@{DOMAIN}", int(time.time()), 300)
    way.drain(slot, None, "kernel update", token)
    records[vm.uid] = vm
    eventually(lambda: any(each.retiring for each in slots_of(adapter, vm.uid)), "it drains")
    for _ in range(20):
        assert any(each.retiring for each in slots_of(adapter, vm.uid))
        time.sleep(0.1)


def stands_for(key: SigningKey) -> Callable[[], SigningKey]:
    return lambda: key


def test_nobody_but_us_may_drain_a_vm(pool: CondorPool, make: Make, cloud: LocalCloud) -> None:
    ours = make(**joining(pool))
    vm = boot(cloud, ours, "vm-own")
    eventually(lambda: slots_of(ours, vm.uid), "the VM joins")
    stranger = make(collector=pool.collector, domain=DOMAIN, key=stands_for(SigningKey("POOL", b"another key")))
    (outcome,) = stranger.retire([vm])
    assert outcome.error != ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),
        ({"key": lambda: None}, ""),
        (
            {"vm_identity": "vm"},
            f"The collector does not let vm@{DOMAIN}, as whom VMs join, advertise: put it into the pool's "
            "ALLOW_ADVERTISE_STARTD and ALLOW_ADVERTISE_MASTER, or set condor_vm_identity.",
        ),
        (
            {"key": stands_for(SigningKey("POOL", b"another pool's"))},
            f"The collector takes no token for condor@{DOMAIN} that is signed with condor_signing_key, so no VM can "
            "join: copy the pool's own key there under its own name, and check condor_trust_domain.",
        ),
        (
            {"domain": "other.test"},
            "The collector takes no token for condor@other.test that is signed with condor_signing_key, so no VM can "
            "join: copy the pool's own key there under its own name, and check condor_trust_domain.",
        ),
        (
            {"key": lambda: read_key(Path("/nowhere/POOL"))},
            "No VM can be given a token, so none is booted: The signing key /nowhere/POOL (condor_signing_key) cannot "
            "be read: No such file or directory.",
        ),
    ],
    ids=["right", "none", "identity", "key", "domain", "unreadable"],
)
@pytest.mark.parametrize("by", ["bindings", "commands"])
def test_why_no_vm_can_join_is_one_sentence(
    pool: CondorPool, make: Make, changes: dict[str, Any], sentence: str, by: str
) -> None:
    adapter = make(commands(pool) if by == "commands" else None, **joining(pool) | changes)
    for _ in range(2):
        assert adapter.trouble() == sentence
        adapter.machines()


def test_what_may_be_wrong_with_vms_tokens_is_not_guessed(pool: CondorPool, make: Make) -> None:
    for changes in ({"remote": ("ssh", "central")}, {"ping": ("condor_ping_is_not_here",)}):
        way = commands(pool)
        way._lines = replace(way._lines, **changes)
        assert make(way, **joining(pool) | {"vm_identity": "vm"}).trouble() == ""
    unreachable = Bindings(pool.environment | {"_CONDOR_COLLECTOR_HOST": "127.0.0.1:1"}, 15.0)
    with pytest.raises(BatchError, match="The collector 127.0.0.1:1 does not answer"):
        make(unreachable, **joining(pool)).trouble()


def test_a_vm_that_could_not_join_is_not_booted(make: Make) -> None:
    with pytest.raises(BatchError, match="The signing key /nowhere/POOL .* cannot be read"):
        make(key=lambda: read_key(Path("/nowhere/POOL"))).join("vm-1", "x", "alice")
