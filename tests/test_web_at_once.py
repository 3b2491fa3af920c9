"""What the application has at hand: sent by the main loop itself, as a worker would send it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import pytest
from waitress_rig import LARGE, LOOP, TIMEOUT_SECONDS, answers, everything, request, serving

from cloudsched.web.channel import JOINED_BYTES, TunedChannel


class Named:
    """Gives each target its own body, and knows in which threads it was called; `/slow` waits until it may go on."""

    def __init__(self) -> None:
        self.go_on, self.threads = threading.Event(), {}
        self.bodies = {"/": b"", "/one": b"1", "/joined": LARGE[:JOINED_BYTES], "/large": LARGE, "/slow": b"slow"}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        target, body = environ["REQUEST_URI"], self.bodies[environ["REQUEST_URI"]]
        self.threads[target] = threading.current_thread().name
        if target == "/slow":
            assert self.go_on.wait(TIMEOUT_SECONDS)
        status = "304 Not Modified" if "HTTP_IF_NONE_MATCH" in environ else "200 OK"
        start_response(status, [("Content-Length", str(len(body)))])
        return [body] if body and status == "200 OK" and environ["REQUEST_METHOD"] == "GET" else []

    @staticmethod
    def at_once(environ: dict[str, Any]) -> bool:
        return str(environ["REQUEST_URI"]) != "/slow"


@pytest.mark.parametrize("target", ["/", "/one", "/joined", "/large"])
@pytest.mark.parametrize(("version", "header"), [("1.1", "If-None-Match: x"), ("1.1", "X: y"), ("1.0", "X: y")])
def test_loop_answers_at_once_as_a_worker_does(target: str, version: str, header: str) -> None:
    said = []
    for at_once, thread in ((None, "waitress"), (Named.at_once, LOOP)):
        app = Named()
        with serving(app, TunedChannel, at_once) as rig, rig.connect() as client:
            client.sendall(request(target, header, "Connection: close", version=version))
            said.append([line for line in everything(client).split(b"\r\n") if not line.startswith(b"Date:")])
            assert rig.get(target, "HEAD") == (200, b"")
        assert app.threads[target].startswith(thread)
    assert said[0] == said[1]
    assert len(said[1]) > 3


def test_loop_answers_while_every_worker_waits() -> None:
    app = Named()
    with serving(app, TunedChannel, Named.at_once) as rig, ExitStack() as stack:
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
    with serving(app, TunedChannel, Named.at_once) as rig, rig.connect() as client:
        for _ in range(3):
            client.sendall(b"".join(map(request, targets)))
            assert answers(client, len(targets)) == expected
            for target, answer in zip(targets, expected, strict=True):
                client.sendall(request(target))
                assert answers(client, 1) == [answer]


def test_request_behind_one_that_a_worker_answers_waits_for_it() -> None:
    app = Named()
    with serving(app, TunedChannel, Named.at_once) as rig, rig.connect() as client:
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
    with serving(app, TunedChannel, Named.at_once) as rig, rig.connect(4096) as slow:
        slow.sendall(request("/large"))
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not any(each.total_outbufs_len for each in list(rig.server.active_channels.values())):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert app.threads["/large"] == LOOP
        slow.sendall(request("/large") * 2)
        assert rig.get("/one") == (200, b"1")
        assert answers(slow, 3) == [(200, LARGE)] * 3
    assert app.threads["/large"].startswith("waitress"), "requests behind each other are a worker's"


def test_client_that_leaves_the_loop_in_the_middle_costs_nothing() -> None:
    with serving(Named(), TunedChannel, Named.at_once) as rig:
        for _ in range(10):
            with rig.connect(4096) as client:
                client.sendall(request("/large"))
                client.recv(10)
        assert rig.get("/large") == (200, LARGE)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while rig.server.active_channels and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not rig.server.active_channels


def test_failure_in_the_loop_is_500_and_the_loop_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise RuntimeError("broken")

    with caplog.at_level(logging.CRITICAL, "waitress"), serving(app, TunedChannel, lambda _: True) as rig:
        for _ in range(3):
            status, body = rig.get()
            assert (status, b"broken" in body) == (500, False)
