"""Forgetting what is finished and old, in small steps, each owner its own."""

from __future__ import annotations

from sqlalchemy import and_, delete, exists, func, or_, select, update

from cloudsched.model.wishes import LASTING
from cloudsched.store import jobs, journal, tables, vm_failures
from cloudsched.store.connect import Writing

_STEP = 500
_TOMBSTONES = 50_000


def prune_operations(writing: Writing, now: int, days: int) -> None:
    """Admin: forget some old operations whose wishes are all settled and no longer in force, and the journal's oldest.

    The newest wish and its operation stay, so that no number is given twice: an outcome or an order to the batch
    system may still carry it.
    """
    before = now - days * 86400
    journal.ADMIN.prune(writing, before)
    table, wishes, outcomes = tables.operations, tables.wishes, tables.outcomes
    unsettled = ~exists().where(outcomes.c.wish == wishes.c.id)
    in_force = and_(wishes.c.aspect.in_(sorted(LASTING)), wishes.c.superseded_by.is_(None))
    busy = exists().where(wishes.c.operation == table.c.id, or_(unsettled, in_force))
    newest = select(func.max(wishes.c.operation)).scalar_subquery()
    old = select(table.c.id).where(table.c.made_at < before, table.c.id < newest, ~busy).limit(_STEP)
    found = list(writing.connection.execute(old).scalars())
    if found:
        writing.connection.execute(delete(wishes).where(wishes.c.operation.in_(found)))
        writing.connection.execute(delete(table).where(table.c.id.in_(found)))
        writing.touch("wishes")


def prune_engine(writing: Writing, now: int, days: int) -> list[str]:
    """Engine: forget some old finished jobs, failed VMs, acts, orphaned outcomes, unused shapes, surplus tombstones.

    Returns the ids of the jobs forgotten, so that the batch's own queue can forget them too.
    """
    outcomes, wishes = tables.outcomes, tables.wishes
    orphans = select(outcomes.c.wish).where(~exists().where(wishes.c.id == outcomes.c.wish)).limit(_STEP)
    found = list(writing.connection.execute(orphans).scalars())
    if found:
        writing.connection.execute(delete(outcomes).where(outcomes.c.wish.in_(found)))
    vm_failures.prune_failures(writing, now - days * 86400)
    journal.ENGINE.prune(writing, now - days * 86400)
    gone = jobs.prune_finished(writing, now - days * 86400, _STEP)
    jobs.prune_shapes(writing)
    _prune_tombstones(writing)
    return gone


def _prune_tombstones(writing: Writing) -> None:
    """Keep the newest tombstones; readers older than the oldest kept must reload (`oldest`)."""
    table = tables.tombstones
    count = writing.connection.execute(select(func.count()).select_from(table)).scalar_one()
    if count <= _TOMBSTONES:
        return
    revisions = select(table.c.revision).order_by(table.c.revision)
    cut = writing.connection.execute(revisions.offset(count - _TOMBSTONES // 2).limit(1)).scalar_one()
    writing.connection.execute(delete(table).where(table.c.revision <= cut))
    writing.connection.execute(update(tables.state).values(oldest=cut))


def forget_everything(writing: Writing) -> None:
    """Delete every row but the state row and the queue's counters (loading a state); all readers reload."""
    kept = (tables.state, tables.queue_counters)
    for table in tables.metadata.sorted_tables:
        if table not in kept:
            writing.connection.execute(delete(table))
    writing.connection.execute(update(tables.state).values(oldest=writing.index))
    writing.touch(*tables.TOPICS)
