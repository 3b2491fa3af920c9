"""Until when a plan stays as it is if nothing changes but the time: the next moment that any rule waits for.

Every rule that compares something with `Snapshot.now` has its moments here. One too many costs a plan; one too few
would have a VM or a cloud wait for the next change.
"""

from __future__ import annotations

from collections.abc import Iterator

from cloudsched.config.options import Global
from cloudsched.model.clouds import Cloud
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.boots import TURN_SECONDS
from cloudsched.policy.proxies import ends_at
from cloudsched.policy.sacrifice import SETTLE_SECONDS
from cloudsched.policy.troubles import FORGOTTEN_SECONDS
from cloudsched.policy.vms import STARTING


def horizon(snapshot: Snapshot, settings: Global) -> float:
    """The first moment, now or later, at which the plan of an otherwise equal snapshot may be another one."""
    turn = float((snapshot.now // TURN_SECONDS + 1) * TURN_SECONDS)
    return min((turn, *(each for each in _moments(snapshot, settings) if each >= snapshot.now)))


def _moments(snapshot: Snapshot, settings: Global) -> Iterator[float]:
    yield from (block.until for block in snapshot.blocks)
    for cloud in snapshot.clouds:
        yield from _of_cloud(cloud, settings)
    boot_timeouts = {cloud.name: cloud.boot_timeout for cloud in snapshot.clouds}
    after = (settings.condor_register_time_limit, SETTLE_SECONDS, TURN_SECONDS)
    oldest = snapshot.now - max(after)
    for vm in snapshot.vms:
        changed_at = max(vm.initialize_time, vm.last_state_change or 0)
        if changed_at >= oldest:
            yield from (changed_at + seconds for seconds in after)
        if vm.status in STARTING:
            yield vm.initialize_time + boot_timeouts.get(vm.cloud, 0)
        if vm.idle_start is not None:
            yield vm.idle_start + vm.keep_alive
        if vm.requested_until is not None:
            yield vm.requested_until
        if (end := ends_at(vm.x509userproxy_expiry_time)) is not None:
            yield end - settings.vm_proxy_shutdown_threshold


def _of_cloud(cloud: Cloud, settings: Global) -> Iterator[float]:
    if cloud.request is not None and cloud.request.until is not None:
        yield cloud.request.until
    if cloud.errorconnect is not None:
        yield cloud.errorconnect + settings.vm_connection_fail_threshold
        yield cloud.errorconnect + settings.vm_connection_fail_threshold + cloud.connection_fail_disable_time
    if cloud.trouble is not None and cloud.trouble.next_try is not None:
        yield cloud.trouble.next_try
        yield cloud.trouble.next_try + FORGOTTEN_SECONDS
