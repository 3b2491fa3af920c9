"""Dry runs tell exactly what would happen and do nothing; the guard asks for a confirmation of just that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import golden_state
import pytest
from admin_bench import JSON, Bench, bench
from contract import contract
from sqlalchemy import func, select

from cloudsched.model.jobs import Job, JobStatus, Machine, Shape
from cloudsched.model.vms import is_leaving
from cloudsched.store import clouds, jobs, machines, tables, vms

NOW = 2_000_000_000
VERBS = [
    ("PUT", "/", {"log_level": "DEBUG"}),
    ("POST", "/", {"action": "quick_shutdown"}),
    ("POST", "/", {"action": "reconfig"}),
    ("PUT", "/settings", {"quick_exit": "true"}),
    ("PUT", "/clouds/mouse", {"action": "disable"}),
    ("PUT", "/clouds/mouse", {"allocations": "2"}),
    ("PUT", "/clouds/mouse/vms", {"action": "shutdown"}),
    ("PUT", "/clouds/mouse/vms", {"action": "shutdown", "retain": "1"}),
    ("POST", "/clouds/mouse/vms", {"action": "force_retire"}),
    ("DELETE", "/clouds/mouse/vms", {}),
    ("PUT", "/clouds/mouse/vms/testvm", {"action": "reset_override_state"}),
    ("POST", "/clouds/mouse/vms/testvm", {"action": "force_retire"}),
    ("DELETE", "/clouds/mouse/vms/testvm", {}),
    ("PUT", "/jobs/{job}", {"action": "hold"}),
    ("DELETE", "/jobs/{job}", {}),
    ("POST", "/users/{user}", {"refresh": "job_proxy"}),
    ("POST", "/user-limits", {}),
    ("POST", "/cloud-aliases", {}),
    ("POST", "/jobs", {"submit": "executable = /bin/true\nqueue", "initialdir": "/tmp"}),
    ("POST", "/tokens", {"role": "reader"}),
    ("DELETE", "/tokens/{token}", {}),
    ("PATCH", "/clouds/lynx", {"vm_slots": "5"}),
    ("DELETE", "/clouds/lynx", {}),
    ("POST", "/operations/{operation}/undo", {}),
]
"""Every verb of the contract, in one form at least; to define a cloud anew is in test_admin_definitions.py."""


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, guard_vms=2, admin_auth="token") as made:
        yield made


def ask(admin: Bench, method: str, url: str, given: dict[str, str], **headers: str) -> Any:
    """The JSON answer to a verb; a parameter that is there twice is none of ours."""
    body: dict[str, Any] = {"POST": given} if method in ("PUT", "POST") else {}
    if method == "PATCH":
        # Its body is a document, so what it shares with all verbs is in the query.
        shared = {name: given[name] for name in ("dry_run", "reason") if name in given}
        body = {"body": json.dumps({name: value for name, value in given.items() if name not in shared}).encode()}
        given, headers = shared, {**headers, "Content-Type": "application/json"}
    query = f"?{urlencode(given)}" if given and "POST" not in body else ""
    return admin.client.request(url + query, method=method, headers={**JSON, **headers}, **body)


def running(admin: Bench, vm: str, *ids: str, cores: int = 2) -> None:
    """Have jobs of alice run on a VM, for an hour and a half by now."""
    with admin.store.writing() as writing:
        kept = machines.all_machines(writing.connection)
        new = [Machine(f"slot{n}@{vm}", vm, vm=vm, job_id=f"{i}.0", global_job_id=i) for n, i in enumerate(ids, 1)]
        machines.record_machines(writing, [*kept, *new])
        shape = Shape("alice", req_cpucores=cores)
        started = [
            Job(each, shape, 100 + n, job_status=JobStatus.RUNNING, jobstarttime=1) for n, each in enumerate(ids)
        ]
        jobs.record_jobs(writing, started)


def rows(admin: Bench) -> dict[str, int]:
    """How many rows each table has, and the state's index."""
    with admin.store.reading() as connection:
        found = {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in tables.metadata.tables.items()
        }
    return {**found, "index": admin.store.state().index}


def test_verbs_are_those_of_the_contract() -> None:
    held = contract("admin")
    declared = {
        f"{method.upper()} {path}"
        for method, path, operation in held.operations()
        if "dry_run" in held.parameters(operation)
    }
    assert {f"{method} {held._template(url)}" for method, url, _ in VERBS} == declared


def test_dry_run_of_every_verb_answers_200_and_changes_nothing(admin: Bench) -> None:
    with admin.store.reading() as connection:
        job = jobs.all_jobs(connection)[0]
    names = {"job": job.id.replace("#", "%23"), "user": job.shape.user}
    names["token"] = ask(admin, "POST", "/tokens", {"role": "reader"}).json["id"]
    names["operation"] = ask(admin, "PUT", "/clouds/cheetah", {"allocations": "7"}).json["id"]
    lynx = json.dumps({"cloud_type": "local", "vm_slots": 3})
    assert admin.client.put("/clouds/lynx", lynx, content_type="application/json").status_int == 201
    with admin.store.writing() as writing:
        clouds.record_fields(writing, "cheetah", {"vm_slots": 7})
    admin.seen.clear()
    before, key = rows(admin), {"Idempotency-Key": "k"}
    for method, template, given in VERBS:
        url = template.format_map(names)
        answer = ask(admin, method, url, {**given, "dry_run": "true"}, **key)
        assert (answer.status_int, rows(admin), admin.seen) == (200, before, []), (method, url)
        assert answer.json["targets"] != []
        again = ask(admin, method, url, {**given, "dry_run": "true"}, **key).json
        assert (again["preview"], again["vms"]) == (answer.json["preview"], answer.json["vms"])


def test_preview_names_vms_jobs_and_what_is_lost(admin: Bench) -> None:
    running(admin, "vm-mouse-1", "host#100.0#1", "host#101.0#1")
    running(admin, "vm-mouse-2", "host#102.0#1")
    found = ask(admin, "PUT", "/clouds/mouse/vms", {"action": "shutdown", "count": "2", "dry_run": "true"}).json
    assert [(each["uid"], each["fate"]) for each in found["vms"]] == [("vm-mouse-1", "ended"), ("vm-mouse-2", "ended")]
    assert [(each["id"], each["vm"], each["cores"], each["lost"]) for each in found["jobs"]] == [
        ("host#100.0#1", "vm-mouse-1", 2, True),
        ("host#102.0#1", "vm-mouse-2", 2, True),
        ("host#101.0#1", "vm-mouse-1", 2, True),
    ]
    assert (found["vms_hit"], found["jobs_hit"], found["jobs_lost"]) == (2, 3, 3)
    worked = sum(each["seconds"] * each["cores"] for each in found["jobs"]) / 3600
    assert found["core_hours_lost"] == pytest.approx(worked, abs=0.001)
    assert worked > 1000
    assert found["targets"][0]["changes"] == {"status": {"before": "Running", "after": None}}


def test_retiring_loses_nothing(admin: Bench) -> None:
    running(admin, "vm-mouse-1", "host#100.0#1")
    found = ask(admin, "POST", "/clouds/mouse/vms", {"action": "force_retire", "dry_run": "true"}).json
    assert {each["fate"] for each in found["vms"]} == {"drained"}
    assert (found["jobs_hit"], found["jobs_lost"], found["core_hours_lost"]) == (1, 0, 0.0)


def test_job_that_only_the_batch_system_s_jobs_tell_of_counts(admin: Bench) -> None:
    with admin.store.writing() as writing:
        machines.record_machines(writing, [Machine("slot1@m", "m", vm="vm-mouse-1")])
        job = Job("host#7.0#1", Shape("alice"), 7, job_status=JobStatus.RUNNING, remote_host="slot1@m")
        jobs.record_jobs(writing, [job])
    found = ask(admin, "PUT", "/clouds/mouse/vms", {"action": "shutdown", "count": "1", "dry_run": "true"}).json
    assert [each["number"] for each in found["jobs"]] == ["7.0"]


def test_smaller_quota_tells_which_vms_would_drain(admin: Bench) -> None:
    with admin.store.writing() as writing:
        clouds.record_fields(writing, "mouse", {"memory_mb": 10**6, "storage_gb": 10**6})
        there = [vm for vm in vms.of_cloud(writing.connection, "mouse") if not is_leaving(vm)]
    found = ask(admin, "PUT", "/clouds/mouse", {"allocations": "2", "dry_run": "true"}).json
    healthy = [vm.uid for vm in there if vm.status != "Error"]
    assert {each["uid"] for each in found["vms"]} == {vm.uid for vm in there} - set(healthy[:2])
    assert {each["fate"] for each in found["vms"]} == {"drained"}
    assert found["targets"][0]["changes"]["vm_slots"]["after"] == 2


def test_holding_a_running_job_loses_its_work_and_hits_no_vm(admin: Bench) -> None:
    running(admin, "vm-mouse-1", "host#100.0#1")
    found = ask(admin, "PUT", "/jobs/host%23100.0%231", {"action": "hold", "dry_run": "true"}).json
    assert (found["vms_hit"], found["jobs_lost"]) == (0, 1)
    assert found["targets"][0]["changes"] == {"job_status": {"before": 2, "after": 5}}


def test_unusable_cloud_is_told_beforehand(admin: Bench) -> None:
    with admin.store.writing() as writing:
        clouds.record_fields(writing, "mouse", {"unusable": "There is no such kind."})
    found = ask(admin, "PUT", "/clouds/mouse", {"action": "enable", "dry_run": "true"}).json
    assert found["targets"][0]["problem"] == "Cloud 'mouse' cannot be used: There is no such kind."


def test_quota_that_is_so_already_changes_nothing(admin: Bench) -> None:
    slots = next(each for each in golden_state.golden().clouds if each.name == "mouse").vm_slots
    found = ask(admin, "PUT", "/clouds/mouse", {"allocations": str(slots), "dry_run": "true"}).json
    assert (found["targets"], found["vms_hit"]) == ([], 0)


def test_dry_run_refuses_what_the_verb_would_refuse(admin: Bench) -> None:
    assert ask(admin, "PUT", "/clouds/nope", {"action": "enable", "dry_run": "true"}).status_int == 404
    assert ask(admin, "PUT", "/clouds/mouse", {"action": "enable", "dry_run": "yes"}).json["parameters"] == ["dry_run"]


def test_preview_as_text_is_for_people(admin: Bench) -> None:
    running(admin, "vm-mouse-1", "host#100.0#1")
    text = admin.client.put("/clouds/mouse/vms?action=shutdown&count=1&dry_run=true").text.splitlines()
    assert text[0].startswith("shutdown would hit 1 VM(s) (1 ended) and 1 running job(s); 1 of those lost, with ")
    assert text[1] == "vm a1b2c3d4-0000-4000-8000-000000000001: shutdown; status: Running -> null"
    assert text[2].endswith("on mouse, Running: ended")
    assert text[3].startswith("job 100.0 of alice, ")
    assert text[-1].startswith("To do exactly this: preview=")


def test_guard_stops_what_hits_more_and_nothing_else(admin: Bench) -> None:
    few = ask(admin, "PUT", "/clouds/mouse/vms", {"action": "force_retire", "count": "2"})
    assert few.status_int == 200
    admin.seen.clear()
    answer = ask(admin, "PUT", "/clouds/mouse/vms", {"action": "shutdown"})
    problem = answer.json
    assert (answer.status_int, problem["code"], admin.seen) == (409, "confirmation-required", [])
    assert problem["preview"]["vms_hit"] == 5
    assert problem["detail"].startswith("It would hit 5 VM(s), more than guard_vms (2)")
    assert "preview=" in admin.client.put("/clouds/mouse/vms?action=shutdown").text
    assert ask(admin, "PUT", "/clouds/mouse", {"action": "disable"}).status_int == 200


@pytest.mark.parametrize(("confirm", "status"), [("5", 200), ("4", 409), ("6", 409), ("0", 409)])
def test_confirmed_number_must_be_the_number(admin: Bench, confirm: str, status: int) -> None:
    answer = ask(admin, "PUT", "/clouds/mouse/vms", {"action": "shutdown", "confirm": confirm})
    assert (answer.status_int, len(admin.asked())) == (status, 5 if status == 200 else 0)


def test_preview_s_id_is_accepted_while_the_same_would_happen(admin: Bench) -> None:
    verb = {"action": "shutdown"}
    running(admin, "vm-mouse-1", "host#100.0#1")
    told = ask(admin, "PUT", "/clouds/mouse/vms", {**verb, "dry_run": "true"}).json["preview"]
    running(admin, "vm-mouse-2", "host#101.0#1")
    late = ask(admin, "PUT", "/clouds/mouse/vms", {**verb, "preview": told})
    assert (late.status_int, late.json["code"]) == (409, "confirmation-required")
    assert late.json["detail"] == "It would not do any more what that preview told."
    assert admin.asked() == []
    again = late.json["preview"]["preview"]
    assert ask(admin, "PUT", "/clouds/mouse/vms", {"action": "force_retire", "preview": again}).status_int == 409
    assert ask(admin, "PUT", "/clouds/mouse/vms", {**verb, "preview": again}).status_int == 200


def test_without_a_guard_nothing_must_be_confirmed_but_what_is_given_counts(tmp_path: Path) -> None:
    with bench(tmp_path) as admin:
        verb = {"action": "force_retire"}
        assert ask(admin, "PUT", "/clouds/mouse/vms", {**verb, "confirm": "3"}).status_int == 409
        assert ask(admin, "PUT", "/clouds/mouse/vms", verb).status_int == 200


def test_guard_counts_the_vms_that_a_smaller_quota_drains(admin: Bench) -> None:
    with admin.store.writing() as writing:
        found = [replace(vm, status="Running") for vm in vms.of_cloud(writing.connection, "mouse")]
        vms.record_vms(writing, found)
    answer = ask(admin, "PUT", "/clouds/mouse", {"allocations": "0"})
    assert (answer.status_int, answer.json["code"]) == (409, "confirmation-required")
    count = answer.json["preview"]["vms_hit"]
    assert ask(admin, "PUT", "/clouds/mouse", {"allocations": "0", "confirm": str(count)}).status_int == 200


@pytest.mark.parametrize("value", ["0" * 31, "g" * 32, "x"])
def test_what_is_no_preview_s_id_is_refused(admin: Bench, value: str) -> None:
    answer = ask(admin, "PUT", "/clouds/mouse", {"action": "enable", "preview": value})
    assert (answer.status_int, answer.json["parameters"]) == (400, ["preview"])


def reading(tmp_path: Path, **files: str) -> dict[str, Path]:
    """Options that name files with these contents."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in files}


def test_reconfiguration_tells_what_the_file_changes_and_which_vms_drain(tmp_path: Path) -> None:
    kept = "[mouse]\ncloud_type = local\nvm_slots = 3\nenabled = true\n[fresh]\ncloud_type = local\nvm_slots = 1\n"
    with bench(tmp_path, **reading(tmp_path, cloud_resource_config=kept)) as admin:
        before = rows(admin)
        with admin.store.reading() as connection:
            expected = {vm.uid for vm in vms.all_vms(connection) if vm.cloud != "mouse" and not is_leaving(vm)}
        found = ask(admin, "POST", "/", {"action": "reconfig", "dry_run": "true"}).json
        changes = found["targets"][0]["changes"]
        assert changes["mouse vm_slots"]["after"] == 3
        assert changes["fresh vm_slots"] == {"before": None, "after": 1}
        assert changes["cheetah removed"] == {"before": False, "after": True}
        assert {each["uid"] for each in found["vms"]} >= expected != set()
        assert {each["fate"] for each in found["vms"]} == {"drained"}
        assert rows(admin) == before


def test_file_that_cannot_be_read_is_told_as_a_problem(tmp_path: Path) -> None:
    files = reading(tmp_path, cloud_resource_config="[mouse\n", user_limit_file='{"alice": 4}')
    with bench(tmp_path, **files) as admin:
        told = ask(admin, "POST", "/", {"action": "reconfig", "dry_run": "true"}).json
        assert "cloud_resource_config:1: " in told["targets"][0]["problem"]
        told = ask(admin, "POST", "/user-limits", {"dry_run": "true"}).json["targets"][0]
        assert told["changes"]["alice"]["after"] == 4
        told = ask(admin, "POST", "/cloud-aliases", {"dry_run": "true"}).json["targets"][0]
        assert told["problem"] == "No target_cloud_alias_file is configured."


def test_guard_counts_the_vms_of_clouds_that_a_file_leaves_out(tmp_path: Path) -> None:
    files = reading(tmp_path, cloud_resource_config="[fresh]\ncloud_type = local\nvm_slots = 1\n")
    with bench(tmp_path, guard_vms=1, **files) as admin:
        answer = ask(admin, "POST", "/", {"action": "reconfig"})
        assert (answer.status_int, answer.json["code"], admin.asked()) == (409, "confirmation-required", [])
        again = {"action": "reconfig", "preview": answer.json["preview"]["preview"]}
        assert ask(admin, "POST", "/", again).status_int == 200
