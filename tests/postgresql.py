"""A real PostgreSQL server of this run's own: on a Unix socket below a scratch directory, with a database per test.

Durable as an operator's would be (`fsync` stays on). It ends with the process that started it, however that ends.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cloudsched.store import Store, tables

SECONDS = 120.0
FIRST_ROWS = ("state", "queue_counters")
"""The tables that are not empty in a new state."""
_numbers = count(1)
_ICU = ("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
"""A dictionary's order, as many sites have it: nothing may depend on the order of bytes."""


@dataclass(slots=True)
class Server:
    """A server of its own account below a scratch directory, and the URLs of databases in it."""

    directory: Path
    programs: Path
    user: str
    free: list[str] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.directory), "max_connections": "200"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # The signal reaches the server when we die, set after the change of user, which would clear it.
        command = ["setpriv", "--pdeathsig", "INT", str(self.programs / "postgres"), "-D", "data", *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, user=self.user, cwd=self.directory, stdout=log, stderr=log, start_new_session=True
            )
        self._await_answer(self._process)

    def stop(self) -> None:
        """End every session and stop it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """A plain connection of the superuser's, each statement its own transaction."""
        return psycopg.connect(host=str(self.directory), user="postgres", dbname=database, autocommit=True, **options)

    def create(self) -> str:
        """Make an empty database; returns its name."""
        name = f"test{next(_numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def create_state(self) -> str:
        """A database with a new, empty state in it, perhaps one that was used before; returns its name.

        Making a database, and dropping one, costs far more than emptying its tables.
        """
        if self.free:
            return self.free.pop()
        name = self.create()
        with tempfile.TemporaryDirectory() as directory:
            Store.open(self.url(name), Path(directory)).close()
        with self.connect(name) as connection:
            for table in FIRST_ROWS:
                connection.execute(f"CREATE TABLE first_{table} AS SELECT * FROM {table}")
        return name

    def give_back(self, name: str) -> None:
        """End every session of a state's database and empty it for the next `create_state`."""
        with self.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        with self.connect(name) as connection:
            statements = [f"DELETE FROM {table.name}" for table in tables.metadata.sorted_tables]
            statements += [f"INSERT INTO {table} SELECT * FROM first_{table}" for table in FIRST_ROWS]
            connection.execute(";".join(statements))
        self.free.append(name)

    def drop(self, database: str) -> None:
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def url(self, database: str) -> str:
        """What an operator writes as `database_url`."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.directory}"

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.connect(connect_timeout=10).close()
            except psycopg.OperationalError:
                assert process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.05)
            else:
                return


@contextmanager
def postgresql_server() -> Iterator[Server]:
    """Start a server; skips the test where its programs are not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("needs Debian's package postgresql")
    # The server refuses to run as root, and a socket's path must be short.
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        shutil.chown(directory, user)
        initdb = [programs / "initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", *_ICU]
        subprocess.run([*map(str, initdb)], user=user, cwd=directory, check=True, stdout=subprocess.DEVNULL)
        server = Server(directory, programs, user)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _programs() -> Path | None:
    """Where initdb is: on PATH, or where Debian hides it."""
    hidden = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    return hidden[-1].parent if hidden else Path(found).parent if found else None
