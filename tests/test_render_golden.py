"""Texts and documents against the recorded answers of the original, from values, without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from golden_state import NOW, answers, golden

from cloudsched.render import clouds, documents, failures, heartbeats, jobs, verbs, vms
from cloudsched.render.fleet import CloudVMs, Fleet, fleet

GOLDEN = golden()
FLEET = fleet(GOLDEN.clouds, GOLDEN.vms)
JOBS = {job.id: job for job in GOLDEN.jobs}


def _cloud(name: str) -> CloudVMs:
    found = FLEET.find(name)
    assert found is not None
    return found


def _info(cloud: str, vm_id: str) -> str:
    found = _cloud(cloud).vm(vm_id)
    assert found is not None
    return vms.info(vm_id, found)


SAME_TEXT: dict[str, Callable[[], str]] = {
    "002-cloud": lambda: clouds.overview(FLEET),
    "003-cloud_config": lambda: clouds.configuration(GOLDEN.sections),
    "004-clusters": lambda: clouds.clusters(FLEET),
    "012-thread_heart_beats": lambda: heartbeats.heartbeats(GOLDEN.heartbeats, NOW),
    "013-vms": lambda: vms.table(FLEET),
    "015-vms_metric_all": lambda: vms.condensed(FLEET.vms),
    "016-vms_metric_job_run_times": lambda: vms.job_run_times(FLEET.vms),
    "017-vms_metric_missing": lambda: vms.missing(GOLDEN.machines),
    "018-vms_metric_startup_time": lambda: vms.startup_times(FLEET.active),
    "027-clusters_mouse": lambda: clouds.cluster_info("mouse", _cloud("mouse")),
    "030-clusters_mouse_vms_metric_all": lambda: vms.condensed(_cloud("mouse").vms),
    "035-clusters_cheetah": lambda: clouds.cluster_info("cheetah", _cloud("cheetah")),
    "051-clusters_mouse_vms_testvm": lambda: _info("mouse", "testvm"),
    "055-clusters_cheetah_vms_sir_abcd1234": lambda: _info("cheetah", "sir-abcd1234"),
    "057-clusters_cheetah_vms_sir_00000002": lambda: _info("cheetah", "sir-00000002"),
    "069-jobs_job_6": lambda: jobs.table([JOBS["job-6"]]),
    "075-jobs_job_9": lambda: jobs.table([JOBS["job-9"]]),
    "096-clusters_nosuch": lambda: clouds.no_cluster_info("nosuch"),
    "099-clusters_nosuch_vms_metric_total": lambda: clouds.no_cluster("nosuch"),
    "100-clusters_nosuch_vms_metric_all": lambda: vms.no_condensed("nosuch"),
    "101-clusters_nosuch_vms_testvm": lambda: vms.no_info("testvm", "nosuch"),
    "104-clusters_mouse_vms_nosuch": lambda: vms.no_info("nosuch"),
    "114-jobs_nosuch": lambda: jobs.NO_JOB,
    "144-admin_user_limits": lambda: verbs.python2_mapping(GOLDEN.user_limits),
    "145-admin_cloud_aliases": lambda: verbs.python2_mapping(GOLDEN.cloud_aliases),
}


@pytest.mark.parametrize("recording", SAME_TEXT)
def test_text_is_byte_identical(recording: str) -> None:
    assert SAME_TEXT[recording]() == answers()[recording]["body"]


# Python 2 listed these in hash order.
SAME_LINES: dict[str, Callable[[], str]] = {
    "008-failures_boot": lambda: failures.boot(GOLDEN.jobs, {}),
    "009-failures_image": lambda: failures.image(GOLDEN.clouds),
} | {
    f"0{number}-jobs_state_{word}": lambda word=word: jobs.table(filter(jobs.QUEUES[word], GOLDEN.jobs))  # type: ignore[misc]
    for number, word in enumerate(("complete", "held", "high", "idle", "new", "running", "sched"), start=20)
}


@pytest.mark.parametrize("recording", SAME_LINES)
def test_listing_has_the_same_lines(recording: str) -> None:
    ours, theirs = SAME_LINES[recording](), answers()[recording]["body"]
    assert sorted(ours.splitlines(keepends=True)) == sorted(theirs.splitlines(keepends=True))
    assert ours.splitlines()[0] == theirs.splitlines()[0]


def _contains(ours: Any, theirs: Any) -> None:
    """Assert that `ours` has all of `theirs` with the same types; ours may have more keys."""
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            assert key in ours, key
            _contains(ours[key], value)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            _contains(our, their)
    else:
        assert (type(ours), ours) == (type(theirs), theirs)


def test_pool_document_has_every_key_of_v1() -> None:
    _contains(json.loads(documents.pool(FLEET)), json.loads(answers()["005-clusters_json"]["body"]))


def test_cloud_documents_have_tenant_only_where_v1_had_it() -> None:
    keys = {each.cloud.name: json.loads(documents.cloud(each)).keys() for each in FLEET.active}
    assert [name for name, found in keys.items() if "tenant" in found] == ["mouse"]


@pytest.mark.parametrize("job_id", [job_id for job_id in JOBS if job_id.startswith("job-")])
def test_job_document_has_every_key_of_v1(job_id: str) -> None:
    recording = next(each for each in answers().values() if each["url"] == f"/jobs/{job_id}.json")
    _contains(json.loads(documents.encode(documents.job(JOBS[job_id], {}))), json.loads(recording["body"]))


def test_job_pool_is_encoded_twice_for_the_old_url() -> None:
    theirs = json.loads(answers()["011-job_pool_json"]["body"])
    ours = json.loads(documents.encode(documents.job_pool_encoded_twice(GOLDEN.jobs, {})))
    once = json.loads(documents.encode(documents.job_pool(GOLDEN.jobs, {})))
    assert ours.keys() == theirs.keys()
    for queue in theirs:
        decoded = {job["id"]: job for job in map(json.loads, ours[queue])}
        assert decoded == {job["id"]: job for job in once[queue]}
        _contains(decoded, {job["id"]: job for job in map(json.loads, theirs[queue])})


def test_ips_are_those_that_can_be_reached_from_outside() -> None:
    """v1 skipped 142.104.110.7 and 54.10.20.30, which only contain `10.`, and listed a host without address (B-29)."""
    recorded = set(answers()["010-ips"]["body"].removesuffix("\n").split("\n["))
    ours = set(vms.ips(FLEET.vms).removesuffix("\n").split("\n["))
    assert recorded - ours == {"]\n\taddress "}
    assert ours - recorded == {
        "mouse--3f8a-0004]\n\taddress 142.104.110.7",
        "ec2-54-10-20-30.compute.example.com]\n\taddress 54.10.20.30",
    }


def test_empty_pool_reads_as_in_v1() -> None:
    empty = Fleet()
    assert clouds.overview(empty).endswith(" \nPool is empty...")
    assert clouds.clusters(empty) == "Clusters in resource pool:\n"
    assert vms.table(empty).endswith("CLUSTER                \n\nTotal VMs: 0. Total Clouds: 0")
    assert vms.condensed([]) == vms.startup_times([]) == vms.ips([]) == ""
    assert vms.missing([]).count("\n") == failures.boot([], {}).count("\n") == failures.image([]).count("\n") == 1
    assert json.loads(documents.pool(empty))["resources"] == []
