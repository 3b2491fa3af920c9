"""What wishes would do to VMs and running jobs, as the state is in their transaction (docs/operations.md)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, select

from cloudsched.model.jobs import JobStatus
from cloudsched.model.previews import Fate, Foreseen, Preview, RunningJob, StruckVM
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect
from cloudsched.store import rows, tables
from cloudsched.store.connect import state_row
from cloudsched.store.jobs import to_shape

FATES: Mapping[Aspect, Fate] = {
    Aspect.SHUTDOWN: Fate.ENDED,
    Aspect.RETIRE: Fate.DRAINED,
    Aspect.RELEASED: Fate.FORGOTTEN,
    Aspect.RESET: Fate.KEPT,
}
"""What becomes of the VM that is the target of a wish."""

_ENDING = frozenset({Aspect.HOLD, Aspect.REMOVE})


class Want(Protocol):
    """What is asked of one target, as far as it is needed here (store/wishes.py)."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def aspect(self) -> Aspect: ...
    @property
    def label(self) -> str: ...
    @property
    def before(self) -> Mapping[str, Any]: ...
    @property
    def after(self) -> Mapping[str, Any]: ...
    @property
    def problem(self) -> str: ...
    @property
    def drains(self) -> Sequence[str]: ...


def foresee(connection: Connection, verb: str, wants: Sequence[Want], now: int) -> Preview:
    """What these wants would do, and what it would cost by now (Unix seconds)."""
    fates = _fates(wants)
    vms = [_struck(vm, fates[vm.uid]) for vm in _vms(connection, list(fates))]
    ended = {each.name for each in wants if each.kind == "job" and each.aspect in _ENDING}
    return Preview(
        verb,
        state_row(connection).index,
        tuple(Foreseen(e.kind, e.name, e.label, e.aspect.value, e.before, e.after, e.problem) for e in wants),
        tuple(vms),
        tuple(_running(connection, fates, ended, now)),
    )


def _fates(wants: Iterable[Want]) -> dict[str, Fate]:
    """By the uid of each VM that is hit; a VM that is hit twice ends by the harder fate."""
    found: dict[str, Fate] = {}
    for want in wants:
        found |= dict.fromkeys((uid for uid in want.drains if uid not in found), Fate.DRAINED)
        if want.kind == "vm" and not want.problem:
            found[want.name] = Fate.KEPT if want.after.get("released") is False else FATES[want.aspect]
    return found


def _struck(vm: VM, fate: Fate) -> StruckVM:
    return StruckVM(vm.uid, vm.id, vm.cloud, vm.user, vm.shown_status, fate)


def _vms(connection: Connection, uids: Sequence[str]) -> list[VM]:
    table = tables.vms
    found: list[VM] = []
    for part in rows.chunks(uids):
        query = select(table).where(table.c.uid.in_(part))
        found += [rows.from_row(VM, row) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda vm: (vm.cloud, vm.position, vm.uid))


def _running(connection: Connection, fates: Mapping[str, Fate], ended: Collection[str], now: int) -> list[RunningJob]:
    """The jobs that run on these VMs, and those of `ended` that run anywhere, in order of submission."""
    if not fates and not ended:
        return []
    hosts, seen = _slots(connection, list(fates))
    found = []
    for row in connection.execute(_RUNNING):
        vm = hosts.get(row.remote_host) or seen.get(row.id, "")
        if vm or row.id in ended:
            found.append(_job(row, vm, now, lost=row.id in ended or fates[vm] is Fate.ENDED))
    return found


def _slots(connection: Connection, uids: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The VM's uid by each of its slots, and by the job that the batch system saw in one: its two polls may differ."""
    table = tables.machines
    hosts: dict[str, str] = {}
    seen: dict[str, str] = {}
    for part in rows.chunks(uids):
        query = select(table.c.name, table.c.vm, table.c.global_job_id).where(table.c.vm.in_(part))
        for row in connection.execute(query):
            hosts[row.name] = row.vm
            if row.global_job_id:
                seen[row.global_job_id] = row.vm
    return hosts, seen


_RUNNING = (
    select(tables.jobs, tables.shapes.c.shape.label("shape_values"))
    .join(tables.shapes, tables.shapes.c.key == tables.jobs.c.shape)
    .where(tables.jobs.c.job_status == JobStatus.RUNNING)
    .order_by(tables.jobs.c.cluster_id, tables.jobs.c.proc_id, tables.jobs.c.id)
)


def _job(row: Any, vm: str, now: int, *, lost: bool) -> RunningJob:
    shape = to_shape(row.shape_values)
    seconds = max(now - row.jobstarttime, 0) if row.jobstarttime else 0
    number = f"{row.cluster_id}.{row.proc_id}"
    return RunningJob(row.id, number, shape.user, vm, max(shape.req_cpucores, 1), seconds, lost)
