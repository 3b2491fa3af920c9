"""The embedded batch system: a durable queue whose jobs run on VMs that hold our worker.

The queue is the store's (model.adapters.JobQueue). This object adds what lives only as long as the engine: the workers'
sessions, and when leases were last looked at. It is called by the engine's polls and by the thread that serves the
socket; its own state is behind one lock, the queue guards itself.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cloudsched.batch import submit
from cloudsched.config.options import JobDefaults
from cloudsched.errors import CloudschedError, StateUnavailable, SubmitError
from cloudsched.model.adapters import JobQueue, Lease, QueuedJob
from cloudsched.model.jobs import JobDelta, JobOrder, JobOutcome, Machine, RetireOutcome
from cloudsched.model.vms import VM

POLL_SECONDS = 0.25
RENEW_SECONDS = 1.0
REVISIT_SECONDS = 10.0
RETIRING = "Retiring"

_CLUSTER_PROC = re.compile(r"\d+\.\d+")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the embedded batch is built from: options, and where its socket and its key lie."""

    state_dir: Path
    defaults: JobDefaults
    lease_seconds: float = 30.0
    max_keepalive: int = 3600

    @property
    def socket(self) -> Path:
        """Where the engine listens for workers."""
        return self.state_dir / "batch.sock"


@dataclass(eq=False, slots=True)
class Session:
    """One connection of a worker; `vm` is empty until it has said a good hello.

    `nothing` is at which change of the queue, and when, there was no job for the VM; `renewed` at which change which
    leases were extended. While nothing has changed, a worker's frequent questions cost no query.
    """

    vm: str = ""
    slots: int = 1
    seen_at: float = 0.0
    entered: dict[int, tuple[str, int]] = field(default_factory=dict)
    nothing: tuple[int, float] = (-1, 0.0)
    renewed: tuple[int, list[tuple[str, int]]] = field(default_factory=lambda: (-1, []))
    renewed_at: float = 0.0


class EmbeddedBatch:
    """BatchAdapter over a JobQueue, and the answers to the workers' messages.

    `vm` finds the record of a VM by uid; it is asked at every message of a worker, so it should answer from memory.
    """

    def __init__(
        self,
        queue: JobQueue,
        settings: Settings,
        vm: Callable[[str], VM | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue, self._settings, self._vm, self._clock = queue, settings, vm, clock
        self._key = _key(settings.state_dir / "batch.key")
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._retiring: set[str] = set()
        self._cursor: int | None = None
        self._change = 0
        self._awake_at: float | None = None

    def jobs(self) -> JobDelta:
        """The queue's changes since the last call; everything at the first."""
        complete = self._cursor is None
        self._cursor, changed, gone = self._queue.changes(self._cursor or 0)
        return JobDelta(tuple(changed), tuple(gone), complete, server_time=int(self._clock()))

    def machines(self) -> list[Machine]:
        """One machine for every slot of a worker that speaks to us, and for every slot that holds a lease.

        The latter stand for workers that have not come back since the engine was restarted: their leases last on.
        """
        now = self._clock()
        leases = {(lease.vm, lease.slot): lease for lease in self._queue.leases()}
        with self._lock:
            live = [each for each in self._sessions.values() if now - each.seen_at <= self._settings.lease_seconds]
            slots = {(each.vm, slot): each for each in live for slot in range(1, each.slots + 1)}
            slots.update({key: Session(*key) for key in leases.keys() - slots.keys()})
            return [self._machine(key, slots[key], leases.get(key), now) for key in sorted(slots)]

    def retire(self, vms: Sequence[VM]) -> list[RetireOutcome]:
        """Have the VMs' workers take no more jobs; also those that have not joined yet."""
        with self._lock:
            self._retiring.update(vm.uid for vm in vms)
        return [RetireOutcome(vm.uid) for vm in vms]

    def act(self, orders: Sequence[JobOrder]) -> list[JobOutcome]:
        """Submit, hold, release or remove; a description that is refused is the outcome's error."""
        return [self._submit(order) if order.action == "submit" else self._set_status(order) for order in orders]

    def learn(self, vms: Mapping[str, VM]) -> None:
        """See the VMs' records, by uid, as the engine does now: once one says Retiring, it alone counts.

        To be called for every state that the engine plans from, or a VM that is retired and at once reset would end.
        """
        with self._lock:
            self._retiring -= {uid for uid in self._retiring if uid in vms and vms[uid].override_status == RETIRING}

    def lost(self, vms: Sequence[str]) -> None:
        """Give the jobs of VMs that are gone for good back to the queue at once."""
        with self._lock:
            self._retiring.difference_update(vms)
            for uid in vms:
                self._sessions.pop(uid, None)
        if self._queue.give_back(vms, self._clock()):
            self._changed()

    def join(self, vm_uid: str, vmtype: str, user: str) -> dict[str, str]:
        """The socket and a token that is good for this VM alone, before and after a restart of the engine."""
        return {"socket": str(self._settings.socket), "token": self._token(vm_uid)}

    def awake(self) -> None:
        """Note that workers are being served; to be called by whoever serves them, at least three times a lease.

        After a gap longer than half a lease, the engine's start included, no worker could renew: then all leases
        begin anew, or jobs would run twice (DESIGN 4). So they do when the state could not be used meanwhile.
        """
        now = self._clock()
        if not self._served(now):
            try:
                self._queue.rearm(now, self._settings.lease_seconds)
            except StateUnavailable:
                return
        self._awake_at = now

    def expire(self) -> list[str]:
        """Give jobs of silent workers back to the queue; returns their ids. Only while workers are being served."""
        # Looked at once, before anything else: stopped in between, we must not judge by the time when we go on.
        now = self._clock()
        lost = self._queue.expire(now) if self._served(now) else []
        if lost:
            self._changed()
        return lost

    def _served(self, now: float) -> bool:
        """Whether every worker could have renewed its leases until now."""
        awake_at = self._awake_at
        return awake_at is not None and 0 <= now - awake_at <= self._settings.lease_seconds / 2

    def handle(self, message: dict[str, Any], peer_uid: int, session: Session) -> dict[str, Any]:
        """Answer one message of a worker: hello, lease, renew, evict, done. Never raises one of our errors."""
        if peer_uid not in (0, os.geteuid()):
            return {"error": "This account may not run a VM.", "refused": True}
        operation = str(message.get("op"))
        if operation == "hello":
            return self._hello(message, session)
        answer = _ANSWERS.get(operation)
        if not session.vm or answer is None:
            known = ", ".join(["hello", *_ANSWERS])
            return {"error": f"{operation!r} is not expected; accepted are {known}, hello first."}
        session.seen_at = self._clock()
        try:
            return answer(self, message, session)
        except CloudschedError as ex:
            self._awake_at = None
            return {"error": str(ex)}
        except (KeyError, TypeError, ValueError) as ex:
            return {"error": f"The message {operation!r} is malformed: {ex!r}."}

    def closed(self, session: Session) -> None:
        """Forget a session whose connection ended; its leases last until they expire."""
        with self._lock:
            if self._sessions.get(session.vm) is session:
                del self._sessions[session.vm]

    def _hello(self, message: Mapping[str, Any], session: Session) -> dict[str, Any]:
        uid, slots = message.get("vm"), message.get("slots", 1)
        if not isinstance(uid, str) or not isinstance(slots, int) or not 1 <= slots <= 4096:
            return {"error": "The message 'hello' is malformed.", "refused": True}
        if not hmac.compare_digest(str(message.get("token")).encode(), self._token(uid).encode()):
            log.warning("A worker with a wrong token asked to be VM %r.", uid)
            return {"error": f"The token is not that of VM {uid!r}.", "refused": True}
        session.vm, session.slots, session.seen_at = uid, slots, self._clock()
        with self._lock:
            self._sessions[uid] = session
        return {"ok": True, "renew_seconds": min(RENEW_SECONDS, self._settings.lease_seconds / 3)}

    def _lease(self, message: Mapping[str, Any], session: Session) -> dict[str, Any]:
        slot = message["slot"]
        if not isinstance(slot, int) or not 1 <= slot <= session.slots:
            return {"error": f"Slot {slot!r} is not one of the VM's {session.slots}."}
        retiring = self._is_retiring(session.vm)
        vm = self._vm(session.vm)
        found = None if retiring or vm is None else self._leased(vm, slot, session)
        return {"job": found, "retire": retiring, "wait_seconds": 0 if found else POLL_SECONDS}

    def _leased(self, vm: VM, slot: int, session: Session) -> dict[str, Any] | None:
        """Ask the queue, unless it has told this VM that there is nothing and has not changed since."""
        now, change = self._clock(), self._change
        asked_change, asked_at = session.nothing
        if asked_change == change and 0 <= now - asked_at < REVISIT_SECONDS:
            return None
        lease = self._queue.lease(vm, slot, now, self._settings.lease_seconds)
        if lease is None:
            session.nothing = (change, now)
            return None
        return _order(lease)

    def _renew(self, message: Mapping[str, Any], session: Session) -> dict[str, Any]:
        now, change = self._clock(), self._change
        jobs = [(str(job_id), int(attempt)) for job_id, attempt in message["jobs"]]
        asked = (change, jobs)
        if session.renewed == asked and 0 <= now - session.renewed_at < self._settings.lease_seconds / 3:
            stop = []
        else:
            stop = self._queue.renew(session.vm, jobs, now, self._settings.lease_seconds) if jobs else []
            session.renewed, session.renewed_at = asked, now
        return {"stop": stop, "retire": self._is_retiring(session.vm)}

    def _evict(self, message: Mapping[str, Any], session: Session) -> dict[str, Any]:
        """A VM that is shut down gives its jobs back: their leases end now."""
        jobs = [(str(job_id), int(attempt)) for job_id, attempt in message["jobs"]]
        now = self._clock()
        self._queue.renew(session.vm, jobs, now, -1.0)
        self._queue.expire(now)
        self._changed()
        return {"ok": True}

    def _done(self, message: Mapping[str, Any], session: Session) -> dict[str, Any]:
        result, attempt = dict(message["result"]), int(message["attempt"])
        now = int(self._clock())
        kept = self._queue.finish(session.vm, str(message["job"]), attempt, result, now)
        self._changed()
        return {"ok": kept}

    def _is_retiring(self, uid: str) -> bool:
        """The VM's record is the truth; until it says so, what `retire` was told counts."""
        vm = self._vm(uid)
        if vm is not None and vm.override_status == RETIRING:
            return True
        with self._lock:
            return uid in self._retiring

    def _machine(self, key: tuple[str, int], session: Session, lease: Lease | None, now: float) -> Machine:
        uid, slot = key
        vm = self._vm(uid)
        job = lease.job.job if lease else None
        state = "Claimed" if job else "Unclaimed"
        entered = session.entered.get(slot)
        if entered is None or entered[0] != state:
            started = job.jobstarttime if job else 0
            session.entered[slot] = entered = (state, started or int(now))
        address = f"<127.0.0.1:0?vm={uid}>"
        return Machine(
            name=f"slot{slot}@{uid}",
            machine_name=uid,
            vm=uid,
            job_id=f"{job.cluster_id}.{job.proc_id}" if job else "",
            global_job_id=job.id if job else "",
            address_startd=address,
            address_master=address,
            state=state,
            activity="Busy" if job else "Idle",
            vmtype=vm.vmtype if vm else job.shape.req_vmtype if job else "",
            current_time=int(now),
            entered_state_time=entered[1],
            start_req=f'(Owner == "{vm.user}")' if vm else "",
            remote_owner=job.shape.user if job else "",
            slot_type="Static",
            total_slots=session.slots,
            retiring=uid in self._retiring or (vm is not None and vm.override_status == RETIRING),
        )

    def _submit(self, order: JobOrder) -> JobOutcome:
        now = int(self._clock())
        payload = {name: str(order.payload.get(name, "")) for name in ("owner", "initialdir")}
        text = str(order.payload.get("submit", ""))
        try:
            cluster = submit.parse(text, **payload, defaults=self._settings.defaults, now=now)
        except SubmitError as ex:
            return JobOutcome(order.token, error=str(ex))
        if payload["owner"] == "root" and os.geteuid() == 0:
            log.warning("A job submitted by root will run as root.")
        number, jobs = self._queue.add(order.token, [self._capped(each) for each in cluster], now)
        self._changed()
        return JobOutcome(order.token, cluster=number, jobs=jobs)

    def _capped(self, queued: QueuedJob) -> QueuedJob:
        """With keep-alive within the site's limit (PARITY 7.1 max_keepalive)."""
        shape = queued.job.shape
        if shape.keep_alive <= self._settings.max_keepalive:
            return queued
        return replace(queued, job=replace(queued.job, shape=replace(shape, keep_alive=self._settings.max_keepalive)))

    def _set_status(self, order: JobOrder) -> JobOutcome:
        jobs = self._full_ids(order.jobs)
        error = self._queue.set_status(order.token, order.action, jobs, order.reason, int(self._clock()))
        self._changed()
        return JobOutcome(order.token, error=error, jobs=0 if error else len(jobs))

    def _full_ids(self, names: Sequence[str]) -> list[str]:
        """Job ids as given, with `CLUSTER.PROC` replaced by the id of that job where there is one."""
        if not any(_CLUSTER_PROC.fullmatch(name) for name in names):
            return list(names)
        ids = {f"{job.cluster_id}.{job.proc_id}": job.id for job in self._queue.changes(0)[1]}
        return [ids.get(name, name) for name in names]

    def _changed(self) -> None:
        with self._lock:
            self._change += 1

    def _token(self, uid: str) -> str:
        return hmac.new(self._key, uid.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


_ANSWERS: Mapping[str, Callable[[EmbeddedBatch, Mapping[str, Any], Session], dict[str, Any]]] = {
    "lease": EmbeddedBatch._lease,
    "renew": EmbeddedBatch._renew,
    "evict": EmbeddedBatch._evict,
    "done": EmbeddedBatch._done,
}


def _order(lease: Lease) -> dict[str, Any]:
    job = lease.job.job
    return {
        "id": job.id,
        "attempt": lease.attempt,
        "owner": job.shape.user,
        "cluster": job.cluster_id,
        "proc": job.proc_id,
        "submitted_at": job.submitted_at,
        "spec": lease.job.spec,
    }


def _key(path: Path) -> bytes:
    """The secret that tokens are made from, created at first use; the workers of a killed engine come back with it."""
    if path.exists():
        return path.read_bytes()
    key = secrets.token_bytes(32)
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return key
