"""Prepared statements: the same as SQLAlchemy's own execution, values, errors and all."""

from __future__ import annotations

import threading

import pytest
from golden_state import golden
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from cloudsched.errors import StateUnavailable
from cloudsched.model.jobs import Job
from cloudsched.store import Store, clouds, jobs, queues, rows, tables
from cloudsched.store.prepared import Prepared

ROW = {"id": "x", "request": "y", "operation": None, "token": "", "made_at": 5}
ADD = Prepared(insert(tables.idempotency_keys), tuple(ROW))
ALL = select(tables.idempotency_keys).order_by(tables.idempotency_keys.c.id)


def test_rows_and_counts_are_those_of_sqlalchemy(store: Store) -> None:
    change = Prepared(
        update(tables.idempotency_keys).where(tables.idempotency_keys.c.made_at < bindparam("end")), ["token"]
    )
    with store.writing() as writing:
        ADD.run_each(writing.connection, [{**ROW, "id": each} for each in "abc"])
        assert ADD.run(writing.connection, **ROW) == 1
        assert change.run(writing.connection, token="t", end=6) == 4
        assert change.run(writing.connection, token="t", end=5) == 0
    with store.reading() as connection:
        found = Prepared(ALL).rows(connection)
        assert found == [tuple(row) for row in connection.execute(ALL)]
        assert [row[0] for row in found] == ["a", "b", "c", "x"]


def test_types_are_those_of_the_columns(store: Store) -> None:
    """JSON, truth values and numbers, in both directions."""
    with store.writing() as writing:
        clouds.record_clouds(writing, golden().clouds)
        jobs.record_jobs(writing, golden().jobs)
    columns, build = rows.reader(Job, tables.jobs)
    query = select(*columns).order_by(tables.jobs.c.id)
    with store.reading() as connection:
        assert Prepared(query).rows(connection) == [tuple(row) for row in connection.execute(query)]
        for job in golden().jobs:
            found = queues.job(connection, (job.id,), ())
            assert found and found.job.shape == job.shape
            assert queues.job(connection, ("nosuch", job.id), (), {job.shape.key: job.shape}) == found
        for cloud in golden().clouds:
            assert clouds.find(connection, cloud.name.upper()) == next(
                each for each in clouds.all_clouds(connection) if each.name == cloud.name
            )


def test_error_is_sqlalchemys(store: Store) -> None:
    with pytest.raises(IntegrityError), store.writing() as writing:
        ADD.run_each(writing.connection, [ROW, ROW])
    with store.reading() as connection:
        assert Prepared(ALL).rows(connection) == [], "and the transaction is taken back whole"


@pytest.mark.sqlite
def test_lock_of_another_program_is_told_in_words(store: Store) -> None:
    """By SQLite's own lock, which nothing of ours takes: BEGIN IMMEDIATE is prepared too."""
    with store.looking() as connection:
        connection.connection.driver_connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateUnavailable, match="locked by another program"), store.writing():
            pass


def test_one_statement_serves_many_threads(store: Store) -> None:
    with store.writing() as writing:
        clouds.record_clouds(writing, golden().clouds)
    found: list[str] = []

    def find() -> None:
        for _ in range(50):
            with store.reading() as connection:
                found.append(clouds.find(connection, "mouse").name)

    threads = [threading.Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == ["mouse"] * 200
