"""What the application has at hand is sent by the server's main loop, and requests it knows it need not read again.

To wake a worker and be woken by it costs more than such an answer (decision 020), and so does reading a request:
monitors and clients that poll send the same bytes each time, of which the environment is kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from waitress.channel import ClientDisconnected
from waitress.task import ThreadedTaskDispatcher, WSGITask
from waitress.utilities import build_http_date

from cloudsched.web.channel import TunedChannel
from cloudsched.web.ready import Answer

AtOnce = Callable[[dict[str, str]], Answer | None]
"""What an application answers a request without waiting for anything, None where it would have to.

It is called in the main loop, so it must not wait either, and is given what the request says as a WSGI environment of
texts alone: who sends it is not known. Every answer has its length, but for one that can have no body.
"""

MOST_KNOWN = 512
"""How many requests are known by their bytes, and how many have been seen once; of more, all are forgotten."""

_KEPT = frozenset(("", "keep-alive"))
"""What HTTP/1.1 clients say of their connection who keep it (RFC 9112 9.3)."""

_log = logging.getLogger("waitress")


class Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Workers for what is not answered `at_once`."""

    def __init__(self, at_once: AtOnce, threads: int) -> None:
        super().__init__()
        self._at_once = at_once
        self._known: dict[bytes, dict[str, str]] = {}
        self._seen: set[bytes] = set()
        self.set_thread_count(threads)

    def add_task(self, channel: Any) -> None:
        """Queue a channel; one that the main loop has just read a request of is its own to queue."""
        if not channel.keeps_task():
            self.queue_task(channel)

    def queue_task(self, channel: Any) -> None:
        """Have a worker answer the next request of a channel."""
        super().add_task(channel)

    def knows(self, data: bytes) -> bool:
        """Whether these bytes are a request that comes again."""
        return data in self._known

    def repeated(self, data: bytes) -> Answer | None:
        """The answer to a request that is known."""
        return self._answer(self._known[data])

    def answer(self, environ: dict[str, Any], data: bytes) -> Answer | None:
        """The answer to a request, which is known by its bytes from the second time on."""
        # Not the client's address, nor what holds on to its connection.
        said = {key: value for key, value in environ.items() if isinstance(value, str) and key[:7] != "REMOTE_"}
        found = self._answer(said)
        if found is not None:
            self._learn(data, said)
        return found

    def _learn(self, data: bytes, said: dict[str, str]) -> None:
        # Who goes through all jobs once would make us forget those who come again.
        repeats = data in self._seen
        room: Any = self._known if repeats else self._seen
        if len(room) >= MOST_KNOWN:
            room.clear()
        if repeats:
            self._known[data] = said
        else:
            self._seen.add(data)

    def _answer(self, environ: dict[str, str]) -> Answer | None:
        try:
            return self._at_once(environ)
        except Exception:  # a worker meets it too, and answers 500 to one client instead of ending the loop for all
            _log.exception("nothing could be answered at once")
            return None


class AtOnceChannel(TunedChannel):
    """A channel whose server has a Dispatcher."""

    _kept = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop = threading.get_ident()

    def keeps_task(self) -> bool:
        """Whether the main loop asks, which has the lock on the requests then and goes on once it has not."""
        if threading.get_ident() != self._loop:
            return False
        self._kept = True
        return True

    def received(self, data: bytes) -> bool:
        """Take what has come; answer a request at once or have it answered."""
        dispatcher: Dispatcher = self.server.task_dispatcher
        # With more requests behind it, or output before it, Waitress waits for room: no loop may.
        is_idle = self.request is None and not self.requests and not self.total_outbufs_len
        is_known = is_idle and dispatcher.knows(data) and not self.will_close and not self.close_when_flushed
        if is_known:
            answer = dispatcher.repeated(data)
            if answer is not None:
                self._send(answer)
                return True
        taken: bool = super().received(data)
        if self._kept:
            self._kept = False
            answer = self._found(dispatcher, data) if is_idle and not is_known else None
            if answer is None:
                dispatcher.queue_task(self)
            else:
                self.requests.pop().close()
                self._send(answer)
        return taken

    def _found(self, dispatcher: Dispatcher, data: bytes) -> Answer | None:
        if len(self.requests) > 1 or self.request is not None or self.total_outbufs_len:
            return None
        (request,) = self.requests
        headers = request.headers
        is_kept = request.version == "1.1" and headers.get("CONNECTION", "").lower() in _KEPT
        if request.error or not is_kept or "EXPECT" in headers:
            return None
        environ = WSGITask(self, request).get_environment()
        return dispatcher.answer(environ, data)

    def _send(self, answer: Answer) -> None:
        """Send as much as the socket takes; the rest waits like any output until the loop can send it."""
        parts = (head(answer, self.server.adj.ident, time.time()), answer.body)
        try:
            sent = self._sent(parts)
            for part in parts:
                if sent < len(part):
                    self.write_whole(memoryview(part)[sent:])
                sent = max(0, sent - len(part))
        except (OSError, ClientDisconnected):
            self.will_close = True

    def _sent(self, parts: tuple[bytes, bytes]) -> int:
        try:
            sent: int = self.socket.sendmsg(parts)
        except BlockingIOError:
            return 0
        return sent


def head(answer: Answer, ident: str, now: float) -> bytes:
    """Status line and headers of an answer on a connection that is kept, as Waitress writes them."""
    headers = [*answer.headers, ("Date", build_http_date(now)), ("Server", ident)]
    named = sorted(((_capitalized(name), value) for name, value in headers), key=itemgetter(0))
    return "\r\n".join((f"HTTP/1.1 {answer.status}", *map(": ".join, named), "\r\n")).encode("latin-1")


@lru_cache(maxsize=64)
def _capitalized(name: str) -> str:
    return "-".join(each.capitalize() for each in name.split("-"))
