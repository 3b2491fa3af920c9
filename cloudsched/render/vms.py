"""VMs as text: the table, one VM, and what v1 called metrics (PARITY 2.4 to 2.7, 2.11)."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable

from cloudsched.model.jobs import Machine
from cloudsched.model.vms import VM
from cloudsched.render.cells import cell
from cloudsched.render.fleet import CloudVMs, Fleet

Rows = tuple[str, str]

_HEADING = f"{'ID':<6} {'HOSTNAME':<25} {'VMTYPE':<20} {'USER':<10} {'STATUS':<12} {'CLUSTER':<23}\n"

# The order in which CPython 2's dictionary listed the states v1 counted (PARITY 2.6).
_V1_STATES = ("ConnectionRefused", "NoProxy", "Retiring", "ExpiredProxy", "Running", "Error", "Starting")

_UNREACHABLE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "0.0.0.0/32",
        "::/127",
        "fe80::/10",
        "fc00::/7",
    )
)


def table(fleet: Fleet) -> str:
    """The VM table with its totals, `GET /vms`, or of one cloud's fleet (PARITY 2.5, B-30)."""
    return table_of(fleet, rows)


def table_of(fleet: Fleet, rows_of: Callable[[CloudVMs], Rows]) -> str:
    """The same of the rows of each cloud, made by `rows`."""
    rows = "".join(rows_of(each)[0] for each in fleet.active)
    retiring = "".join(rows_of(each)[1] for each in (*fleet.active, *fleet.removed))
    total = f"Total VMs: {sum(len(each.vms) for each in fleet.active)}. Total Clouds: {len(fleet.active)}"
    drain = f"\n\nRetiring VMs from removing resources:\n{retiring}" if retiring else ""
    return f"{_HEADING}{rows}\n{total}{drain}"


def listed(vms: Iterable[VM], total: int, clouds: int) -> str:
    """Some of the VMs in the same table; `total` and `clouds` are how many there are in all."""
    return f"{_HEADING}{''.join(map(_table_row, vms))}\nTotal VMs: {total}. Total Clouds: {clouds}"


def rows(each: CloudVMs) -> Rows:
    """The rows of a cloud's VMs: those that count, those that drain."""
    return "".join(map(_table_row, each.vms)), "".join(map(_table_row, each.retired))


def info(vm_id: str, vm: VM) -> str:
    """One VM under the id the client typed, `GET /clusters/C/vms/ID` (PARITY 2.4)."""
    return f"VM Info for VM id: {cell(vm_id)}\n{_row(vm)}\n"


def no_info(vm_id: str, unknown_cloud: str | None = None) -> str:
    """What the same URL says when the VM, or even its cloud, is not there (PARITY 1.3, I9)."""
    cloud = "" if unknown_cloud is None else f"Cluster {cell(unknown_cloud)} not found.\n"
    return f"VM Info for VM id: {cell(vm_id)}\n{cloud}VM with id: {cell(vm_id)} not found.\n"


def _table_row(vm: VM) -> str:
    return f"{_row(vm)} {cell(vm.cloud):<15}\n"


def _row(vm: VM) -> str:
    host = cell(vm.hostname or vm.ipaddress) + (f":{vm.ssh_port}" if vm.ssh_port != 22 else "")
    vmtype, user, status = cell(vm.vmtype), cell(vm.user), cell(vm.shown_status)
    return f"{cell(vm.id or vm.spot_id):<6} {host:<25} {vmtype:<20} {user:<10} {status:<12}"


def states(vms: Iterable[VM]) -> dict[str, int]:
    """How many VMs show each status: v1's seven in v1's order, then any other by name (PARITY 2.6, B-12)."""
    counts = Counter(vm.shown_status for vm in vms)
    order = [state for state in _V1_STATES if state in counts] + sorted(counts.keys() - set(_V1_STATES))
    return {state: counts[state] for state in order}


def condensed(vms: Iterable[VM]) -> str:
    """`COUNT STATE,` for each status shown, `metric=all` (PARITY 2.6)."""
    return "".join(f"{count} {cell(state)}," for state, count in states(vms).items())


def no_condensed(name: str) -> str:
    """What `metric=all` says of a cloud that is not there (PARITY 1.3, I8a)."""
    return f"Could not find cloud: {cell(name)} - check cloud_status for list of available clouds"


def missing(machines: Iterable[Machine]) -> str:
    """Batch machines that belong to no VM of ours, `metric=missing` (PARITY 2.7)."""
    rows = "".join(f"{cell(each.machine_name)} : {cell(each.address_startd)}\n" for each in machines)
    return f"List of Condor Entries with no match in Cloud Scheduler(host:startd):\n{rows}"


def startup_seconds(each: CloudVMs) -> tuple[list[int], int]:
    """Seconds from request to Running per VM of a cloud, 0 while unknown, and their integer average (PARITY 2.7)."""
    seconds = [vm.startup_time or 0 for vm in each.vms]
    return seconds, _average(seconds)


def startup_times(clouds: Iterable[CloudVMs]) -> str:
    """The clouds' startup times on a single line, `metric=startup_time` (PARITY 2.7)."""
    return "".join(_startup(each) for each in clouds)


def _startup(each: CloudVMs) -> str:
    seconds, average = startup_seconds(each)
    listed = "".join(f"{value}, " for value in seconds)
    return f"Cluster: {cell(each.cloud.name)} {listed}" + (f" Avg: {average} " if seconds else "")


def run_seconds(vm: VM) -> int:
    """The integer average of a VM's last ten job run times in seconds, 0 without any (PARITY 2.7)."""
    return _average(vm.job_run_times[-10:])


def job_run_times(vms: Iterable[VM]) -> str:
    """The average run time of jobs per VM, `metric=job_run_times` (PARITY 2.7)."""
    return "Run Times of Jobs on VMs\n" + "".join(f"{cell(vm.hostname)} : avg {run_seconds(vm):.6f}\n" for vm in vms)


def _average(seconds: list[int] | tuple[int, ...]) -> int:
    return sum(seconds) // len(seconds) if seconds else 0


def public_hosts(vms: Iterable[VM]) -> list[tuple[str, str]]:
    """(host, address) of the VMs that can be reached from outside.

    Left out: VMs without an address, and private, loopback and link-local addresses (B-29). A VM that has no host
    name yet goes by its id: munin's configuration has no use for a host called `[]`.
    """
    return [(vm.hostname or vm.id or vm.spot_id, vm.ipaddress) for vm in vms if _is_reachable(vm.ipaddress)]


def ips(vms: Iterable[VM]) -> str:
    """A munin host section per VM that can be reached, `GET /ips` (PARITY 2.11)."""
    return "".join(f"[{cell(host)}]\n\taddress {cell(address)}\n" for host, address in public_hosts(vms))


def _is_reachable(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return False
    inner = getattr(parsed, "ipv4_mapped", None) or parsed
    return not any(inner in network for network in _UNREACHABLE)
