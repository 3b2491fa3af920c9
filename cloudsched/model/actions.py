"""What a plan is made of. The engine applies each in order; each is harmless when applied again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudsched.model.jobs import JobOrder
from cloudsched.model.wishes import Aspect, OutcomeState


@dataclass(frozen=True, slots=True)
class Boot:
    """Boot `vms` more VMs for `shape` on `cloud`; the engine gives them their unique names."""

    cloud: str
    shape: str
    vms: int


@dataclass(frozen=True, slots=True)
class Retire:
    """Let a VM finish its jobs and take no new ones. `forced`: not asked by balancing (PARITY 5.2).

    `drain` moves it out of its cloud's allowance (quota cut, removed cloud).
    """

    uid: str
    reason: str
    forced: bool = True
    drain: bool = False
    wish: int | None = None


@dataclass(frozen=True, slots=True)
class Destroy:
    """Destroy a VM now. `failed_image`: also remember its image as failing on its cloud (PARITY 6.5)."""

    uid: str
    reason: str
    failed_image: bool = False
    wish: int | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete the record of a VM that no cloud knows any more."""

    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class SetVM:
    """Change engine-owned fields of a VM's record, e.g. `idle_start`, `condorname`, `override_status`."""

    uid: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetCloud:
    """Change the effective state of a cloud: `enabled`, `vm_slots`, `connection_problem`, `errorconnect`, `trouble`,
    `request`, `removed`.

    `reason` says why, where nobody asked for it.
    """

    name: str
    fields: Mapping[str, Any]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of the waiting jobs of one shape and priority make exactly `jobs` Scheduled, the oldest first."""

    shape: str
    priority: int
    jobs: int


@dataclass(frozen=True, slots=True)
class Explain:
    """The reasons, as a list of sentences, why jobs of a shape have no VM; empty clears them."""

    shape: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OrderJobs:
    """Pass a verb to the batch system."""

    order: JobOrder
    wish: int | None = None


@dataclass(frozen=True, slots=True)
class Reload:
    """Re-read a file: `what` is the wish's aspect (reconfig, user_limits, cloud_aliases), a setting to apply, or what
    becomes of the cloud `value` that was made by API (define, delete).
    """

    what: str
    value: Any = None
    wish: int | None = None


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew the proxies of a user's jobs or VMs; `aspect` is the wish's, job_proxy or vm_proxy."""

    aspect: Aspect
    user: str
    wish: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Record how a wish ended."""

    wish: int
    state: OutcomeState = OutcomeState.DONE
    detail: Mapping[str, Any] = field(default_factory=dict)


Action = Boot | Retire | Destroy | Drop | SetVM | SetCloud | Schedule | Explain | OrderJobs | Reload | Renew | Settle
Plan = tuple[Action, ...]
