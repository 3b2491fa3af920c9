"""PARITY 1.2, A16 to A21."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from admin_bench import JSON, Bench, bench, failed

from cloudsched.model.wishes import OutcomeState
from cloudsched.store import limits


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def test_listings_are_python2_text_or_json(admin: Bench) -> None:
    assert admin.client.get("/user-limits").text == "{u'bob': 2, u'carol': 50}"
    assert admin.client.get("/user-limits", headers=JSON).json == {"bob": 2, "carol": 50}
    assert admin.client.get("/cloud-aliases").text == "{u'east': [u'test/name?x#y'], u'west': [u'mouse', u'cheetah']}"
    assert admin.client.get("/cloud-aliases", headers=JSON).json["west"] == ["mouse", "cheetah"]


def test_empty_listings_are_braces(admin: Bench) -> None:
    with admin.store.writing() as writing:
        limits.record_user_limits(writing, {})
    assert admin.client.get("/user-limits").text == "{}"


@pytest.mark.parametrize(("url", "aspect"), [("/user-limits", "user_limits"), ("/cloud-aliases", "cloud_aliases")])
def test_reload_answers_true_or_false(admin: Bench, url: str, aspect: str) -> None:
    for loaded, text in ((2, "True"), (0, "False")):
        admin.endings[aspect] = (OutcomeState.DONE, {"loaded": loaded})
        answer = admin.client.post(url)
        assert (answer.status_int, answer.text) == (200, text)


@pytest.mark.parametrize(("url", "aspect"), [("/user-limits", "user_limits"), ("/cloud-aliases", "cloud_aliases")])
def test_bad_file_is_false_with_the_reason_in_json(admin: Bench, url: str, aspect: str) -> None:
    admin.endings[aspect] = failed("limits.json:2: not a number")
    answer = admin.client.post(url)
    assert (answer.status_int, answer.text) == (409, "False")
    assert admin.client.post(url, headers=JSON).json["detail"] == "limits.json:2: not a number"


def test_parameters_and_other_methods_are_refused(admin: Bench) -> None:
    assert admin.client.post("/user-limits?force=1").status_int == 400
    assert admin.client.put("/user-limits").headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("refresh", "text"),
    [
        ("job_proxy", "Refreshed the job proxies of user alice."),
        ("vm_proxy", "Refreshed the VM proxies of user alice."),
    ],
)
def test_proxies_are_refreshed(admin: Bench, refresh: str, text: str) -> None:
    answer = admin.client.post("/users/alice", {"refresh": refresh})
    assert (answer.status_int, answer.text) == (200, text)
    assert admin.asked() == [("user", "alice", refresh, None)]


def test_no_proxy_to_refresh_is_409_with_why(admin: Bench) -> None:
    admin.endings["job_proxy"] = failed("User alice has no proxy to refresh.")
    answer = admin.client.post("/users/alice?refresh=job_proxy")
    assert (answer.status_int, answer.text) == (409, "User alice has no proxy to refresh.")


def test_unknown_user_and_wrong_refresh_are_refused(admin: Bench) -> None:
    assert admin.client.post("/users/nobody?refresh=job_proxy").status_int == 404
    assert admin.client.post("/users/alice?refresh=tea").status_int == 400
    assert admin.client.post("/users/alice").status_int == 400
