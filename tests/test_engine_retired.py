"""A VM that a job has come to since its slots were asked for: whatever retires it, the job finishes and runs once."""

from __future__ import annotations

import threading

import pytest
from engine_bench import RUN_SECONDS, World

from cloudsched.model.jobs import JobStatus, Machine
from cloudsched.model.vms import is_retiring
from cloudsched.model.wishes import Aspect
from cloudsched.store import Store, verbs, wishes

BY = wishes.By("tester")
DEADLINE_SECONDS = 300.0


@pytest.mark.parametrize("by_a_verb", [True, False], ids=["retired", "beyond the allowance"])
def test_a_job_that_no_report_of_slots_shows_is_left_to_finish(store: Store, by_a_verb: bool) -> None:
    world = World(store, poll_limit_seconds=DEADLINE_SECONDS)
    answer, told = threading.Event(), world.batch.machines

    def slots() -> list[Machine]:
        if answer.is_set():
            return told()
        assert answer.wait(DEADLINE_SECONDS)
        return []

    world.batch.machines = slots
    world.cloud()
    world.submit()
    built = world.build()
    built.until(lambda: world.jobs(JobStatus.RUNNING), "the job runs")
    (began,) = world.jobs()
    if by_a_verb:
        verbs.wish_vm(store, BY, "mouse", world.vm().uid, Aspect.RETIRE)
    else:
        verbs.wish_vm_slots(store, BY, "mouse", 0)
    built.until(lambda: world.settled() and (is_retiring(world.vm()) or not by_a_verb), "the verb is done")
    answer.set()
    built.until(lambda: built.engine.snapshot().machines, "the slot of the running job is on record")
    built.until(lambda: is_retiring(world.vm()), "the VM retires")
    world.clock += RUN_SECONDS
    built.until(lambda: not world.vms(), "the VM has gone")
    (ended,) = world.jobs()
    assert (ended.job_status, ended.jobstarttime) == (JobStatus.COMPLETE, began.jobstarttime)
