"""What the engine asks of a cloud and of a batch system, and what the embedded batch asks of the store.

Protocols, not base classes: an adapter is any object with these methods. The promises are here, once; the contract
suites in `tests/` hold every adapter to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from cloudsched.model.clouds import AdoptOutcome, BootOutcome, BootRequest, DestroyOutcome, ObservedVM
from cloudsched.model.jobs import Job, JobDelta, JobOrder, JobOutcome, Machine, RetireOutcome
from cloudsched.model.vms import VM


class CloudAdapter(Protocol):
    """The VMs of one cloud. Every method may block and may raise a CloudError; the engine bounds its time."""

    def vms(self) -> list[ObservedVM]:
        """List this installation's VMs, and no others. May lag behind boot and destroy."""

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        """Ask for VMs and return at once, one outcome per request, in order.

        Idempotent by `uid`: asking again for a uid that exists yields the same VM and its id.
        """

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        """End VMs with all they run, one outcome per id, in order; an id already gone is success."""

    def adopt(self, vms: Sequence[VM]) -> list[AdoptOutcome]:
        """Make VMs ours that another scheduler booted, found by `id`: listed from now on, under `uid`.

        One outcome per VM, in order; doing it twice is harmless. A VM that is not there, or is another
        installation's, is a BadRequirement.
        """


@runtime_checkable
class Consoles(Protocol):
    """A cloud adapter whose cloud keeps what VMs write to their consoles."""

    def console(self, vm_id: str) -> str:
        """The end of what a VM has written, empty where there is nothing. Raises CloudError."""


@runtime_checkable
class Enforcing(Protocol):
    """A cloud adapter that answers itself for what a VM may take of the host that it is on."""

    @property
    def enforced(self) -> str:
        """What stands between a VM and its host, and what does not, in words."""


@runtime_checkable
class Expiring(Protocol):
    """A cloud adapter whose credentials may have an end."""

    def credentials_expire_at(self) -> float | None:
        """When the cloud refuses our credentials for good, in Unix seconds; None for never. Raises CloudError."""


class BatchAdapter(Protocol):
    """The jobs and machines of one batch system. Every method may raise BatchError."""

    def jobs(self) -> JobDelta:
        """Changes since the last call, and departures; the first call of a process is complete."""

    def machines(self) -> list[Machine]:
        """Every slot that has joined, with the VM it belongs to and what it runs."""

    def retire(self, vms: Sequence[VM]) -> list[RetireOutcome]:
        """Let the VMs' slots finish their running jobs and take no new ones; asking twice is harmless."""

    def act(self, orders: Sequence[JobOrder]) -> list[JobOutcome]:
        """Submit, hold, release, remove: one outcome per order. A repeated token gives the first outcome again."""

    def lost(self, vms: Sequence[str]) -> None:
        """These VMs (uids) are known to be gone for good: what they ran may run elsewhere at once."""

    def join(self, vm_uid: str, vmtype: str, user: str) -> dict[str, str]:
        """What a new VM needs to join, as BootRequest.join: address and a token for that VM alone."""


# -- the embedded batch's queue, kept by the store and owned by the engine -----------------------------------------


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One job of the embedded queue: who may run it where (in `job.shape`) and what it is (`spec`).

    `spec` is a JSON object made by `batch.submit` and executed by `batch.worker`; the queue does not look into it.
    """

    job: Job
    spec: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """A job handed to one slot of a VM; the worker must renew before `until` (Unix seconds) or lose it."""

    job: QueuedJob
    vm: str
    slot: int
    attempt: int
    until: float


class JobQueue(Protocol):
    """The durable queue behind the embedded batch. Each call is one committed transaction or nothing."""

    def add(self, token: str, cluster: Sequence[QueuedJob], now: int) -> tuple[int, int]:
        """Queue jobs under a new cluster number; returns (cluster, jobs). A known token returns its first answer.

        The queue sets `cluster_id`, `proc_id` (0, 1, ...), the job id `HOST#CLUSTER.PROC#NOW`, and replaces
        `$(Cluster)` in the specs' strings.
        """

    def changes(self, since: int) -> tuple[int, list[Job], list[str]]:
        """(new cursor, jobs changed after cursor `since`, ids gone after it); since 0 means everything there is."""

    def leases(self) -> list[Lease]:
        """Every lease that is held now."""

    def lease(self, vm: VM, slot: int, now: float, seconds: float) -> Lease | None:
        """Hand the best idle job this VM may run to one of its slots, or None.

        Best: highest priority, then oldest. It may run a job of the same user and VMType whose cpus and memory fit
        what the VM's other leases leave free. A slot that already holds a lease gets that same lease again.
        """

    def renew(self, vm: str, jobs: Sequence[tuple[str, int]], now: float, seconds: float) -> list[str]:
        """Extend leases given as (job id, attempt); returns the ids the worker must stop: no longer its own."""

    def finish(self, vm: str, job_id: str, attempt: int, result: dict[str, Any], now: int) -> bool:
        """Record a result (`exit_code`, `signal`, `reason`, `hold`); false when the lease was not this VM's any more.

        Repeating the same result is harmless and returns True. With `hold` the job is held for `reason`.
        """

    def expire(self, now: float) -> list[str]:
        """Give jobs whose lease ran out back to the queue; returns their ids."""

    def rearm(self, now: float, seconds: float) -> None:
        """Extend every lease, after a gap in which no worker could renew."""

    def give_back(self, vms: Sequence[str], now: float) -> list[str]:
        """Give the jobs of VMs that are gone for good back to the queue without waiting; returns their ids."""

    def set_status(self, token: str, action: str, jobs: Sequence[str], reason: str, now: int) -> str:
        """Hold, release or remove jobs; returns "" or the sentence why not. A known token returns its first answer."""
