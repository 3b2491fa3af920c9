"""Queries that are answered at once or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from databases import open_store
from sqlalchemy import Connection, text

from cloudsched.store import Store, brief, limits, state_row
from cloudsched.store.brief import REST_SECONDS, SLOW_SECONDS, Brief
from cloudsched.store.prepared import Prepared


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _index(connection: Connection) -> int:
    return state_row(connection).index


def _commit(store: Store, number: int) -> None:
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": number})


def test_every_query_sees_the_last_commit(store: Store) -> None:
    found = Brief(store)
    for number in range(1, 4):
        _commit(store, number)
        assert found.find(_index) == store.state().index
    found.close()
    assert found.find(_index) == store.state().index, "it connects again"


def test_query_that_would_wait_or_fails_finds_nothing(store: Store) -> None:
    found = Brief(store)
    assert found.find(_index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brief, "SLOW_SECONDS", 1e9)
        assert found.find(Prepared(text("SELECT * FROM nosuch")).rows) is None
        other = sqlite3.connect(store.path, isolation_level=None)
        # While this holds, nobody else may even read.
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("BEGIN EXCLUSIVE")
        assert found.find(_index) is None
        other.execute("ROLLBACK")
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("PRAGMA locking_mode=NORMAL")
        other.execute("SELECT * FROM state").fetchall()
        other.close()
        assert found.find(_index) == store.state().index


@pytest.mark.parametrize(("seconds", "blocks", "rests"), [(2.0, 1, True), (2.0, 0, False), (0.5, 1, False)])
def test_after_waiting_for_the_disk_it_rests(
    store: Store, monkeypatch: pytest.MonkeyPatch, seconds: float, blocks: int, rests: bool
) -> None:
    """Not so when the interpreter was busy, or the disk is a fast one."""
    clock, read = Clock(), [0]
    monkeypatch.setattr(brief, "_blocks_read", lambda: read[0])
    found = Brief(store, clock)

    def query(connection: Connection) -> int:
        clock.now += seconds * SLOW_SECONDS
        read[0] += blocks
        return _index(connection)

    assert found.find(query) == store.state().index, "what it waited for is of use all the same"
    assert (found.find(_index) is None) == rests
    clock.now += REST_SECONDS
    assert found.find(_index)


def test_another_file_in_the_place_of_the_state_is_asked(tmp_path: Path) -> None:
    store, other = open_store(tmp_path / "one"), open_store(tmp_path / "two")
    found = Brief(store)
    before = found.find(_index)
    for number in range(1, 5):
        _commit(other, number)
    after = other.state().index
    other.close()
    store.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{store.path}{suffix}").unlink()
    other.path.rename(store.path)
    assert before != after
    assert found.find(_index) == after
    store.path.unlink()
    assert found.find(_index) is None
