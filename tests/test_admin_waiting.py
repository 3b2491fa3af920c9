"""Verbs wait for the engine, but never for long, for nobody, or for a dead engine."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from admin_bench import JSON, TIMEOUT_SECONDS, Bench, bench, make_config, make_store, settling
from wsgi import Client

from cloudsched.admin import create_app
from cloudsched.admin.waiting import Waiting
from cloudsched.errors import StateUnavailable
from cloudsched.model.wishes import Aspect, Operation, OutcomeState
from cloudsched.store import Store, operations, place, verbs, wishes

RETIRE = "/clouds/mouse/vms/testvm?action=force_retire"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)


def wish(store: Store) -> Operation:
    return verbs.wish_vm(store, wishes.By("test"), "mouse", "testvm", Aspect.RETIRE)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def waiters(waiting: Waiting) -> int:
    return waiting._waiters


def test_without_an_engine_the_verb_is_202_at_once_and_recorded(tmp_path: Path, store: Store) -> None:
    client = Client(create_app(store, make_config(tmp_path)))
    answer = client.put(RETIRE)
    assert (answer.status_int, answer.text) == (202, "Accepted, see /operations/1.")
    assert answer.headers["Location"] == "/operations/1"
    assert client.put(RETIRE, headers=JSON).json["state"] == "running"
    with store.reading() as connection:
        assert len(operations.unsettled(connection)) == 2


def test_operation_is_readable_before_and_after(tmp_path: Path, store: Store) -> None:
    client = Client(create_app(store, make_config(tmp_path)))
    client.put(RETIRE)
    assert client.get("/operations/1").text == "Operation 1: retire, running\nvm testvm: retire, running\n"
    operations.settle(store, [(1, OutcomeState.FAILED, {"error": "No machine\nhas joined."})])
    lines = "Operation 1: retire, failed\nvm testvm: retire, failed: No machine?has joined.\n"
    assert client.get("/operations/1").text == lines
    document = client.get("/operations/1", headers=JSON).json
    assert (document["state"], document["targets"][0]["detail"]["error"]) == ("failed", "No machine\nhas joined.")


@pytest.mark.parametrize("name", ["2", "x", "-1", "9" * 30, "1.0", "%D9%A1"])
def test_unknown_operation_is_404(tmp_path: Path, store: Store, name: str) -> None:
    client = Client(create_app(store, make_config(tmp_path)))
    assert client.get(f"/operations/{name}").status_int == 404


def test_wait_ends_at_its_bound(tmp_path: Path, store: Store) -> None:
    with closing(place.hold(store)):
        waiting = Waiting(store, seats=1, seconds=0.05)
        assert waiting.outcome(wish(store)).state == "running"
        waiting.close()


def test_wait_ends_with_the_outcome(tmp_path: Path, store: Store) -> None:
    with closing(place.hold(store)), ThreadPoolExecutor(8) as pool:
        waiting = Waiting(store, seats=8, seconds=TIMEOUT_SECONDS)
        waits = [pool.submit(waiting.outcome, wish(store)) for _ in range(8)]
        until(lambda: waiters(waiting) == 8)
        operations.settle(store, [(wish_id, OutcomeState.DONE, {}) for wish_id in range(1, 9)])
        assert [each.result(TIMEOUT_SECONDS).state for each in waits] == ["done"] * 8
        assert waiters(waiting) == 0
        waiting.close()


def test_no_seat_means_no_wait(tmp_path: Path, store: Store) -> None:
    with closing(place.hold(store)), ThreadPoolExecutor(1) as pool:
        waiting = Waiting(store, seats=1, seconds=TIMEOUT_SECONDS)
        seated = pool.submit(waiting.outcome, wish(store))
        until(lambda: waiters(waiting) == 1)
        assert waiting.outcome(wish(store)).state == "running"
        assert not seated.done()
        waiting.close()
        assert seated.result(TIMEOUT_SECONDS).state == "running"


def test_no_seats_at_all_means_202_always(tmp_path: Path) -> None:
    with bench(tmp_path, wait_seats=0) as admin:
        assert admin.client.put(RETIRE).status_int == 202


def test_client_that_left_frees_its_seat(tmp_path: Path, store: Store) -> None:
    with closing(place.hold(store)), ThreadPoolExecutor(1) as pool:
        waiting = Waiting(store, seats=1, seconds=TIMEOUT_SECONDS)
        gone = threading.Event()
        seated = pool.submit(waiting.outcome, wish(store), gone.is_set)
        until(lambda: waiters(waiting) == 1)
        gone.set()
        assert seated.result(TIMEOUT_SECONDS).state == "running"
        waiting.close()


def test_engine_that_dies_ends_the_wait(tmp_path: Path, store: Store) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = Waiting(store, seats=1, seconds=TIMEOUT_SECONDS)
        with closing(place.hold(store)):
            seated = pool.submit(waiting.outcome, wish(store))
            until(lambda: waiters(waiting) == 1)
        assert seated.result(TIMEOUT_SECONDS).state == "running"
        waiting.close()


def test_rest_between_waits_misses_nothing(tmp_path: Path) -> None:
    with bench(tmp_path) as admin:
        for _ in range(20):
            assert admin.client.put(RETIRE).status_int == 200


def test_seat_is_free_again_after_every_wait(tmp_path: Path) -> None:
    with bench(tmp_path, wait_seats=1) as admin:
        assert [admin.client.put(RETIRE).status_int for _ in range(5)] == [200] * 5


@pytest.mark.sqlite
def test_state_that_goes_away_is_503_with_retry_after(tmp_path: Path, store: Store) -> None:
    client = Client(create_app(store, make_config(tmp_path)))
    (tmp_path / "state.db").rename(tmp_path / "away.db")
    answer = client.put(RETIRE, headers=JSON)
    assert (answer.status_int, answer.json["code"]) == (503, "state-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    with pytest.raises(StateUnavailable):
        store.state()


@pytest.mark.sqlite
def test_state_that_goes_away_while_waiting_is_202(tmp_path: Path, store: Store) -> None:
    with closing(place.hold(store)), ThreadPoolExecutor(1) as pool:
        waiting = Waiting(store, seats=1, seconds=1.0)
        seated = pool.submit(waiting.outcome, wish(store))
        until(lambda: waiters(waiting) == 1)
        (tmp_path / "state.db").rename(tmp_path / "away.db")
        assert seated.result(TIMEOUT_SECONDS).state == "running"
        waiting.close()


def test_token_is_needed_when_configured(tmp_path: Path, store: Store) -> None:
    client = Client(create_app(store, make_config(tmp_path, admin_auth="token")))
    assert client.put(RETIRE).status_int == 401
    token = (tmp_path / "admin.token").read_text().strip()
    bearer = {"Authorization": f"Bearer {token}"}
    with settling(Bench(store, client)):
        assert client.put(RETIRE, headers=bearer).status_int == 200
    assert client.get("/operations/1").status_int == 401
    with store.reading() as connection:
        assert operations.find(connection, 1).actor == "admin@127.0.0.1"
