"""What the application has at hand: sent by the main loop itself, as a worker would send it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import pytest
from waitress.parser import HTTPRequestParser
from waitress_rig import LARGE, LOOP, TIMEOUT_SECONDS, answers, everything, request, serving, wait_until, whole

from cloudsched.web import at_once
from cloudsched.web.at_once import AtOnceChannel
from cloudsched.web.channel import JOINED_BYTES
from cloudsched.web.ready import Answer


class Named:
    """Gives each target its own body, and knows in which threads it was asked; `/slow` waits until it may go on."""

    def __init__(self) -> None:
        self.go_on, self.threads = threading.Event(), {}
        self.bodies = {"/": b"", "/one": b"1", "/joined": LARGE[:JOINED_BYTES], "/large": LARGE, "/slow": b"slow"}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_URI"] == "/slow":
            assert self.go_on.wait(TIMEOUT_SECONDS)
        answer = self.answer(environ)
        start_response(answer.status, answer.headers)
        return [answer.body] if answer.body else []

    def at_once(self, environ: dict[str, Any]) -> Answer | None:
        return None if environ["REQUEST_URI"] == "/slow" else self.answer(environ)

    def answer(self, environ: dict[str, Any]) -> Answer:
        target, body = environ["REQUEST_URI"], self.bodies[environ["REQUEST_URI"]]
        self.threads[target] = threading.current_thread().name
        headers = [("Content-Length", str(len(body))), ("X-Request-ID", environ.get("HTTP_X_REQUEST_ID", "none"))]
        if "HTTP_IF_NONE_MATCH" in environ:
            return Answer("304 Not Modified", headers[1:], b"")
        return Answer("200 OK", headers, body if environ["REQUEST_METHOD"] == "GET" else b"")


@pytest.mark.parametrize("target", ["/", "/one", "/joined", "/large"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("header", ["If-None-Match: x", "X-Request-ID: y", "Connection: keep-alive"])
def test_loop_answers_at_once_as_a_worker_does(target: str, method: str, header: str) -> None:
    """The same bytes, but for the date: the first time, and when the request is known."""
    asked, said = request(target, header, method=method), []
    for has_loop, thread in ((False, "waitress"), (True, LOOP)):
        app = Named()
        with serving(app, at_once=app.at_once if has_loop else None) as rig, rig.connect() as client:
            for _ in range(3):
                client.sendall(asked)
                said.append(whole(client, with_body=method == "GET"))
            assert app.threads[target].startswith(thread)
            client.sendall(request("/one", "Connection: close"))
            assert everything(client).endswith(b"\r\n\r\n1"), "the connection was kept until then"
    assert len(said[0]) > 3
    assert all(each == said[0] for each in said[1:])


@pytest.mark.parametrize(
    ("version", "header"), [("1.0", "X: y"), ("1.0", "Connection: keep-alive"), ("1.1", "Connection: close")]
)
def test_who_keeps_no_connection_is_a_workers(version: str, header: str) -> None:
    app = Named()
    with serving(app, at_once=app.at_once) as rig:
        for _ in range(2):
            with rig.connect() as client:
                client.sendall(request("/one", header, version=version))
                assert answers(client, 1) == [(200, b"1")]
                assert app.threads["/one"].startswith("waitress")


def test_request_that_is_known_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []

    class Counting(HTTPRequestParser):
        def __init__(self, adj: object) -> None:
            read.append(adj)
            super().__init__(adj)

    monkeypatch.setattr(AtOnceChannel, "parser_class", Counting)
    app = Named()
    with serving(app, at_once=app.at_once) as rig, rig.connect() as first, rig.connect() as second:
        for client in (first, second, first, second):
            client.sendall(request("/one"))
            assert answers(client, 1) == [(200, b"1")]
        assert len(read) == 2, "the second time tells that it comes again"
        app.bodies["/one"] = b"other"
        first.sendall(request("/one"))
        assert answers(first, 1) == [(200, b"other")], "the request is known, not its answer"
        assert [key for key in rig.server.task_dispatcher._known[request("/one")] if "REMOTE" in key] == []
        second.sendall(request("/one", "X: y"))
        assert answers(second, 1) == [(200, b"other")]
        assert len(read) == 3


def test_known_request_that_is_not_at_hand_any_more_is_a_workers() -> None:
    app, at_hand, asked = Named(), [True], []

    def at_once(environ: dict[str, Any]) -> Answer | None:
        asked.append(environ["REQUEST_URI"])
        return app.at_once(environ) if at_hand[0] else None

    with serving(app, at_once=at_once) as rig, rig.connect() as client:
        for is_at_hand, thread in ((True, LOOP), (True, LOOP), (False, "waitress"), (True, LOOP)):
            at_hand[0] = is_at_hand
            client.sendall(request("/one"))
            assert answers(client, 1) == [(200, b"1")]
            assert app.threads["/one"].startswith(thread)
            # What comes while a worker is still at the end of the last request is a worker's as well.
            wait_until(lambda: not any(each.requests for each in rig.channels()))
    assert len(asked) == 4, "once for each request"


def test_what_looks_like_a_known_request_may_be_the_body_of_another() -> None:
    app, known = Named(), request("/one")
    with serving(app, at_once=app.at_once) as rig, rig.connect() as client:
        client.sendall(known)
        assert answers(client, 1) == [(200, b"1")]
        client.sendall(request("/joined", f"Content-Length: {len(known)}"))
        wait_until(lambda: any(each.request for each in rig.channels()))
        client.sendall(known)
        assert answers(client, 1) == [(200, app.bodies["/joined"])]
        client.sendall(known[:20])
        wait_until(lambda: any(each.request for each in rig.channels()))
        client.sendall(known[20:] + known)
        assert answers(client, 2) == [(200, b"1")] * 2


def test_only_so_many_requests_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "MOST_KNOWN", 3)
    app = Named()
    with serving(app, at_once=app.at_once) as rig, rig.connect() as client:
        dispatcher = rig.server.task_dispatcher
        for times in (1, 2):
            for number in range(10):
                for _ in range(times):
                    client.sendall(request("/one", f"X: {number}"))
                    assert answers(client, 1) == [(200, b"1")]
                assert len(dispatcher._known) <= 3
                assert 1 <= len(dispatcher._seen) <= 3
            assert bool(dispatcher._known) == (times > 1), "what comes once displaces nothing that comes again"


def test_loop_answers_while_every_worker_waits() -> None:
    app = Named()
    with serving(app, at_once=app.at_once) as rig, ExitStack() as stack:
        waiting = [stack.enter_context(rig.connect()) for _ in range(8)]
        for client in waiting:
            client.sendall(request("/slow"))
        for target in ("/one", "/large", "/joined"):
            assert rig.get(target) == (200, app.bodies[target])
        app.go_on.set()
        assert [answers(client, 1) for client in waiting] == [[(200, b"slow")]] * 8


def test_requests_for_loop_and_workers_on_one_connection_are_answered_in_order() -> None:
    app = Named()
    app.go_on.set()
    targets = ["/one", "/slow", "/large", "/", "/joined", "/slow", "/one", "/large", "/large"]
    expected = [(200, app.bodies[target]) for target in targets]
    with serving(app, at_once=app.at_once) as rig, rig.connect() as client:
        for _ in range(3):
            client.sendall(b"".join(map(request, targets)))
            assert answers(client, len(targets)) == expected
            for target, answer in zip(targets, expected, strict=True):
                client.sendall(request(target))
                assert answers(client, 1) == [answer]


def test_request_behind_one_that_a_worker_answers_waits_for_it() -> None:
    app = Named()
    with serving(app, at_once=app.at_once) as rig, rig.connect() as client:
        client.sendall(request("/slow"))
        client.sendall(request("/one"))
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(TIMEOUT_SECONDS)
        app.go_on.set()
        assert answers(client, 2) == [(200, b"slow"), (200, b"1")]


def test_slow_reader_of_what_the_loop_sends_delays_nobody() -> None:
    """Not even with a second request behind the first answer, where Waitress has workers wait for room."""
    app = Named()
    with serving(app, at_once=app.at_once) as rig, rig.connect(4096) as slow:
        slow.sendall(request("/large"))
        wait_until(lambda: any(each.total_outbufs_len for each in rig.channels()))
        assert app.threads["/large"] == LOOP
        slow.sendall(request("/large") * 2)
        assert rig.get("/one") == (200, b"1")
        assert answers(slow, 3) == [(200, LARGE)] * 3
    assert app.threads["/large"].startswith("waitress"), "requests behind each other are a worker's"


def test_client_that_leaves_the_loop_in_the_middle_costs_nothing() -> None:
    app = Named()
    with serving(app, at_once=app.at_once) as rig:
        for _ in range(10):
            with rig.connect(4096) as client:
                client.sendall(request("/large"))
                client.recv(10)
        assert rig.get("/large") == (200, LARGE)
        wait_until(lambda: not rig.channels())


def test_failure_in_the_loop_is_a_workers_to_answer(caplog: pytest.LogCaptureFixture) -> None:
    def fail(environ: dict[str, Any]) -> Answer | None:
        raise RuntimeError("broken")

    app = Named()
    with caplog.at_level(logging.ERROR, "waitress"), serving(app, at_once=fail) as rig:
        for _ in range(3):
            assert rig.get("/one") == (200, b"1")
    assert app.threads["/one"].startswith("waitress")
    assert len(caplog.records) == 3
