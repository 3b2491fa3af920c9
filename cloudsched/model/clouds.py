"""A cloud as configured and as it stands, and what its adapter reports and is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cloudsched.model.troubles import Trouble


class Origin(StrEnum):
    """Where a cloud's definition is kept."""

    FILE = "file"
    API = "api"


class Requested(StrEnum):
    """What somebody may want of a cloud."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody last asked of a cloud as a whole; times are Unix seconds.

    With `until` it ends by itself, and `then` is wanted again. `reached_at`: since when it is so, None while it is not.
    """

    requested: Requested
    since: int
    by: str = ""
    reason: str = ""
    until: int | None = None
    then: Requested | None = None
    reached_at: int | None = None


def to_request(values: Mapping[str, Any] | None) -> Request | None:
    """A request of its JSON object."""
    if values is None:
        return None
    then = values["then"]
    words = {"requested": Requested(values["requested"]), "then": Requested(then) if then else None}
    return Request(**{**values, **words})


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud: its configuration without secrets, and its effective state (PARITY 3.2, 5.4, 7.2).

    `memory_mb`, `storage_gb` and `vm_slots` are the whole allowance; what remains is computed from the VMs
    (v1's JSON publishes `vm_slots` as the remainder and `max_slots` as the allowance). `cpu_cores`, `max_vm_mem` (MB)
    limit a single VM, `-1` means no limit, as it does for `boot_timeout` (s).
    """

    name: str
    cloud_type: str
    network_address: str = ""
    vm_slots: int = 0
    memory_mb: int = 0
    storage_gb: int = 0
    cpu_cores: int = 0
    max_vm_mem: int = -1
    network_pools: tuple[str, ...] = ()
    priority: int = 0
    keep_alive: int = 0
    boot_timeout: int = -1
    connection_fail_disable_time: int = 7200
    tenant: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    position: int = 0
    enabled: bool = False
    unusable: str | None = None
    removed: bool = False
    connection_problem: bool = False
    errorconnect: float | None = None
    failed_images: tuple[str, ...] = ()
    stale: bool = False
    last_error: str = ""
    trouble: Trouble | None = None
    origin: Origin = Origin.FILE
    request: Request | None = None
    """`position` is the order in the file; `unusable` the reason why this section cannot work (kind not built,
    option missing): such a cloud is listed and never enabled. `removed` clouds are no longer configured and drain.
    `stale`: the last poll failed, with `last_error`; what is shown is the last good observation.
    `trouble`: what stands against asking the cloud for more, None while it answers as it should.
    `request`: what was asked of it as a whole, None where nobody has asked for anything."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """Why a cloud cannot take a job now: a v1 reason literal or a sentence (PARITY 2.10)."""

    cloud: str
    reason: str


class VMStatus(StrEnum):
    """The statuses our own adapters report; v1 texts may hold others, passed through raw (PARITY 5.2)."""

    STARTING = "Starting"
    RUNNING = "Running"
    ERROR = "Error"
    SHUTDOWN = "Shutdown"


@dataclass(frozen=True, slots=True)
class BootRequest:
    """One VM asked of a cloud. `uid` is its unique name and idempotency token, recorded before the call."""

    uid: str
    name: str
    user: str
    vmtype: str
    image: str = ""
    flavor: str = ""
    network: str = ""
    memory: int = 0
    cpucores: int = 1
    storage: int = 0
    maximum_price: float = 0.0
    key_name: str | None = None
    security_groups: tuple[str, ...] = ()
    location: str | None = None
    again: bool = False
    join: Mapping[str, str] = field(default_factory=dict, repr=False)
    user_data: bytes = field(default=b"", repr=False)
    """`again`: it may have been asked for before, so a cloud that would make it twice is searched first. `join` is what
    the VM needs to join the batch system (endpoint, token), `user_data` what its cloud-init is given, which holds the
    same (PARITY 8.5): secret, never logged or stored."""


@dataclass(frozen=True, slots=True)
class BootOutcome:
    """What became of one BootRequest: an `id` where the cloud took it, else the error it raised."""

    uid: str
    id: str = ""
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class DestroyOutcome:
    """What became of one destroy: no error means gone or going; already gone is success."""

    id: str
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class AdoptOutcome:
    """What became of taking over one VM that another scheduler booted: no error means that it is listed as ours."""

    uid: str
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class ObservedVM:
    """One VM as a cloud lists it now; `uid` is empty when the listing shows ours without our name."""

    uid: str
    id: str
    status: str
    hostname: str = ""
    ipaddress: str = ""
    alt_hostname: str | None = None
    spot_id: str = ""
    ssh_port: int = 22
    fault: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
