"""HTCondor as the batch system: its queue as jobs, its slots as machines, its verbs.

How HTCondor is reached (bindings or command lines) is behind HTCondorPool. Here is what does not depend on it: reading
only what changed, telling departures from failures, matching slots to VMs, and refusing verbs that make no sense.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cloudsched.batch import htcondor_submit
from cloudsched.batch.htcondor_ads import (
    ORDER_ATTRIBUTE,
    VM_ATTRIBUTE,
    Ad,
    JobAds,
    Rules,
    Value,
    machine,
    masters_by_machine,
)
from cloudsched.batch.htcondor_memory import Memory, Startds, whole
from cloudsched.batch.htcondor_pool import HTCondorPool
from cloudsched.batch.htcondor_queue import DAY, QueueReader, find, job_name
from cloudsched.batch.htcondor_tokens import ADVERTISE, SigningKey
from cloudsched.batch.verbs import refusal
from cloudsched.errors import BatchError, SubmitError
from cloudsched.model.jobs import Job, JobDelta, JobOrder, JobOutcome, Machine, RetireOutcome
from cloudsched.model.vms import VM

US = "cloudsched"
"""Who we are to a VM's startd, by a token signed with that VM's own key."""

RETIRING = "Retiring"

DRAIN_REASON = "The scheduler retires this VM."
"""By which we know our own drains from an administrator's, who may drain a VM as he likes."""

_CONTROL_SECONDS = 300
_AGAIN_SECONDS = 30.0
_RECORDED_SECONDS = 5.0
"""How long after we asked a startd to drain its VM's record may not say so yet."""

_MOST_ANSWERS = 1000
log = logging.getLogger("cloudscheduler")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the adapter is built from. `known` gives the ids of unfinished jobs that the state holds at the start,
    `state` the name of that state, which makes its orders' tokens unique in the pool.

    `collector` and `domain`, when empty, are HTCondor's own. `key` reads the signing key anew for each use, and may
    raise BatchError; where it gives None, VMs get no tokens. `vm_identity` is the user part of a VM's identity,
    `token_seconds` how long its token lasts. Startds advertise within `update_seconds`.
    """

    rules: Rules
    known: Callable[[], Iterable[str]] = tuple
    vm: Callable[[str], VM | None] = lambda uid: None
    state: Callable[[], str] = str
    collector: str = ""
    domain: str = ""
    key: Callable[[], SigningKey | None] = lambda: None
    vm_identity: str = "condor"
    token_seconds: int = DAY
    forget_lost: bool = False
    update_seconds: float = 330.0


@dataclass(frozen=True, slots=True)
class _Drain:
    """When we asked a startd to drain, and which: the master starts another where one dies, and that knows nothing."""

    at: float
    startd: Value | None


class HTCondorBatch:
    """BatchAdapter over an HTCondorPool. Polls and orders may come from different threads."""

    def __init__(self, pool: HTCondorPool, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._pool, self._settings, self._clock = pool, settings, clock
        self._queue = QueueReader(pool, JobAds(settings.rules), settings.known, clock)
        self._acting, self._seen = threading.Lock(), threading.Lock()
        self._answers: dict[str, JobOutcome] = {}
        self._drained: dict[str, _Drain] = {}
        self._lost: dict[str, float] = {}
        self._memory, self._startds = Memory(settings.update_seconds, clock), Startds()

    def jobs(self) -> JobDelta:
        """What changed since the last call, by the schedd's clock; everything at the first and now and then."""
        return self._queue.delta()

    def machines(self) -> list[Machine]:
        """Every slot in the collector but those of VMs known to be dead; ends masters of VMs that have retired."""
        started_at = self._pool.started_at()
        slots, masters = self._slots(), self._pool.masters()
        lost = self._still_lost()
        alive = [ad for ad in slots if _vm_of(ad) not in lost]
        self._stop_masters(masters, {_vm_of(ad) for ad in slots})
        self._correct(alive, masters)
        if self._settings.forget_lost and (len(alive) < len(slots) or any(_vm_of(ad) in lost for ad in masters)):
            self._invalidate(lost)
        addresses = masters_by_machine(masters)
        with self._seen:
            return self._memory.completed(whole([machine(ad, addresses) for ad in alive]), started_at)

    def retire(self, vms: Sequence[VM]) -> list[RetireOutcome]:
        """Drain the VMs' startds: jobs finish, none starts, the startd exits. A VM that has not joined is success."""
        slots, masters = self._slots(), self._pool.masters()
        return [self._retired(vm, [ad for ad in slots if _belongs(ad, vm)], masters) for vm in vms]

    def act(self, orders: Sequence[JobOrder]) -> list[JobOutcome]:
        """Submit, hold, release or remove; what is refused is the outcome's error."""
        with self._acting:
            for order in orders:
                if order.token not in self._answers:
                    self._answers[order.token] = self._acted(order)
            found = [self._answers[order.token] for order in orders]
            for token in list(self._answers)[: -max(len(orders), _MOST_ANSWERS)]:
                del self._answers[token]
            return found

    def lost(self, vms: Sequence[str]) -> None:
        """Leave the VMs' slots out from now on; with `forget_lost` the collector forgets them too (PARITY 6.5).

        A job that was killed with its VM runs elsewhere when its lease ends (JobLeaseDuration): HTCondor gives up no
        earlier, whoever tells it to.
        """
        with self._seen:
            self._memory.forget(vms)
            for uid in vms:
                self._drained.pop(uid, None)
            self._lost.update(dict.fromkeys(vms, self._clock() + DAY))
        if self._settings.forget_lost and vms:
            self._invalidate(vms)

    def join(self, vm_uid: str, vmtype: str, user: str) -> dict[str, str]:
        """The collector's address and, where there is a signing key, a token and a key for this VM alone."""
        settings, key, domain = self._settings, self._settings.key(), self._domain()
        found = {"condor_host": settings.collector or self._pool.settings().get("COLLECTOR_HOST", "")}
        found["trust_domain"] = domain
        if key is None:
            return found
        token = self._vm_token(key, domain, settings.token_seconds)
        return {**found, "token": token, "key": key.derived(vm_uid).content.decode("ascii")}

    def trouble(self) -> str:
        """Why the VMs that we make tokens for cannot join, as a sentence; empty where nothing is known against it.

        Raises BatchError where the collector does not answer.
        """
        try:
            key = self._settings.key()
        except BatchError as ex:
            return f"No VM can be given a token, so none is booted: {ex}"
        if key is None:
            return ""
        domain = self._domain()
        identity = f"{self._settings.vm_identity}@{domain}"
        allowed = self._pool.allowed(self._vm_token(key, domain, _CONTROL_SECONDS))
        if allowed is None or allowed[0] == ADVERTISE[0]:
            return ""
        if allowed[1] == identity:
            return (
                f"The collector does not let {identity}, as whom VMs join, advertise: put it into the pool's "
                "ALLOW_ADVERTISE_STARTD and ALLOW_ADVERTISE_MASTER, or set condor_vm_identity."
            )
        return (
            f"The collector takes no token for {identity} that is signed with condor_signing_key, so no VM can join: "
            "copy the pool's own key there under its own name, and check condor_trust_domain."
        )

    def close(self) -> None:
        """End what was started for asking HTCondor."""
        self._pool.close()

    def _slots(self) -> list[Ad]:
        """The living startds' slots; a startd also has an ad of its own, which says nothing of a State."""
        slots = [ad for ad in self._pool.slots() if ad.get("state")]
        with self._seen:
            return self._startds.speaking(slots)

    def _still_lost(self) -> set[str]:
        now = self._clock()
        with self._seen:
            self._lost = {uid: until for uid, until in self._lost.items() if until > now}
            return set(self._lost)

    def _stop_masters(self, masters: Iterable[Ad], with_slots: set[str]) -> None:
        for ad in masters:
            uid = _vm_of(ad)
            with self._seen:
                drain = self._drained.get(uid)
            if drain is None or uid in with_slots or self._is_fresh(drain):
                continue
            try:
                if self._is_kept(uid):
                    self._pool.start_startd(ad, self._control(uid))
                    log.info("%s no longer retires: its startd, which had ended, is started again.", uid)
                else:
                    self._pool.stop_master(ad, self._control(uid))
            except BatchError as ex:
                log.info("The master of %s does not take our orders: %s", uid, ex)
            with self._seen:
                self._drained.pop(uid, None)

    def _is_kept(self, uid: str) -> bool:
        """Whether the VM is there and its record does not say that it retires."""
        vm = self._settings.vm(uid)
        return vm is not None and vm.override_status != RETIRING

    def _is_fresh(self, drain: _Drain | None) -> bool:
        return drain is not None and self._clock() - drain.at < _RECORDED_SECONDS

    def _correct(self, slots: Sequence[Ad], masters: Sequence[Ad]) -> None:
        """Tell the startds that do not do what their VMs' records say.

        One that was started again while its VM retires has forgotten it, and would go on for ever; one whose VM was
        reset while it drains would leave all the same.
        """
        for uid in {_vm_of(ad) for ad in slots} - {""}:
            vm, own = self._settings.vm(uid), [ad for ad in slots if _vm_of(ad) == uid]
            if vm is None:
                continue
            retiring = vm.override_status == RETIRING
            error = self._retired(vm, own, masters).error if retiring else self._kept(uid, own)
            if error:
                log.warning("%s cannot be told what to do: %s", uid, error)

    def _kept(self, uid: str, slots: Sequence[Ad]) -> str:
        """End a drain of ours; the sentence why not, or empty."""
        drained = next((ad for ad in slots if ad.get("draining") is True), None)
        with self._seen:
            fresh = self._is_fresh(self._drained.get(uid))
        if drained is None or drained.get("drainreason") != DRAIN_REASON or fresh:
            return ""
        try:
            self._pool.undrain(drained, self._control(uid))
        except BatchError as ex:
            return str(ex)
        with self._seen:
            self._drained.pop(uid, None)
        log.info("%s no longer retires and takes jobs again.", uid)
        return ""

    def _retired(self, vm: VM, slots: Sequence[Ad], masters: Sequence[Ad]) -> RetireOutcome:
        now = self._clock()
        with self._seen:
            drain = self._drained.get(vm.uid)
        if not slots or any(ad.get("draining") is True for ad in slots):
            return RetireOutcome(vm.uid)
        startd = slots[0].get("daemonstarttime")
        if drain is not None and drain.startd == startd and now - drain.at < _AGAIN_SECONDS:
            return RetireOutcome(vm.uid)
        try:
            master = next((ad for ad in masters if ad.get("machine") == slots[0].get("machine")), None)
            self._pool.drain(slots[0], master, DRAIN_REASON, self._control(vm.uid))
        except BatchError as ex:
            return RetireOutcome(vm.uid, str(ex))
        with self._seen:
            self._drained[vm.uid] = _Drain(now, startd)
        return RetireOutcome(vm.uid)

    def _control(self, uid: str) -> str:
        """A token with which one VM's startd takes orders from us."""
        key = self._settings.key()
        if key is None:
            return ""
        return key.derived(uid).token(f"{US}@{self._domain()}", int(self._clock()), _CONTROL_SECONDS)

    def _vm_token(self, key: SigningKey, domain: str, seconds: int) -> str:
        return key.token(f"{self._settings.vm_identity}@{domain}", int(self._clock()), seconds, ADVERTISE)

    def _domain(self) -> str:
        return self._settings.domain or self._pool.settings().get("TRUST_DOMAIN", "")

    def _invalidate(self, uids: Iterable[str]) -> None:
        terms = [f"{VM_ATTRIBUTE} == {_quoted(uid)}" for uid in sorted(uids)]
        terms += [
            f"Machine == {_quoted(vm.condorname.rpartition('@')[2])}"
            for uid in sorted(uids)
            if (vm := self._settings.vm(uid)) and vm.condorname
        ]
        try:
            self._pool.invalidate(" || ".join(terms))
        except BatchError as ex:
            log.warning("The ads of dead VMs stay until they expire: %s", ex)

    def _acted(self, order: JobOrder) -> JobOutcome:
        return self._submitted(order) if order.action == "submit" else self._changed(order)

    def _submitted(self, order: JobOrder) -> JobOutcome:
        payload = {name: str(order.payload.get(name, "")) for name in ("owner", "initialdir")}
        try:
            sections = htcondor_submit.sections(str(order.payload.get("submit", "")))
        except SubmitError as ex:
            return JobOutcome(order.token, error=str(ex))
        mark = f"{self._settings.state()} {order.token}".strip()
        before = self._submitted_before(mark)
        if before:
            return JobOutcome(order.token, cluster=min(each.cluster_id for each in before), jobs=len(before))
        try:
            cluster, jobs = self._pool.submit(sections, payload["initialdir"], payload["owner"], mark)
        except BatchError as ex:
            return JobOutcome(order.token, error=str(ex))
        return JobOutcome(order.token, cluster=cluster, jobs=jobs)

    def _submitted_before(self, mark: str) -> list[Job]:
        """The jobs of an order that an engine submitted before it was killed; also those that have ended since."""
        constraint = f"{ORDER_ATTRIBUTE} == {_quoted(mark)}"
        found = self._queue.matching(constraint)
        if not self._answers:
            found += self._queue.departed(constraint, int(self._clock()) - DAY)
        return found

    def _changed(self, order: JobOrder) -> JobOutcome:
        numbers = [number for name in order.jobs if (number := job_name(name))]
        clusters = ", ".join(sorted({str(number.cluster) for number in numbers}))
        present = self._queue.matching(f"member(ClusterId, {{{clusters}}})") if clusters else []
        names = []
        for name in order.jobs:
            found = find(present, name) or self._ended(name)
            error = refusal(order.action, name, found)
            if error or found is None:
                return JobOutcome(order.token, error=error)
            names.append(f"{found.cluster_id}.{found.proc_id}")
        try:
            self._pool.act(order.action, names, order.reason)
        except BatchError as ex:
            return JobOutcome(order.token, error=str(ex))
        return JobOutcome(order.token, jobs=len(names))

    def _ended(self, name: str) -> Job | None:
        number = job_name(name)
        if number is None:
            return None
        constraint = f"ClusterId == {number.cluster} && ProcId == {number.proc}"
        return find(self._queue.departed(constraint, int(self._clock()) - DAY), name)


def _vm_of(ad: Ad) -> str:
    return str(ad.get(VM_ATTRIBUTE.lower(), ""))


def _belongs(ad: Ad, vm: VM) -> bool:
    """By the attribute we put there; a startd without it, by the names under which it was recognised before."""
    if _vm_of(ad):
        return _vm_of(ad) == vm.uid
    return vm.condorname is not None and vm.condorname in (ad.get("name"), ad.get("machine"))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
