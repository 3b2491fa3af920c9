"""The store: one database, its transactions, and the state row that orders them.

Every rule here was seen to lose or tear data when broken (DESIGN 2):

* a write is `BEGIN IMMEDIATE` behind one lock file beside the database, with a deadline: SQLite's own busy handler
  starves writers for seconds;
* reads of more than one statement are one explicit transaction, because the driver opens none by itself;
* nothing but SQLite ever opens the database, `-wal` or `-shm`: closing such a descriptor drops SQLite's locks;
* the state row is updated last in each transaction, so the order of indexes is the order of commits. On PostgreSQL
  its row lock, taken first, gives the same order.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, bindparam, insert, inspect, select, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError

from cloudsched.errors import StateMismatch, StateTakenOver, StateUnavailable
from cloudsched.store import locks, pulse, tables
from cloudsched.store.databases import TO_WRITE, WRITE_WAIT_SECONDS, engine_of, file_identity, sqlite_path
from cloudsched.store.failures import translated
from cloudsched.store.prepared import Prepared
from cloudsched.store.writing import Writing as Writing


@dataclass(frozen=True, slots=True)
class StateRow:
    """The state row: `index` counts commits that changed something; each topic holds its last one.

    `verbs` is the index of the last commit that recorded or settled a wish; readers older than `oldest` reload.
    """

    index: int
    clouds: int
    vms: int
    jobs: int
    shapes: int
    machines: int
    limits: int
    wishes: int
    outcomes: int
    tokens: int
    verbs: int
    oldest: int
    engine_epoch: int


_GUARDS = [tables.state.c[name] for name in ("index", "schema_version", "engine_epoch")]
"""What every write looks at first: columns that every schema has, for an upgrade is a write too."""
_UPGRADE = "stop its scheduler and daemons, then run 'cloud_scheduler state upgrade'."
_NO_WAY_BACK = "a schema is never taken back; use the release that made it, or load a dump from before its upgrade."
_STATE = Prepared(select(*(tables.state.c[name] for name in StateRow.__dataclass_fields__)))
_GUARD = Prepared(select(*_GUARDS).with_for_update())


def state_row(connection: Connection) -> StateRow:
    """Read the state row inside a transaction of the caller's."""
    return StateRow(*_STATE.rows(connection)[0])


def schema_version(connection: Connection) -> int | None:
    """The version of the schema inside a transaction of the caller's."""
    found: int | None = connection.execute(select(tables.state.c.schema_version)).scalar()
    return found


class Store:
    """The shared state. One object per process; safe to use from any thread.

    `path` is the SQLite file, None for another database.
    """

    def __init__(self, engine: Engine, directory: Path, *, read_only: bool) -> None:
        self._engine, self.directory, self._read_only = engine, directory, read_only
        self.path = sqlite_path(engine.url)
        self._epoch: int | None = None
        self._schema: int | None = None
        self._thread_lock = threading.Lock()
        self._writer: int | None = None
        self._identity: tuple[int, int] | None = None
        self._lock_path = directory / locks.WRITE_LOCK
        self._kept: tuple[Connection, tuple[int, int] | None] | None = None

    @classmethod
    def open(cls, url: str, directory: Path, *, read_only: bool = False) -> Store:
        """Open the state at an SQLAlchemy URL; a writer creates the schema where there is none.

        `directory` holds the lock files. Raises ConfigError for a URL that names nothing, MissingExtra for an absent
        driver, StateMismatch for another schema version, StateUnavailable where nothing can be opened (yet).
        """
        store = cls(engine_of(url, read_only), directory, read_only=read_only)
        if read_only:
            store._find()
        with store._translating():
            if not read_only:
                store._create()
            store._check_schema()
        return store

    @classmethod
    def unchecked(cls, url: str, directory: Path) -> Store:
        """The state as it is, of whatever schema: for `upgrade`. Raises ConfigError, MissingExtra, StateUnavailable."""
        store = cls(engine_of(url, read_only=False), directory, read_only=False)
        store._find()
        _make_private_directory(directory)
        return store

    @property
    def url(self) -> URL:
        return self._engine.url

    @property
    def place(self) -> str:
        """Where the state is, without a password."""
        return str(self.path or self._engine.url.render_as_string())

    def close(self) -> None:
        self._let_go()
        self._engine.dispose()

    def upgradable(self) -> int:
        """The version of this state's schema. Raises StateMismatch when it is newer than ours, StateUnavailable."""
        with self._translating():
            found = self._found_schema()
        if found is None or not 1 <= found <= tables.SCHEMA_VERSION:
            raise self._mismatch(found)
        return found

    def state(self) -> StateRow:
        """The state row as committed now."""
        with self.reading() as connection:
            return state_row(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One read transaction: everything read in it is of one state index. Raises StateUnavailable."""
        with self._translating(), self._engine.connect() as connection:
            if self.path is None:
                # READ COMMITTED, right for writers, would let each statement see another index.
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """A connection for one prepared query, which is a transaction by itself. Raises StateUnavailable."""
        with self._translating(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, wait_seconds: float = WRITE_WAIT_SECONDS) -> Iterator[Writing]:
        """One durable write transaction; an exception inside rolls it back whole.

        A transaction that touched no topic leaves the index alone. Raises StateUnavailable after `wait_seconds` of
        waiting for other writers, StateTakenOver when another engine has begun its epoch.
        """
        with (
            self._translating(),
            self._exclusively(wait_seconds) as lock,
            self._to_write() as connection,
            ExitStack() as committing,
            connection.begin(),
        ):
            ((index, schema, epoch),) = _GUARD.rows(connection)
            if self._schema not in (None, schema):
                raise self._mismatch(schema)
            if self._epoch not in (None, epoch):
                noted = connection.execute(select(tables.state.c.engine)).scalar_one()
                raise StateTakenOver(f"Another engine holds this state now: {locks.words(noted)}.")
            writing = Writing(connection, index + 1)
            yield writing
            writing.finish()
            _advance(writing)
            committing.enter_context(pulse.beating(lock))

    def begin_epoch(self) -> int:
        """Make this store this process's engine's: every later write of an older one fails. Returns the new epoch."""
        # An epoch that we began earlier may be over, and one whose commit fails has not begun.
        self._epoch = None
        with self.writing() as writing:
            epoch = tables.state.c.engine_epoch
            values = {"engine_epoch": epoch + 1, "engine": locks.note(self.directory)}
            writing.connection.execute(update(tables.state).values(values))
            begun: int = writing.connection.execute(select(epoch)).scalar_one()
        self._epoch = begun
        return begun

    def session(self) -> Connection:
        """A connection of the caller's own, each statement its own transaction. Raises StateUnavailable."""
        with self._translating():
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()
        return connection

    def _create(self) -> None:
        _make_private_directory(self.directory)
        if self.path is not None:
            _make_private_directory(self.path.parent)
        with self._exclusively(WRITE_WAIT_SECONDS):
            if not self._has_tables():
                try:
                    self._create_tables()
                except DatabaseError:
                    # On a server another process may have made them in the same moment.
                    if not self._has_tables():
                        raise
        _make_private(self.path)

    def _find(self) -> None:
        if self.path is not None and not self.path.exists():
            raise StateUnavailable(f"There is no state at {self.path} yet: start cloud_scheduler first.")

    def _has_tables(self) -> bool:
        with self._engine.connect() as connection:
            return inspect(connection).has_table("state")

    def _create_tables(self) -> None:
        with self._engine.connect() as connection:
            connection = connection.execution_options(**TO_WRITE)
            with connection.begin():
                tables.metadata.create_all(connection)
                connection.execute(insert(tables.state).values(_FIRST_ROW))
                connection.execute(insert(tables.queue_counters).values(id=1, cluster=0, change=0))

    def _check_schema(self) -> None:
        found = self._found_schema()
        if found != tables.SCHEMA_VERSION:
            raise self._mismatch(found)
        self._schema = found
        self._identity = file_identity(self.path)

    def _found_schema(self) -> int | None:
        if not self._has_tables():
            raise StateUnavailable(f"There is no state at {self.place} yet: start cloud_scheduler first.")
        with self._engine.connect() as connection:
            return schema_version(connection)

    def _mismatch(self, found: int | None) -> StateMismatch:
        older = found is not None and found < tables.SCHEMA_VERSION
        return StateMismatch(
            f"The state at {self.place} has schema version {found}, this program needs version "
            f"{tables.SCHEMA_VERSION}: {_UPGRADE if older else _NO_WAY_BACK}"
        )

    @contextmanager
    def _exclusively(self, wait_seconds: float) -> Iterator[IO[bytes] | None]:
        """Hold the right to write: within this process, then among processes (SQLite only); gives the lock file."""
        if self._writer == threading.get_ident():
            raise RuntimeError("A write transaction inside another of the same thread would wait for itself.")
        if not self._thread_lock.acquire(timeout=wait_seconds):
            raise StateUnavailable("The state is busy: other writers did not finish in time.")
        self._writer = threading.get_ident()
        try:
            if self.path is None:
                yield None
            else:
                with locks.exclusive(self._lock_path, wait_seconds) as file:
                    yield file
        finally:
            self._writer = None
            self._thread_lock.release()

    @contextmanager
    def _to_write(self) -> Iterator[Connection]:
        """The connection of a write transaction, for who has the right to write: on SQLite the last one's.

        That knows the pages as they are, where another would read them again, and saves what SQLAlchemy does for each
        connection that it gives out. One that failed is given back.
        """
        kept, self._kept = self._kept, None
        if kept is not None and kept[1] != self._identity:
            _discard(kept[0])
            kept = None
        identity = self._identity
        connection = kept[0] if kept else self._engine.connect().execution_options(**TO_WRITE)
        try:
            yield connection
        except BaseException:  # an interrupt too may have left something half done on it
            connection.close()
            raise
        if self.path is None:
            connection.close()
        else:
            self._kept = connection, identity

    def _let_go(self) -> None:
        with self._thread_lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            _discard(kept[0])

    @contextmanager
    def _translating(self) -> Iterator[None]:
        """Raise our errors for the database's, and notice a database file that went away under us."""
        if self._identity is not None and file_identity(self.path) != self._identity:
            self._engine.dispose()
            self._reopened()
        with translated(self._engine.url):
            yield

    def _reopened(self) -> None:
        """After the file was replaced: use the new one if it is a state of ours, else say that it is gone."""
        if file_identity(self.path) is None:
            raise StateUnavailable(f"The state file {self.path} is gone.", retry_after=5)
        with translated(self._engine.url):
            self._check_schema()


_FIRST_ROW: dict[str, Any] = {
    "id": 1,
    "schema_version": tables.SCHEMA_VERSION,
    "index": 1,
    **dict.fromkeys(tables.TOPICS, 1),
    "verbs": 1,
    "oldest": 1,
    "engine_epoch": 0,
}


def _discard(connection: Connection) -> None:
    """Close a connection for good, also when its pool has been disposed of."""
    connection.invalidate()
    connection.close()


def _advance(writing: Writing) -> None:
    """The last statement of a transaction: give the commit its index."""
    touched = writing.touched
    if not touched:
        return
    names = touched | ({"index", "verbs"} if touched & {"wishes", "outcomes"} else {"index"})
    _advancing(names).run(writing.connection, now=writing.index)


@cache
def _advancing(names: frozenset[str]) -> Prepared:
    return Prepared(update(tables.state).values(dict.fromkeys(sorted(names), bindparam("now"))))


def _make_private(path: Path | None) -> None:
    """Let only the owner read a new database: jobs' environments are in it. By chmod, for nothing opens the file."""
    for suffix in ("", "-wal", "-shm") if path is not None else ():
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").chmod(0o600)


def _make_private_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as ex:
        raise StateUnavailable(f"The state directory {directory} cannot be made: {ex.strerror}.") from ex
