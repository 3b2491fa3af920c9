"""What a verb costs beyond the disk, and what a client's whole process takes."""

from __future__ import annotations

import re
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.daemons import Server, admin, bare_verb, info
from tests.bench.figure import Effort, Figure, interleaved
from tests.bench.fleet import COMMANDS, SMALL, environment, made

AT_ONCE = 20
VERB_MS, STATUS_SECONDS = 1.0, 0.25
COMMIT_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL")


def figures(effort: Effort) -> Iterator[Figure]:
    """A verb that waits for nothing, beside a bare commit and its bare statements; then `cloud_status`."""
    with tempfile.TemporaryDirectory() as directory:
        home, other = Path(directory) / "home", Path(directory) / "other"
        made(home, SMALL)
        made(other, SMALL)
        yield from _verb(home, other, effort)
        yield _status(home, effort)


def _verb(home: Path, other: Path, effort: Effort) -> Iterator[Figure]:
    """In turns: verbs of one client on a kept connection, their statements alone, commits of one row; all on one disk.

    The statements are said to the state in `other`.
    """
    with (
        admin(home) as server,
        bare_verb(other) as limit,
        closing(sqlite3.connect(home / "bare.db", isolation_level=None)) as bare,
        _connected(server) as connection,
        _connected(limit) as beside,
    ):
        for pragma in COMMIT_PRAGMAS:
            bare.execute(f"PRAGMA {pragma}")
        bare.execute("CREATE TABLE verbs (id INTEGER PRIMARY KEY, text TEXT)")
        ask, say = partial(_ask, connection, _token(home)), partial(_ask, beside, _token(home))
        ask(0)
        say(0)
        asked, said, committed = interleaved(effort.rounds, _each(ask), _each(say), _each(partial(_commit, bare)))
        if (told := say(0)) != str(effort.rounds * AT_ONCE + 2).encode():
            raise RuntimeError(f"the bare statements made {told!r} entries")
    yield Figure("verb.wait0", statistics.median(asked) * 1000, "ms")
    yield Figure("verb.bare_statements", statistics.median(said) * 1000, "ms")
    yield Figure("verb.bare_commit", statistics.median(committed) * 1000, "ms")
    yield Figure("verb.bare_statements.over_bare_commit", _beyond(said, committed), "ms")
    yield Figure("verb.wait0.over_bare_commit", _beyond(asked, committed), "ms", VERB_MS)


def _beyond(taken: Sequence[float], committed: Sequence[float]) -> float:
    """By how many ms the one takes longer than the other, in the median of the rounds."""
    return statistics.median(each - commit for each, commit in zip(taken, committed, strict=True)) * 1000


def _connected(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port))


def _each(act: Callable[[int], None]) -> Callable[[], float]:
    """What measures the median of a few in a row."""

    def measured() -> float:
        times = []
        for number in range(AT_ONCE):
            began = time.perf_counter()
            act(number)
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    return measured


def _token(home: Path) -> str:
    return (home / "state" / "admin.token").read_text(encoding="ascii").strip()


def _ask(connection: socket.socket, token: str, number: int) -> bytes:
    """One verb, said by hand, for Python's own client takes as long as the server's part of it; returns the body."""
    action = ("enable", "disable")[number % 2]
    head = (
        f"PUT /clouds/cloud-001?action={action}&wait=0 HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    connection.sendall(head.encode())
    answer = connection.recv(1 << 16)
    # The answer is small: the server sends its head and its body at once.
    length = re.search(rb"\r\nContent-Length: ([0-9]+)\r\n(?:.*\r\n)?\r\n", answer, re.DOTALL)
    if not answer.startswith(b"HTTP/1.1 202 ") or not length or len(answer) != length.end() + int(length[1]):
        raise RuntimeError(f"the verb gave {answer!r}")
    return answer[length.end() :]


def _commit(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO verbs (text) VALUES (?)", (f"verb {number}",))
    connection.execute("COMMIT")


def _status(home: Path, effort: Effort) -> Figure:
    """`cloud_status` from its start to its exit; everything it reads has been read before."""
    with info(home) as server:
        run = partial(_run, home, server)
        run()
        times = [run() for _ in range(effort.rounds)]
    return Figure("client.cloud_status", statistics.median(times), "s", STATUS_SECONDS)


def _run(home: Path, server: Server) -> float:
    port = str(urlsplit(server.url).port)
    began = time.perf_counter()
    said = subprocess.run(
        [COMMANDS / "cloud_status", "--all-cluster", "--port", port],
        env=environment(home),
        capture_output=True,
        check=True,
    ).stdout
    spent = time.perf_counter() - began
    if b"cloud-001" not in said:
        raise RuntimeError(f"cloud_status said {said[:200]!r}")
    return spent
