"""Serving an application with Waitress until a signal, or the end of the process that started us, says stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waitress import wasyncore
from waitress.server import create_server

from cloudsched.web.app import WSGIApp
from cloudsched.web.at_once import AtOnce, AtOnceChannel, Dispatcher
from cloudsched.web.channel import TunedChannel
from cloudsched.web.guard import Sweep, guarded
from cloudsched.web.listening import Rights, listening_socket, url
from cloudsched.web.params import BODY_LIMIT

TUNING: dict[str, Any] = {
    "ident": "cloudsched",
    "max_request_body_size": BODY_LIMIT,
    "max_request_header_size": 1 << 16,
    "channel_timeout": 60,
    "connection_limit": 1000,
    "asyncore_use_poll": True,
    "clear_untrusted_proxy_headers": True,
    "log_socket_errors": False,
    "channel_request_lookahead": 1,
    "outbuf_overflow": 1 << 26,
}
"""Waitress's settings that are not its defaults. The lookahead lets a waiting verb see that its client has left;
documents stay in memory."""

DRAIN_SECONDS = 5.0
"""How long answers that are under way may take after a stop was asked for."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to listen: an address and a port (0: any free one), or `unix:PATH` by `rights`; with how many threads.

    `tuned`: our own channel takes the place of Waitress's. `with_parent`: standard input is a pipe from the process
    that started us; when it ends, so do we, and Ctrl-C, which reaches us both, is the parent's to answer.
    """

    listen: str
    port: int
    threads: int = 8
    tuned: bool = True
    with_parent: bool = False
    rights: Rights = Rights()


def serve(
    app: WSGIApp, endpoint: Endpoint, ready: Callable[[str], None], stopping: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM, SIGINT or the parent's end; call in the main thread.

    `ready` is called with the URL once connections are accepted, `stopping` when the stop begins, before answers under
    way get DRAIN_SECONDS. Raises ConfigError when the endpoint cannot be listened on.
    """
    # Waitress warns whenever a request waits for a thread, which the access log shows better.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    listener = listening_socket(endpoint.listen, endpoint.port, endpoint.rights)
    server = made(app, listener, endpoint.threads, tuned=endpoint.tuned, at_once=app.at_hand)
    server.channel_class = guarded(server.channel_class, app.pauses)
    channels, sweep = server._map, Sweep(TUNING["connection_limit"])
    stop = threading.Event()

    def ask_to_stop(*_: object) -> None:
        stop.set()
        server.pull_trigger()

    with _signals(ask_to_stop, endpoint.with_parent):
        ready(url(endpoint.listen, listener))
        # What there is by now stays: Python's collector of garbage need not look through it again and again.
        gc.freeze()

        def done() -> bool:
            sweep(list(server.active_channels.values()))
            return stop.is_set()

        _loop(channels, done)
        stopping()
        _drain(server, channels)
        server.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(channels)
        if endpoint.listen.startswith("unix:"):
            Path(endpoint.listen.removeprefix("unix:")).unlink(missing_ok=True)


def made(
    app: Callable[..., Any],
    listener: socket.socket,
    threads: int,
    *,
    tuned: bool = True,
    at_once: AtOnce | None = None,
) -> Any:
    """A Waitress server on a bound socket, before its first turn.

    `tuned` gives it our channel, which answers what the application has `at_once` without a worker.
    """
    dispatcher = Dispatcher(at_once, threads) if tuned and at_once else None
    server = create_server(app, map={}, sockets=[listener], threads=threads, _dispatcher=dispatcher, **TUNING)
    if tuned:
        server.channel_class = AtOnceChannel if at_once else TunedChannel
    return server


def _loop(channels: dict[int, Any], done: Callable[[], bool]) -> None:
    while not done():
        wasyncore.loop(timeout=1, use_poll=True, map=channels, count=1)


def _drain(server: Any, channels: dict[int, Any]) -> None:
    """Take no new connection, but finish what has been asked."""
    server.accepting = False
    deadline = time.monotonic() + DRAIN_SECONDS

    def done() -> bool:
        busy = any(each.requests or each.total_outbufs_len for each in list(server.active_channels.values()))
        return not busy or time.monotonic() > deadline

    _loop(channels, done)


@contextlib.contextmanager
def _signals(ask_to_stop: Callable[..., None], with_parent: bool) -> Iterator[None]:
    handlers: dict[signal.Signals, Any] = {
        signal.SIGTERM: ask_to_stop,
        signal.SIGINT: signal.SIG_IGN if with_parent else ask_to_stop,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    if with_parent:
        threading.Thread(target=_watch_parent, args=(ask_to_stop,), name="parent-watch", daemon=True).start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_parent(ask_to_stop: Callable[..., None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
        ask_to_stop()
