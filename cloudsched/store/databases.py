"""How each database is connected to: SQLite in a file, PostgreSQL on a server."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from cloudsched.errors import ConfigError, MissingExtra
from cloudsched.store.prepared import Prepared

WRITE_WAIT_SECONDS = 5.0
IDLE_WRITER_SECONDS = 20.0
TO_WRITE = {"cloudsched_write": True}
"""The execution options of a connection whose transactions write."""

SQLITE_PRAGMAS = ("busy_timeout=2000", "synchronous=FULL", "journal_size_limit=67108864", "cache_size=-16000")
_BEGIN, _BEGIN_WRITING = Prepared(text("BEGIN")), Prepared(text("BEGIN IMMEDIATE"))


def engine_of(url: str, read_only: bool) -> Engine:
    """SQLAlchemy's engine for a URL, whose transactions begin as the store's rules want it.

    Raises ConfigError for a URL that names nothing, MissingExtra for an absent driver.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            return _server_engine(parsed, read_only)
    except NoSuchModuleError as ex:
        raise ConfigError(f"database_url names a database that SQLAlchemy does not know: {ex}.") from ex
    except ArgumentError as ex:
        # Not shown, for there may be a password in it.
        raise ConfigError("database_url is not an SQLAlchemy URL such as sqlite:////var/lib/x.db.") from ex
    except ModuleNotFoundError as ex:
        raise MissingExtra("This database_url", "postgresql") from ex
    if parsed.get_backend_name() != "sqlite":
        raise ConfigError("database_url must be of SQLite or PostgreSQL: no other database keeps the state's order.")
    if parsed.database in (None, "", ":memory:"):
        raise ConfigError("database_url must name a file: three processes share the state.")
    return _sqlite_engine(Path(str(parsed.database)).absolute(), read_only)


def _server_engine(url: URL, read_only: bool) -> Engine:
    engine = create_engine(url, isolation_level="READ COMMITTED", pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        for name, value in _session(read_only).items():
            connection.cursor().execute(f"SET {name} = {value}")
        connection.commit()

    return engine


def _session(read_only: bool) -> dict[str, str]:
    """The settings of each connection to PostgreSQL (its manual, chapter 20)."""
    return {
        # Writers queue for the state row: this is their deadline, as the lock file has one for SQLite.
        "lock_timeout": f"{int(WRITE_WAIT_SECONDS * 1000)}",
        # A writer that was stopped in its transaction, or whose host is gone, must not keep that row for ever.
        "idle_in_transaction_session_timeout": f"{int(IDLE_WRITER_SECONDS * 1000)}",
        "tcp_keepalives_idle": "2",
        "tcp_keepalives_interval": "1",
        "tcp_keepalives_count": "3",
        # A plan that knows the keys of a long IN looks them up by a hash; one for any keys compares with each in turn.
        "plan_cache_mode": "force_custom_plan",
        "default_transaction_read_only": "on" if read_only else "off",
    }


def _sqlite_engine(path: Path, read_only: bool) -> Engine:
    mode = "ro" if read_only else "rwc"
    engine = create_engine(
        URL.create("sqlite", database=f"file:{_uri_path(path)}", query={"mode": mode, "uri": "true"}),
        connect_args={"check_same_thread": False, "timeout": 2.0},
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=64,
        # The connection that was used last knows the pages as they are; another would read them again.
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The driver must not begin or commit anything by itself: `begin` below does.
        connection.isolation_level = None
        for pragma in (*SQLITE_PRAGMAS, "query_only=1" if read_only else "journal_mode=WAL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("cloudsched_write")
        (_BEGIN_WRITING if write else _BEGIN).run(connection)

    return engine


def _uri_path(path: Path) -> str:
    return quote(str(path))


def sqlite_path(url: URL) -> Path | None:
    """The file of an SQLite URL, None for another database."""
    if url.get_backend_name() != "sqlite":
        return None
    return Path(unquote(str(url.database).removeprefix("file:")))


def file_identity(path: Path | None) -> tuple[int, int] | None:
    """Device and inode, by stat: opening the file would drop SQLite's locks on it."""
    if path is None:
        return None
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
