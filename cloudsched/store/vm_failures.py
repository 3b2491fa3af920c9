"""VMs that were of no use, newest first: outside the index, for what they show is past."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, delete, insert, select

from cloudsched.model.failures import VMFailure
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing

KEPT = 200


def read_failures(connection: Connection) -> list[VMFailure]:
    """The failures that are kept, newest first."""
    table = tables.vm_failures
    found = connection.execute(select(table).order_by(table.c.failed_at.desc(), table.c.uid)).mappings()
    return [rows.from_row(VMFailure, row) for row in found]


def record_failure(writing: Writing, failure: VMFailure) -> None:
    """Keep a failure; of many only the newest KEPT stay."""
    table = tables.vm_failures
    writing.connection.execute(delete(table).where(table.c.uid == failure.uid))
    writing.connection.execute(insert(table).values(**asdict(failure)))
    newest = select(table.c.uid).order_by(table.c.failed_at.desc(), table.c.uid)
    surplus = list(writing.connection.execute(newest.offset(KEPT)).scalars())
    writing.connection.execute(delete(table).where(table.c.uid.in_(surplus)))


def prune_failures(writing: Writing, before: int) -> None:
    """Forget failures of before a time in Unix seconds."""
    writing.connection.execute(delete(tables.vm_failures).where(tables.vm_failures.c.failed_at < before))
