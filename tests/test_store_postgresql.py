"""What the store promises on PostgreSQL only: snapshots, deadlines and a server that goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from postgresql import Server

from cloudsched.errors import StateTakenOver, StateUnavailable
from cloudsched.model.adapters import QueuedJob
from cloudsched.model.jobs import Job, Shape
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, OutcomeState
from cloudsched.store import Store, dump, jobs, limits, operations, verbs, vms, wishes
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
