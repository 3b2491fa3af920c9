"""Jobs, the shapes that group them, and what the batch adapter exchanges about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cached_property
from typing import Any


class JobStatus(IntEnum):
    """HTCondor's JobStatus (PARITY 5.3)."""

    NEW = 0
    IDLE = 1
    RUNNING = 2
    REMOVED = 3
    COMPLETE = 4
    HELD = 5
    ERROR = 6


WAITING = frozenset({JobStatus.NEW, JobStatus.IDLE})
"""The states of jobs that look for a VM."""


@dataclass(frozen=True)
class Shape:
    """Everything about a job that decides which VM it can use: jobs of one shape are interchangeable to the planner.

    Field names are v1's JSON names (PARITY 3.4). `key` is stable across processes and releases; it stands for the
    shape wherever something hashable is needed, as the shape itself holds mappings.
    """

    __hash__ = None  # type: ignore[assignment]

    user: str
    req_vmtype: str = "default"
    req_network: str = ""
    req_image: str = "Default-Image"
    req_ami: Mapping[str, str] = field(default_factory=lambda: {"default": ""})
    instance_type: Mapping[str, str] = field(default_factory=lambda: {"default": ""})
    req_memory: int = 512
    req_cpucores: int = 1
    req_storage: int = 0
    req_image_id: str | None = None
    location: str | None = None
    key_name: str | None = None
    req_security_group: tuple[str, ...] = ("",)
    keep_alive: int = 0
    high_priority: int = 0
    maximum_price: float = 0.0
    job_per_core: bool = False
    usertype_limit: int = -1
    target_clouds: tuple[str, ...] = ()
    proxy_non_boot: bool = False
    vmimage_proxy_file: str | None = None
    user_data: tuple[str, ...] = ()
    ami_config: tuple[str, ...] = ()
    inject_ca: bool = True

    @property
    def uservmtype(self) -> str:
        """v1's fair-share key, `user:vmtype`."""
        return f"{self.user}:{self.req_vmtype}"

    @cached_property
    def key(self) -> str:
        """A digest of all fields: equal shapes have equal keys."""
        values = {name: getattr(self, name) for name in SHAPE_FIELDS}
        text = json.dumps(values, sort_keys=True, ensure_ascii=True, default=dict)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


SHAPE_FIELDS: tuple[str, ...] = tuple(each.name for each in fields(Shape))


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its shape, v1's other published fields (PARITY 3.4) and, below the line, ours."""

    id: str
    shape: Shape
    cluster_id: int = 0
    proc_id: int = 0
    priority: int = 0
    job_status: int = JobStatus.NEW
    status: str = "Unscheduled"
    override_status: str | None = None
    blocked_clouds: tuple[str, ...] = ()
    block_time: int | None = None
    banned: bool = False
    ban_time: float | None = None
    remote_host: str | None = None
    running_cloud: str = ""
    servertime: int = 0
    jobstarttime: int = 0
    machine_reserved: str = ""
    spool_dir: str | None = None
    x509userproxy: str | None = None
    x509userproxysubject: str | None = None
    original_x509userproxy: str | None = None
    proxy_renew_time: str = "12"
    myproxy_server: str | None = None
    myproxy_server_port: str | None = None
    myproxy_creds_name: str | None = None
    x509userproxy_expiry_time: str | None = None
    # -- ours ------------------------------------------------------------------------------------------------
    failed_boot_reason: tuple[str, ...] = ()
    problem: str = ""
    hold_reason: str = ""
    exit_code: int | None = None
    submitted_at: int = 0
    finished_at: int | None = None
    """`problem` says what is wrong with the job's attributes (such a job is shown and never planned for);
    `hold_reason` also tells why a job was removed."""


PROXY_FIELDS: tuple[str, ...] = (
    *("x509userproxy", "x509userproxysubject", "original_x509userproxy", "proxy_renew_time"),
    *("myproxy_server", "myproxy_server_port", "myproxy_creds_name"),
)
"""What a job says of its X.509 proxy when it is submitted."""


@dataclass(frozen=True, slots=True)
class JobGroup:
    """Jobs that only their ids tell apart, with their number: what the planner sees of the queue."""

    shape: str
    priority: int
    job_status: int
    status: str
    banned: bool
    blocked_clouds: tuple[str, ...]
    jobs: int


@dataclass(frozen=True, slots=True)
class JobDelta:
    """What changed in the batch system since the last call; `complete` means `changed` is the whole queue."""

    changed: tuple[Job, ...] = ()
    gone: tuple[str, ...] = ()
    complete: bool = False
    server_time: int = 0


@dataclass(frozen=True, slots=True)
class JobOrder:
    """One verb for the batch system. `token` makes a repeated order harmless.

    `action` is submit, hold, release or remove; `jobs` are job ids, empty for submit, whose `payload` holds
    `submit` (the description's text), `initialdir` and `owner`.
    """

    token: str
    action: str
    jobs: tuple[str, ...] = ()
    reason: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What became of one JobOrder: `error` is a sentence; for submit `cluster` and `jobs` (a count) are set."""

    token: str
    error: str = ""
    cluster: int = 0
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """One batch slot that has joined (PARITY 5.5). `vm` is the uid of our VM, empty when no VM matches."""

    name: str
    machine_name: str
    vm: str = ""
    job_id: str = ""
    global_job_id: str = ""
    address_startd: str = ""
    address_master: str = ""
    state: str = "Unclaimed"
    activity: str = "Idle"
    vmtype: str = ""
    current_time: int = 0
    entered_state_time: int = 0
    start_req: str = ""
    remote_owner: str = ""
    slot_type: str = ""
    total_slots: int = 1
    retiring: bool = False


@dataclass(frozen=True, slots=True)
class RetireOutcome:
    """What became of retiring one VM's machines; no error means it takes no new jobs and ends after its last."""

    vm: str
    error: str = ""
