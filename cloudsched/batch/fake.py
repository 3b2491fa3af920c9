"""A batch system in memory: for tests, demonstrations and `--simulate`.

It keeps the promises of BatchAdapter. Jobs and machines stay as seeded until a verb changes them or `step` lets time
pass: then VMs join, jobs run on them and end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from cloudsched.batch import submit
from cloudsched.batch.verbs import refusal
from cloudsched.config.options import JobDefaults
from cloudsched.errors import SubmitError
from cloudsched.model.jobs import Job, JobDelta, JobOrder, JobOutcome, JobStatus, Machine, RetireOutcome
from cloudsched.model.vms import VM

_GOALS = {"hold": JobStatus.HELD, "release": JobStatus.IDLE, "remove": JobStatus.REMOVED}
_BUSY, _FREE = ("Claimed", "Busy"), ("Unclaimed", "Idle")


@dataclass(slots=True)
class _Queue:
    """Jobs by id, and the ids that changed since they were last told."""

    jobs: dict[str, Job]
    changed: set[str] = field(default_factory=set)
    told: bool = False
    answers: dict[str, JobOutcome] = field(default_factory=dict)

    def put(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.changed.add(job.id)


class FakeBatch:
    """BatchAdapter in memory, seeded with jobs and machines; `run_seconds` is how long a job runs under `step`."""

    def __init__(
        self,
        jobs: Iterable[Job] = (),
        machines: Iterable[Machine] = (),
        *,
        run_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = _Queue({job.id: job for job in jobs})
        self._machines = {machine.name: machine for machine in machines}
        self._retiring: set[str] = set()
        self._run_seconds, self._clock = run_seconds, clock
        self._lock = threading.Lock()
        self.defaults = JobDefaults()

    def jobs(self) -> JobDelta:
        """Changes since the last call, everything at the first; removed and complete jobs are shown once more."""
        with self._lock:
            queue, now = self._queue, int(self._clock())
            complete, queue.told = not queue.told, True
            ids = list(queue.jobs) if complete else sorted(queue.changed)
            queue.changed.clear()
            return JobDelta(tuple(queue.jobs[job_id] for job_id in ids), (), complete, server_time=now)

    def reconnect(self) -> None:
        """Tell everything anew, as to a process that has just been started."""
        with self._lock:
            self._queue.told = False

    def machines(self) -> list[Machine]:
        """Every slot that has joined."""
        with self._lock:
            return list(self._machines.values())

    def retire(self, vms: Sequence[VM]) -> list[RetireOutcome]:
        """Free slots of the VMs vanish at once, busy ones when their job ends."""
        uids = {vm.uid for vm in vms}
        with self._lock:
            self._retiring |= uids
            self._machines = {
                name: replace(machine, retiring=machine.retiring or machine.vm in uids)
                for name, machine in self._machines.items()
                if machine.vm not in uids or machine.state == _BUSY[0]
            }
        return [RetireOutcome(vm.uid) for vm in vms]

    def act(self, orders: Sequence[JobOrder]) -> list[JobOutcome]:
        """Submit, hold, release or remove, by full id or `CLUSTER.PROC`."""
        with self._lock:
            for order in orders:
                if order.token not in self._queue.answers:
                    done = self._submit(order) if order.action == "submit" else self._set_status(order)
                    self._queue.answers[order.token] = done
            return [self._queue.answers[order.token] for order in orders]

    def lost(self, vms: Sequence[str]) -> None:
        """The machines of these VMs vanish, their jobs are idle again."""
        with self._lock:
            self._retiring.difference_update(vms)
            for machine in [machine for machine in self._machines.values() if machine.vm in vms]:
                del self._machines[machine.name]
                if machine.global_job_id in self._queue.jobs:
                    job = self._queue.jobs[machine.global_job_id]
                    self._queue.put(replace(job, job_status=JobStatus.IDLE, remote_host=None))

    def join(self, vm_uid: str, vmtype: str, user: str) -> dict[str, str]:
        """Nothing: VMs of a fake batch join by `step`."""
        return {}

    def step(self, vms: Iterable[VM]) -> None:
        """Let Running VMs join with one slot each, end jobs that have run long enough, start idle ones."""
        now = int(self._clock())
        with self._lock:
            for vm in vms:
                name = f"slot1@{vm.uid}"
                if vm.status == "Running" and vm.uid not in self._retiring and name not in self._machines:
                    self._machines[name] = _joined(vm, name, now)
            for machine in list(self._machines.values()):
                self._finish(machine, now)
            for machine in list(self._machines.values()):
                self._start(machine, now)

    def _finish(self, machine: Machine, now: int) -> None:
        job = self._queue.jobs.get(machine.global_job_id)
        if job is None or now - job.jobstarttime < self._run_seconds:
            return
        if job.job_status == JobStatus.RUNNING:
            self._queue.put(replace(job, job_status=JobStatus.COMPLETE, exit_code=0, finished_at=now))
        self._free(machine, now)

    def _free(self, machine: Machine, now: int) -> None:
        if machine.retiring:
            del self._machines[machine.name]
            return
        state, activity = _FREE
        free = replace(machine, state=state, activity=activity, job_id="", global_job_id="", remote_owner="")
        self._machines[machine.name] = replace(free, current_time=now, entered_state_time=now)

    def _start(self, machine: Machine, now: int) -> None:
        if machine.state == _BUSY[0] or machine.retiring:
            return
        waiting = (
            job
            for job in self._queue.jobs.values()
            if job.job_status == JobStatus.IDLE
            and job.shape.req_vmtype == machine.vmtype
            and machine.start_req in ("", _start_req(job.shape.user))
        )
        job = min(waiting, key=lambda job: (-job.priority, job.cluster_id, job.proc_id), default=None)
        if job is None:
            return
        self._queue.put(replace(job, job_status=JobStatus.RUNNING, jobstarttime=now, remote_host=machine.name))
        claimed = replace(machine, state=_BUSY[0], activity=_BUSY[1], remote_owner=job.shape.user)
        number = f"{job.cluster_id}.{job.proc_id}"
        self._machines[machine.name] = replace(
            claimed, job_id=number, global_job_id=job.id, current_time=now, entered_state_time=now
        )

    def _submit(self, order: JobOrder) -> JobOutcome:
        now = int(self._clock())
        payload = {name: str(order.payload.get(name, "")) for name in ("owner", "initialdir")}
        try:
            queued = submit.parse(str(order.payload.get("submit", "")), **payload, defaults=self.defaults, now=now)
        except SubmitError as ex:
            return JobOutcome(order.token, error=str(ex))
        cluster = max((job.cluster_id for job in self._queue.jobs.values()), default=0) + 1
        for each in queued:
            job_id = f"simulated#{cluster}.{each.job.proc_id}#{now}"
            self._queue.put(replace(each.job, id=job_id, cluster_id=cluster))
        return JobOutcome(order.token, cluster=cluster, jobs=len(queued))

    def _set_status(self, order: JobOrder) -> JobOutcome:
        numbers = {f"{job.cluster_id}.{job.proc_id}": job.id for job in self._queue.jobs.values()}
        ids = [numbers.get(name, name) for name in order.jobs]
        for name, job_id in zip(order.jobs, ids, strict=True):
            error = refusal(order.action, name, self._queue.jobs.get(job_id))
            if error:
                return JobOutcome(order.token, error=error)
        now, goal = int(self._clock()), _GOALS[order.action]
        for job_id in ids:
            finished = now if goal is JobStatus.REMOVED else None
            job = replace(self._queue.jobs[job_id], job_status=goal, hold_reason=order.reason, remote_host=None)
            self._queue.put(replace(job, finished_at=finished))
            for machine in [each for each in self._machines.values() if each.global_job_id == job_id]:
                self._free(machine, now)
        return JobOutcome(order.token, jobs=len(ids))


def _start_req(user: str) -> str:
    return f'(Owner == "{user}")'


def _joined(vm: VM, name: str, now: int) -> Machine:
    address = f"<127.0.0.1:0?vm={vm.uid}>"
    return Machine(
        name,
        vm.uid,
        vm=vm.uid,
        address_startd=address,
        address_master=address,
        vmtype=vm.vmtype,
        current_time=now,
        entered_state_time=now,
        start_req=_start_req(vm.user),
        slot_type="Static",
    )
