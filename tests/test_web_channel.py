"""Our channel in Waitress's server, over real sockets: what Waitress's own does, without the spinning."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

import pytest
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress_rig import LARGE, TIMEOUT_SECONDS, App, answers, everything, request, serving

import info_server
from cloudsched.config import Config, Global
from cloudsched.web import daemon, serve
from cloudsched.web.channel import JOINED_BYTES, TunedChannel


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
