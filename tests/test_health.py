"""Health: what each check says at which age, both daemons' answers, and an engine that is really killed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import databases
import pytest
import requests
from scheduler_process import daemon, scheduler, wait_for
from wsgi import Client

import cloudsched.admin.app
import cloudsched.info.app
from cloudsched.config import Config
from cloudsched.config.options import Global
from cloudsched.model.snapshot import HEARTBEATS, Heartbeat, Polled
from cloudsched.render import health
from cloudsched.render.health import DEGRADED, FAILED, OK
from cloudsched.store import Store, heartbeats, place, polls

NOW = 1_000_000.0
BEATS = tuple(Heartbeat(name, 5, NOW - 3) for name in HEARTBEATS)
POLLS = tuple(
    Polled(name, 5.0, ok_at=NOW - 3) for name in ("JobPoller", "MachinePoller", "VMPoller:a", "VMPoller:b", "Scheduler")
)
JSON = {"Accept": "application/json"}


def status_of(checks: list[health.Check]) -> dict[str, str]:
    return {check.name: check.status for check in checks}


def polls_with(**ok_at: float | None) -> list[Polled]:
    """The polls, some with another time of success; `:` is written `__`."""
    changed = {name.replace("__", ":"): at for name, at in ok_at.items()}
    return [replace(each, ok_at=changed.get(each.name, each.ok_at)) for each in POLLS]


def test_fresh_heartbeats_and_polls_are_ok() -> None:
    checks = [*health.beat_checks(BEATS, NOW, 60.0), *health.poll_checks(POLLS, NOW, 60.0)]
    assert set(status_of(checks).values()) == {OK}
    assert health.is_ready(checks)
    assert {check.age_seconds for check in checks} == {3.0}


@pytest.mark.parametrize(("name", "limit"), [("Scheduler", 35), ("Cleanup", 35), ("JobPoller", 95), ("VMPoller", 95)])
def test_old_heartbeat_fails_past_its_limit(name: str, limit: int) -> None:
    beats = [replace(beat, beat_at=NOW - limit) if beat.name == name else beat for beat in BEATS]
    assert status_of(health.beat_checks(beats, NOW, 60.0))[f"heartbeat {name}"] == OK
    assert status_of(health.beat_checks(beats, NOW + 1, 60.0))[f"heartbeat {name}"] == FAILED


def test_scheduler_that_never_beat_fails() -> None:
    assert status_of(health.beat_checks([], NOW, 60.0)) == {"heartbeat Scheduler": FAILED}


@pytest.mark.parametrize("name", ["JobPoller", "MachinePoller"])
def test_unread_queue_or_machines_are_blindness(name: str) -> None:
    for found in (polls_with(**{name: NOW - 1000}), polls_with(**{name: None}), [p for p in POLLS if p.name != name]):
        checks = health.poll_checks(found, NOW, 60.0)
        assert status_of(checks)[f"poll {name}"] == FAILED
        assert not health.is_ready(checks)


def test_one_unread_cloud_is_degraded_and_all_of_them_are_blindness() -> None:
    one = health.poll_checks(polls_with(VMPoller__a=NOW - 1000), NOW, 60.0)
    assert status_of(one) | {"poll VMPoller:a": DEGRADED, "poll VMPoller:b": OK} == status_of(one)
    assert health.is_ready(one)
    every = health.poll_checks(polls_with(VMPoller__a=NOW - 1000, VMPoller__b=None), NOW, 60.0)
    assert not health.is_ready(every)


def test_clock_that_went_back_gives_no_negative_age() -> None:
    assert {check.age_seconds for check in health.poll_checks(POLLS, NOW - 60, 60.0)} == {0.0}


def test_text_has_a_line_a_check() -> None:
    checks = [health.Check("state", OK, "index 3"), health.Check("poll a\nb", FAILED, "it was never read")]
    assert health.text(checks) == "not ready\n[+] state: index 3\n[-] poll a?b: it was never read\n"


@pytest.fixture
def clients(store: Store, state_dir: Path) -> Iterator[dict[str, Client]]:
    config = Config(global_=Global(state_dir=state_dir, info_auth="token"))
    with store.writing() as writing:
        heartbeats.record_heartbeats(writing, [replace(beat, beat_at=2e9) for beat in BEATS])
        polls.record_polls(writing, [replace(each, ok_at=2e9) for each in POLLS])
    with ExitStack() as stack:
        stack.enter_context(closing(place.hold(store)))
        yield {
            "admin": Client(cloudsched.admin.app.create_app(store, config)),
            "info": Client(cloudsched.info.app.create_app(store, config)),
        }


@pytest.mark.parametrize("daemon_name", ["admin", "info"])
def test_probes_need_no_token_and_have_both_forms(clients: dict[str, Client], daemon_name: str) -> None:
    client = clients[daemon_name]
    assert client.get("/jobs/1.0").status_int in (401, 405)
    live, ready = client.get("/health/live"), client.get("/health/ready")
    assert (live.status_int, live.text) == (200, "live\n")
    assert ready.status_int == 200
    assert ready.text.startswith("ready\n[+] state: index ")
    assert "[+] engine: process " in ready.text
    by_name, by_header = client.get("/health/ready.json"), client.get("/health/ready", headers=JSON)
    assert by_name.json["ready"] is True
    assert {check["name"] for check in by_header.json["checks"]} >= {"state", "schema", "engine", "poll JobPoller"}
    assert client.get("/health/live.json").json == {"live": True}
    assert client.post("/health/ready").status_int in (401, 405)
    assert client.get("/health/ready?verbose=1").status_int == 400
    assert client.head("/health/ready").status_int == 200


@pytest.mark.sqlite
def test_missing_state_is_one_failed_check(clients: dict[str, Client], state_dir: Path) -> None:
    (state_dir / "state.db").rename(state_dir / "elsewhere")
    answer = clients["info"].get("/health/ready")
    assert answer.status_int == 503
    assert answer.text.startswith("not ready\n[-] state: ")
    assert answer.headers["Retry-After"] == "5"
    assert clients["info"].get("/health/live").status_int == 200


def test_old_poll_is_red_and_named(store: Store, state_dir: Path, clients: dict[str, Client]) -> None:
    with store.writing() as writing:
        polls.record_polls(writing, [Polled("JobPoller", 5.0, ok_at=1.0, failed_at=2e9, error="secret sentence")])
    answer = clients["info"].get("/health/ready.json")
    assert answer.status_int == 503
    assert [check["name"] for check in answer.json["checks"] if check["status"] == FAILED] == ["poll JobPoller"]
    assert "secret" not in answer.text


def test_failed_poll_keeps_its_last_success(store: Store) -> None:
    with store.writing() as writing:
        polls.record_polls(writing, [Polled("p", 5.0, ok_at=10.0, seconds=0.5)])
        polls.record_polls(writing, [Polled("p", 5.0, failed_at=20.0, seconds=1.5, error="no")])
        polls.record_polls(writing, [Polled("q", 5.0, ok_at=1.0)])
    with store.reading() as connection:
        assert polls.all_polls(connection)[0] == Polled("p", 5.0, 10.0, 20.0, 1.5, "no")
    before = store.state().index
    with store.writing() as writing:
        polls.record_polls(writing, [Polled("p", 5.0, ok_at=30.0)])
        polls.keep_polls(writing, {"p"})
    with store.reading() as connection:
        assert polls.all_polls(connection) == [Polled("p", 5.0, 30.0, 20.0)]
    assert store.state().index == before


def test_killed_engine_is_red_at_once_and_green_again_when_it_is_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        engine = stack.enter_context(scheduler(tmp_path, "--no-servers"))
        url = stack.enter_context(daemon(tmp_path, "info_server")) + "/health/ready.json"
        wait_for(lambda: requests.get(url, timeout=60).status_code == 200)
        names = {check["name"] for check in requests.get(url, timeout=60).json()["checks"]}
        assert {"poll JobPoller", "poll MachinePoller", "poll VMPoller:local", "heartbeat Scheduler"} <= names
        engine.process.kill()
        engine.process.wait()
        answer = requests.get(url, timeout=60)
        assert answer.status_code == 503
        failed = {check["name"] for check in answer.json()["checks"] if check["status"] == FAILED}
        assert "engine" in failed
        with scheduler(tmp_path, "--no-servers"):
            wait_for(lambda: requests.get(url, timeout=60).status_code == 200)


def test_engine_that_can_read_no_cloud_is_blind(tmp_path: Path) -> None:
    """It lives and works; nobody listens where its only cloud should be."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        clouds = tmp_path / "clouds.conf"
        clouds.write_text(
            f"[mouse]\ncloud_type = OpenStackNative\nauth_url = http://127.0.0.1:{taken.getsockname()[1]}/v3\n"
            "regions = one\nusername = u\npassword = p\ntenant_name = t\nsecurity_group = s\nvm_slots = 1\n"
        )
        with (
            scheduler(tmp_path, "--no-servers", cloud_resource_config=clouds),
            daemon(tmp_path, "info_server") as url,
        ):

            def failed() -> set[str]:
                answer = requests.get(f"{url}/health/ready.json", timeout=60)
                found = {each["name"] for each in answer.json()["checks"] if each["status"] == FAILED}
                assert answer.status_code == (503 if found else 200)
                return found

            wait_for(lambda: failed() == {"poll VMPoller:mouse"})


def test_engine_records_when_each_source_was_read(tmp_path: Path) -> None:
    with scheduler(tmp_path, "--no-servers", job_poller_interval=1):
        store = databases.open_store(tmp_path / "state", read_only=True)

        def seen() -> dict[str, Polled]:
            with store.reading() as connection:
                return {each.name: each for each in polls.all_polls(connection)}

        wait_for(lambda: {"JobPoller", "MachinePoller", "Scheduler", "VMPoller:local"} <= seen().keys())
        first = seen()["JobPoller"]
        wait_for(lambda: (seen()["JobPoller"].ok_at or 0) > (first.ok_at or 0))
        assert first.error == ""
        assert seen()["Scheduler"].seconds >= 0
        store.close()
