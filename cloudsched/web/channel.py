"""Waitress's channel without the spinning main loop: one send per answer, and nobody polls while a worker sends.

Waitress 3.0.2 sends from the worker's thread and lets the main loop poll the same socket for writing meanwhile. The
loop finds it writable, cannot take its lock, and polls again at once: with more than one client it takes the
interpreter from the very thread it waits for (docs/performance.md has the measurements). Four things are changed, the
rest is Waitress's own: head and body of an answer are one send; the loop leaves a channel alone for as long as a worker
is sending on it; large bodies are sent from where they are; an answer that can have no body ends no connection.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

JOINED_BYTES = 1 << 16
"""A first piece of a body up to this size is joined to its head; a larger one is sent uncopied, behind it."""


class _Whole(ReadOnlyFileBasedBuffer):  # type: ignore[misc]
    """Bytes in the place of a buffer, without a copy of them."""

    def __init__(self, body: bytes | memoryview) -> None:
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

    def set_close_on_finish(self: Any) -> None:
        """End the connection after the answer; Waitress asks for that where there is no length.

        An answer of a status without a body ends with its head all the same (RFC 9112 6.3).
        """
        asked_for = self.request.headers.get("CONNECTION", "").lower()
        if self.has_body or self.version == "1.0" or asked_for == "close":
            super().set_close_on_finish()  # type: ignore[misc]


class _WSGITask(_Joining, WSGITask):  # type: ignore[misc]
    pass


class _ErrorTask(_Joining, ErrorTask):  # type: ignore[misc]
    pass


class TunedChannel(HTTPChannel):  # type: ignore[misc]
    """A channel for `BaseWSGIServer.channel_class`.

    A worker that sends does so until all is sent or the socket is full. Only then does the main loop have anything to
    do, and it is told: `pull_trigger` comes after the mark is gone, else the loop could miss it and sleep.
    """

    task_class = _WSGITask
    error_task_class = _ErrorTask
    head = b""
    _sending = False

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
            if isinstance(data, bytes):
                self.write_whole(data)
            else:
                self._write(data)
        else:
            head, self.head = self.head, b""
            self._write(head + data)
        return size

    def write_whole(self, data: bytes | memoryview) -> None:
        """Send bytes from where they are, as much as the socket takes, and keep the rest for the main loop."""
        self._write(_Whole(data))

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
