"""Several processes on one state, and any of them killed at any moment.

`CLOUDSCHED_SOAK_ROUNDS` makes the kill tests longer.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from io import StringIO
from pathlib import Path

import pytest

from cloudsched.errors import StateHeld, StateUnavailable
from cloudsched.model.jobs import Job, Shape
from cloudsched.store import Store, dump, jobs, limits, locks, place
from cloudsched.store.watch import Watch

ROUNDS = int(os.environ.get("CLOUDSCHED_SOAK_ROUNDS", "4"))
DEADLINE = 300.0

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(store: Store) -> Iterator[Start]:
    """Start store_process.py on the store's state; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*arguments: str) -> subprocess.Popen[str]:
        command, *rest = arguments
        program = [sys.executable, str(Path(__file__).with_name("store_process.py")), command, str(store.directory)]
        process = subprocess.Popen([*program, *rest], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.002)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> list[str]:
    """Kill without warning; returns the lines it had still printed."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    return process.stdout.read().split()


def is_writing(store: Store) -> bool:
    """Is another process in the middle of a write transaction? SQLite itself tells."""
    with closing(
        sqlite3.connect(f"file:{store.path}?mode=rw", uri=True, timeout=0, isolation_level=None)
    ) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as ex:
            return "locked" in str(ex)
        connection.execute("ROLLBACK")
        return False


def check_integrity(store: Store) -> None:
    with store.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_no_update_is_lost_between_processes(store: Store, start: Start) -> None:
    processes = [start("count", times) for times in ("60", "61")]
    assert [process.wait(DEADLINE) for process in processes] == [0, 0]
    assert limits.user_limits(store) == {"n": 121}
    assert store.state().index == 1 + 121


def test_a_reader_sees_one_index_while_another_process_commits(store: Store, start: Start) -> None:
    with store.reading() as connection:
        before = limits.read_user_limits(connection)
        assert start("limit", "7").wait(DEADLINE) == 0
        assert limits.read_user_limits(connection) == before == {}
    assert limits.user_limits(store) == {"n": 7}


def test_a_watch_sees_another_processs_commit(store: Store, start: Start) -> None:
    watch = Watch(store)
    before = (watch.wishes(), watch.verbs())
    with store.writing() as writing:
        writing.touch("vms")
    assert (watch.wishes(), watch.verbs()) == before
    process = start("wish")
    until(lambda: watch.wishes() > before[0])
    assert watch.verbs() == watch.wishes() == store.state().index
    assert process.wait(DEADLINE) == 0
    watch.close()


def test_a_writer_killed_in_the_middle_leaves_nothing_and_frees_the_state(store: Store, start: Start) -> None:
    process = start("lock")
    assert line(process) == "locked"
    with pytest.raises(StateUnavailable, match="another process"), store.writing(wait_seconds=0.1):
        pass
    assert limits.user_limits(store) == {}
    kill(process)
    process.wait(DEADLINE)
    with store.writing() as writing:
        assert writing.index == 2
        assert limits.read_user_limits(writing.connection) == {}


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_every_acknowledged_commit_survives_kill_9(store: Store, start: Start, round_: int) -> None:
    chance = random.Random(round_)
    acknowledged: dict[str, int] = {"steady": 0, "victim": 0}
    steady = start("write", "steady")
    for _ in range(3):
        victim = start("write", "victim")
        for _ in range(chance.randrange(1, 12)):
            acknowledged["victim"] = int(line(victim))
        time.sleep(chance.random() / 100)
        acknowledged["victim"] = max([acknowledged["victim"], *map(int, kill(victim))])
        found = limits.user_limits(store)
        assert acknowledged["victim"] <= found["victim"] <= acknowledged["victim"] + 1
    acknowledged["steady"] = int(line(steady))
    kill(steady)
    found, aliases = limits.user_limits(store), limits.cloud_aliases(store)
    assert found["steady"] >= acknowledged["steady"] >= 1
    assert {key: (str(number),) * 50 for key, number in found.items()} == aliases
    assert store.state().index == 1 + sum(found.values())
    check_integrity(store)


def text_of(store: Store) -> list[str]:
    """The state as a dump, without its header."""
    out = StringIO()
    dump.dump(store, out, with_secrets=True, version="1", now=0)
    return out.getvalue().splitlines()[1:]


def _is_writing_or_done(store: Store, process: subprocess.Popen[str]) -> bool:
    return is_writing(store) or process.poll() is not None


def big_dump(tmp_path: Path) -> Path:
    directory = tmp_path / "big"
    other = Store.open(f"sqlite:///{directory / 'state.db'}", directory)
    with other.writing() as writing:
        jobs.record_jobs(writing, [Job(f"h#{n}.0#1", Shape("bob"), cluster_id=n, job_status=1) for n in range(1500)])
    path = tmp_path / "big.jsonl"
    with dump.open_private(str(path)) as out:
        dump.dump(other, out, with_secrets=True, version="1", now=0)
    other.close()
    return path


def test_a_load_killed_in_the_middle_leaves_the_old_state(store: Store, start: Start, tmp_path: Path) -> None:
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 3})
    path = big_dump(tmp_path)
    old, new = text_of(store), path.read_text().splitlines()[1:]
    for _ in range(ROUNDS):
        process = start("load", str(path))
        until(partial(_is_writing_or_done, store, process))
        kill(process)
        process.wait(DEADLINE)
        # Finished before it was killed is fine too; half is not.
        assert text_of(store) in (old, new)
    check_integrity(store)
    assert start("load", str(path)).wait(DEADLINE) == 0
    assert text_of(store) == new


def test_the_engines_place_is_freed_by_its_death(store: Store, start: Start) -> None:
    process = start("hold")
    assert line(process) == "held"
    assert place.holder(store)
    with pytest.raises(StateHeld, match=f"process {process.pid} on "):
        locks.hold_engine(store.directory)
    with pytest.raises(StateHeld):
        dump.load(store, [], path="x", replace=True)
    kill(process)
    process.wait(DEADLINE)
    assert place.holder(store) is None
    locks.hold_engine(store.directory).close()


def test_processes_may_create_the_state_together(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    program = [sys.executable, str(Path(__file__).with_name("store_process.py")), "limit", str(directory), "1"]
    processes = [subprocess.Popen(program) for _ in range(3)]
    assert [process.wait(DEADLINE) for process in processes] == [0, 0, 0]
    assert Store.open(f"sqlite:///{directory / 'state.db'}", directory).state().index == 2
