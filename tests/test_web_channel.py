"""Our channel in Waitress's server, over real sockets: what Waitress's own does, without the spinning."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import Any

import pytest
from waitress import wasyncore
from waitress.channel import HTTPChannel

import info_server
from cloudsched.config import Config, Global
from cloudsched.web import daemon, serve
from cloudsched.web.channel import JOINED_BYTES, AtOnce, TunedChannel

TIMEOUT_SECONDS = 60.0
LARGE = bytes(range(256)) * (1 << 17)
"""32 MB: more than any socket takes, and more than Waitress's high watermark."""

LOOP = "main-loop"

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Rig:
    """A server in a thread of the test; `turns` counts those of its main loop."""

    def __init__(self, app: App, channel: type[HTTPChannel], at_once: AtOnce | None = None) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server = serve.made(app, self.listener, 4, tuned=at_once is not None, at_once=at_once)
        self.server.channel_class = channel
        self.turns, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._run, name=LOOP)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            wasyncore.loop(timeout=1, use_poll=True, map=self.server._map, count=1)
            self.turns += 1

    def close(self) -> None:
        self._stop.set()
        self.server.pull_trigger()
        self._thread.join(TIMEOUT_SECONDS)
        self.server.task_dispatcher.shutdown(timeout=5)
        wasyncore.close_all(self.server._map)

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        client.settimeout(TIMEOUT_SECONDS)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(("127.0.0.1", self.port))
        return client

    def get(self, target: str = "/", method: str = "GET") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        connection.request(method, target)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found


@contextmanager
def serving(app: App, channel: type[HTTPChannel], at_once: AtOnce | None = None) -> Iterator[Rig]:
    rig = Rig(app, channel, at_once)
    try:
        yield rig
    finally:
        rig.close()


@pytest.fixture(params=[HTTPChannel, TunedChannel], ids=["waitress", "tuned"])
def channel(request: pytest.FixtureRequest) -> type[HTTPChannel]:
    """What holds for ours holds for Waitress's own."""
    found: type[HTTPChannel] = request.param
    return found


def answering(*pieces: bytes, length: bool = True, status: str = "200 OK") -> App:
    """An application that always gives these pieces."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        size = [("Content-Length", str(sum(map(len, pieces))))] if length else []
        start_response(status, [("Content-Type", "text/plain"), *size])
        return list(pieces)

    return app


def request(target: str = "/", *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


def everything(client: socket.socket) -> bytes:
    """All until the server closes."""
    with client.makefile("rb") as stream:
        return stream.read()


def answers(client: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Answers in the order they came; what has no length has no body."""
    found = []
    with client.makefile("rb") as stream:
        for _ in range(count):
            status, length = int(stream.readline().split()[1]), 0
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            found.append((status, stream.read(length)))
    return found


@pytest.mark.parametrize("size", [0, 1, JOINED_BYTES, JOINED_BYTES + 1, len(LARGE)])
def test_body_of_any_size_arrives_whole(channel: type[HTTPChannel], size: int) -> None:
    with serving(answering(LARGE[:size]), channel) as rig:
        assert rig.get() == (200, LARGE[:size])
        assert rig.get(method="HEAD") == (200, b"")


@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
def test_pieces_arrive_in_order(channel: type[HTTPChannel], length: bool) -> None:
    pieces = [b"a", LARGE[:100_000], b"", b"b" * JOINED_BYTES, LARGE, b"c"]
    with serving(answering(*pieces, length=length), channel) as rig:
        assert rig.get() == (200, b"".join(pieces))


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answer_without_a_body_keeps_the_connection(channel: type[HTTPChannel], status: str) -> None:
    with serving(answering(status=status), channel) as rig, rig.connect() as client:
        client.sendall(request() + request())
        with client.makefile("rb") as stream:
            assert stream.readline().split()[1] == status.split()[0].encode()


def test_stream_is_sent_as_it_is_made(channel: type[HTTPChannel]) -> None:
    """Each piece reaches the client before the next one is made."""
    go_on = [threading.Event() for _ in range(3)]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        for number, event in enumerate(go_on):
            yield f"piece {number}\n".encode()
            assert event.wait(TIMEOUT_SECONDS)

    with serving(app, channel) as rig, rig.connect() as client, client.makefile("rb") as stream:
        client.sendall(request())
        for number, event in enumerate(go_on):
            while (line := stream.readline()) != f"piece {number}\n".encode():
                assert line
            event.set()
        assert stream.read().endswith(b"0\r\n\r\n")


def test_rest_of_a_piece_is_sent_while_the_next_is_made(channel: type[HTTPChannel]) -> None:
    """The socket was full when the worker had sent; the main loop does the rest, though the worker is still at it."""
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(12_000_000 + 3))])
        yield LARGE[:12_000_000]
        assert go_on.wait(TIMEOUT_SECONDS)
        yield b"end"

    with serving(app, channel) as rig, rig.connect(4096) as client, client.makefile("rb") as stream:
        client.sendall(request())
        while stream.readline() != b"\r\n":
            pass
        assert stream.read(12_000_000) == LARGE[:12_000_000]
        go_on.set()
        assert stream.read(3) == b"end"


def test_slow_reader_gets_all_and_delays_nobody(channel: type[HTTPChannel]) -> None:
    with serving(answering(LARGE), channel) as rig, rig.connect(4096) as slow:
        slow.sendall(request("/", "Connection: close"))
        assert slow.recv(1) == b"H"
        assert rig.get() == (200, LARGE)
        _, _, body = everything(slow).partition(b"\r\n\r\n")
        assert body == LARGE


def test_producer_waits_for_a_reader_that_does_not_read(channel: type[HTTPChannel]) -> None:
    """More than the high watermark is not kept in memory; when the reader goes on, so does the producer."""
    made: list[int] = []
    count = 200

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(count << 20))])
        for number in range(count):
            made.append(number)
            yield bytes([number]) * (1 << 20)

    with serving(app, channel) as rig, rig.connect(4096) as client:
        client.sendall(request("/", "Connection: close"))
        known = -1
        while len(made) != known:
            known = len(made)
            time.sleep(0.5)
        assert known < count / 2
        _, _, body = everything(client).partition(b"\r\n\r\n")
        assert body == b"".join(bytes([number]) * (1 << 20) for number in range(count))


def test_pipelined_requests_are_answered_in_order(channel: type[HTTPChannel]) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["REQUEST_URI"].encode() * 20_000
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with serving(app, channel) as rig, rig.connect() as client:
        targets = [f"/{number}" for number in range(20)]
        client.sendall(b"".join(map(request, targets)))
        assert answers(client, 20) == [(200, target.encode() * 20_000) for target in targets]


def test_continue_comes_before_the_body_is_sent(channel: type[HTTPChannel]) -> None:
    with serving(answering(b"done"), channel) as rig, rig.connect() as client:
        for _ in range(2):
            client.sendall(request("/", "Content-Length: 4", "Expect: 100-continue"))
            assert answers(client, 1) == [(100, b"")]
            client.sendall(b"body")
            assert answers(client, 1) == [(200, b"done")]


def test_continue_waits_for_the_answer_before_it(channel: type[HTTPChannel]) -> None:
    with serving(answering(b"done"), channel) as rig, rig.connect() as client:
        client.sendall(request() + request("/", "Content-Length: 4", "Expect: 100-continue"))
        assert answers(client, 2) == [(200, b"done"), (100, b"")]
        client.sendall(b"body")
        assert answers(client, 1) == [(200, b"done")]


@pytest.mark.parametrize(("version", "header"), [("1.0", "X: y"), ("1.1", "Connection: close")])
def test_connection_ends_when_it_should(channel: type[HTTPChannel], version: str, header: str) -> None:
    with serving(answering(LARGE), channel) as rig, rig.connect() as client:
        client.sendall(request("/", header, version=version))
        head, _, body = everything(client).partition(b"\r\n\r\n")
        assert (b"Connection: close" in head, body) == (True, LARGE)


def test_client_that_leaves_in_the_middle_costs_nothing(channel: type[HTTPChannel]) -> None:
    with serving(answering(LARGE), channel) as rig:
        for _ in range(10):
            with rig.connect(4096) as client:
                client.sendall(request())
                client.recv(10)
        assert rig.get() == (200, LARGE)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while rig.server.active_channels and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not rig.server.active_channels


def test_failure_before_the_head_is_500(channel: type[HTTPChannel], caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "3")])
        raise RuntimeError("broken")

    with caplog.at_level(logging.CRITICAL, "waitress"), serving(app, channel) as rig:
        status, body = rig.get()
        assert (status, b"broken" in body) == (500, False)


def test_failure_after_the_head_ends_the_connection(
    channel: type[HTTPChannel], caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "6")])
        yield b"abc"
        raise RuntimeError("broken")

    with caplog.at_level(logging.CRITICAL, "waitress"), serving(app, channel) as rig, rig.connect() as client:
        client.sendall(request())
        assert everything(client).endswith(b"\r\n\r\nabc")


def test_bad_request_is_answered_and_ends_the_connection(channel: type[HTTPChannel]) -> None:
    with serving(answering(b"done"), channel) as rig, rig.connect() as client:
        client.sendall(request() + b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
        said = everything(client)
        assert [each.split()[1] for each in said.split(b"HTTP/1.1")[1:] if each] and b"400 Bad Request" in said
        assert said.count(b"done") == 1


def test_file_is_sent_and_closed(channel: type[HTTPChannel]) -> None:
    files = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        files.append(BytesIO(LARGE))
        start_response("200 OK", [("Content-Type", "text/plain")])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](files[-1])
        return wrapped

    with serving(app, channel) as rig:
        assert rig.get() == (200, LARGE)
        assert rig.get() == (200, LARGE)
    assert all(file.closed for file in files)


def test_write_callable_sends_at_once(channel: type[HTTPChannel]) -> None:
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Length", "6")])
        write(b"abc")
        assert go_on.wait(TIMEOUT_SECONDS)
        return [b"def"]

    with serving(app, channel) as rig, rig.connect() as client, client.makefile("rb") as stream:
        client.sendall(request())
        while stream.readline() != b"\r\n":
            pass
        assert stream.read(3) == b"abc"
        go_on.set()
        assert stream.read(3) == b"def"


def test_small_answer_is_one_send() -> None:
    sent: list[bytes] = []

    class Counting(TunedChannel):
        def send(self, data: Any, do_close: bool = True) -> int:
            sent.append(bytes(data))
            found: int = super().send(data, do_close=do_close)
            return found

    with serving(answering(b"x" * JOINED_BYTES), Counting) as rig:
        rig.get()
    assert len(b"".join(sent)) > JOINED_BYTES
    assert len(sent) == 1


@pytest.mark.parametrize("channel", [HTTPChannel, TunedChannel], ids=["waitress", "tuned"])
def test_main_loop_rests_while_a_worker_sends(channel: type[HTTPChannel]) -> None:
    """Waitress's own turns for as long as the send takes: that is what is cured."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(channel):  # type: ignore[valid-type, misc]
        def send(self, data: Any, do_close: bool = True) -> int:
            if threading.current_thread().name.startswith("waitress"):
                begun.set()
                assert go_on.wait(TIMEOUT_SECONDS)
            found: int = super().send(data, do_close=do_close)
            return found

    with serving(answering(b"done"), Slow) as rig:
        waiting = threading.Thread(target=rig.get)
        waiting.start()
        assert begun.wait(TIMEOUT_SECONDS)
        rig.server.pull_trigger()
        time.sleep(0.2)
        before = rig.turns
        time.sleep(1)
        turned = rig.turns - before
        go_on.set()
        waiting.join(TIMEOUT_SECONDS)
    if channel is TunedChannel:
        assert turned < 20
    else:
        assert turned >= 20


@pytest.mark.parametrize(("tuning", "expected"), [(True, TunedChannel), (False, HTTPChannel)])
def test_option_chooses_the_channel(tuning: bool, expected: type[HTTPChannel]) -> None:
    endpoint = daemon._endpoint(info_server.DAEMON, Config(Global(waitress_tuning=tuning)), False)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = serve.made(answering(b""), listener, 1, tuned=endpoint.tuned)
        assert server.channel_class is expected
        server.task_dispatcher.shutdown()
        wasyncore.close_all(server._map)


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
