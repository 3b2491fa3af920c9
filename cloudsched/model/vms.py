"""A VM as this installation knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class VM:
    """One VM: v1's 42 published fields (PARITY 3.1) and, below the line, ours.

    `uid` is the unique name under which the VM was requested; a cloud's listing is matched by it. Until the cloud
    has told its own id, `id` equals `uid`.
    """

    uid: str
    cloud: str
    id: str = ""
    name: str = "Default-Image"
    spot_id: str = ""
    vmtype: str = "default"
    user: str = ""
    hostname: str = ""
    alt_hostname: str | None = None
    ipaddress: str = ""
    ssh_port: int = 22
    status: str = "Starting"
    override_status: str | None = None
    cloudtype: str = ""
    clusteraddr: str = ""
    clusterport: str = ""
    network: str | None = None
    image: Any = ""
    flavor: str = ""
    memory: int = 0
    cpucores: int = 1
    storage: int = 0
    keep_alive: int = 0
    job_per_core: bool = False
    initialize_time: int = 0
    last_state_change: int | None = None
    startup_time: int | None = None
    lastpoll: int | None = None
    idle_start: int | None = None
    errorcount: int = 0
    errorconnect: float | None = None
    condorname: str | None = None
    condoraddr: str | None = None
    condormasteraddr: str | None = None
    proxy_file: str | None = None
    myproxy_creds_name: str | None = None
    myproxy_server: str | None = None
    myproxy_server_port: str | None = None
    myproxy_renew_time: str = "12"
    x509userproxy_expiry_time: str = "None"
    force_retire: bool = False
    failed_retire: bool = False
    job_run_times: tuple[int, ...] = ()
    # -- ours ------------------------------------------------------------------------------------------------
    position: int = 0
    shape: str = ""
    retired: bool = False
    released: bool = False
    destroying: bool = False
    reason: str = ""
    requested_until: int | None = None
    """`position` is creation order. `retired`: drains after a quota cut or its cloud's removal and gives no slot back
    (PARITY 5.1 return_resources). `released`: an operator took it out of our hands; it runs on, listings skip it.
    `destroying`: the cloud was asked to destroy it, for `reason`. `requested_until`: no listing has shown it yet; it
    counts as capacity until this time."""

    @property
    def uservmtype(self) -> str:
        """v1's fair-share key, `user:vmtype`."""
        return f"{self.user}:{self.vmtype}"

    @property
    def shown_status(self) -> str:
        """What tables show: the override wins over the status (PARITY 2.5)."""
        return self.override_status if self.override_status is not None else self.status


RETIRING = "Retiring"


def is_retiring(vm: VM) -> bool:
    """Whether the VM finishes its jobs and takes no new ones."""
    return vm.override_status == RETIRING


def is_leaving(vm: VM) -> bool:
    """Whether the VM is on its way out: retiring, drained or being destroyed."""
    return vm.destroying or vm.retired or is_retiring(vm)


OWN_FIELDS = frozenset(
    {"uid", "cloud", "position", "shape", "retired", "released", "destroying", "reason", "requested_until"}
)
"""The fields that v1 did not publish."""
