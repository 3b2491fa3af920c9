"""Batch machines as last seen, in the batch system's own words."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from cloudsched.model.jobs import Machine
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing


def all_machines(connection: Connection) -> list[Machine]:
    """Every slot that has joined, by name."""
    found = connection.execute(select(tables.machines).order_by(tables.machines.c.name)).mappings()
    return [rows.from_row(Machine, row) for row in found]


def record_machines(writing: Writing, machines: Sequence[Machine]) -> None:
    """Make these all the machines there are; a clock that moved alone (`current_time`) changes nothing."""
    present = {machine.name: machine for machine in all_machines(writing.connection)}
    found = []
    for machine in machines:
        row = rows.to_row(machine)
        if machine.name in present:
            row["current_time"] = present[machine.name].current_time
        found.append(row)
    rows.replace(writing, tables.machines, found, topic="machines")
