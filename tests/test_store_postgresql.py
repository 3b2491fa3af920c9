"""What the store promises on PostgreSQL only: snapshots, deadlines and a server that goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from postgresql import Server
from sqlalchemy import text
from whole_bench import eventually

from cloudsched.errors import StateTakenOver, StateUnavailable
from cloudsched.model.adapters import QueuedJob
from cloudsched.model.jobs import Job, Shape
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, OutcomeState
from cloudsched.store import Store, dump, jobs, limits, operations, state_row, verbs, vms, wishes
from cloudsched.store.queue import SQLQueue
from cloudsched.store.watch import Watch

pytestmark = pytest.mark.real
BY = wishes.By("root", at=1000)


@pytest.fixture
def opened(postgresql: Server, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the store of a new database, as another process would, each time it is called."""
    name = postgresql.create()
    stores: list[Store] = []

    def open_one() -> Store:
        stores.append(Store.open(postgresql.url(name), tmp_path / f"state{len(stores)}"))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()
    postgresql.drop(name)


def test_the_round_trip_is_the_identity(opened: Callable[[], Store], store: Store) -> None:
    server = opened()
    with server.writing() as writing:
        vms.record_vms(writing, [VM("ü/ '\"%", "c", image={"c": ["x"]}, errorconnect=1.5)])
        jobs.record_jobs(writing, [Job("h#1.0#1", Shape("a"), cluster_id=1, ban_time=0.5)])
        limits.record_user_limits(writing, {"alice": 1})
    SQLQueue(server).add("token", [QueuedJob(Job("", Shape("a")), {"environment": {"A": "1"}})], 5)
    verbs.wish_submit(server, BY, "a", "queue\n", "/")
    texts = []
    for one, other in ((server, store), (store, server)):
        out = StringIO()
        dump.dump(one, out, with_secrets=True, version="1", now=1)
        texts.append(out.getvalue().splitlines()[1:])
        dump.load(other, StringIO(out.getvalue()), path="x", replace=True)
    assert texts[0] == texts[1]


def test_reading_is_one_snapshot(opened: Callable[[], Store]) -> None:
    one, other = opened(), opened()
    with one.reading() as connection:
        assert limits.read_user_limits(connection) == {}
        with other.writing() as writing:
            limits.record_user_limits(writing, {"alice": 1})
        assert limits.read_user_limits(connection) == {}
    assert limits.user_limits(one) == {"alice": 1}


def test_no_update_is_lost(opened: Callable[[], Store]) -> None:
    def count(store: Store) -> None:
        for _ in range(30):
            with store.writing() as writing:
                present = limits.read_user_limits(writing.connection).get("n", 0)
                limits.record_user_limits(writing, {"n": present + 1})

    stores = [opened(), opened()]
    threads = [threading.Thread(target=count, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert limits.user_limits(stores[0]) == {"n": 60}
    assert stores[0].state().index == 61


def test_a_statement_is_planned_for_its_own_keys_however_often_it_runs(opened: Callable[[], Store]) -> None:
    """A plan for any keys would compare each row with every one of them."""
    with opened().writing() as writing:
        for turn in range(20):
            limits.record_user_limits(writing, {f"user{turn}-{number}": 1 for number in range(50)})
        plans = "SELECT sum(custom_plans), sum(generic_plans) FROM pg_prepared_statements"
        plans += " WHERE cardinality(parameter_types) > 0"
        custom, generic = writing.connection.exec_driver_sql(plans).one()
    assert (custom > 20, generic) == (True, 0)


def test_several_may_create_the_tables_together(opened: Callable[[], Store]) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(opened().state().index)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1, 1]


def test_a_writer_waits_no_longer_than_the_deadline(opened: Callable[[], Store]) -> None:
    one, other = opened(), opened()
    with one.writing(), pytest.raises(StateUnavailable, match="did not finish writing in time"), other.writing():
        pass
    with other.writing():
        pass


def test_verbs_queue_watch_and_epochs_work(opened: Callable[[], Store]) -> None:
    one, other = opened(), opened()
    watch = Watch(one)
    before = watch.wishes()
    made = verbs.wish_setting(other, BY, Aspect.LOG_LEVEL, "DEBUG")
    assert watch.wishes() == watch.verbs() == before + 1
    operations.settle(one, [(made.targets[0].wish.id, OutcomeState.DONE, {"a": 1})])
    assert operations.read(other, made.id).state == "done"
    queue = SQLQueue(one)
    queue.add("token", [QueuedJob(Job("", Shape("a")))], 5)
    lease = queue.lease(VM("u", "c", user="a"), 1, 6.0, 60.0)
    assert lease is not None
    assert queue.finish("u", lease.job.job.id, lease.attempt, {"exit_code": 0}, 7)
    one.begin_epoch()
    other.begin_epoch()
    with pytest.raises(StateTakenOver), one.writing():
        pass


def test_a_server_that_went_away_is_told(opened: Callable[[], Store], postgresql: Server) -> None:
    store = opened()
    with pytest.raises(StateUnavailable, match="does not answer"), store.reading() as connection:
        victim = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with postgresql.connect() as executioner:
            executioner.execute("SELECT pg_terminate_backend(%s)", (victim,))
        limits.read_user_limits(connection)
    assert limits.user_limits(store) == {}


GUARDED = "local all guarded scram-sha-256\nlocal all stranger reject\n"


@pytest.fixture
def guarded(postgresql: Server) -> Iterator[Server]:
    """A server that asks one user for a password and lets another one in by no means."""
    rules = postgresql.directory / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(GUARDED + before)
    with postgresql.connect() as connection:
        for statement in ("CREATE ROLE guarded LOGIN PASSWORD 'right'", "CREATE ROLE stranger LOGIN"):
            connection.execute(statement)
        connection.execute("SELECT pg_reload_conf()")
        eventually(lambda: not lets_in(postgresql, "stranger"), "the rules are in force")
        yield postgresql
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP ROLE guarded, stranger")


def lets_in(server: Server, user: str) -> bool:
    try:
        psycopg.connect(host=str(server.directory), user=user, dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


LOGINS = [
    ("postgres@/nowhere?host={directory}", "'nowhere' on this host", "it has no such database"),
    ("nobody@/postgres?host={directory}", "'postgres' on this host", "it has no such user"),
    ("guarded:wrong-secret@/postgres?host={directory}", "'postgres' on this host", "it refuses this user's password"),
    ("guarded@/postgres?host={directory}", "'postgres' on this host", "it wants a password, and none was given"),
    (
        "stranger@/postgres?host={directory}",
        "'postgres' on this host",
        "its pg_hba.conf does not let this user in from here",
    ),
    ("postgres:secret@127.0.0.1:1/x", "'x' on 127.0.0.1", "nothing listens there"),
    ("postgres@/x?host={directory}/elsewhere", "'x' on this host", "nothing listens there"),
    ("postgres@nohost.invalid/x", "'x' on nohost.invalid", "there is no such host"),
]


@pytest.mark.parametrize(("login", "where", "why"), LOGINS)
def test_a_login_that_fails_tells_why_and_no_secret(
    guarded: Server, tmp_path: Path, login: str, where: str, why: str
) -> None:
    url = "postgresql+psycopg://" + login.format(directory=guarded.directory)
    with pytest.raises(StateUnavailable) as caught:
        Store.open(url, tmp_path, read_only=True)
    assert str(caught.value).startswith(f"The database {where} does not answer as it should: {why}")
    assert "secret" not in str(caught.value)


def test_connection_lost_amid_a_prepared_statement_is_told_and_the_next_one_works(opened: Callable[[], Store]) -> None:
    store = opened()
    with pytest.raises(StateUnavailable, match="does not answer"), store.reading() as connection:
        mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with store.reading() as other:
            other.execute(text(f"SELECT pg_terminate_backend({mine})"))
        state_row(connection)
    assert store.state().index >= 1
