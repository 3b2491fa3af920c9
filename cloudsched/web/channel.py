"""Waitress's channel without the spinning main loop: one send per answer, and nobody polls while a worker sends.

Waitress 3.0.2 sends from the worker's thread and lets the main loop poll the same socket for writing meanwhile. The
loop finds it writable, cannot take its lock, and polls again at once: with more than one client it takes the
interpreter from the very thread it waits for (docs/performance.md has the measurements). Four things are changed, the
rest is Waitress's own: head and body of an answer are one send; the loop leaves a channel alone for as long as a worker
is sending on it; large bodies are sent from where they are; what the application has at hand is sent by the loop
itself, for to wake a worker and be woken by it costs more than such an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from io import BytesIO
from typing import Any

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, Task, ThreadedTaskDispatcher, WSGITask

AtOnce = Callable[[dict[str, Any]], bool]
"""Whether an application answers a request without waiting for anything; called in the main loop, so it must not wait
either. What it prepares it may leave in the environment that the application is then called with."""

JOINED_BYTES = 1 << 16
"""A first piece of a body up to this size is joined to its head; a larger one is sent uncopied, behind it."""


class _Whole(ReadOnlyFileBasedBuffer):  # type: ignore[misc]
    """Bytes in the place of a buffer, without a copy of them."""

    def __init__(self, body: bytes) -> None:
        super().__init__(BytesIO())
        self._rest = memoryview(body)
        self.remain = len(body)

    def get(self, numbytes: int = -1, skip: bool = False) -> memoryview:
        """The next bytes, all for -1."""
        found = self._rest if numbytes < 0 else self._rest[:numbytes]
        if skip:
            self.skip(len(found))
        return found

    def skip(self, numbytes: int, allow_prune: bool = False) -> None:
        """Go on behind the next bytes."""
        self._rest = self._rest[numbytes:]
        self.remain = len(self._rest)

    def close(self) -> None:
        """Let go of the bytes."""
        self._rest = memoryview(b"")
        self.remain = 0


class _Joining:
    """What both tasks below do: the head waits in the channel for the first piece of the body."""

    def build_response_header(self: Any) -> bytes:
        """Nothing to write yet."""
        self.channel.head = super().build_response_header()  # type: ignore[misc]
        return b""

    def write(self: Any, data: bytes) -> None:
        """Write a piece of the body; an empty one means the head has to go by itself."""
        super().write(data)  # type: ignore[misc]
        self.channel.write_head()


class _WSGITask(_Joining, WSGITask):  # type: ignore[misc]
    pass


class _ErrorTask(_Joining, ErrorTask):  # type: ignore[misc]
    pass


class Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Workers for what is not answered `at_once`; for tuned channels."""

    def __init__(self, at_once: AtOnce, threads: int) -> None:
        super().__init__()
        self.at_once = at_once
        self.set_thread_count(threads)

    def add_task(self, channel: Any) -> None:
        """Queue a channel; one that the main loop has just read a request of is its own to queue."""
        if not channel.keeps_task():
            self.queue_task(channel)

    def queue_task(self, channel: Any) -> None:
        """Have a worker answer the next request of a channel."""
        super().add_task(channel)


class TunedChannel(HTTPChannel):  # type: ignore[misc]
    """A channel for `BaseWSGIServer.channel_class`.

    A worker that sends does so until all is sent or the socket is full. Only then does the main loop have anything to
    do, and it is told: `pull_trigger` comes after the mark is gone, else the loop could miss it and sleep.
    """

    error_task_class = _ErrorTask
    head = b""
    _sending = False
    _kept = False
    _begun: Task | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop = threading.get_ident()

    def task_class(self, channel: HTTPChannel, request: Any) -> Task:
        """What answers a request, to be begun or begun already."""
        begun, self._begun = self._begun, None
        return begun or _WSGITask(channel, request)

    def keeps_task(self) -> bool:
        """Whether the main loop asks, which has the lock on the requests then and goes on once it has not."""
        if threading.get_ident() != self._loop:
            return False
        self._kept = True
        return True

    def received(self, data: bytes) -> bool:
        """Take what has come; answer a request at once or have it answered."""
        taken: bool = super().received(data)
        if self._kept:
            self._kept = False
            self._answer(self.server.task_dispatcher)
        return taken

    def _answer(self, dispatcher: Dispatcher) -> None:
        # With more requests behind it, or output before it, Waitress waits for room: no loop may.
        if len(self.requests) == 1 and not self.requests[0].error and not self.total_outbufs_len:
            self._begun = _WSGITask(self, self.requests[0])
            if dispatcher.at_once(self._begun.get_environment()):
                self.service()
                return
        dispatcher.queue_task(self)

    def writable(self) -> bool:
        """Whether the main loop should poll for writing."""
        has_output = self.total_outbufs_len and not self._sending
        return bool(has_output or self.will_close or self.close_when_flushed)

    def write_head(self) -> None:
        """Write a head that no body has taken along."""
        if self.head:
            head, self.head = self.head, b""
            self._write(head)

    def write_soon(self, data: Any) -> int:
        """Send bytes or a file, as much as the socket takes, and keep the rest for the main loop."""
        size = len(data)
        if not size:
            return 0
        if isinstance(data, ReadOnlyFileBasedBuffer) or size > JOINED_BYTES:
            self.write_head()
            self._write(_Whole(data) if isinstance(data, bytes) else data)
        else:
            head, self.head = self.head, b""
            self._write(head + data)
        return size

    def _write(self, data: Any) -> None:
        self._sending = True
        try:
            super().write_soon(data)
        finally:
            self._sending = False
            if self.total_outbufs_len:
                self.server.pull_trigger()

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait until the client has taken some of much output: it is the main loop that sends it."""
        was, self._sending = self._sending, False
        super()._flush_outbufs_below_high_watermark()
        self._sending = was
