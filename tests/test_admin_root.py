"""PARITY 1.2, A1 to A3, and the settings that v1 could not show."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from admin_bench import JSON, Bench, bench, failed

from cloudsched.model.snapshot import Heartbeat, Polled
from cloudsched.model.wishes import OutcomeState
from cloudsched.store import heartbeats, limits, polls


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


@pytest.mark.parametrize("level", ["VERBOSE", "debug", "Warning"])
def test_log_level_is_asked_for_with_empty_text(admin: Bench, level: str) -> None:
    answer = admin.client.put("/", {"log_level": level})
    assert (answer.status_int, answer.text) == (200, "")
    assert admin.asked() == [("scheduler", "", "log_level", level.upper())]


@pytest.mark.parametrize(("query", "parameter"), [("", "log_level"), ("log_level=LOUD", "log_level"), ("x=1", "x")])
def test_wrong_log_level_is_400(admin: Bench, query: str, parameter: str) -> None:
    answer = admin.client.put(f"/?{query}", headers=JSON)
    assert (answer.status_int, answer.json["parameter"]) == (400, parameter)


def test_quick_shutdown_toggles_the_flag(admin: Bench) -> None:
    for _ in range(2):
        answer = admin.client.post("/", {"action": "quick_shutdown"})
        assert (answer.status_int, answer.text) == (200, "")
    assert [wish[3] for wish in admin.asked()] == [True, False]


def test_reconfig_has_an_empty_text_and_the_changes_in_json(admin: Bench) -> None:
    admin.endings["reconfig"] = (OutcomeState.DONE, {"changes": ["mouse: vm_slots 10 -> 5"]})
    assert admin.client.post("/?action=reconfig").text == ""
    document = admin.client.post("/?action=reconfig", headers=JSON).json
    assert document["targets"][0]["detail"] == {"changes": ["mouse: vm_slots 10 -> 5"]}


def test_broken_file_at_reconfig_is_409_with_file_and_line(admin: Bench) -> None:
    admin.endings["reconfig"] = failed("/etc/x.conf:3: no such option")
    answer = admin.client.post("/?action=reconfig")
    assert (answer.status_int, answer.text) == (409, "/etc/x.conf:3: no such option")


def test_unknown_action_is_400_and_get_405(admin: Bench) -> None:
    assert admin.client.post("/?action=stop").status_int == 400
    answer = admin.client.get("/")
    assert (answer.status_int, answer.text, answer.headers["Allow"]) == (405, "None", "POST, PUT")


def test_settings_are_shown_and_set(admin: Bench) -> None:
    assert admin.client.get("/settings").text == "log_level: unknown\nquick_exit: unknown\n"
    with admin.store.writing() as writing:
        limits.record_setting(writing, "log_level", "INFO")
        limits.record_setting(writing, "quick_exit", False)
    assert admin.client.get("/settings").text == "log_level: INFO\nquick_exit: false\n"
    assert admin.client.get("/settings", headers=JSON).json == {"log_level": "INFO", "quick_exit": False}
    assert admin.client.put("/settings?quick_exit=true").text == "quick_exit: true\n"
    assert admin.client.put("/settings", {"log_level": "debug"}).text == "log_level: DEBUG\n"
    assert [wish[2:] for wish in admin.asked()] == [("quick_exit", True), ("log_level", "DEBUG")]


@pytest.mark.parametrize("query", ["", "quick_exit=yes", "quick_exit=true&log_level=INFO", "quick_exit="])
def test_wrong_settings_are_400(admin: Bench, query: str) -> None:
    assert admin.client.put(f"/settings?{query}").status_int == 400


def test_every_answer_tells_how_fresh_the_picture_is(admin: Bench) -> None:
    with admin.store.writing() as writing:
        heartbeats.record_heartbeats(writing, [Heartbeat("Scheduler", 5, time.time())])
        polls.record_polls(writing, [Polled("VMPoller:mouse", 30.0, ok_at=1.0)])
    asked = [
        *(("GET", "/settings", 200), ("GET", "/operations", 200), ("GET", "/nosuch", 404), ("GET", "/jobs", 405)),
        *(("PUT", "/clouds/mouse?action=enable", 200), ("PUT", "/clouds/mouse?action=disable&dry_run=true", 200)),
        *(("PUT", "/clouds/mouse?action=explode", 400), ("DELETE", "/clouds/nope", 404)),
    ]
    for method, url, status in asked:
        answer = admin.client.request(url, method=method)
        assert answer.status_int == status, url
        assert answer.headers["X-Data-As-Of"].startswith("clouds=@1, engine=@"), url
        assert answer.headers["X-Data-Stale"] == "clouds", url
