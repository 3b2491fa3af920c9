"""Which VMs end, and why: the rules of v1's Cleanup and of quota cuts (PARITY 1.4, 6.5, 6.6a, 9.2).

VMs that a call is running for, that are being destroyed or whose cloud does not answer are left alone (B-34).
Sharing room between users is `balance`'s work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloudsched.config.options import Global
from cloudsched.model.actions import Action, Destroy, Drop, Plan, Retire
from cloudsched.model.allowance import beyond
from cloudsched.model.clouds import Cloud, Origin
from cloudsched.model.jobs import Machine
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM, is_retiring
from cloudsched.policy.machines import Slots, is_idle
from cloudsched.policy.proxies import ends_at
from cloudsched.policy.vms import STARTING


def endings(snapshot: Snapshot, settings: Global, slots: Slots) -> Plan:
    """Destroy VMs that failed, never came up or have finished retiring (PARITY 6.5 steps 4, 5.5, 5.6; 6.3)."""
    clouds = {cloud.name: cloud for cloud in snapshot.clouds}
    found = (_ending(vm, clouds[vm.cloud], snapshot, settings, slots) for vm in _within_reach(snapshot))
    return tuple(action for action in found if action is not None)


def _ending(vm: VM, cloud: Cloud, snapshot: Snapshot, settings: Global, slots: Slots) -> Action | None:
    now = snapshot.now
    if vm.requested_until is not None:
        return _unlisted(vm) if now > vm.requested_until else None
    if _proxy_ends(vm, settings, now):
        return Destroy(vm.uid, f"VM's proxy ends at {vm.x509userproxy_expiry_time} UTC.")
    if vm.status in STARTING and 0 < cloud.boot_timeout < now - vm.initialize_time:
        return Destroy(vm.uid, f"VM has not booted within {cloud.boot_timeout} s.", failed_image=True)
    if vm.errorcount >= settings.polling_error_threshold:
        return Destroy(vm.uid, "VM is in an Error state.")
    if not snapshot.machines_known or slots.get(vm.uid):
        return None
    if is_retiring(vm):
        return None if vm.uid in snapshot.unseen else Destroy(vm.uid, "VM Finished Retiring.")
    limit = settings.condor_register_time_limit
    if vm.status == "Running" and now - max(vm.initialize_time, vm.last_state_change or 0) > limit:
        return Destroy(vm.uid, f"VM has not joined the batch system within {limit} s.", failed_image=True)
    return None


def _proxy_ends(vm: VM, settings: Global, now: int) -> bool:
    """Whether a proxy that should have been renewed is about to end (PARITY 6.5 step 3)."""
    end = ends_at(vm.x509userproxy_expiry_time) if settings.vm_proxy_refresher_interval > 0 else None
    return end is not None and end - now < settings.vm_proxy_shutdown_threshold


def _unlisted(vm: VM) -> Action:
    reason = "No listing of its cloud has shown the VM in time."
    if vm.id in ("", vm.uid):
        return Drop(vm.uid, reason)
    return Destroy(vm.uid, reason)


def drains(snapshot: Snapshot, slots: Slots) -> Plan:
    """Drain VMs of removed clouds, and the newest of those beyond their cloud's allowance (PARITY 1.4, 9.2).

    VMs are counted oldest first, those in Error last; the ones that no longer fit the allowance go. VMs that are
    leaving anyway are neither counted nor asked again, except those drained by record only: telling the batch system
    has failed or was cut off.
    """
    if not snapshot.machines_known:
        return ()
    there: dict[str, list[VM]] = {}
    going = [(vm, vm.reason) for vm in snapshot.vms if vm.retired and not is_retiring(vm)]
    for vm in snapshot.vms:
        there.setdefault(vm.cloud, []).append(vm)
    for cloud in snapshot.clouds:
        going += ((vm, _why(cloud)) for vm in beyond(cloud, there.get(cloud.name, ())))
    at_hand = {vm.uid for vm in _within_reach(snapshot)} if going else set()
    return tuple(_drain(vm, reason, slots.get(vm.uid, ())) for vm, reason in going if vm.uid in at_hand)


def _why(cloud: Cloud) -> str:
    if cloud.removed:
        why = "is being deleted" if cloud.origin is Origin.API else "is no longer configured"
        return f"Cloud {cloud.name} {why}."
    return f"Cloud {cloud.name} has no allowance for it any more."


def _drain(vm: VM, reason: str, slots: Sequence[Machine]) -> Action:
    # One that runs may have joined, and have been given a job, since slots were last asked for.
    is_joining = vm.status == "Running"
    return Retire(vm.uid, reason, drain=True) if slots or is_joining else Destroy(vm.uid, reason)


def unneeded(snapshot: Snapshot, slots: Slots, spare: frozenset[str]) -> Plan:
    """Retire idle VMs that no waiting job needs, once their keep-alive is over (PARITY 6.5 step 8, 6.6a, 6.7).

    `spare` are the VMs that matching jobs to VMs left over, so exactly the excess goes (B-45).
    """
    if not snapshot.machines_known:
        return ()
    return tuple(
        Retire(vm.uid, f"VM has been idle for {snapshot.now - vm.idle_start} s and no job needs it.")
        for vm in _within_reach(snapshot)
        if vm.uid in spare
        and vm.idle_start is not None
        and snapshot.now - vm.idle_start >= vm.keep_alive
        and is_idle(slots.get(vm.uid, ()))
    )


def _within_reach(snapshot: Snapshot) -> Iterator[VM]:
    """The VMs on which an order can be carried out now."""
    reachable = {
        cloud.name
        for cloud in snapshot.clouds
        if cloud.unusable is None and not cloud.connection_problem and cloud.name not in snapshot.stale_clouds
    }
    return (
        vm for vm in snapshot.vms if vm.cloud in reachable and not vm.destroying and vm.uid not in snapshot.in_flight
    )
