"""What the state holds at one index, read again only where it changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Job, Machine, Shape
from cloudsched.model.metrics import Key
from cloudsched.model.vms import VM
from cloudsched.store import StateRow, Store, jobs, limits, operations, rows, state_row, tables
from cloudsched.store.tallies import to_key

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Explained:
    """A shape, and why its waiting jobs have no VM."""

    shape: Shape
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """A counter that only grows."""

    key: Key
    value: float


@dataclass(frozen=True, slots=True)
class Contents:
    """Rows by their keys, all of the index in `row`; a mapping that did not change stays the same object."""

    row: StateRow
    clouds: Mapping[str, Cloud] = field(default_factory=dict)
    vms: Mapping[str, VM] = field(default_factory=dict)
    shapes: Mapping[str, Explained] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    machines: Mapping[str, Machine] = field(default_factory=dict)
    user_limits: Mapping[str, int] = field(default_factory=dict)
    cloud_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    """`waiting` counts, by aspect, the wishes that have no outcome yet."""
    problems: Mapping[str, str] = field(default_factory=dict)


NOTHING = Contents(StateRow(*(0 for _ in fields(StateRow))))
"""What is known before the first reading."""


def read(store: Store, before: Contents) -> Contents:
    """The contents now, in one read transaction; of a topic that changed since `before` only the changed rows are read.

    Everything is read where tombstones that would be needed are gone, and where the index went back because another
    state was put in place. Raises StateUnavailable.
    """
    with store.reading() as connection:
        row = state_row(connection)
        if not row.oldest <= before.row.index <= row.index:
            before = NOTHING
        since = before.row.index

        def merged(name: str, old: Mapping[str, T], value: Callable[[Mapping[str, Any]], T]) -> Mapping[str, T]:
            topic = name if name in tables.TOPICS else "index"
            if getattr(row, topic) <= since:
                return old
            table = tables.metadata.tables[name]
            key = str(rows.key_column(table).key)
            found, gone = rows.changes(connection, table, topic, since)
            kept = dict(old)
            for each in gone:
                kept.pop(each, None)
            kept.update((each[key], value(dict(each))) for each in found)
            return kept

        shapes = merged("shapes", before.shapes, _explained)
        limits_changed = row.limits > since
        return Contents(
            row,
            clouds=merged("clouds", before.clouds, lambda each: rows.from_row(Cloud, each)),
            vms=merged("vms", before.vms, lambda each: rows.from_row(VM, each)),
            shapes=shapes,
            jobs=merged("jobs", before.jobs, lambda each: _job(each, shapes)),
            machines=merged("machines", before.machines, lambda each: rows.from_row(Machine, each)),
            user_limits=limits.read_user_limits(connection) if limits_changed else before.user_limits,
            cloud_aliases=limits.read_cloud_aliases(connection) if limits_changed else before.cloud_aliases,
            tallies=merged("tallies", before.tallies, lambda each: Tally(to_key(each["key"]), each["value"])),
            waiting=operations.waiting(connection) if row.verbs > since else before.waiting,
            problems=limits.read_settings(connection).get(limits.PROBLEMS, {}) if limits_changed else before.problems,
        )


def _explained(row: Mapping[str, Any]) -> Explained:
    return Explained(jobs.to_shape(row["shape"]), tuple(row["reasons"]))


def _job(row: Mapping[str, Any], shapes: Mapping[str, Explained]) -> Job:
    return rows.from_row(Job, {**row, "shape": shapes[row["shape"]].shape})
