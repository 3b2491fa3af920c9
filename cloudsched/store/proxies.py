"""Who carries X.509 proxies, and when they end."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Select, select

from cloudsched.model.jobs import JobStatus
from cloudsched.model.proxies import Proxy
from cloudsched.store import jobs, rows, tables
from cloudsched.store.connect import Writing

_JOB = tables.jobs.c
_UNFINISHED = (JobStatus.NEW, JobStatus.IDLE, JobStatus.RUNNING, JobStatus.HELD)


def of_jobs(connection: Connection) -> list[Proxy]:
    """The proxies of unfinished jobs, each file with all the jobs that use it."""
    shapes = jobs.all_shapes(connection)
    found = connection.execute(_carried().where(_JOB.job_status.in_(_UNFINISHED)))
    return _joined(_proxy(row._asdict(), shapes[row.shape].user) for row in found)


def of_vms(connection: Connection) -> list[Proxy]:
    """The proxies that VMs keep."""
    table = tables.vms
    found = connection.execute(select(table).where(table.c.proxy_file.is_not(None))).mappings()
    return [
        Proxy(
            row["proxy_file"],
            row["user"],
            {row["uid"]: row["x509userproxy_expiry_time"]},
            row["myproxy_server"],
            row["myproxy_server_port"],
            row["myproxy_creds_name"],
            row["myproxy_renew_time"],
        )
        for row in found
    ]


def first_of_shape(connection: Connection, shape: str) -> Proxy | None:
    """The proxy of the first waiting or running job of a shape, None where none carries one."""
    query = (
        _carried()
        .where(_JOB.shape == shape, _JOB.job_status.in_((JobStatus.NEW, JobStatus.IDLE, JobStatus.RUNNING)))
        .order_by(_JOB.job_status, _JOB.cluster_id, _JOB.proc_id)
        .limit(1)
    )
    row = connection.execute(query).first()
    known = jobs.all_shapes(connection)
    return None if row is None or shape not in known else _proxy(row._asdict(), known[shape].user)


def record_job_ends(writing: Writing, ends: Mapping[str, str | None]) -> None:
    """Record when the proxies of jobs end, by job id."""
    found = [{"id": key, "x509userproxy_expiry_time": end} for key, end in ends.items()]
    rows.save_existing(writing, tables.jobs, found, topic="jobs")


def record_vm_ends(writing: Writing, ends: Mapping[str, str | None]) -> None:
    """Record when the proxies of VMs end, by uid."""
    found = [{"uid": key, "x509userproxy_expiry_time": end} for key, end in ends.items()]
    rows.save_existing(writing, tables.vms, found, topic="vms")


def _carried() -> Select[Any]:
    columns = ("id", "shape", "spool_dir", "x509userproxy", "proxy_renew_time", "myproxy_server", "myproxy_server_port")
    more = ("myproxy_creds_name", "x509userproxy_expiry_time")
    return select(*(_JOB[name] for name in (*columns, *more))).where(_JOB.x509userproxy.is_not(None))


def _proxy(row: Mapping[str, Any], owner: str) -> Proxy:
    return Proxy(
        posixpath.join(row["spool_dir"] or "", row["x509userproxy"]),
        owner,
        {row["id"]: row["x509userproxy_expiry_time"]},
        row["myproxy_server"],
        row["myproxy_server_port"],
        row["myproxy_creds_name"],
        row["proxy_renew_time"],
    )


def _joined(found: Iterable[Proxy]) -> list[Proxy]:
    """Proxies that differ in their holders only, as one each."""
    holders: dict[tuple[Any, ...], dict[str, str | None]] = {}
    for each in found:
        key = (each.path, each.owner, each.server, each.port, each.name, each.hours)
        holders.setdefault(key, {}).update(each.holders)
    return [Proxy(path, owner, held, *rest) for (path, owner, *rest), held in holders.items()]
