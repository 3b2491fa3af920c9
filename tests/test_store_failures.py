"""Whatever happens to the database is StateUnavailable or StateMismatch with a sentence, never another exception."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cloudsched.errors import StateError, StateHeld, StateMismatch, StateUnavailable
from cloudsched.store import Store, limits, locks
from cloudsched.store.tables import SCHEMA_VERSION
from cloudsched.store.watch import Watch


def raw(store: Store) -> sqlite3.Connection:
    return sqlite3.connect(str(store.path), isolation_level=None, timeout=0)


def database(store: Store) -> Path:
    assert store.path is not None
    return store.path


def write(store: Store, rows: int = 1) -> None:
    with store.writing(wait_seconds=0.2) as writing:
        limits.record_user_limits(writing, {f"user{number}": 1 for number in range(rows)})


def test_another_programs_lock_is_waited_for_and_then_told(store: Store) -> None:
    other = raw(store)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateUnavailable, match="locked by another program"):
        write(store)
    assert limits.user_limits(store) == {}
    other.close()
    write(store)


def test_a_full_disk_is_told_and_changes_nothing(store: Store) -> None:
    write(store)
    with pytest.raises(StateUnavailable, match="full") as caught, store.writing() as writing:
        pages = writing.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        writing.connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
        limits.record_user_limits(writing, {f"user{number}": 1 for number in range(20_000)})
    assert caught.value.retry_after >= 10
    assert limits.user_limits(store) == {"user0": 1}


def test_a_deleted_state_is_told_and_not_made_anew(store: Store) -> None:
    watch = Watch(store)
    watch.wishes()
    database(store).unlink()
    for use in (store.state, lambda: write(store), watch.wishes, watch.verbs):
        with pytest.raises(StateUnavailable, match="is gone"):
            use()
    assert not database(store).exists()


def test_a_state_that_came_back_is_used(store: Store) -> None:
    watch = Watch(store)
    watch.wishes()
    database(store).unlink()
    with pytest.raises(StateUnavailable):
        store.state()
    database(store).touch()
    with pytest.raises(StateUnavailable, match="There is no state"):
        store.state()
    database(store).unlink()
    other = Store.open(f"sqlite:///{store.path}", store.directory)
    write(other, rows=3)
    assert len(limits.user_limits(store)) == 3
    with other.writing() as writing:
        writing.touch("wishes")
    assert watch.wishes() == other.state().index
    other.close()


def _garbage(path: Path) -> None:
    path.write_bytes(b"This is not a database. " * 400)


def _scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:] = b"\xa5" * (len(content) - 100)
    path.write_bytes(content)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _foreign(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE state (colour TEXT)")
    connection.close()


DAMAGES = [_garbage, _scribbled, _truncated, _empty, _directory, _foreign]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("read_only", [True, False])
def test_a_damaged_file_is_told_at_the_start(store: Store, damage: Callable[[Path], None], read_only: bool) -> None:
    path, directory = database(store), store.directory
    write(store, rows=500)
    store.close()
    damage(path)
    if damage is _empty and not read_only:
        return
    with pytest.raises(StateError) as caught:
        opened = Store.open(f"sqlite:///{path}", directory, read_only=read_only)
        limits.user_limits(opened)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_damaged_under_us_is_told(store: Store, damage: Callable[[Path], None]) -> None:
    path = database(store)
    write(store, rows=500)
    with closing(raw(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    damage(path)
    for use in (lambda: limits.user_limits(store), lambda: write(store, rows=600)):
        with pytest.raises(StateError):
            use()


@pytest.mark.parametrize("read_only", [True, False])
def test_another_schema_version_is_refused_with_both_numbers(store: Store, read_only: bool) -> None:
    with closing(raw(store)) as connection:
        connection.execute("UPDATE state SET schema_version = 77")
    with pytest.raises(StateMismatch, match=rf"version 77, this program needs version {SCHEMA_VERSION}: "):
        Store.open(f"sqlite:///{store.path}", store.directory, read_only=read_only)


def test_a_missing_state_is_told_to_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable):
        Store.open(f"sqlite:///{tmp_path / 'state.db'}", tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StateUnavailable, match="cannot be made: "):
        Store.open(f"sqlite:///{file / 'state.db'}", file / "state")


def test_a_lock_file_that_cannot_be_opened_is_told(store: Store) -> None:
    (store.directory / "state.lock").unlink()
    (store.directory / "state.lock").mkdir()
    with pytest.raises(StateUnavailable, match="lock file .* cannot be opened"):
        write(store)


def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="the extra 'postgresql' is not installed")
    with pytest.raises(StateUnavailable, match="does not answer"):
        Store.open("postgresql+psycopg://user:secret@127.0.0.1:1/x", tmp_path)


def test_the_engines_place_is_taken_once(state_dir: Path) -> None:
    state_dir.mkdir()
    assert locks.engine_holder(state_dir) is None
    held = locks.hold_engine(state_dir)
    with pytest.raises(StateHeld, match=r"is held by process \d+ on "):
        locks.hold_engine(state_dir)
    assert "process" in str(locks.engine_holder(state_dir))
    held.close()
    assert locks.engine_holder(state_dir) is None
    locks.hold_engine(state_dir).close()
