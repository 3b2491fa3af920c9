"""VMs: recorded by the engine when requested, followed through listings, removed when gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select

from cloudsched.errors import NotFound
from cloudsched.model.vms import VM
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing
from cloudsched.store.following import Followed, Following

_CHANGED = select(*rows.reader(VM, tables.vms)[0]).where(tables.vms.c.revision > bindparam("since"))
_OLDEST_FIRST = (tables.vms.c.retired, tables.vms.c.position, tables.vms.c.uid)


def all_vms(connection: Connection) -> list[VM]:
    """Every VM, released ones too, in creation order."""
    columns, build = rows.reader(VM, tables.vms)
    found = connection.execute(select(*columns).order_by(tables.vms.c.position, tables.vms.c.uid))
    return list(map(build, found))


def following() -> Following[VM]:
    """`all_vms` for a reader that looks again and again."""
    columns, build = rows.reader(VM, tables.vms)
    order: Callable[[VM], tuple[int, str]] = attrgetter("position", "uid")
    return Following(Followed(tables.vms, "vms", columns, build, attrgetter("uid"), order))


def changed(connection: Connection, since: int) -> tuple[list[VM], list[str]]:
    """The VMs that changed after an index, and the uids of those that went; since 0 all VMs and no uids."""
    _, build = rows.reader(VM, tables.vms)
    return list(map(build, connection.execute(_CHANGED, {"since": since}))), rows.gone(
        connection, "vms", since
    ) if since else []


def recorded(connection: Connection, cloud: str) -> list[VM]:
    """Every VM of one cloud, released ones too, in creation order."""
    columns, build = rows.reader(VM, tables.vms)
    table = tables.vms
    query = select(*columns).where(table.c.cloud == cloud).order_by(table.c.position, table.c.uid)
    return list(map(build, connection.execute(query)))


def of_cloud(connection: Connection, cloud: str) -> list[VM]:
    """The VMs of one cloud that are ours to steer: active ones first, oldest first within each."""
    table = tables.vms
    found = select(table).where(table.c.cloud == cloud, table.c.released.is_(False)).order_by(*_OLDEST_FIRST)
    return [rows.from_row(VM, row) for row in connection.execute(found).mappings()]


def by_uid(connection: Connection, uid: str) -> VM | None:
    """The VM with this uid, released or not."""
    found = connection.execute(select(tables.vms).where(tables.vms.c.uid == uid)).mappings().first()
    return None if found is None else rows.from_row(VM, found)


def find(connection: Connection, cloud: str, vm_id: str) -> VM:
    """A VM of a cloud by id, spot id or uid, active copies first. Raises NotFound."""
    table = tables.vms
    named = or_(table.c.id == vm_id, table.c.spot_id == vm_id, table.c.uid == vm_id)
    query = select(table).where(table.c.cloud == cloud, table.c.released.is_(False), named).order_by(*_OLDEST_FIRST)
    found = connection.execute(query).mappings().first() if vm_id else None
    if found is None:
        raise NotFound("vm", vm_id)
    return rows.from_row(VM, found)


def users_of(connection: Connection, cloud: str, vm_id: str) -> set[str]:
    """Whose the VMs of a cloud are that `vm_id` may mean (see `find`), released ones among them."""
    table = tables.vms
    named = or_(table.c.id == vm_id, table.c.spot_id == vm_id, table.c.uid == vm_id)
    return set(connection.execute(select(table.c.user).where(table.c.cloud == cloud, named)).scalars())


def held(connection: Connection, cloud: str) -> int:
    """How many VMs count in a cloud's allowance, released ones among them; drained ones do not."""
    counted = select(func.count()).where(tables.vms.c.cloud == cloud, tables.vms.c.retired.is_(False))
    return int(connection.execute(counted).scalar_one())


def clouds_with_vms(connection: Connection) -> set[str]:
    """The clouds that VMs are recorded on, released ones too."""
    return set(connection.execute(select(tables.vms.c.cloud).distinct()).scalars())


def next_position(connection: Connection) -> int:
    """The position of the next VM to be recorded."""
    last: int | None = connection.execute(select(func.max(tables.vms.c.position))).scalar_one()
    return (last or 0) + 1


def record_vms(writing: Writing, vms: Sequence[VM]) -> None:
    """Insert VMs or update them whole."""
    rows.save(writing, tables.vms, [rows.to_row(vm) for vm in vms], topic="vms")


def record_changed(writing: Writing, changes: Iterable[tuple[VM, VM]]) -> None:
    """Update VMs that are on record just as the first of each two to what the second is."""
    found = (rows.difference(VM, before, after, "uid") for before, after in changes)
    # A VM that differs in its key alone is as it was.
    rows.save_changed(writing, tables.vms, [row for row in found if len(row) > 1], topic="vms")


def record_fields(writing: Writing, changes: Sequence[Mapping[str, Any]]) -> None:
    """Change some columns of VMs, each given as {"uid": ..., column: value}; unknown uids are left alone."""
    rows.save_existing(writing, tables.vms, [dict(change) for change in changes], topic="vms")


def forget(writing: Writing, uids: Sequence[str]) -> None:
    """Delete the records of VMs that are gone."""
    rows.remove(writing, tables.vms, uids, topic="vms")


def departed(connection: Connection, cloud: str, since: int) -> set[str]:
    """Uids of VMs of a cloud that were destroyed after `since`: a listing may still show them."""
    table = tables.departed
    found = select(table.c.uid).where(table.c.cloud == cloud, table.c.departed_at >= since)
    return set(connection.execute(found).scalars())


def record_departed(writing: Writing, vms: Sequence[VM], now: int, keep_seconds: int) -> None:
    """Delete the records of destroyed VMs and remember their names for a while."""
    table = tables.departed
    writing.connection.execute(delete(table).where(table.c.departed_at < now - keep_seconds))
    uids = [vm.uid for vm in vms]
    writing.connection.execute(delete(table).where(table.c.uid.in_(uids)))
    if vms:
        values = [{"uid": vm.uid, "cloud": vm.cloud, "departed_at": now} for vm in vms]
        writing.connection.execute(insert(table), values)
    forget(writing, uids)
