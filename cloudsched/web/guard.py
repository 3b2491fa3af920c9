"""What keeps one slow or hostile client from the others: connections are watched from the main loop, no thread waits.

* A request must be whole within REQUEST_SECONDS of its first byte, and an answer must be taken at TAKEN_BYTES per
  TAKEN_SECONDS or faster; Waitress alone would wait for ever for a client that sends a byte a minute.
* Near the connection limit the longest silent connections make room.
* Who has sent a wrong token is not read from for PAUSE_SECONDS; once its attempts are used up, neither are new
  connections of the same address. That costs a guesser its speed, and everybody else at that address a second.
"""

from __future__ import annotations

import itertools
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

REQUEST_SECONDS = 30.0
TAKEN_SECONDS = 30.0
TAKEN_BYTES = 1 << 15
PAUSE_SECONDS = 1.0
CROWDED = 0.9
"""The share of the connection limit from which on silent connections make room."""

UID = "uid:"
"""What the address of a client on a Unix socket begins with: its account's number follows."""

_serial = itertools.count(1)


@dataclass
class Pauses:
    """Which connections and addresses are to be left alone for a while; `clock` is monotonic seconds.

    The application writes, the main loop reads: single operations on dictionaries, which need no lock.
    """

    clock: Callable[[], float] = time.monotonic
    most: int = 10_000
    _connections: dict[tuple[str, str], float] = field(default_factory=dict)
    _addresses: dict[str, float] = field(default_factory=dict)

    def connection(self, address: str, port: str) -> None:
        """Leave a connection alone."""
        self._put(self._connections, (address, port), self.clock() + PAUSE_SECONDS)

    def address(self, address: str, seconds: float) -> None:
        """Make every new connection of an address wait, for so long."""
        self._put(self._addresses, address, self.clock() + seconds)

    def opened(self, address: str, port: str) -> None:
        """A connection was opened."""
        until = self._addresses.get(address)
        if until is not None:
            if until > self.clock():
                self.connection(address, port)
            else:
                self._addresses.pop(address, None)

    def holds(self, address: str, port: str) -> bool:
        """Whether a connection is to be left alone now."""
        if not self._connections:
            return False
        until = self._connections.get((address, port))
        if until is None:
            return False
        if until > self.clock():
            return True
        self._connections.pop((address, port), None)
        return False

    def closed(self, address: str, port: str) -> None:
        """A connection is gone."""
        self._connections.pop((address, port), None)

    def _put(self, found: dict[Any, float], key: Any, until: float) -> None:
        if len(found) >= self.most:
            found.clear()
        found[key] = until


class _Guarded:
    """What is added to a channel: it knows who is at the other end of a Unix socket, and pauses."""

    pauses: Pauses

    def __init__(self: Any, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any = None) -> None:
        if sock.family == socket.AF_UNIX:
            addr = (f"{UID}{_peer_uid(sock)}", next(_serial))
        super().__init__(server, sock, addr, adj, map=map)  # type: ignore[call-arg]
        self.guard_key = (str(addr[0]), str(addr[1]))
        self.pauses.opened(*self.guard_key)

    def readable(self: Any) -> bool:
        """Whether the main loop should poll for reading."""
        return not self.pauses.holds(*self.guard_key) and super().readable()  # type: ignore[misc]

    def handle_close(self: Any) -> None:
        """The connection ends."""
        self.pauses.closed(*self.guard_key)
        super().handle_close()  # type: ignore[misc]


def guarded(channel_class: type, pauses: Pauses) -> type:
    """The class of a channel with what is added to it."""
    return type("GuardedChannel", (_Guarded, channel_class), {"pauses": pauses})


def _peer_uid(sock: socket.socket) -> int:
    """Whose process is at the other end (unix(7), SO_PEERCRED)."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


class Sweep:
    """Drops the connections that are too slow; called by the main loop, at least once a second."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` is how many connections there may be."""
        self._most, self._clock = int(limit * CROWDED), clock
        self._next = 0.0
        self._begun: dict[Any, tuple[Any, float]] = {}
        self._left: dict[Any, tuple[int, float]] = {}

    def __call__(self, channels: list[Any]) -> None:
        """Look at the open connections, once a second or when there are many."""
        now = self._clock()
        if now < self._next and len(channels) <= self._most:
            return
        self._next = now + 1.0
        for channel in channels:
            if self._asks_too_slowly(channel, now) or self._takes_too_slowly(channel, now):
                channel.will_close = True
        self._begun = {each: self._begun[each] for each in channels if each in self._begun}
        self._left = {each: self._left[each] for each in channels if each in self._left}
        self._make_room(channels)

    def _asks_too_slowly(self, channel: Any, now: float) -> bool:
        asking = channel.request
        if asking is None:
            self._begun.pop(channel, None)
            return False
        known, since = self._begun.get(channel, (None, now))
        if known is not asking:
            self._begun[channel] = asking, now
            return False
        return now - since > REQUEST_SECONDS

    def _takes_too_slowly(self, channel: Any, now: float) -> bool:
        left = channel.total_outbufs_len
        if not left:
            self._left.pop(channel, None)
            return False
        before, since = self._left.get(channel, (0, now))
        if left > before or before - left >= TAKEN_BYTES:
            self._left[channel] = left, now
            return False
        return now - since > TAKEN_SECONDS

    def _make_room(self, channels: list[Any]) -> None:
        surplus = len(channels) - self._most
        if surplus > 0:
            silent = [each for each in channels if not each.requests and not each.total_outbufs_len]
            for channel in sorted(silent, key=lambda each: each.last_activity)[:surplus]:
                channel.will_close = True
