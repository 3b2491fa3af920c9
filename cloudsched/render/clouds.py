"""Clouds as text: the pool's overview, the clusters, the dump of their configuration (PARITY 2.1 to 2.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cloudsched.model.clouds import Cloud
from cloudsched.render.cells import cell
from cloudsched.render.fleet import CloudVMs, Fleet, remaining

_CLUSTER_HEADING = (
    f"{'ADDRESS':<25}  {'CLOUD TYPE':^15}  {'VMS/MAX':^15}  {'MEMORY':^12} {'STORAGE':^15}"
    f" {'PRIORITY':^12} {'ENABLED':^12}\n"
)
_OVERVIEW_HEADING = f"{'NAME':<15}  {'CLOUD TYPE':<10} {'NETWORK ADDRESS':<30} {'ENABLED':<10} \n"


def overview(fleet: Fleet) -> str:
    """The pool at a glance, `GET /cloud` (PARITY 2.2)."""
    rows = "".join(_overview_row(each.cloud) for each in fleet.active)
    return f"Resource pool Resources:\n{_OVERVIEW_HEADING}{rows or 'Pool is empty...'}"


def _overview_row(cloud: Cloud) -> str:
    name, kind, address = cell(cloud.name), cell(cloud.cloud_type), cell(cloud.network_address)
    return f"{name:<15}  {kind:<10} {address:<30} {cloud.enabled!s:<10}\n"


def clusters(fleet: Fleet) -> str:
    """Every active cloud, `GET /clusters` (PARITY 2.1, list form)."""
    return clusters_of(map(cluster, fleet.active))


def clusters_of(texts: Iterable[str]) -> str:
    """The same of texts made by `cluster`."""
    return "Clusters in resource pool:\n" + "".join(f"{each}\n" for each in texts)


def cluster_info(name: str, each: CloudVMs) -> str:
    """One cloud under the name the client typed, `GET /clusters/C` (PARITY 2.1, single form)."""
    return f"Cluster Info: {cell(name)}\n{cluster(each)}"


def no_cluster_info(name: str) -> str:
    """What `GET /clusters/C` says of a cloud that is not there (PARITY 1.3, I6)."""
    return f"Cluster Info: {cell(name)}\n{no_cluster(name)}"


def no_cluster(name: str) -> str:
    """v1's sentence for an unknown cloud on the information server (PARITY 1.3, I8b)."""
    return f"Cluster named {cell(name)} not found."


def cluster(each: CloudVMs) -> str:
    """One cloud with its heading."""
    cloud, left = each.cloud, remaining(each)
    address, kind = cell(cloud.network_address)[:24], cell(cloud.cloud_type)
    return (
        f"Cluster: {cell(cloud.name)} \n{_CLUSTER_HEADING}"
        f"{address:^25}  {kind:^15}  {len(each.vms):>5} / {cloud.vm_slots:<8}  {left.memory:^12} {left.storage:^15}"
        f" {cloud.priority:^12} {cloud.enabled!s:^12}\n"
    )


def configuration(sections: Iterable[tuple[str, Mapping[str, str]]]) -> str:
    """Sections as (title, options without secrets), one line each, `GET /cloud/config` (PARITY 2.3)."""
    return "".join(f"{cell(title)} {_options(options)}\n" for title, options in sections)


def _options(options: Mapping[str, str]) -> str:
    return "".join(f"[{cell(name)},{cell(value)}]" for name, value in options.items())
