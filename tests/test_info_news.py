"""Waiting for news with `index` and `wait`, and the headers that tell how fresh an answer is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_state import golden
from info_app import golden_client
from wsgi import Client

from cloudsched.errors import BadRequest, StateUnavailable
from cloudsched.info.news import Awaited, News, awaited
from cloudsched.model.snapshot import Heartbeat, Polled
from cloudsched.render import ages
from cloudsched.store import Store, heartbeats, jobs, polls, vms
from cloudsched.web import ages as web_ages

SECONDS = 300.0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    client, store = golden_client(tmp_path, wait_seats=2)
    yield client, store
    client.app.stopping()
    store.close()


def _change_vm(store: Store, status: str) -> int:
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "vm-mouse-2", "status": status}])
    return store.state().index


def _change_job(store: Store) -> None:
    with store.writing() as writing:
        jobs.record_reasons(writing, {golden().jobs[0].shape.key: [str(time.monotonic())]})


class Later:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._found: list[Any] = []
        self._thread = threading.Thread(target=lambda: self._found.append(call()), daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return bool(self._found)

    def result(self) -> Any:
        self._thread.join(SECONDS)
        return self._found[0]


@pytest.mark.parametrize(
    "url",
    [
        "/clusters.json",
        "/clusters/mouse.json",
        "/clusters/mouse/vms",
        "/vms?metric=total",
        "/clusters/mouse/vms/testvm",
    ],
)
def test_page_is_answered_when_what_it_shows_changes(served: tuple[Client, Store], url: str) -> None:
    client, store = served
    first = int(client.get(url).headers["X-State-Index"])
    mark = "&" if "?" in url else "?"
    waiting = Later(lambda: client.get(f"{url}{mark}index={first}&wait=50"))
    _change_job(store)
    time.sleep(0.5)
    assert not waiting.is_over
    index = _change_vm(store, "Retiring")
    answer = waiting.result()
    assert (answer.status_int, answer.headers["X-State-Index"]) == (200, str(index))
    assert answer.body == client.get(url).body


@pytest.mark.parametrize("url", ["/jobs?state=new", "/jobs/job-7.json?", "/failures?type=boot", "/failures/boot?"])
def test_pages_of_jobs_wait_for_jobs(served: tuple[Client, Store], url: str) -> None:
    client, store = served
    first = client.get(url.rstrip("?")).headers["X-State-Index"]
    waiting = Later(lambda: client.get(f"{url}&index={first}&wait=50".replace("?&", "?")))
    time.sleep(0.2)
    assert not waiting.is_over
    _change_job(store)
    assert int(waiting.result().headers["X-State-Index"]) > int(first)


def test_who_has_less_or_another_state_is_answered_at_once(served: tuple[Client, Store]) -> None:
    client, store = served
    now = store.state().index
    for index in (0, now - 1, now + 1000):
        answer = client.get(f"/clusters.json?index={index}&wait=300")
        assert (answer.status_int, answer.headers["X-State-Index"]) == (200, str(now))


def test_wait_that_is_over_is_answered_with_what_there_is_and_the_same_index_resumes(
    served: tuple[Client, Store],
) -> None:
    client, store = served
    now = store.state().index
    for _ in range(2):
        began = time.monotonic()
        answer = client.get(f"/clusters.json?index={now}&wait=1")
        assert (answer.status_int, answer.headers["ETag"]) == (200, f'"{now}"')
        assert time.monotonic() - began >= 1
    assert client.get(f"/clusters.json?index={now}&wait=0").status_int == 200


def test_who_waits_may_be_told_that_nothing_changed(served: tuple[Client, Store]) -> None:
    client, store = served
    now = store.state().index
    answer = client.get(f"/clusters.json?index={now}&wait=1", headers={"If-None-Match": f'"{now}"'})
    assert (answer.status_int, answer.body) == (304, b"")


def test_beyond_the_seats_is_503_with_retry_after(served: tuple[Client, Store]) -> None:
    client, store = served
    now = store.state().index
    waiting = [Later(lambda: client.get(f"/vms?index={now}&wait=300")) for _ in range(2)]
    news = client.app.stopping.__self__
    deadline = time.monotonic() + SECONDS
    while news._seats._value and time.monotonic() < deadline:
        time.sleep(0.01)
    refused = client.get(f"/vms?index={now}&wait=2")
    assert (refused.status_int, refused.text) == (503, "All 2 seats for waiting are taken.")
    assert int(refused.headers["Retry-After"]) > 0
    assert client.get("/vms").status_int == 200
    assert client.get(f"/vms?index={now - 1}&wait=300").status_int == 200
    client.app.stopping()
    assert [each.result().status_int for each in waiting] == [200, 200]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("/clusters.json?wait=3", "The parameter 'wait' needs 'index'"),
        ("/clusters.json?index=x", "The parameter 'index' must be an integer from 0"),
        ("/clusters.json?index=-1", "The parameter 'index' must be an integer from 0"),
        ("/vms?index=1&wait=301", "The parameter 'wait' must be an integer from 0 to 300"),
        ("/developer-info?index=1", "The parameter 'index' is unknown"),
    ],
)
def test_bad_waits_are_400(served: tuple[Client, Store], url: str, sentence: str) -> None:
    answer = served[0].get(url)
    assert (answer.status_int, sentence in answer.text) == (400, True)


def test_wait_has_a_usual_length() -> None:
    assert awaited({"index": 3}) == Awaited(3, 30)
    assert awaited({}) is None
    with pytest.raises(BadRequest):
        awaited({"wait": 3})


def test_client_that_leaves_frees_its_seat() -> None:
    news = News(lambda: None, 1)
    news.wait(lambda: False, 300, lambda: True)
    news.wait(lambda: False, 300, lambda: True)


def test_change_between_look_and_wait_is_not_missed() -> None:
    """Many changes, each awaited: nobody sleeps through one."""
    shown = [object()]
    news = News(lambda: shown[0], 4)
    for _ in range(20):
        before = shown[0]
        waiting = [Later(lambda before=before: news.wait(lambda: shown[0] is not before, 300, lambda: False))]
        shown[0] = object()
        waiting[0].result()
    news.close()


def test_failing_look_leaves_others_waiting() -> None:
    answers = iter([StateUnavailable("gone")] * 3)

    def look() -> object:
        for ex in answers:
            raise ex
        return news

    news = News(look, 1)
    calls = [0]

    def is_there() -> bool:
        calls[0] += 1
        return calls[0] > 3

    news.wait(is_there, 300, lambda: False)
    assert calls[0] == 4


NOW = 1_480_000_100.0
POLLS = [
    Polled("JobPoller", 5.0, ok_at=NOW - 14),
    Polled("MachinePoller", 5.0, ok_at=NOW - 3),
    Polled("Scheduler", 5.0, ok_at=NOW - 1),
    Polled("VMPoller:mouse", 30.0, ok_at=NOW - 89),
    Polled("VMPoller:rat", 30.0, ok_at=NOW - 5),
]
BEATS = [Heartbeat("Scheduler", 5, NOW - 2), Heartbeat("Cleanup", 5, NOW - 9999)]


def test_ages_are_told_by_source() -> None:
    told = ages.headers(ages.readings(BEATS, POLLS), NOW)
    assert told == [("X-Data-As-Of", "clouds=@1480000011, batch=@1480000086, engine=@1480000098")]


def test_source_past_three_periods_is_stale() -> None:
    told = dict(ages.headers(ages.readings(BEATS, POLLS), NOW + 2))
    assert told["X-Data-Stale"] == "clouds, batch"
    assert dict(ages.headers(ages.readings(BEATS, POLLS), NOW + 20))["X-Data-Stale"] == "clouds, batch, engine"


def test_source_that_was_never_read_is_stale_and_has_no_date() -> None:
    found = ages.readings([], [Polled("VMPoller:mouse", 30.0)])
    assert ages.headers(found, NOW) == [("X-Data-Stale", "clouds")]
    assert ages.headers([], NOW) == []


def test_every_answer_tells_ages_and_no_body_with_a_tag_does(served: tuple[Client, Store]) -> None:
    client, store = served
    with store.writing() as writing:
        heartbeats.record_heartbeats(writing, [Heartbeat("Scheduler", 5, time.time())])
        polls.record_polls(writing, [Polled("VMPoller:mouse", 30.0, ok_at=1.0)])
    tags = {client.get("/clusters.json").headers["ETag"] for _ in range(3)}
    assert len(tags) == 1
    known = {"If-None-Match": tags.pop()}
    asked = [("/clusters.json", {}), ("/clusters.json", known), ("/jobs/job-7", {}), ("/nosuch", {}), ("/vms?x=1", {})]
    for url, headers in asked:
        answer = client.get(url, headers=headers)
        assert answer.headers["X-Data-As-Of"].startswith("clouds=@1, engine=@")
        assert answer.headers["X-Data-Stale"] == "clouds"


def test_ages_are_read_anew_after_a_moment_only(served: tuple[Client, Store]) -> None:
    _, store = served
    moment = [1000.0]
    told = web_ages.Ages(store, lambda: NOW, lambda: moment[0])
    before = told()
    with store.writing() as writing:
        polls.record_polls(writing, POLLS)
    assert told() is before
    moment[0] += web_ages.REREAD_SECONDS
    assert dict(told())["X-Data-As-Of"].startswith("clouds=@1480000011")
