"""Clients that keep a connection and ask once a second: `python -m tests.bench.pollers URL TARGET CLIENTS SECONDS`.

Prints the 99th percentile of their answers' times, in seconds.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import sys
import time
from urllib.parse import urlsplit

from tests.bench.client import Connection


def run(url: str, request: bytes, clients: int, seconds: float) -> float:
    """Poll; the 99th percentile."""
    place, times, began = urlsplit(url), [], time.perf_counter()
    waiting: list[tuple[float, int, Connection]] = []
    with selectors.DefaultSelector() as selector:
        for number in range(clients):
            connection = Connection(socket.create_connection((place.hostname, place.port)))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            heapq.heappush(waiting, (began + number / clients, number, connection))
        asked = 0
        while waiting or asked:
            now = time.perf_counter()
            while waiting and waiting[0][0] <= now:
                heapq.heappop(waiting)[2].ask(request)
                asked += 1
            pause = max(0.0, waiting[0][0] - now) if waiting else 60.0
            for key, _ in selector.select(pause):
                if key.data.is_answered():
                    asked -= 1
                    answered = time.perf_counter()
                    times.append(answered - key.data.asked_at)
                    if answered < began + seconds:
                        heapq.heappush(waiting, (key.data.asked_at + 1, key.fd, key.data))
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    times.sort()
    return times[len(times) * 99 // 100]


def main(url: str, target: str, clients: str, seconds: str) -> int:
    """See the module."""
    request = f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    sys.stdout.write(f"{run(url, request, int(clients), float(seconds))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
