"""Jobs by verb: submit, hold, release, remove."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from admin_bench import JSON, Bench, bench, failed

from cloudsched.model.wishes import OutcomeState

SUBMIT = "executable = /bin/true\nqueue 3\n"
ID = "condor.heprc.example.org#10.0#1480000010"


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, admin_auth="token") as made:
        made.endings["submit"] = (OutcomeState.DONE, {"cluster": 13, "jobs": 3})
        yield made


def test_submit_is_201_with_the_cluster(admin: Bench) -> None:
    answer = admin.client.post_json("/jobs", {"submit": SUBMIT, "initialdir": "/tmp"})
    assert (answer.status_int, answer.text) == (201, "3 job(s) submitted to cluster 13.")
    owner = pwd.getpwuid(os.geteuid()).pw_name
    value = {"submit": SUBMIT, "initialdir": "/tmp", "owner": owner}
    assert admin.asked() == [("jobs", owner, "submit", value)]


def test_submit_for_an_owner_answers_json_when_asked(admin: Bench) -> None:
    body = {"submit": SUBMIT, "initialdir": "/tmp", "owner": "alice"}
    answer = admin.client.post_json("/jobs", body, headers=JSON)
    assert (answer.status_int, answer.json["targets"][0]["detail"]) == (201, {"cluster": 13, "jobs": 3})
    assert admin.asked()[0][1] == "alice"


@pytest.mark.skipif(os.geteuid() != 0, reason="only a root daemon refuses clients it does not know")
def test_root_daemon_without_authentication_takes_no_jobs(tmp_path: Path) -> None:
    with bench(tmp_path, admin_auth="none") as made:
        answer = made.client.post_json("/jobs", {"submit": SUBMIT, "initialdir": "/tmp"}, headers=JSON)
        assert (answer.status_int, answer.json["code"]) == (403, "forbidden")
        assert made.asked() == []


@pytest.mark.parametrize("ask", ["hold", "release", "remove"])
def test_reason_is_kept_with_the_wish(admin: Bench, ask: str) -> None:
    body = {"reason": "disk is full"}
    if ask == "remove":
        admin.client.delete_json("/jobs/10.0", body)
    else:
        admin.client.put_json("/jobs/10.0", {"action": ask, **body})
    assert [wish.reason for wish in admin.seen] == ["disk is full"]


def test_wrong_submit_description_is_400_with_the_line(admin: Bench) -> None:
    body = {"submit": "executable = /bin/true\nuniverse = docker\nqueue\n", "initialdir": "/tmp"}
    answer = admin.client.post_json("/jobs", body, headers=JSON)
    assert (answer.status_int, answer.json["code"], answer.json["line"]) == (400, "bad-submit-description", 2)
    assert admin.asked() == []


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"initialdir": "/tmp"}, "submit"),
        ({"submit": SUBMIT}, "initialdir"),
        ({"submit": "", "initialdir": "/tmp"}, "submit"),
        ({"submit": SUBMIT, "initialdir": "/tmp", "owner": ""}, "owner"),
        ({"submit": SUBMIT, "initialdir": "/tmp", "owner": "a\0b"}, "owner"),
        ({"submit": [SUBMIT], "initialdir": "/tmp"}, "submit"),
    ],
)
def test_missing_or_malformed_members_are_400(admin: Bench, body: dict[str, object], parameter: str) -> None:
    answer = admin.client.post_json("/jobs", body, headers=JSON)
    assert (answer.status_int, answer.json["parameter"]) == (400, parameter)


def test_submit_from_a_relative_directory_is_400(admin: Bench) -> None:
    assert admin.client.post_json("/jobs", {"submit": SUBMIT, "initialdir": "here"}).status_int == 400


@pytest.mark.parametrize("ref", [quote(ID, safe=""), "10.0"])
def test_jobs_are_held_released_and_removed(admin: Bench, ref: str) -> None:
    shown = ID if "." in ref and "%" in ref else ref
    assert admin.client.put(f"/jobs/{ref}?action=hold").text == f"Job {shown} held."
    assert admin.client.put(f"/jobs/{ref}", {"action": "release"}).text == f"Job {shown} released."
    assert admin.client.delete(f"/jobs/{ref}").text == f"Job {shown} removed."
    assert [wish[1:3] for wish in admin.asked()] == [(ID, "hold"), (ID, "release"), (ID, "remove")]


def test_unknown_job_is_404_and_refusal_409(admin: Bench) -> None:
    answer = admin.client.put("/jobs/99.9?action=hold")
    assert (answer.status_int, answer.text) == (404, "Job not found.")
    admin.endings["hold"] = failed("The job is complete.")
    answer = admin.client.put("/jobs/10.0?action=hold")
    assert (answer.status_int, answer.text) == (409, "The job is complete.")


def test_wrong_action_is_400(admin: Bench) -> None:
    assert admin.client.put("/jobs/10.0?action=remove").status_int == 400
    assert admin.client.put("/jobs/10.0").status_int == 400
