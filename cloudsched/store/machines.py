"""Batch machines as last seen, in the batch system's own words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, select

from cloudsched.model.jobs import Machine
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing
from cloudsched.store.following import Followed, Following

Slots = Mapping[str, tuple[tuple[Any, ...], int]]
"""Of each slot, by name, all it tells but its clock, and its clock when it was first seen."""

_TELLING = [name for name in Machine.__dataclass_fields__ if name != "current_time"]
telling: Callable[[Machine], tuple[Any, ...]] = attrgetter(*_TELLING)
"""What a report tells of a slot but for its clock, to hold the next one against."""


def all_machines(connection: Connection) -> list[Machine]:
    """Every slot that has joined, by name."""
    columns, build = rows.reader(Machine, tables.machines)
    return list(map(build, connection.execute(select(*columns).order_by(tables.machines.c.name))))


def following() -> Following[Machine]:
    """`all_machines` for a reader that looks again and again."""
    columns, build = rows.reader(Machine, tables.machines)
    name: Callable[[Machine], str] = attrgetter("name")
    return Following(Followed(tables.machines, "machines", columns, build, name, name))


def told(machines: Iterable[Machine]) -> Slots:
    """What slots tell, by name, to hold the next report against."""
    return {machine.name: (telling(machine), machine.current_time) for machine in machines}


def record_machines(writing: Writing, machines: Sequence[Machine], present: Slots | None = None) -> bool:
    """Make these all the machines there are, and tell whether they were others.

    A clock that moved alone (`current_time`) changes nothing. `present` is what is on record, for who knows it already.
    """
    before = told(all_machines(writing.connection)) if present is None else present
    found = []
    for machine in machines:
        known = before.get(machine.name)
        if known is None:
            found.append(rows.to_row(machine))
        elif known[0] != telling(machine):
            found.append({**rows.to_row(machine), "current_time": known[1]})
    gone = before.keys() - {machine.name for machine in machines}
    rows.remove(writing, tables.machines, sorted(gone), topic="machines")
    rows.save(writing, tables.machines, found, topic="machines")
    return bool(found or gone)
