"""What the information daemon answers without waiting for anything, from the server's main loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from info_app import golden_client
from wsgi import Client, RawRequest

from cloudsched.store import Store, glance, polls, verbs, wishes
from cloudsched.store.polls import Polled
from cloudsched.web import ages

pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def nothing_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the database nor the ages are due to be looked at, however slow the machine."""
    monkeypatch.setattr(glance, "LOOK_SECONDS", 1e9)
    monkeypatch.setattr(ages, "REREAD_SECONDS", 1e9)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    client, store = golden_client(tmp_path)
    yield client, store
    client.app.stopping()
    store.close()


def at_hand(client: Client, target: str, method: str = "GET", **headers: str) -> tuple[str, Any, bytes] | None:
    """The status, the headers without the request's name and the body, where the request may be answered at once."""
    # As webtest asks: the target it names has no query.
    path, _, query = target.partition("?")
    given = {"REQUEST_METHOD": method, "QUERY_STRING": query, **headers}
    environ: dict[str, Any] = RawRequest.blank(path, given).environ
    app, told = client.app, []
    if not app.is_at_hand(environ):
        return None
    body = b"".join(app(environ, lambda *each: told.append(each)))
    ((status, found),) = told
    return status, {name.lower(): value for name, value in found if name != "X-Request-ID"}, body


@pytest.mark.parametrize("target", ["/clusters.json", "/vms?metric=total", "/jobs?state=running", "/metrics"])
def test_page_is_at_hand_once_somebody_has_asked_for_it(served: tuple[Client, Store], target: str) -> None:
    client, _ = served
    assert at_hand(client, target) is None
    answer = client.get(target)
    expected = {name.lower(): value for name, value in answer.headerlist if name.lower() != "x-request-id"}
    assert at_hand(client, target) == ("200 OK", expected, answer.body)
    assert at_hand(client, target, "HEAD") == ("200 OK", expected, b"")
    known = at_hand(client, target, HTTP_IF_NONE_MATCH=answer.headers["ETag"])
    assert known
    assert (known[0], known[1]["etag"], known[2]) == ("304 Not Modified", answer.headers["ETag"], b"")


def test_nothing_is_at_hand_after_a_commit_until_somebody_has_looked(served: tuple[Client, Store]) -> None:
    client, store = served
    client.get("/clusters.json")
    assert at_hand(client, "/clusters.json")
    verbs.wish_enabled(store, wishes.By("test"), "mouse", False)
    assert at_hand(client, "/clusters.json") is None
    client.get("/vms")
    assert at_hand(client, "/clusters.json"), "what the commit did not change is at hand again"


@pytest.mark.parametrize("target", ["/nosuch", "/jobs/job-7/explain", "/clusters.json?x=1", "/thread-heart-beats"])
def test_what_is_no_page_of_the_picture_never_is(served: tuple[Client, Store], target: str) -> None:
    client, _ = served
    client.get(target)
    assert at_hand(client, target) is None


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "PUT"])
def test_other_methods_never_are(served: tuple[Client, Store], method: str) -> None:
    client, _ = served
    client.get("/vms")
    assert at_hand(client, "/vms", method) is None


def test_ages_that_are_due_are_read_by_a_worker(served: tuple[Client, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    client, store = served
    client.get("/vms")
    with store.writing() as writing:
        polls.record_polls(writing, [Polled("VMPoller:mouse", 30.0, ok_at=1.0)])
    monkeypatch.setattr(client.app.reads.ages, "_clock", lambda: float("inf"))
    assert at_hand(client, "/vms") is None


@pytest.mark.parametrize("options", [{"info_auth": "token"}, {"access_log": "all"}])
def test_nothing_is_where_requests_are_looked_at_one_by_one(tmp_path: Path, options: dict[str, Any]) -> None:
    client, store = golden_client(tmp_path, **options)
    client.get("/vms")
    assert at_hand(client, "/vms") is None
    client.app.stopping()
    store.close()
