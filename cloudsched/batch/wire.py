"""JSON lines over a Unix socket: how workers and the engine talk. Standard library only.

A worker asks, the engine answers, one object a line each way. The engine's side serves all workers from one thread;
what an answer is, and who may ask, is the embedded batch's business.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

LONGEST_LINE = 4 * 1024 * 1024
_LONGEST_PATH = 100  # sun_path holds 108 bytes (unix(7))

S = TypeVar("S")
log = logging.getLogger(__name__)


class Link:
    """The worker's end: one connection, one question at a time. Raises OSError when it is lost."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_seconds)
        try:
            with _short(path) as address:
                self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")

    def ask(self, **message: Any) -> dict[str, Any]:
        """Send one message and return its answer."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        line = self._file.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the engine closed the connection")
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError as ex:
            raise ConnectionResetError(f"the engine's answer is not JSON: {ex}") from None
        return answer

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()


def listen(path: Path) -> socket.socket:
    """Listen on a Unix socket that only our own account can use, in place of one that a killed engine left."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


@dataclass(slots=True)
class _Connection(Generic[S]):
    session: S
    peer_uid: int
    incoming: bytearray = field(default_factory=bytearray)
    outgoing: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Service(Generic[S]):
    """What the server does: a session per connection, `answer(message, peer uid, session)`, `closed(session)`.

    `tick` is called at least four times a second, between answers.
    """

    session: Callable[[], S]
    answer: Callable[[dict[str, Any], int, S], dict[str, Any]]
    closed: Callable[[S], None]
    tick: Callable[[], None] = lambda: None


def serve(listener: socket.socket, service: Service[S], stop: threading.Event) -> None:
    """Serve connections until `stop` is set (looked at four times a second), then close them and the listener."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while not stop.is_set():
            _tick(service)
            for key, events in selector.select(0.25):
                if key.fileobj is listener:
                    _accept(listener, selector, service)
                else:
                    _attend(selector, key, events, service)
        for key in list(selector.get_map().values()):
            if key.fileobj is not listener:
                _close(selector, key, service)
    listener.close()


def _tick(service: Service[S]) -> None:
    try:
        service.tick()
    except Exception:  # a mistake in the upkeep must not end the thread that serves all workers
        log.exception("The upkeep of the workers' socket failed.")


def _accept(listener: socket.socket, selector: selectors.BaseSelector, service: Service[S]) -> None:
    try:
        connection, _ = listener.accept()
    except OSError as ex:
        log.warning("A worker could not connect: %s", ex)
        return
    connection.setblocking(False)
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    selector.register(connection, selectors.EVENT_READ, _Connection(service.session(), uid))


def _attend(selector: selectors.BaseSelector, key: selectors.SelectorKey, events: int, service: Service[S]) -> None:
    connection: _Connection[S] = key.data
    peer: socket.socket = key.fileobj  # type: ignore[assignment]
    try:
        if events & selectors.EVENT_READ:
            received = peer.recv(65536)
            if not received or len(connection.incoming) > LONGEST_LINE:
                return _close(selector, key, service)
            connection.incoming += received
            _answer_lines(connection, service)
        if connection.outgoing:
            with contextlib.suppress(BlockingIOError):
                del connection.outgoing[: peer.send(connection.outgoing)]
    except OSError:
        return _close(selector, key, service)
    writing = selectors.EVENT_WRITE if connection.outgoing else 0
    selector.modify(peer, selectors.EVENT_READ | writing, connection)
    return None


def _answer_lines(connection: _Connection[S], service: Service[S]) -> None:
    *lines, rest = bytes(connection.incoming).split(b"\n")
    connection.incoming[:] = rest
    for line in lines:
        connection.outgoing += json.dumps(_answer(line, connection, service)).encode() + b"\n"


def _answer(line: bytes, connection: _Connection[S], service: Service[S]) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {"error": "The message is not JSON."}
    if not isinstance(message, dict):
        return {"error": "The message is not a JSON object."}
    try:
        return service.answer(message, connection.peer_uid, connection.session)
    except Exception:  # a mistake over one worker's message must not cost the others their answers
        log.exception("The answer to a worker's %r failed.", message.get("op"))
        return {"error": "The engine failed; see its log."}


def _close(selector: selectors.BaseSelector, key: selectors.SelectorKey, service: Service[S]) -> None:
    selector.unregister(key.fileobj)
    key.fileobj.close()  # type: ignore[union-attr]
    service.closed(key.data.session)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A socket address for a path of any length: through a descriptor of its directory when it is too long."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
