"""Whose journal is asked for: one cloud's, VM's, user's or job's, also of those that are gone but not forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select

from cloudsched.errors import NotFound
from cloudsched.store import clouds, jobs, vms
from cloudsched.store.journal import CHAINS

Subject = Callable[[Connection], Mapping[str, Any]]
"""What a journal is narrowed to, as fields of a Filter. Raises NotFound for what nothing is known of."""


def everything(_connection: Connection) -> Mapping[str, Any]:
    """The whole journal."""
    return {}


def cloud(name: str) -> Subject:
    """Everything about a cloud and its VMs; the name in any case."""

    def find(connection: Connection) -> Mapping[str, Any]:
        known = name.lower()
        if not _recorded(connection, lambda table: table.c.cloud == known):
            clouds.find(connection, name)
        return {"cloud": known}

    return find


def vm(cloud_name: str, vm_id: str) -> Subject:
    """Everything about a VM, by its uid or its cloud's id for it."""

    def find(connection: Connection) -> Mapping[str, Any]:
        known = cloud_name.lower()

        def same(table: Table) -> ColumnElement[bool]:
            named = or_(table.c.name == vm_id, table.c.label == vm_id)
            return and_(table.c.noun == "vm", table.c.cloud == known, named)

        uid = _recorded(connection, same)
        return {"noun": "vm", "cloud": known, "name": uid or vms.find(connection, known, vm_id).uid}

    return find


def user(name: str) -> Subject:
    """Everything about a user's VMs, jobs and proxies."""

    def find(connection: Connection) -> Mapping[str, Any]:
        if not _recorded(connection, lambda table: table.c.user == name) and name not in jobs.users(connection):
            raise NotFound("user", name)
        return {"user": name}

    return find


def job(ref: str) -> Subject:
    """Everything about a job, by its id or as CLUSTER.PROC."""

    def find(connection: Connection) -> Mapping[str, Any]:
        def same(table: Table) -> ColumnElement[bool]:
            return and_(table.c.noun == "job", or_(table.c.name == ref, table.c.label == ref))

        return {"noun": "job", "name": _recorded(connection, same) or jobs.find(connection, ref).id}

    return find


def _recorded(connection: Connection, same: Callable[[Table], ColumnElement[bool]]) -> str:
    """The name in the latest entry that fits, empty for none."""
    for chain in reversed(CHAINS):
        table = chain.entries
        found = connection.execute(
            select(table.c.name).where(same(table)).order_by(table.c.id.desc()).limit(1)
        ).scalar()
        if found:
            return str(found)
    return ""
