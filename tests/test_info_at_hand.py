"""What the information daemon answers without waiting for anything, from the server's main loop."""

from __future__ import annotations

import gzip
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from golden_state import golden
from info_app import golden_client
from wsgi import Client, RawRequest

from cloudsched.model.vms import VM
from cloudsched.store import Store, glance, jobs, polls, verbs, wishes
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
    found = client.app.at_hand(environ)
    if found is None:
        return None
    return found.status, {name.lower(): value for name, value in found.headers if name != "X-Request-ID"}, found.body


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


def _urls() -> list[str]:
    """One VM and one job by each of their names, as JSON and as text, with all characters that a name may have."""
    named = [
        f"/clusters/{quote(vm.cloud, safe='')}/vms/{quote(name, safe='')}" for vm in golden().vms for name in _names(vm)
    ]
    jobs = [f"/jobs/{quote(job.id, safe='')}" for job in golden().jobs]
    numbers = [f"/jobs/{job.cluster_id}.{job.proc_id}" for job in golden().jobs]
    return [url + end for url in (*named, *jobs, *numbers) for end in ("", ".json")]


def _names(vm: VM) -> list[str]:
    return [name for name in dict.fromkeys((vm.id, vm.spot_id, vm.uid)) if name]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", "bad;;"])
def test_one_vm_and_one_job_are_at_hand_as_a_worker_answers_them(served: tuple[Client, Store], accept: str) -> None:
    client, _ = served
    client.get("/vms?metric=total")
    seen = Counter[str]()
    for url in _urls():
        for encoding in ("identity", "gzip"):
            given = {"HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": encoding}
            answer = client.get(url, headers={"Accept": accept, "Accept-Encoding": encoding}, status="*")
            found = at_hand(client, url, **given)
            seen[f"{answer.status_int} {found is not None}"] += 1
            if found is None:
                assert answer.status_int == 404, url
                continue
            expected = {name.lower(): value for name, value in answer.headerlist if name.lower() != "x-request-id"}
            status, shown, body = found
            if "content-encoding" in shown:
                # What webtest shows is unpacked already.
                body = gzip.decompress(body)
                assert (shown.pop("content-encoding"), shown.pop("content-length")) == ("gzip", str(len(found[2])))
                del expected["content-length"]
            assert (status, shown, body) == ("200 OK", expected, answer.body), url
            known = at_hand(client, url, HTTP_IF_NONE_MATCH=answer.headers["ETag"], **given)
            assert known and known[0] == "304 Not Modified"
    assert seen["200 True"] > 50


NOT_THERE = (
    *("/jobs/nosuch", "/jobs/job-1?index=3", "/jobs/", "/jobs/..", "/jobs/%zz", "/jobs/%ff", "/jobs/a%00"),
    *("/jobs/job-1/", "//jobs/job-1", "/clusters/nosuch/vms/x", "/clusters/mouse/vms/nosuch", "/clusters/mouse/vms/"),
    *("/clusters//vms/x", "/clusters/./vms/x"),
)


@pytest.mark.parametrize("target", NOT_THERE)
def test_what_is_not_there_or_asked_for_otherwise_is_a_workers(served: tuple[Client, Store], target: str) -> None:
    client, _ = served
    client.get("/vms?metric=total")
    assert at_hand(client, target) is None


def test_fleet_is_made_by_a_worker(served: tuple[Client, Store]) -> None:
    client, _ = served
    vm = golden().vms[0]
    target = f"/clusters/{quote(vm.cloud, safe='')}/vms/{vm.uid}"
    client.get("/jobs?state=running")
    assert at_hand(client, target) is None
    client.get(target)
    assert at_hand(client, target)


def test_job_that_has_changed_since_the_picture_is_a_workers(served: tuple[Client, Store]) -> None:
    client, store = served
    client.get("/vms?metric=total")
    assert at_hand(client, "/jobs/job-1.json")
    answers = client.app.reads.at_hand.__self__
    picture = answers._pictures.current()
    with store.writing() as writing:
        jobs.record_jobs(writing, [replace(job, priority=99) for job in golden().jobs if job.id == "job-1"])
    assert at_hand(client, "/jobs/job-1.json") is None, "the picture is not the last commit"
    assert answers._named(["jobs", "job-1.json"], picture) is None
    assert answers._named(["jobs", "job-2.json"], picture)
    assert client.get("/jobs/job-1.json").json["priority"] == 99


def test_commit_of_a_stranger_who_beats_no_pulse_is_looked_for_by_a_worker(served: tuple[Client, Store]) -> None:
    """However often the loop has asked before: it looks at nothing, so it takes nobody's turn to look."""
    client, store = served
    before = int(client.get("/vms").headers["X-State-Index"])
    assert at_hand(client, "/vms")
    with closing(sqlite3.connect(str(store.path), isolation_level=None)) as stranger:
        stranger.execute('UPDATE state SET "index" = "index" + 1, vms = "index" + 1, verbs = "index" + 1')
    client.app.reads.at_hand.__self__._pictures._glance._until = 0.0
    assert [at_hand(client, "/vms") for _ in range(3)] == [None] * 3
    assert int(client.get("/vms").headers["X-State-Index"]) == before + 1
    assert at_hand(client, "/vms")
