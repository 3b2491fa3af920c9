"""PARITY 1.2, A4 to A6."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from admin_bench import JSON, Bench, bench, failed


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


@pytest.mark.parametrize(("action", "text"), [("enable", "enabled"), ("disable", "disabled")])
def test_enable_and_disable_answer_v1_text(admin: Bench, action: str, text: str) -> None:
    answer = admin.client.put("/clouds/Mouse", {"action": action})
    assert (answer.status_int, answer.text) == (200, f"Cloud: Mouse {text}.")
    assert admin.asked() == [("cloud", "mouse", "enabled", action == "enable")]


def test_action_goes_before_allocations_and_query_works(admin: Bench) -> None:
    assert admin.client.put("/clouds/mouse?action=enable&allocations=5").text == "Cloud: mouse enabled."


def test_awkward_cloud_name_is_found(admin: Bench) -> None:
    name = "test/name?x#y"
    assert admin.client.put(f"/clouds/{quote(name, safe='')}?action=disable").text == f"Cloud: {name} disabled."


def test_cloud_that_cannot_be_enabled_is_409_with_the_reason(admin: Bench) -> None:
    admin.endings["enabled"] = failed("The cloud has no host.")
    answer = admin.client.put("/clouds/mouse?action=enable")
    assert (answer.status_int, answer.text) == (409, "The cloud has no host.")
    problem = admin.client.put("/clouds/mouse?action=enable", headers=JSON).json
    assert (problem["code"], problem["operation"]["state"]) == ("verb-failed", "failed")


def test_json_form_is_the_operation(admin: Bench) -> None:
    document = admin.client.put("/clouds/mouse?action=enable", headers=JSON).json
    (target,) = document.pop("targets")
    assert 0 <= target.pop("settled_at") - document.pop("made_at") < 600
    assert target == {"kind": "cloud", "name": "mouse", "aspect": "enabled", "state": "done", "detail": {}}
    assert len(document.pop("request_id")) == 32
    told = {"id": 1, "verb": "enable", "state": "done", "actor": "anonymous@127.0.0.1", "reason": ""}
    assert document == told


@pytest.mark.parametrize(("given", "slots"), [("5", 5), ("0", 0), (" +12 ", 12)])
def test_allocations_ask_for_a_quota(admin: Bench, given: str, slots: int) -> None:
    answer = admin.client.put("/clouds/mouse", {"allocations": given})
    assert (answer.status_int, answer.text) == (200, f"Attempt adjustment on cloud mouse, change to {slots} slots")
    assert admin.asked()[0][3]["slots"] == slots


def test_allocations_as_they_are_do_nothing(admin: Bench) -> None:
    answer = admin.client.put("/clouds/mouse", {"allocations": "10"})
    assert (answer.status_int, answer.text) == (200, "VM slots already set at 10. Nothing to do.")
    assert admin.client.put("/clouds/mouse?allocations=10", headers=JSON).json["state"] == "done"
    assert admin.asked() == []


@pytest.mark.parametrize("given", ["", "x", "1.5", "1_0", "9" * 30])
def test_allocations_that_are_no_integer_are_400_with_v1_text(admin: Bench, given: str) -> None:
    answer = admin.client.put("/clouds/mouse", {"allocations": given})
    assert (answer.status_int, answer.text) == (400, "Need to use an integer value for vm_allocation")


@pytest.mark.parametrize("given", ["-1", "2147483648"])
def test_allocations_out_of_range_are_400(admin: Bench, given: str) -> None:
    answer = admin.client.put("/clouds/mouse", {"allocations": given}, headers=JSON)
    assert (answer.status_int, answer.json["parameter"]) == (400, "allocations")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("action=enable", "Could not find cloud Nowhere."),
        ("action=disable", "Could not find cloud Nowhere."),
        ("allocations=3", "Unable to find cluster with name: Nowhere"),
    ],
)
def test_unknown_cloud_is_404_with_v1_text(admin: Bench, query: str, text: str) -> None:
    answer = admin.client.put(f"/clouds/Nowhere?{query}")
    assert (answer.status_int, answer.text) == (404, text)


@pytest.mark.parametrize(
    ("query", "parameter"), [("", "action"), ("action=explode", "action"), ("action=enable&force=1", "force")]
)
def test_wrong_parameters_are_400(admin: Bench, query: str, parameter: str) -> None:
    answer = admin.client.put(f"/clouds/mouse?{query}", headers=JSON)
    assert (answer.status_int, answer.json["parameter"]) == (400, parameter)


def test_other_methods_are_405(admin: Bench) -> None:
    answer = admin.client.get("/clouds/mouse")
    assert (answer.status_int, answer.text, answer.headers["Allow"]) == (405, "None", "DELETE, PATCH, PUT")


def _index(admin: Bench, *topics: str) -> int:
    row = admin.store.state()
    return max(getattr(row, topic) for topic in topics)


def test_verb_is_taken_while_its_picture_holds(admin: Bench) -> None:
    """If-Match takes the ETags of the pages that show the cloud, in all their forms."""
    tag = _index(admin, "clouds", "vms")
    for header in (f'"{tag}"', f'"{tag}-json"', f'"1000000", "{tag}-json-gzip"', "*"):
        assert admin.client.put("/clouds/mouse?action=enable", headers={"If-Match": header}).status_int == 200
    assert (
        admin.client.put("/clouds/mouse/vms?action=shutdown&count=1", headers={"If-Match": f'"{tag}"'}).status_int
        == 200
    )


@pytest.mark.parametrize("header", ['"{past}"', 'W/"{now}"', '"x"', "{now}", '"{past}", "{future}"', ""])
def test_verb_for_another_picture_is_412_and_does_nothing(admin: Bench, header: str) -> None:
    now = _index(admin, "clouds", "vms")
    given = {"If-Match": header.format(past=now - 1, now=now, future=now + 1)}
    answer = admin.client.put("/clouds/mouse?action=enable", headers=given)
    assert (answer.status_int, answer.text) == (
        412,
        f"It has changed since: its state index is {now} now. Read it again.",
    )
    assert (
        admin.client.put("/clouds/mouse?action=enable", headers={**given, **JSON}).json["code"] == "precondition-failed"
    )
    assert admin.asked() == []


def test_verb_for_jobs_is_held_against_jobs(admin: Bench) -> None:
    job, cloud = _index(admin, "jobs", "shapes"), _index(admin, "clouds", "vms")
    with admin.store.writing() as writing:
        writing.touch("vms")
    assert admin.client.put("/jobs/job-7?action=hold", headers={"If-Match": f'"{job}"'}).status_int == 200
    assert admin.client.put("/clouds/mouse?action=enable", headers={"If-Match": f'"{cloud}"'}).status_int == 412
