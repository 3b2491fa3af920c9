"""Why a job waits: what the planner says of it, in sentences, over HTTP, and on a busy engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from golden_state import golden
from info_app import golden_client
from policy_world import DEFAULTS, SETTINGS, a_cloud, a_group, a_shape, a_slot, a_snapshot, a_vm
from wsgi import Client

from cloudsched.config.options import Global
from cloudsched.model.explanations import Explanation, Standing
from cloudsched.model.jobs import Job, JobStatus
from cloudsched.model.snapshot import Block, Snapshot
from cloudsched.policy.explain import explain
from cloudsched.policy.outlook import look
from cloudsched.render import explanation as render
from cloudsched.store import Store, jobs

SHAPE = a_shape()
JOB = Job("here#1.0#9", SHAPE, 1, 0, job_status=JobStatus.IDLE)


def explained(snapshot: Snapshot, job: Job = JOB, settings: Global = SETTINGS) -> Explanation:
    placement = look(snapshot, settings, DEFAULTS).placement
    assert placement is not None
    return explain(job, placement)


def counts(found: Explanation) -> tuple[int, int, int, int]:
    return found.waiting, found.served, found.booted, found.left


def text(found: Explanation | None, job: Job = JOB, reasons: tuple[str, ...] = ()) -> list[str]:
    return render.text(job, reasons, found).splitlines()


def test_jobs_are_told_apart_by_what_becomes_of_them() -> None:
    free, busy = a_vm("free"), a_vm("busy")
    snapshot = a_snapshot(
        [a_cloud(slots=4), a_cloud("cheetah", enabled=False)],
        [SHAPE],
        groups=(a_group(SHAPE, 5), a_group(SHAPE, 1, JobStatus.RUNNING)),
        vms=[free, busy],
        machines=(a_slot(free), a_slot(busy, busy=True)),
    )
    found = explained(snapshot)
    assert counts(found) == (5, 1, 2, 2)
    assert found.clouds == (
        Standing("mouse", "no VM slot left on mouse: 4 of 4 in use", lacks_room=True),
        Standing("cheetah", "cheetah is disabled"),
    )
    assert text(found) == [
        "Job here#1.0#9 of alice, VM type x: it waits, and has no VM.",
        "User alice has 2 VMs, 2 of VM type x.",
        "5 jobs like it wait: VMs that are up or starting take 1, VMs are booted now for 2, 2 get none:",
        "   mouse: no VM slot left on mouse: 4 of 4 in use",
        "   cheetah: cheetah is disabled",
    ]


@pytest.mark.parametrize(
    ("limits", "slots", "sentence"),
    [
        ({}, 1, "A VM is booted for it now."),
        ({"alice": 0}, 1, "It gets no VM: user alice has 0 VMs, the limit is 0."),
        ({}, 0, "It gets no VM:"),
    ],
)
def test_a_job_alone_is_spoken_of_alone(limits: dict[str, int], slots: int, sentence: str) -> None:
    snapshot = a_snapshot([a_cloud(slots=slots)], [SHAPE], groups=(a_group(SHAPE, 1),), user_limits=limits)
    found = explained(snapshot)
    assert text(found)[1:3] == ["User alice has no VMs.", sentence]


def test_a_starting_vm_is_for_the_job() -> None:
    snapshot = a_snapshot([a_cloud()], [SHAPE], groups=(a_group(SHAPE, 1),), vms=[a_vm("new", status="Starting")])
    found = explained(snapshot)
    assert counts(found) == (1, 1, 0, 0)
    assert text(found)[1:] == ["User alice has 1 VM, 1 of VM type x.", "A VM that is up or starting takes it."]


def test_room_that_is_kept_for_others_is_said() -> None:
    urgent = a_shape("bob", high_priority=1, req_memory=90_000)
    vm = a_vm("one", memory=50_000)
    snapshot = a_snapshot(
        [a_cloud()],
        [SHAPE, urgent],
        groups=(a_group(SHAPE, 1), a_group(urgent, 1)),
        vms=[vm],
        machines=(a_slot(vm, True),),
    )
    assert explained(snapshot).clouds == (Standing("mouse", "room on mouse is kept for high-priority jobs"),)


def test_a_cloud_without_a_reason_would_take_the_job() -> None:
    found = Explanation(2, 0, 1, "", (Standing("full", "no room", True), Standing("free"), Standing("odd", "no")), 0, 0)
    assert text(found)[-3:] == ["   free: would take it", "   full: no room", "   odd: no"]


def test_no_cloud_at_all_is_said() -> None:
    found = explained(a_snapshot([], [SHAPE], groups=(a_group(SHAPE, 1),)))
    assert text(found)[-1] == "It gets no VM: no cloud is configured."


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"job_status": JobStatus.RUNNING, "running_cloud": "mouse", "remote_host": "s@h"}, "it runs on mouse, s@h."),
        ({"job_status": JobStatus.HELD, "hold_reason": "disk full"}, "it is held: disk full"),
        ({"job_status": JobStatus.REMOVED}, "it was removed."),
        ({"job_status": JobStatus.COMPLETE, "exit_code": 3}, "it has ended with exit code 3."),
        ({"job_status": JobStatus.ERROR}, "it could not be submitted."),
        ({"job_status": 9}, "it has the status 9."),
        ({"problem": "VMCPUCores is 'many'"}, "its attributes are wrong: VMCPUCores is 'many'"),
        ({"status": "Scheduled"}, "it waits, and a VM has been found for it."),
        ({"banned": True}, "it waits, and is left alone for a while after its boots failed."),
    ],
)
def test_a_job_says_how_it_stands(fields: dict[str, Any], state: str) -> None:
    job = replace(JOB, **fields)
    assert text(None, job, ("a boot failed",)) == [
        f"Job here#1.0#9 of alice, VM type x: {state}",
        "   a boot failed",
    ]
    assert render.waits(job) == ("VM has been found" in state)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    client, store = golden_client(tmp_path)
    yield client, store
    store.close()


def test_an_explanation_is_served_in_both_forms(served: tuple[Client, Store]) -> None:
    client, _ = served
    waiting = next(job for job in golden().jobs if render.waits(job))
    found = client.get(f"/jobs/{waiting.id}/explain.json").json
    assert (found["id"], found["waiting"]["like_it"] >= 1) == (waiting.id, True)
    assert {each["name"] for each in found["waiting"]["clouds"]} or found["waiting"]["limit"]
    assert client.get(f"/jobs/{waiting.id}/explain", headers={"Accept": "application/json"}).json == found
    assert found["waiting"]["summary"] in client.get(f"/jobs/{waiting.cluster_id}.{waiting.proc_id}/explain").text


def test_what_there_is_not_is_404_and_what_is_unknown_400(served: tuple[Client, Store]) -> None:
    client, _ = served
    assert (client.get("/jobs/9.9/explain").status_int, client.get("/jobs/9.9/explain").text) == (404, "Job not found.")
    assert client.get("/jobs/9.9/explain.json").json["code"] == "not-found"
    assert client.get("/jobs/job-7/explain?why=1").status_int == 400


def test_blocks_of_a_shape_are_part_of_the_answer(served: tuple[Client, Store]) -> None:
    client, store = served
    waiting = next(job for job in golden().jobs if job.id == "job-7")
    with store.writing() as writing:
        jobs.record_block(writing, Block(waiting.shape.key, "mouse", 2**40, "mouse: the image is gone"), 1)
    found = client.get("/jobs/job-7/explain.json").json
    assert {"name": "mouse", "reason": "mouse: the image is gone", "lacks_room": False} in found["waiting"]["clouds"]
