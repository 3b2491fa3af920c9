"""Seeing each commit at once, without asking the database when there was none."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cloudsched.errors import StateUnavailable
from cloudsched.store import Store, heartbeats, limits
from cloudsched.store.glance import LOOK_SECONDS, Glance
from cloudsched.store.pulse import Pulse

TIMEOUT_SECONDS = 300.0


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _commit(store: Store, number: int) -> None:
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": number})


def _trusted(store: Store, clock: Clock) -> Glance:
    glance = Glance(store, clock)
    glance.row()
    glance.trust()
    return glance


def test_unchanged_state_is_current_until_it_is_time_to_look(store: Store) -> None:
    _commit(store, 1)
    clock = Clock()
    glance = _trusted(store, clock)
    assert glance.is_current()
    clock.now += LOOK_SECONDS
    assert not glance.is_current()
    assert glance.row() == store.state()


def test_one_caller_looks_while_the_others_go_on_by_the_pulse(store: Store) -> None:
    _commit(store, 1)
    clock = Clock()
    glance = _trusted(store, clock)
    for _ in range(3):
        clock.now += LOOK_SECONDS
        assert [glance.is_current() for _ in range(3)] == [False, True, True]
    glance.row()
    assert glance.is_current(), "not even what was found need be made use of first, for it is the same"
    _commit(store, 2)
    assert not glance.is_current()
    glance.row()
    assert not glance.is_current(), "here it must"


@pytest.mark.parametrize("name", ["state.lock", "state.db"])
def test_file_in_the_place_of_another_is_not_trusted_before_it_was_made_use_of(
    store: Store, tmp_path: Path, name: str
) -> None:
    """Even where its pulse is at the same number."""
    _commit(store, 1)
    glance = _trusted(store, Clock())
    path, copied = store.directory / name, tmp_path / "copied"
    shutil.copy(path, copied)
    copied.rename(path)
    glance.row()
    assert not glance.is_current()
    glance.trust()
    assert glance.is_current()


def test_nothing_is_current_before_its_row_was_made_use_of(store: Store) -> None:
    _commit(store, 1)
    glance = Glance(store, Clock())
    assert not glance.is_current()
    glance.row()
    assert not glance.is_current()


def test_commit_of_another_process_is_seen_at_once(store: Store) -> None:
    _commit(store, 1)
    reader = Store.open(f"sqlite:///{store.path}", store.directory)
    glance = _trusted(reader, Clock())
    for number in range(2, 10):
        _commit(store, number)
        assert not glance.is_current()
        assert glance.row() == store.state()
        glance.trust()
        assert glance.is_current()
    reader.close()


def test_commit_that_raises_no_index_asks_for_a_look_too(store: Store) -> None:
    _commit(store, 1)
    glance = _trusted(store, Clock())
    with store.writing() as writing:
        heartbeats.record_heartbeats(writing, [])
    assert not glance.is_current()


def test_rolled_back_write_leaves_the_state_current(store: Store) -> None:
    _commit(store, 1)
    glance = _trusted(store, Clock())
    with pytest.raises(KeyError), store.writing():
        raise KeyError
    assert glance.is_current()


def test_nothing_is_trusted_while_a_commit_is_under_way(store: Store) -> None:
    """The number is odd exactly while the commit may become visible."""
    _commit(store, 1)
    reading, seen = Pulse(store.directory / "state.lock"), []
    reading.follow()

    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 2})
        before = reading.read()
        driver = writing.connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(lambda sql: seen.append((sql, reading.read())) if sql == "COMMIT" else None)
    driver.set_trace_callback(None)
    assert before
    assert seen == [("COMMIT", b"")]
    assert reading.read() not in (b"", before)


KILLED = """
import os, signal, sys
from pathlib import Path
from cloudsched.store import locks, pulse
with locks.exclusive(Path(sys.argv[1]), 5) as file, pulse.beating(file):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_writer_killed_in_its_commit_is_not_trusted_and_the_next_one_is(store: Store) -> None:
    _commit(store, 1)
    clock = Clock()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.directory / "state.lock")], timeout=TIMEOUT_SECONDS
    )
    assert killed.returncode == -signal.SIGKILL
    glance = _trusted(store, clock)
    assert not glance.is_current()
    _commit(store, 2)
    assert _trusted(store, clock).is_current()


def test_stranger_who_beats_no_pulse_is_seen_by_looking(store: Store) -> None:
    _commit(store, 1)
    clock = Clock()
    glance = _trusted(store, clock)
    with sqlite3.connect(str(store.path)) as stranger:
        stranger.execute('UPDATE state SET "index" = "index" + 1')
    stranger.close()
    clock.now += LOOK_SECONDS
    assert not glance.is_current()
    assert glance.row() == store.state()


def test_state_that_is_gone_is_raised_and_its_successor_found(store: Store, tmp_path: Path) -> None:
    _commit(store, 1)
    glance = _trusted(store, Clock())
    path, hidden = Path(str(store.path)), tmp_path / "hidden"
    path.rename(hidden)
    with pytest.raises(StateUnavailable):
        glance.row()
    assert not glance.is_current()
    hidden.rename(path)
    assert glance.row() == store.state()


def test_readers_in_threads_never_miss_a_commit(store: Store) -> None:
    """Whoever asks after a commit has returned sees it, whatever others ask meanwhile."""
    glance, guard, shown = Glance(store), threading.Lock(), [0]
    last, late, stop = [0], [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            committed = last[0]
            if not glance.is_current():
                with guard:
                    shown[0] = glance.row().index
                    glance.trust()
            if shown[0] < committed:
                late.append((shown[0], committed))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        _commit(store, number)
        last[0] = store.state().index
    stop.set()
    for thread in threads:
        thread.join(TIMEOUT_SECONDS)
    assert not late
