"""A Waitress server over real sockets in a thread of the test, and what is said to it."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel

from cloudsched.web import serve
from cloudsched.web.at_once import AtOnce

TIMEOUT_SECONDS = 60.0
LARGE = bytes(range(256)) * (1 << 17)
"""32 MB: more than any socket takes, and more than Waitress's high watermark."""

LOOP = "main-loop"

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Rig:
    """A server in a thread of the test; `turns` counts those of its main loop."""

    def __init__(self, app: App, channel: type[HTTPChannel] | None = None, at_once: AtOnce | None = None) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server = serve.made(app, self.listener, 4, at_once=at_once)
        if channel:
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

    def channels(self) -> list[Any]:
        return list(self.server.active_channels.values())

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
def serving(app: App, channel: type[HTTPChannel] | None = None, at_once: AtOnce | None = None) -> Iterator[Rig]:
    rig = Rig(app, channel, at_once)
    try:
        yield rig
    finally:
        rig.close()


def request(target: str = "/", *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


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


def whole(client: socket.socket, *, with_body: bool) -> list[bytes]:
    """One answer: the lines of its head without the date, then its body."""
    with client.makefile("rb") as stream:
        lines = list(iter(stream.readline, b"\r\n"))
        lengths = [int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length")]
        body = stream.read(sum(lengths)) if with_body else b""
    return [*(line for line in lines if not line.startswith(b"Date:")), body]
