"""The embedded batch's durable queue (model.adapters.JobQueue) in the engine's own tables.

What must survive is written: jobs, who holds them, results, answers to orders. Until when a lease lasts is not: the
engine is the only one to extend it, and re-arms every lease after a gap in which no worker could renew, its own
restart included.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from cloudsched.model.adapters import Lease, QueuedJob
from cloudsched.model.jobs import PROXY_FIELDS, Job, JobStatus
from cloudsched.model.vms import VM
from cloudsched.store import jobs, tables
from cloudsched.store.connect import Store, Writing
from cloudsched.store.rows import chunks, next_ids

_TABLE = tables.queue_jobs
_FINISHED = (JobStatus.COMPLETE, JobStatus.REMOVED)
_KEPT_CHANGES = 100_000
_KEPT_ORDER_SECONDS = 30 * 86400
_GOALS = {"hold": JobStatus.HELD, "release": JobStatus.IDLE, "remove": JobStatus.REMOVED}
_REFUSALS = {
    ("hold", JobStatus.HELD): "is held already",
    ("release", JobStatus.IDLE): "is not held",
    ("release", JobStatus.RUNNING): "is not held",
}


class SQLQueue:
    """JobQueue over the store; the promises are the Protocol's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, token: str, cluster: Sequence[QueuedJob], now: int) -> tuple[int, int]:
        with self._store.writing() as writing:
            answered = _answer(writing.connection, token)
            if answered is not None:
                return int(answered["cluster"]), int(answered["jobs"])
            number = _count(writing, "cluster")
            change = _count(writing, "change")
            _record_shapes(writing, cluster)
            (seq,) = next_ids(writing, _TABLE)
            found = [
                {"seq": seq + proc, **_new_row(queued, number, proc, change, now)}
                for proc, queued in enumerate(cluster)
            ]
            if found:
                writing.connection.execute(insert(_TABLE), found)
            _remember(writing, token, {"cluster": number, "jobs": len(found)}, now)
            return number, len(found)

    def changes(self, since: int) -> tuple[int, list[Job], list[str]]:
        with self._store.reading() as connection:
            cursor = connection.execute(select(tables.queue_counters.c.change)).scalar_one()
            found = _read(connection, _TABLE.c.change > since if since else _TABLE.c.seq > 0)
            stones = tables.queue_gone
            gone = select(stones.c.id).where(stones.c.change > since) if since else None
            ids = [] if gone is None else list(connection.execute(gone).scalars())
        return int(cursor), [queued.job for queued, _ in found], ids

    def leases(self) -> list[Lease]:
        with self._store.reading() as connection:
            found = _read(connection, _TABLE.c.vm.is_not(None))
        return [self._lease(queued, row) for queued, row in found]

    def lease(self, vm: VM, slot: int, now: float, seconds: float) -> Lease | None:
        with self._store.writing() as writing:
            held = _read(writing.connection, _TABLE.c.vm == vm.uid)
            mine = next(((queued, row) for queued, row in held if row.slot == slot), None)
            if mine is None:
                chosen = _best(writing.connection, vm, [queued.spec for queued, _ in held])
                if chosen is None:
                    return None
                values = {
                    "vm": vm.uid,
                    "slot": slot,
                    "attempt": _TABLE.c.attempt + 1,
                    "job_status": JobStatus.RUNNING,
                    "started_at": int(now),
                    "change": _count(writing, "change"),
                }
                writing.connection.execute(update(_TABLE).where(_TABLE.c.seq == chosen).values(values))
                (mine,) = _read(writing.connection, _TABLE.c.seq == chosen)
        with self._lock:
            self._until[mine[1].id] = now + seconds
        return self._lease(*mine)

    def renew(self, vm: str, jobs: Sequence[tuple[str, int]], now: float, seconds: float) -> list[str]:
        query = select(_TABLE.c.id, _TABLE.c.attempt).where(_TABLE.c.vm == vm)
        with self._lock:
            with self._store.reading() as connection:
                mine = {(row.id, row.attempt) for row in connection.execute(query)}
            kept = [job_id for job_id, attempt in jobs if (job_id, attempt) in mine]
            self._until.update(dict.fromkeys(kept, now + seconds))
        return [job_id for job_id, _ in jobs if job_id not in kept]

    def finish(self, vm: str, job_id: str, attempt: int, result: dict[str, Any], now: int) -> bool:
        with self._store.writing() as writing:
            row = writing.connection.execute(select(_TABLE).where(_TABLE.c.id == job_id)).first()
            if row is None or row.attempt != attempt:
                return False
            if row.vm is None:
                # A job held by its own result keeps its start; one held by a verb was taken from the VM.
                own_hold = row.job_status == JobStatus.HELD and row.started_at is not None
                return own_hold or row.job_status == JobStatus.COMPLETE
            if row.vm != vm:
                return False
            held = bool(result.get("hold"))
            values = {
                **_RELEASED,
                "job_status": JobStatus.HELD if held else JobStatus.COMPLETE,
                "hold_reason": str(result.get("reason", "")) if held else "",
                "exit_code": result.get("exit_code"),
                "finished_at": None if held else now,
                "change": _count(writing, "change"),
            }
            writing.connection.execute(update(_TABLE).where(_TABLE.c.seq == row.seq).values(values))
        self._forget([job_id])
        return True

    def expire(self, now: float) -> list[str]:
        # All under the lock: no renewal may be granted for a lease that is being taken away.
        with self._lock:
            late = [job_id for job_id, until in self._until.items() if until < now]
            lost = self._requeue(_TABLE.c.id.in_(late)) if late else []
            for job_id in late:
                del self._until[job_id]
        return lost

    def give_back(self, vms: Sequence[str], now: float) -> list[str]:
        lost = self._requeue(_TABLE.c.vm.in_(list(vms)))
        self._forget(lost)
        return lost

    def rearm(self, now: float, seconds: float) -> None:
        query = select(_TABLE.c.id).where(_TABLE.c.vm.is_not(None))
        with self._lock, self._store.reading() as connection:
            self._until = dict.fromkeys(connection.execute(query).scalars(), now + seconds)

    def set_status(self, token: str, action: str, jobs: Sequence[str], reason: str, now: int) -> str:
        with self._store.writing() as writing:
            answered = _answer(writing.connection, token)
            if answered is not None:
                return str(answered["error"])
            found = _named(writing.connection, jobs)
            error = _refusal(action, jobs, found)
            if not error:
                values = _status_values(action, reason, now) | {"change": _count(writing, "change")}
                for part in chunks(jobs):
                    writing.connection.execute(update(_TABLE).where(_TABLE.c.id.in_(part)).values(values))
            _remember(writing, token, {"error": error}, now)
        if not error:
            self._forget(jobs)
        return error

    def forget(self, job_ids: Sequence[str]) -> None:
        """Delete finished jobs that the engine's retention has let go, and old answers to orders."""
        with self._store.writing() as writing:
            for part in chunks(job_ids):
                _delete_finished(writing, part)
            _prune(writing)
            used = select(_TABLE.c.shape)
            shapes = tables.queue_shapes
            writing.connection.execute(delete(shapes).where(shapes.c.key.not_in(used)))

    def _requeue(self, which: ColumnElement[bool]) -> list[str]:
        """Make leased jobs idle again; returns their ids."""
        with self._store.writing() as writing:
            found = select(_TABLE.c.id).where(which, _TABLE.c.vm.is_not(None))
            ids = list(writing.connection.execute(found).scalars())
            if ids:
                change = _count(writing, "change")
                values = {**_RELEASED, "job_status": JobStatus.IDLE, "started_at": None, "change": change}
                for part in chunks(ids):
                    writing.connection.execute(update(_TABLE).where(_TABLE.c.id.in_(part)).values(values))
        return ids

    def _lease(self, queued: QueuedJob, row: Row[Any]) -> Lease:
        with self._lock:
            until = self._until.get(row.id, float("inf"))
        return Lease(queued, row.vm, row.slot, row.attempt, until)

    def _forget(self, job_ids: Sequence[str]) -> None:
        with self._lock:
            for job_id in job_ids:
                self._until.pop(job_id, None)


_RELEASED: dict[str, Any] = {"vm": None, "slot": None}


def _count(writing: Writing, name: str) -> int:
    """The next number of a counter."""
    column = tables.queue_counters.c[name]
    writing.connection.execute(update(tables.queue_counters).values({name: column + 1}))
    return int(writing.connection.execute(select(column)).scalar_one())


def _answer(connection: Connection, token: str) -> Mapping[str, Any] | None:
    table = tables.queue_orders
    found: Mapping[str, Any] | None = connection.execute(select(table.c.answer).where(table.c.token == token)).scalar()
    return found


def _remember(writing: Writing, token: str, answer: Mapping[str, Any], now: int) -> None:
    values = {"token": token, "answer": dict(answer), "made_at": now}
    writing.connection.execute(insert(tables.queue_orders).values(values))


def _record_shapes(writing: Writing, cluster: Sequence[QueuedJob]) -> None:
    wanted = {queued.job.shape.key: queued.job.shape for queued in cluster}
    table = tables.queue_shapes
    there = select(table.c.key).where(table.c.key.in_(list(wanted)))
    new = wanted.keys() - set(writing.connection.execute(there).scalars())
    if new:
        values = [{"key": key, "shape": asdict(wanted[key])} for key in sorted(new)]
        writing.connection.execute(insert(table), values)


def _new_row(queued: QueuedJob, cluster: int, proc: int, change: int, now: int) -> dict[str, Any]:
    held = queued.job.job_status == JobStatus.HELD
    return {
        "id": f"{socket.gethostname()}#{cluster}.{proc}#{now}",
        "cluster_id": cluster,
        "proc_id": proc,
        "shape": queued.job.shape.key,
        "priority": queued.job.priority,
        "job_status": JobStatus.HELD if held else JobStatus.IDLE,
        "spec": _substituted(queued.spec, {"$(Cluster)": str(cluster), "$(ClusterId)": str(cluster)}),
        "proxy": {name: value for name in PROXY_FIELDS if (value := getattr(queued.job, name)) is not None},
        "hold_reason": queued.job.hold_reason,
        "submitted_at": now,
        "attempt": 0,
        "change": change,
    }


def _named(connection: Connection, jobs: Sequence[str]) -> list[Row[Any]]:
    """The jobs of these ids, in the order of their submission."""
    found: list[Row[Any]] = []
    for part in chunks(jobs):
        found += connection.execute(select(_TABLE).where(_TABLE.c.id.in_(part)))
    return sorted(found, key=lambda row: row.seq)


def _delete_finished(writing: Writing, job_ids: Sequence[str]) -> None:
    found = select(_TABLE.c.id).where(_TABLE.c.id.in_(job_ids), _TABLE.c.job_status.in_(_FINISHED))
    gone = list(writing.connection.execute(found).scalars())
    if gone:
        change = _count(writing, "change")
        writing.connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(gone)))
        writing.connection.execute(insert(tables.queue_gone), [{"id": job_id, "change": change} for job_id in gone])


def _prune(writing: Writing) -> None:
    """Forget departures that the one reader has seen long ago, and answers far older than the newest."""
    gone, orders, counters = tables.queue_gone, tables.queue_orders, tables.queue_counters
    last = select(counters.c.change).scalar_subquery()
    writing.connection.execute(delete(gone).where(gone.c.change < last - _KEPT_CHANGES))
    newest = select(func.max(orders.c.made_at)).scalar_subquery()
    writing.connection.execute(delete(orders).where(orders.c.made_at < newest - _KEPT_ORDER_SECONDS))


def _substituted(value: Any, macros: Mapping[str, str]) -> Any:
    """The value with the macros that only the queue can fill in replaced in every string."""
    if isinstance(value, str):
        for macro, text in macros.items():
            value = value.replace(macro, text)
        return value
    if isinstance(value, list):
        return [_substituted(each, macros) for each in value]
    if isinstance(value, Mapping):
        return {key: _substituted(each, macros) for key, each in value.items()}
    return value


def _read(connection: Connection, where: Any) -> list[tuple[QueuedJob, Row[Any]]]:
    shapes = tables.queue_shapes
    query = select(_TABLE, shapes.c.shape.label("values")).join_from(_TABLE, shapes, _TABLE.c.shape == shapes.c.key)
    return [
        (QueuedJob(_job(row), row.spec), row) for row in connection.execute(query.where(where).order_by(_TABLE.c.seq))
    ]


def _job(row: Any) -> Job:
    return Job(
        id=row.id,
        shape=jobs.to_shape(row._mapping["values"]),
        cluster_id=row.cluster_id,
        proc_id=row.proc_id,
        priority=row.priority,
        job_status=row.job_status,
        remote_host=f"slot{row.slot}@{row.vm}" if row.vm else None,
        servertime=row.started_at or row.submitted_at,
        jobstarttime=row.started_at or 0,
        spool_dir=row.spec.get("initialdir"),
        hold_reason=row.hold_reason,
        exit_code=row.exit_code,
        submitted_at=row.submitted_at,
        finished_at=row.finished_at,
        **row.proxy,
    )


def _best(connection: Connection, vm: VM, running: Sequence[Mapping[str, Any]]) -> int | None:
    """The best idle job that fits what the running ones leave of the VM: highest priority, then oldest."""
    cpus = vm.cpucores - sum(int(spec.get("request_cpus", 1)) for spec in running)
    memory = vm.memory - sum(int(spec.get("request_memory_mb", 0)) for spec in running)
    query = (
        select(_TABLE.c.seq, _TABLE.c.spec)
        .where(_TABLE.c.job_status == JobStatus.IDLE, _TABLE.c.shape.in_(_shapes_for(connection, vm)))
        .order_by(_TABLE.c.priority.desc(), _TABLE.c.seq)
    )
    with connection.execute(query.execution_options(yield_per=100)) as found:
        for seq, spec in found:
            if int(spec.get("request_cpus", 1)) <= cpus and int(spec.get("request_memory_mb", 0)) <= memory:
                return int(seq)
    return None


def _shapes_for(connection: Connection, vm: VM) -> list[str]:
    """Keys of the shapes whose jobs belong to this VM's user and type."""
    found = connection.execute(select(tables.queue_shapes.c.key, tables.queue_shapes.c.shape))
    return [key for key, shape in found if shape["user"] == vm.user and shape["req_vmtype"] == vm.vmtype]


def _refusal(action: str, wanted: Sequence[str], found: Sequence[Row[Any]]) -> str:
    missing = sorted(set(wanted) - {row.id for row in found})
    if missing:
        return f"There is no job {missing[0]!r} in the queue."
    for row in found:
        if row.job_status in _FINISHED:
            return f"Job {row.cluster_id}.{row.proc_id} has ended already."
        words = _REFUSALS.get((action, JobStatus(row.job_status)))
        if words:
            return f"Job {row.cluster_id}.{row.proc_id} {words}."
    return ""


def _status_values(action: str, reason: str, now: int) -> dict[str, Any]:
    """What a verb makes of a job. Its worker learns at the next renewal that the job is no longer its own."""
    goal = _GOALS[action]
    finished = now if goal is JobStatus.REMOVED else None
    why = "" if goal is JobStatus.IDLE else reason
    return {**_RELEASED, "job_status": goal, "hold_reason": why, "finished_at": finished, "started_at": None}
