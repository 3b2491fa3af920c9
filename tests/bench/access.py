"""How long good requests take while others drip bytes and guess tokens, beside how long they take alone."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.daemons import Server, info
from tests.bench.figure import Effort, Figure, interleaved, ratio
from tests.bench.fleet import SMALL, made

SLOW, GUESSERS = 50, 16
PAUSE_SECONDS = 0.005
TARGET = "/clusters/cloud-001.json"


def figures(effort: Effort) -> Iterator[Figure]:
    """The 99th percentile alone, with the others, and how many times that is."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory) / "home"
        made(home, SMALL)
        with info(home, INFO_AUTH="token") as server:
            token = next(home.rglob("admin.token")).read_text("ascii").strip()
            headers = {"Authorization": f"Bearer {token}"}
            status = server.get(TARGET, headers)[0]
            if status != 200:
                raise RuntimeError(f"{TARGET} gave {status}")

            def alone() -> float:
                return slowest(server, headers, effort.seconds)

            def besieged() -> float:
                with hostile(server):
                    return slowest(server, headers, effort.seconds)

            quiet, loud = interleaved(effort.rounds, alone, besieged)
    yield Figure("access.p99.alone", statistics.median(quiet) * 1000, "ms")
    yield Figure(f"access.p99.slow{SLOW}.guessers{GUESSERS}", statistics.median(loud) * 1000, "ms")
    yield Figure("access.p99.ratio", ratio(loud, quiet), "x-alone", 3.0)


@contextmanager
def hostile(server: Server) -> Iterator[None]:
    """Slow clients and guessers at work."""
    command = [sys.executable, "-m", "tests.bench.hostile", server.url, str(SLOW), str(GUESSERS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            process.stdout.readline()
            yield
        finally:
            process.stdin.close()


def slowest(server: Server, headers: dict[str, str], seconds: float) -> float:
    """The 99th percentile of answers on a kept connection, asked for one after the other with a pause between."""
    times = []
    connection = http.client.HTTPConnection(str(urlsplit(server.url).netloc), timeout=120)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        began = time.perf_counter()
        connection.request("GET", TARGET, headers=headers)
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - began)
        if answer.status != 200:
            raise RuntimeError(f"{TARGET} gave {answer.status}")
        time.sleep(PAUSE_SECONDS)
    connection.close()
    return statistics.quantiles(times, n=100)[-1]
