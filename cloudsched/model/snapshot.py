"""Everything the scheduler knows at one state index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import JobGroup, Machine, Shape
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Wish

HEARTBEATS = ("Scheduler", "Cleanup", "VMPoller", "JobPoller", "MachinePoller")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """When a stage last ended a cycle, and how long it pauses between cycles (PARITY 2.12)."""

    name: str
    interval_seconds: int
    beat_at: float


@dataclass(frozen=True, slots=True)
class Polled:
    """When one source was last read: `ok_at` and `failed_at` in Unix seconds, None while it never was.

    `name` is `JobPoller`, `MachinePoller`, `VMPoller:CLOUD`, or `Scheduler` for the planning cycle. `seconds` is how
    long the last attempt took, `error` the sentence why it failed, empty when it did not.
    """

    name: str
    interval_seconds: float
    ok_at: float | None = None
    failed_at: float | None = None
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A cloud that a shape must not be tried on until `until`, and why."""

    shape: str
    cloud: str
    until: int
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the planner sees, frozen at `index`; `now` is the engine's clock in Unix seconds.

    `vms` are in creation order and leave released ones out. `jobs_known` is false until the first successful poll:
    nothing is retired on account of a queue nobody has read (PARITY 9.2); `machines_known` also while polls of the
    slots fail. `stale_clouds` are those whose last poll failed. `in_flight` are uids a boot or destroy call is running
    for, `released_on` the clouds with released VMs. `unseen` are uids of VMs that were retired after the slots on
    record had been asked for: a job may have come to them that these do not show.
    """

    index: int
    now: int
    clouds: tuple[Cloud, ...] = ()
    vms: tuple[VM, ...] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    groups: tuple[JobGroup, ...] = ()
    machines: tuple[Machine, ...] = ()
    wishes: tuple[Wish, ...] = ()
    blocks: tuple[Block, ...] = ()
    user_limits: Mapping[str, int] = field(default_factory=dict)
    cloud_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    banned_images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    jobs_known: bool = False
    machines_known: bool = False
    stale_clouds: frozenset[str] = frozenset()
    in_flight: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()
    released_on: frozenset[str] = frozenset()
