"""PARITY 1.2, A7 to A15, wiki and code forms."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import golden_state
import pytest
from admin_bench import DONE, JSON, Bench, bench, failed

from cloudsched.model.jobs import Machine
from cloudsched.model.wishes import OutcomeState
from cloudsched.store import machines, vms

ID = "a1b2c3d4-0000-4000-8000-00000000000"
OLDEST_FIRST = [f"{ID}1", f"{ID}2", f"{ID}3", f"{ID}4", "testvm"]
DESTROYED = "".join(f"VM {vm} has been Destroyed.\n" for vm in OLDEST_FIRST)


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def ask(admin: Bench, method: str, url: str, **kwargs: Any) -> tuple[int, str]:
    answer = admin.client.request(url, method=method, **kwargs)
    return answer.status_int, answer.text


@pytest.mark.parametrize(
    ("method", "query", "text"),
    [
        ("PUT", "?action=shutdown", DESTROYED),
        ("PUT", "?action=shutdown&count=all", DESTROYED),
        ("PUT", "?action=shutdown&count=2", "".join(DESTROYED.splitlines(True)[:2])),
        ("PUT", "?action=shutdown&count=99", DESTROYED),
        ("PUT", "?action=shutdown&count=0", ""),
        ("PUT", "?action=shutdown&count=-3", ""),
        ("PUT", "?action=force_retire", "Retired all VMs in Mouse."),
        ("PUT", "?action=force_retire&count=all", "Retired all VMs in Mouse."),
        ("POST", "?action=force_retire", "Retired all VMs in Mouse."),
        ("POST", "?action=force_retire&count=2", "Retired 2 VM(s) in Mouse."),
        ("PUT", "?action=force_retire&count=99", "Retired 5 VM(s) in Mouse."),
        ("PUT", "?action=force_retire&count=0", "Retired 0 VM(s) in Mouse."),
        ("PUT", "?action=remove&count=all", "Removed all VMs from Mouse."),
        ("DELETE", "", "Removed all VMs from Mouse."),
        ("DELETE", "?count=all", "Removed all VMs from Mouse."),
    ],
)
def test_bulk_verbs_answer_v1_text(admin: Bench, method: str, query: str, text: str) -> None:
    assert ask(admin, method, f"/clouds/Mouse/vms{query}") == (200, text)


@pytest.mark.parametrize(
    ("query", "text", "asked"),
    [
        ("action=force_retire&retain=3", "Retired 2 VM(s) in Mouse.", 2),
        ("action=force_retire&retain=99", "Retired 0 VM(s) in Mouse.", 0),
        ("action=shutdown&retain=5", "", 0),
        ("action=shutdown&retain=0", None, 5),
    ],
)
def test_retain_takes_all_but_so_many(admin: Bench, query: str, text: str | None, asked: int) -> None:
    status, said = ask(admin, "PUT", f"/clouds/Mouse/vms?{query}")
    assert (status, text is None or said == text) == (200, True)
    assert len(admin.asked()) == asked


def test_retain_leaves_the_busy_and_then_the_oldest(admin: Bench) -> None:
    with admin.store.writing() as writing:
        there = vms.of_cloud(writing.connection, "mouse")
        busy = there[-1]
        slot = Machine("slot1@x", "x", vm=busy.uid, state="Claimed", activity="Busy")
        machines.record_machines(writing, [slot])
    ask(admin, "PUT", "/clouds/mouse/vms?action=shutdown&retain=2")
    staying = next(vm for vm in there if not vm.retired)
    assert {name for _, name, _, _ in admin.asked()} == {vm.uid for vm in there} - {busy.uid, staying.uid}


@pytest.mark.parametrize("query", ["action=shutdown&retain=2&count=1", "action=remove&count=all&retain=2"])
def test_retain_goes_with_neither_count_nor_remove(admin: Bench, query: str) -> None:
    status, said = ask(admin, "PUT", f"/clouds/mouse/vms?{query}")
    assert (status, "'retain' does not go with" in said) == (400, True)
    assert admin.asked() == []


def test_count_takes_the_oldest(admin: Bench) -> None:
    ask(admin, "PUT", "/clouds/mouse/vms?action=force_retire&count=2")
    assert [wish[1:3] for wish in admin.asked()] == [("vm-mouse-1", "retire"), ("vm-mouse-2", "retire")]


@pytest.mark.parametrize(
    ("method", "query", "text"),
    [
        ("PUT", "?action=shutdown", "Could not find a Cluster with name: Nowhere."),
        ("PUT", "?action=shutdown&count=1", "Could not find cloud named: Nowhere"),
        ("PUT", "?action=force_retire", "Cloud not find Cloud Nowhere."),
        ("POST", "?action=force_retire&count=1", "Cloud not find Cloud Nowhere."),
        ("PUT", "?action=remove&count=all", "Could not find Cloud Nowhere."),
        ("DELETE", "", "Could not find Cloud Nowhere."),
        ("PUT", "/testvm?action=shutdown", "Could not find a Cluster with name: Nowhere."),
        ("PUT", "/testvm?action=force_retire", "Could not find Cloud Nowhere."),
        ("PUT", "/testvm?action=remove", "Could not find Cloud Nowhere."),
        ("PUT", "/testvm?action=reset_override_state", "Could not find Cloud Nowhere."),
    ],
)
def test_unknown_cloud_is_404_with_each_verb_s_text(admin: Bench, method: str, query: str, text: str) -> None:
    assert ask(admin, method, f"/clouds/Nowhere/vms{query}") == (404, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("action=shutdown&count=few", "Unable to shutdown few VMs, use a number."),
        ("action=shutdown&count=", "Unable to shutdown  VMs, use a number."),
        ("action=shutdown&count=ALL", "Unable to shutdown ALL VMs, use a number."),
        ("action=force_retire&count=few", "Unable to retire few VMs, use a number"),
        ("action=force_retire&count=-1", "Unable to retire -1 VMs, use a number"),
        ("action=remove", "The parameter 'count' is missing; 'all' is accepted."),
        ("action=remove&count=", "The parameter 'count' must be 'all', not ''."),
        ("action=remove&count=2", "The parameter 'count' must be 'all', not '2'."),
        ("count=all", "The parameter 'action' is missing."),
        ("action=shutdown&count=1&count=2", "The parameter 'count' is given twice."),
    ],
)
def test_wrong_count_or_action_is_400_and_touches_nothing(admin: Bench, query: str, text: str) -> None:
    assert ask(admin, "PUT", f"/clouds/mouse/vms?{query}") == (400, text)
    assert admin.asked() == []


@pytest.mark.parametrize(
    ("method", "query", "text"),
    [
        ("PUT", "?action=shutdown", "VM testvm has been Destroyed."),
        ("PUT", "?action=force_retire", "Retired VM testvm on Mouse."),
        ("POST", "?action=force_retire", "Retired VM testvm on Mouse."),
        ("PUT", "?action=remove", "Removed Mouse's VM testvm from CloudScheduler."),
        ("DELETE", "", "Removed Mouse's VM testvm from CloudScheduler."),
        ("PUT", "?action=reset_override_state", "Reset state of Mouse on testvm"),
    ],
)
def test_single_verbs_answer_v1_text(admin: Bench, method: str, query: str, text: str) -> None:
    assert ask(admin, method, f"/clouds/Mouse/vms/testvm{query}") == (200, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("action=shutdown", "Could not find VM with ID: gone on Cluster: mouse."),
        ("action=force_retire", "Could not find VM ID gone."),
        ("action=remove", "Could not find VM ID: gone on Cloud: mouse"),
        ("action=reset_override_state", "Could not find VM ID gone."),
    ],
)
def test_unknown_vm_is_404_with_each_verb_s_text(admin: Bench, query: str, text: str) -> None:
    assert ask(admin, "PUT", f"/clouds/mouse/vms/gone?{query}") == (404, text)


def test_retired_copy_is_removed_from_retired_resources(admin: Bench) -> None:
    mine = next(vm for vm in golden_state.golden().vms if vm.id == "testvm")
    with admin.store.writing() as writing:
        vms.record_vms(writing, [replace(mine, retired=True)])
    text = "Removed mouse's VM testvm from CloudScheduler retired resources."
    assert ask(admin, "DELETE", "/clouds/mouse/vms/testvm") == (200, text)


def test_awkward_names_are_found(admin: Bench) -> None:
    url = f"/clouds/{quote('test/name?x#y', safe='')}/vms/{quote('vm/8.x?a#b', safe='')}"
    assert ask(admin, "PUT", f"{url}?action=shutdown") == (200, "VM vm/8.x?a#b has been Destroyed.")


def test_vm_is_found_by_spot_id(admin: Bench) -> None:
    assert ask(admin, "PUT", "/clouds/cheetah/vms/sir-00000002?action=shutdown")[0] == 200
    assert admin.asked()[0][1] == "vm-cheetah-2"


def test_failed_destroy_is_502_with_v1_text(admin: Bench) -> None:
    admin.endings["shutdown"] = failed("Nothing answers.")
    text = "Destroying VM testvm failed. Leaving it for now."
    assert ask(admin, "PUT", "/clouds/mouse/vms/testvm?action=shutdown") == (502, text)
    lines = f"Destroying VM {ID}1 failed. Leaving it for now.\n"
    assert ask(admin, "PUT", "/clouds/mouse/vms?action=shutdown&count=1") == (502, lines)


def test_failed_retire_is_409_and_never_claims_success(admin: Bench) -> None:
    admin.endings["retire"] = failed("No machine has joined.")
    assert ask(admin, "PUT", "/clouds/mouse/vms/testvm?action=force_retire") == (409, "Unable to retire VM.")
    status, text = ask(admin, "PUT", "/clouds/mouse/vms?action=force_retire&count=2")
    assert (status, text.splitlines()[0]) == (409, "Retired 0 VM(s) in mouse.")
    assert f"Unable to retire VM {ID}2: No machine has joined." in text.splitlines()


def test_superseded_wish_counts_as_done(admin: Bench) -> None:
    admin.endings["shutdown"] = (OutcomeState.SUPERSEDED, {})
    assert ask(admin, "PUT", "/clouds/mouse/vms/testvm?action=shutdown")[0] == 200


def test_json_form_names_each_target(admin: Bench) -> None:
    document = admin.client.put("/clouds/mouse/vms?action=shutdown&count=2", headers=JSON).json
    assert [(each["name"], each["state"]) for each in document["targets"]] == [(f"{ID}1", "done"), (f"{ID}2", "done")]


def test_reason_of_a_failure_is_in_the_json_form(admin: Bench) -> None:
    admin.endings |= {"retire": failed("No machine has joined."), "shutdown": DONE}
    problem = admin.client.put("/clouds/mouse/vms/testvm?action=force_retire", headers=JSON).json
    assert problem["operation"]["targets"][0]["detail"] == {"error": "No machine has joined."}
    assert problem["detail"] == "No machine has joined."
