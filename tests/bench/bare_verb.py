"""What a verb cannot be had for less than: its statements, said to SQLite in a bare application on our server.

Nothing is read out, checked, hashed or encoded for them. `python -m tests.bench.bare_verb HOME`, a state that nobody
else uses; each request does what one verb does, and is answered with how many there have been.
"""

from __future__ import annotations

import re
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from waitress import wasyncore

from cloudsched.store import Store, verbs
from cloudsched.store.databases import SQLITE_PRAGMAS
from cloudsched.store.wishes import By
from cloudsched.web.serve import made

CLOUD = "cloud-001"
_BEFORE = 1_234
"""So many verbs come first: as a number of its own this stands for nothing else in a statement."""


def traced(home: Path) -> list[tuple[str, int]]:
    """The statements of a verb as SQLite gets them, without its number, and how often that is in each."""
    said: list[str] = []
    state = home / "state"
    store = Store.open(f"sqlite:///{state / 'state.db'}", state)
    for number in range(1, _BEFORE):
        verbs.wish_enabled(store, By("bench"), CLOUD, bool(number % 2))
    with store.writing() as writing:
        driver: Any = writing.connection.connection.dbapi_connection
    # The next transaction is said to the same connection.
    driver.set_trace_callback(said.append)
    operation = verbs.wish_enabled(store, By("bench"), CLOUD, False)
    driver.set_trace_callback(None)
    store.close()
    if operation.id != _BEFORE or not said:
        raise RuntimeError(f"verb {operation.id} said {said}")
    counted = re.compile(rf"\b{_BEFORE}\b")
    return [(counted.sub("?", statement), len(counted.findall(statement))) for statement in said]


def application(database: Path, statements: list[tuple[str, int]]) -> Callable[..., Iterable[bytes]]:
    """Says them all at each request, with the next number."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    for pragma in SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    lock, number = threading.Lock(), _BEFORE

    def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        nonlocal number
        with lock:
            number += 1
            for statement, count in statements:
                connection.execute(statement, (number,) * count).fetchall()
            told = str(connection.execute("SELECT max(id) FROM journal").fetchone()[0] - _BEFORE).encode()
        start_response("202 Accepted", [("Content-Type", "text/plain"), ("Content-Length", str(len(told)))])
        return [told]

    return bare


def main(home: str) -> int:
    """Serve until killed; prints the URL."""
    app = application(Path(home) / "state" / "state.db", traced(Path(home)))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = made(app, listener, 8)
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        wasyncore.loop(timeout=1, use_poll=True, map=server._map, count=1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
