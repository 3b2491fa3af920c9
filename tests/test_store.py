"""The state row, transactions and the SQLite rules of one process (DESIGN 2)."""

from __future__ import annotations

import ast
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import databases
import pytest
from sqlalchemy import select

from cloudsched.errors import ConfigError, MissingExtra, StateTakenOver, StateUnavailable
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Job, JobDelta, Machine, Shape
from cloudsched.model.snapshot import Block, Heartbeat
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, Outcome, OutcomeState
from cloudsched.store import (
    Store,
    Writing,
    clouds,
    heartbeats,
    jobs,
    limits,
    machines,
    operations,
    place,
    tables,
    verbs,
    vms,
    wishes,
)
from cloudsched.store.snapshot import Seen, SnapshotReader
from cloudsched.store.watch import Watch

STORE = Path(__file__).parent.parent / "cloudsched" / "store"
SHAPE = Shape("alice")
JOB = Job("host#1.0#1", SHAPE, job_status=1)


def second(store: Store, *, read_only: bool = False) -> Store:
    """Another process's view of the same state."""
    return databases.open_store(store.directory, read_only=read_only)


CHANGES: dict[str, tuple[str, Callable[[Writing], object]]] = {
    "cloud": ("clouds", lambda w: clouds.record_clouds(w, [Cloud("c", "local")])),
    "vm": ("vms", lambda w: vms.record_vms(w, [VM("u", "c", job_run_times=(1, 2), image={"c": "i"})])),
    "machine": ("machines", lambda w: machines.record_machines(w, [Machine("slot1@u", "u")])),
    "user limit": ("limits", lambda w: limits.record_user_limits(w, {"alice": 3})),
    "alias": ("limits", lambda w: limits.record_cloud_aliases(w, {"east": ["a", "b"]})),
    "ban": ("limits", lambda w: limits.record_banned_images(w, {"image": ("a",)})),
    "setting": ("limits", lambda w: limits.record_setting(w, "quick_exit", True)),
    "outcome": ("outcomes", lambda w: operations.record_outcomes(w, [Outcome(7, OutcomeState.DONE, {"a": 1}, 5)])),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_raises_its_topic_once(store: Store, what: str) -> None:
    topic, change = CHANGES[what]
    before = store.state()
    for _ in range(2):
        with store.writing() as writing:
            change(writing)
    after = store.state()
    assert after.index == before.index + 1
    raised = {name for name in (*tables.TOPICS, "verbs") if getattr(after, name) == after.index}
    assert raised == {topic} | ({"verbs"} if topic == "outcomes" else set())


def test_jobs_and_their_shapes_raise_only_their_topics(store: Store) -> None:
    for _ in range(2):
        with store.writing() as writing:
            jobs.record_delta(writing, JobDelta((JOB,)), lambda host: "")
    row = store.state()
    assert (row.index, row.jobs, row.shapes, row.vms) == (2, 2, 2, 1)
    for _ in range(2):
        with store.writing() as writing:
            jobs.record_reasons(writing, {SHAPE.key: ["no cloud"]})
            jobs.record_block(writing, Block(SHAPE.key, "c", 9, "image"), 5)
    assert (store.state().shapes, store.state().jobs) == (3, 2)


def test_a_wish_raises_wishes_and_verbs(store: Store) -> None:
    verbs.wish_setting(store, wishes.By("op"), Aspect.RECONFIG)
    row = store.state()
    assert (row.index, row.wishes, row.verbs, row.outcomes) == (2, 2, 2, 1)


def test_heartbeats_lie_outside_the_index(store: Store) -> None:
    with store.writing() as writing:
        heartbeats.record_heartbeats(writing, [Heartbeat("Scheduler", 5, 100.0)])
    assert store.state().index == 1
    with store.reading() as connection:
        assert heartbeats.all_heartbeats(connection) == [Heartbeat("Scheduler", 5, 100.0)]


def test_an_exception_rolls_everything_back(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
        raise ZeroDivisionError
    assert limits.user_limits(store) == {}
    assert store.state().index == 1


@pytest.mark.sqlite
def test_every_connection_obeys_the_rules(store: Store) -> None:
    reader = second(store, read_only=True)
    for opened in (store, reader):
        with ExitStack() as stack:
            for _ in range(3):
                connection = stack.enter_context(opened.reading())
                pragmas = {
                    name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                    for name in ("journal_mode", "synchronous", "journal_size_limit", "query_only", "busy_timeout")
                }
                assert pragmas == {
                    "journal_mode": "wal",
                    "synchronous": 2,
                    "journal_size_limit": 67108864,
                    "query_only": int(opened is reader),
                    "busy_timeout": 2000,
                }
    reader.close()


def test_reading_is_one_snapshot(store: Store) -> None:
    other = second(store)
    with store.reading() as connection:
        before = connection.execute(select(tables.state)).one()
        with other.writing() as writing:
            limits.record_user_limits(writing, {"alice": 1})
        assert connection.execute(select(tables.state)).one() == before
        assert limits.read_user_limits(connection) == {}
    assert limits.user_limits(store) == {"alice": 1}
    other.close()


def test_a_read_only_store_cannot_write(store: Store) -> None:
    reader = second(store, read_only=True)
    with pytest.raises(StateUnavailable, match="read-only"), reader.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
    assert limits.user_limits(reader) == {}
    reader.close()


@pytest.mark.sqlite
def test_a_read_only_store_reads_when_nobody_else_has_it_open(store: Store) -> None:
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
    path, directory = store.path, store.directory
    store.close()
    reader = Store.open(f"sqlite:///{path}", directory, read_only=True)
    assert limits.user_limits(reader) == {"alice": 1}
    reader.close()


@pytest.mark.sqlite
def test_a_writer_waits_for_the_lock_file_no_longer_than_asked(store: Store) -> None:
    other = second(store)
    with store.writing(), pytest.raises(StateUnavailable, match="another process"), other.writing(wait_seconds=0.1):
        pass
    with other.writing(wait_seconds=0.1):
        pass
    other.close()


def test_threads_of_one_process_wait_no_longer_than_asked(store: Store) -> None:
    caught: list[Exception] = []

    def write() -> None:
        try:
            with store.writing(wait_seconds=0.1):
                pass
        except StateUnavailable as ex:
            caught.append(ex)

    with store.writing():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(30)
    assert [str(ex) for ex in caught] == ["The state is busy: other writers did not finish in time."]


def test_nothing_but_sqlite_opens_the_database() -> None:
    allowed = {"locks.py", "dump.py"}
    for file in STORE.glob("*.py"):
        called = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call)
        }
        opens = called & {"open", "fdopen", "read_bytes", "read_text", "write_bytes", "write_text", "copyfile"}
        assert not opens or file.name in allowed, (file.name, opens)


@pytest.mark.sqlite
def test_looking_at_the_state_keeps_the_write_lock(store: Store) -> None:
    """Closing any other descriptor of the database would drop SQLite's locks, which are the process's."""
    watch = Watch(store)
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
        store.state()
        place.holder(store)
        watch.wishes()
        watch.close()
        assert "locked" in _other_process_begins(store)
    assert _other_process_begins(store) == ""


def _other_process_begins(store: Store) -> str:
    """What SQLite tells another process that wants to write now."""
    read, write = os.pipe()
    program = (
        "import os, sqlite3, sys\n"
        "try: sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('BEGIN IMMEDIATE')\n"
        "except sqlite3.OperationalError as ex: os.write(int(sys.argv[2]), str(ex).encode())\n"
    )
    arguments = [sys.executable, "-c", program, str(store.path), str(write)]
    os.set_inheritable(write, True)
    os.waitpid(os.posix_spawn(arguments[0], arguments, os.environ), 0)
    os.close(write)
    with os.fdopen(read) as answer:
        return answer.read()


def test_a_closed_store_keeps_no_descriptor(store: Store) -> None:
    watch = Watch(store)
    watch.wishes()
    store.state()
    watch.close()
    store.close()
    held = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert not [name for name in held if str(name).startswith(str(store.path))]


@pytest.mark.sqlite
def test_a_new_database_is_its_owners(store: Store) -> None:
    assert store.path is not None
    files = [store.path, Path(f"{store.path}-wal"), store.directory / "state.lock"]
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert store.directory.stat().st_mode & 0o777 == 0o700


def test_an_old_engine_is_stopped_by_a_new_one(store: Store) -> None:
    old, new = second(store), second(store)
    assert (old.begin_epoch(), new.begin_epoch()) == (1, 2)
    with pytest.raises(StateTakenOver, match="Another engine"), old.writing():
        pass
    for other in (new, store):
        with other.writing():
            pass
    old.close()
    new.close()


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("nonsense", ConfigError, "not an SQLAlchemy URL"),
        ("user:secret@host", ConfigError, r"^database_url is not an SQLAlchemy URL such as sqlite:////var/lib/x.db.$"),
        ("sqlite://", ConfigError, "must name a file"),
        ("sqlite:///:memory:", ConfigError, "must name a file"),
        ("cobol://host/x", ConfigError, "must be of SQLite or PostgreSQL"),
        ("mysql+mysqldb://host/x", ConfigError, "must be of SQLite or PostgreSQL"),
        ("postgresql+psycopg2://host/x", MissingExtra, "postgresql"),
    ],
)
def test_a_wrong_url_is_named(tmp_path: Path, url: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Store.open(url, tmp_path)


@pytest.mark.parametrize("name", ["with space", "per%cent", "hash#mark", "question?mark", "ümlaut", "a&b=c"])
def test_any_directory_name_holds_a_state(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    opened = Store.open(f"sqlite:///{quote(str(directory / 'state.db'))}", directory)
    watch = Watch(opened)
    assert watch.wishes() == 1
    watch.close()
    opened.close()
    assert (directory / "state.db").exists()


def test_snapshots_read_again_only_what_changed(store: Store) -> None:
    reader = SnapshotReader(store)
    with store.writing() as writing:
        vms.record_vms(writing, [VM("u", "c"), VM("v", "c", released=True)])
        clouds.record_clouds(writing, [Cloud("c", "local", stale=True)])
    first = reader.snapshot(Seen(now=1))
    assert [vm.uid for vm in first.vms] == ["u"]
    assert first.stale_clouds == {"c"}
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
    later = reader.snapshot(Seen(now=2))
    assert later.clouds is first.clouds
    assert later.user_limits == {"alice": 1}


@pytest.mark.sqlite
def test_the_database_is_plain_sqlite(store: Store) -> None:
    connection = sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT schema_version FROM state").fetchone() == (tables.SCHEMA_VERSION,)
    connection.close()


def test_a_vm_that_is_as_it_was_is_not_written_again(store: Store) -> None:
    vm = VM("vm-1", "mouse", status="Error", errorcount=100)
    with store.writing() as writing:
        vms.record_vms(writing, [vm])
    before = store.state()
    with store.writing() as writing:
        vms.record_changed(writing, [(vm, replace(vm))])
    assert store.state() == before
    with store.writing() as writing:
        vms.record_changed(writing, [(vm, replace(vm, status="Running"))])
    with store.reading() as connection:
        assert (vms.all_vms(connection)[0].status, store.state().vms) == ("Running", before.index + 1)
