"""Clients that mean no good: `python -m tests.bench.hostile URL SLOW GUESSERS`, until standard input ends.

SLOW connections send a request one byte a second. GUESSERS send wrong tokens as fast as they are answered, half of them
on kept connections, the others on a new one for each; they come from 127.0.0.2, so that they are no neighbours.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import sys
import time
from urllib.parse import urlsplit

_GUESS = b"GET /clusters.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer cs_%012x_" + b"x" * 43 + b"\r\n\r\n"


class Crowd:
    """All of them; `turn` lets each do what it can."""

    def __init__(self, url: str, slow: int, guessers: int) -> None:
        place = urlsplit(url)
        self._place = str(place.hostname), int(place.port or 80)
        self._selector, self._numbers = selectors.DefaultSelector(), itertools.count()
        self._slow = [self._connected() for _ in range(slow)]
        self._dripped = time.monotonic()
        for number in range(guessers):
            self._guess(self._connected(), keeps=number % 2 == 0)

    def turn(self) -> None:
        """Drip once a second, and guess again wherever an answer came."""
        if time.monotonic() - self._dripped >= 1.0:
            self._dripped = time.monotonic()
            self._slow = [self._drip(each) for each in self._slow]
        for key, _ in self._selector.select(0.1):
            self._answered(key.fileobj, keeps=key.data)  # type: ignore[arg-type]

    def _connected(self) -> socket.socket:
        return socket.create_connection(self._place, source_address=("127.0.0.2", 0))

    def _drip(self, slow: socket.socket) -> socket.socket:
        try:
            slow.sendall(b"G")
        except OSError:
            slow.close()
            return self._connected()
        return slow

    def _guess(self, guesser: socket.socket, *, keeps: bool) -> None:
        guesser.sendall(_GUESS % next(self._numbers))
        self._selector.register(guesser, selectors.EVENT_READ, keeps)

    def _answered(self, guesser: socket.socket, *, keeps: bool) -> None:
        self._selector.unregister(guesser)
        with contextlib.suppress(OSError):
            if guesser.recv(1 << 16) and keeps:
                self._guess(guesser, keeps=True)
                return
        guesser.close()
        self._guess(self._connected(), keeps=keeps)


def main(url: str, slow: str, guessers: str) -> int:
    """Until standard input ends."""
    crowd = Crowd(url, int(slow), int(guessers))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with selectors.DefaultSelector() as ended:
        ended.register(sys.stdin, selectors.EVENT_READ)
        while not ended.select(0):
            crowd.turn()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
