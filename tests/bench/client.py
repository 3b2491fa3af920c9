"""A load generator for machines without wrk: kept connections in one thread, one request under way on each.

`python -m tests.bench.client URL CLIENTS SECONDS [HEADER...]`, targets on standard input; prints the rate and the 99th
percentile in seconds.
"""

from __future__ import annotations

import random
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_CHUNK = 1 << 20


@dataclass
class Connection:
    """One kept connection, what is still to come of its answer, and when that was asked for."""

    socket: socket.socket
    head: bytes = b""
    missing: int = 0
    asked_at: float = field(default=0.0)

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self.head, self.asked_at = b"", time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Take what has come; whether that ends the answer. Raises RuntimeError for one that is not 200 or 304."""
        found = self.socket.recv(_CHUNK)
        if not found:
            raise RuntimeError("the server closed a connection")
        if self.head:
            self.missing -= len(found)
            return self.missing <= 0
        head, _, body = found.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1]
        if status not in (b"200", b"304"):
            raise RuntimeError(f"answered {head!r}")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths and status == b"200" else 0
        self.head, self.missing = head, length - len(body)
        return self.missing <= 0


def run(url: str, clients: int, seconds: float, requests: Sequence[bytes]) -> tuple[float, float]:
    """Ask for `seconds`; the rate and the 99th percentile."""
    place, chosen, times = urlsplit(url), random.Random(7), []
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            connection = Connection(socket.create_connection((place.hostname, place.port)))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask(chosen.choice(requests))
        began = now = time.perf_counter()
        while now < began + seconds:
            for key, _ in selector.select(60):
                if key.data.is_answered():
                    now = time.perf_counter()
                    times.append(now - key.data.asked_at)
                    key.data.ask(chosen.choice(requests))
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    times.sort()
    return len(times) / (now - began), times[len(times) * 99 // 100]


def main(url: str, clients: str, seconds: str, *headers: str) -> int:
    """See the module."""
    own = "".join(f"{header}\r\n" for header in headers)
    targets = sys.stdin.read().splitlines()
    requests = [f"GET {target} HTTP/1.1\r\nHost: bench\r\n{own}\r\n".encode() for target in targets]
    rate, p99 = run(url, int(clients), float(seconds), requests)
    sys.stdout.write(f"{rate} {p99}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
