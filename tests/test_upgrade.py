"""States of older releases on both databases: refused at every start, upgraded in place, killed in the middle."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from postgresql import Server
from sqlalchemy import Engine, MetaData, NullPool, create_engine, select, update

from cloudsched.errors import StateHeld, StateMismatch, StateUnavailable
from cloudsched.store import Store, limits, locks, tables, upgrade
from cloudsched.store.connect import schema_version

SCHEMAS = Path(__file__).parent / "schemas"
BIN = Path(sys.executable).parent
SECONDS = 120
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Old:
    """A state of schema 1: where it is, and how a process is told so."""

    url: str
    directory: Path

    def rows(self) -> Rows:
        """Every row of every table that it has, by its columns."""
        return self._read(MetaData())

    def rows_of(self, shape: MetaData) -> Rows:
        """The rows of an older state's tables and columns, as they are now."""
        return self._read(shape)

    def schema(self) -> MetaData:
        metadata = MetaData()
        metadata.reflect(self._engine())
        return metadata

    def index(self) -> int:
        with self._engine().connect() as connection:
            return int(connection.execute(select(tables.state.c.index)).scalar_one())

    def version(self) -> int | None:
        with self._engine().connect() as connection:
            return schema_version(connection)

    def differences(self) -> list[Any]:
        """What Alembic finds different from `tables.metadata`."""
        with self._engine().connect() as connection:
            context = MigrationContext.configure(connection)
            return list(compare_metadata(context, tables.metadata))

    def command(self, *words: str, code: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of our commands on it."""
        variables = {
            "CLOUDSCHED_GLOBAL_DATABASE_URL": self.url,
            "CLOUDSCHED_GLOBAL_STATE_DIR": str(self.directory),
            "CLOUDSCHED_GLOBAL_ADMIN_SERVER_PORT": "0",
            "CLOUDSCHED_GLOBAL_INFO_SERVER_PORT": "0",
        }
        command = [sys.executable, "-c", code, *words] if code else [str(BIN / words[0]), *words[1:]]
        environment = {**os.environ, **variables, "HOME": str(self.directory.parent)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)

    def _read(self, shape: MetaData) -> Rows:
        if not shape.tables:
            shape.reflect(self._engine())
        with self._engine().connect() as connection:
            return {
                name: sorted(map(tuple, connection.execute(select(table))), key=repr)
                for name, table in shape.tables.items()
                if name != "state"
            }

    def _engine(self) -> Engine:
        return create_engine(self.url, poolclass=NullPool)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Old]:
    """A state that the first schema's program made, with something in every table."""
    text = (SCHEMAS / f"schema_1.{request.param}.sql").read_text("utf-8")
    directory = tmp_path / "state"
    if request.param == "sqlite":
        directory.mkdir()
        with closing(sqlite3.connect(directory / "state.db")) as connection:
            connection.executescript(text)
        yield Old(f"sqlite:///{directory / 'state.db'}", directory)
        return
    server: Server = request.getfixturevalue("postgresql")
    name = server.create()
    with server.connect(name) as connection:
        connection.execute(text.encode())
    yield Old(server.url(name), directory)
    server.drop(name)


def brought_up(old: Old) -> int:
    store = Store.unchecked(old.url, old.directory)
    try:
        return upgrade.upgrade(store)
    finally:
        store.close()


def test_every_start_names_the_command_to_run(old: Old) -> None:
    before = old.rows()
    for words in (["cloud_scheduler"], ["admin_server"], ["info_server"], ["cloud_scheduler", "state", "dump", "-"]):
        finished = old.command(*words)
        assert finished.returncode == 1
        assert finished.stdout == ""
        assert f"schema version 1, this program needs version {tables.SCHEMA_VERSION}: stop" in finished.stderr
        assert "then run 'cloud_scheduler state upgrade'." in finished.stderr
        assert "Traceback" not in finished.stderr
    assert old.rows() == before


def test_an_upgrade_keeps_every_row_and_makes_the_present_schema(old: Old) -> None:
    shape = old.schema()
    before = old.rows_of(shape)
    assert sum(map(len, before.values())) > 80
    first = old.command("cloud_scheduler", "state", "upgrade")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"The state had schema version 1 and now has schema version {tables.SCHEMA_VERSION}.\n"
    again = old.command("cloud_scheduler", "state", "upgrade")
    assert (again.returncode, again.stdout) == (
        0,
        f"The state already has schema version {tables.SCHEMA_VERSION}.\n",
    )
    assert old.rows_of(shape) == before
    assert old.differences() == []
    assert set(old.schema().tables) == set(tables.metadata.tables)


def test_a_new_state_has_the_schema_of_an_upgraded_one(old: Old, tmp_path: Path, request: Any) -> None:
    brought_up(old)
    if old.url.startswith("sqlite"):
        new = Old(f"sqlite:///{tmp_path / 'new' / 'state.db'}", tmp_path / "new")
    else:
        server = request.getfixturevalue("postgresql")
        new = Old(server.url(server.create()), tmp_path / "new")
    Store.open(new.url, new.directory).close()
    assert described(new.schema()) == described(old.schema())
    assert new.differences() == []


def described(metadata: MetaData) -> dict[str, Any]:
    """Tables by name: columns with type, nullability, default and key, and indexes with their columns."""
    return {
        name: (
            {(c.name, str(c.type), c.nullable, str(getattr(c.server_default, "arg", ""))) for c in table.columns},
            [c.name for c in table.primary_key],
            {(index.name, tuple(index.columns.keys()), index.unique) for index in table.indexes},
        )
        for name, table in metadata.tables.items()
    }


def test_an_upgraded_state_is_used_and_every_reader_loads_it_anew(old: Old) -> None:
    index = old.index()
    assert brought_up(old) == 1
    store = Store.open(old.url, old.directory)
    state = store.state()
    assert state.index == index + 1 == state.vms == state.jobs == state.wishes
    with store.writing() as writing:
        limits.record_user_limits(writing, {"new": 1})
    assert limits.user_limits(store) == {"new": 1}
    store.close()


def test_an_engine_that_holds_the_state_keeps_it_from_an_upgrade(old: Old) -> None:
    old.directory.mkdir(exist_ok=True)
    with locks.hold_engine(old.directory), pytest.raises(StateHeld, match=r"is held by process \d+"):
        brought_up(old)
    assert old.version() == 1


@pytest.mark.parametrize("version", [tables.SCHEMA_VERSION + 1, 0])
def test_there_is_no_way_back_and_no_way_from_nowhere(old: Old, version: int) -> None:
    brought_up(old)
    store = Store.open(old.url, old.directory)
    with store.writing() as writing:
        writing.connection.execute(update(tables.state).values(schema_version=version))
    with pytest.raises(StateMismatch, match=f"has schema version {version}, this program needs"), store.writing():
        pass
    store.close()
    finished = old.command("cloud_scheduler", "state", "upgrade")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert f"has schema version {version}, this program needs version {tables.SCHEMA_VERSION}" in finished.stderr
    assert ("a schema is never taken back" in finished.stderr) == (version > 0)
    assert old.version() == version


def test_without_alembic_the_extra_is_named_and_nothing_is_changed(old: Old) -> None:
    code = "import sys; sys.modules['alembic'] = None; from cloudsched.__main__ import main; sys.exit(main())"
    finished = old.command("state", "upgrade", code=code)
    assert finished.returncode == 1
    assert "needs the extra 'migrate': pip install 'cloudsched[migrate]'." in finished.stderr
    assert old.version() == 1


def test_a_state_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match="There is no state at"):
        Store.unchecked(f"sqlite:///{tmp_path / 'state.db'}", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_killed_at_any_statement_it_is_the_old_state_or_the_new(old: Old) -> None:
    shape = old.schema()
    before = old.rows_of(shape)
    program = [sys.executable, str(Path(__file__).with_name("upgrade_process.py")), old.url, str(old.directory)]
    for statements in range(2, 1000, 6):
        process = subprocess.Popen([*program, str(statements)], stdout=subprocess.PIPE, text=True)
        said = process.stdout.readline() if process.stdout else ""
        process.kill()
        process.communicate()
        if not said:
            break
        assert old.version() == 1
        assert set(old.schema().tables) == set(shape.tables)
        assert old.rows_of(shape) == before
    assert statements > 2
    assert old.version() == tables.SCHEMA_VERSION
    assert old.rows_of(shape) == before


def test_the_way_ends_at_the_version_of_the_tables() -> None:
    versions = Path(upgrade.__file__).with_name("migrations") / "versions"
    made = {path.stem for path in versions.glob("schema_*.py")}
    assert made == {f"schema_{number}" for number in range(1, tables.SCHEMA_VERSION + 1)}
    assert {path.name for path in SCHEMAS.iterdir()} == {
        f"schema_{number}.{database}.sql"
        for number in range(1, tables.SCHEMA_VERSION)
        for database in ("sqlite", "postgresql")
    }
