"""Clouds: the engine records them from the configuration and keeps their effective state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, bindparam, select

from cloudsched.errors import NotFound
from cloudsched.model.clouds import Cloud
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing
from cloudsched.store.following import Followed, Following
from cloudsched.store.prepared import Prepared

EFFECTIVE = (
    "enabled",
    "vm_slots",
    "connection_problem",
    "errorconnect",
    "failed_images",
    "stale",
    "last_error",
    "trouble",
)
"""Columns that live in the state: a re-read of the file does not reset them (except `vm_slots`, see the engine)."""

_COLUMNS, _build = rows.reader(Cloud, tables.clouds)
_FOUND = Prepared(select(*_COLUMNS).where(tables.clouds.c.name == bindparam("named")))


def all_clouds(connection: Connection) -> list[Cloud]:
    """Every cloud in the file's order, removed ones last."""
    table = tables.clouds
    found = connection.execute(select(table).order_by(table.c.removed, table.c.position, table.c.name)).mappings()
    return [rows.from_row(Cloud, row) for row in found]


def following() -> Following[Cloud]:
    """`all_clouds` for a reader that looks again and again."""
    order: Callable[[Cloud], tuple[bool, int, str]] = attrgetter("removed", "position", "name")
    return Following(Followed(tables.clouds, "clouds", _COLUMNS, _build, attrgetter("name"), order))


def find(connection: Connection, name: str) -> Cloud:
    """The cloud called `name` in any case (PARITY B-09). Raises NotFound."""
    for row in _FOUND.rows(connection, named=name.lower()):
        found: Cloud = _build(row)
        return found
    raise NotFound("cloud", name)


def record_clouds(writing: Writing, clouds: Sequence[Cloud]) -> None:
    """Make these all the clouds there are."""
    rows.replace(writing, tables.clouds, [rows.to_row(cloud) for cloud in clouds], topic="clouds")


def record_fields(writing: Writing, name: str, fields: Mapping[str, Any]) -> None:
    """Change some columns of one cloud; a cloud that is not there is left alone."""
    rows.save_existing(writing, tables.clouds, [{"name": name, **fields}], topic="clouds")
