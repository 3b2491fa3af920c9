"""What a cloud's listing makes of the VMs we know: pure functions from values to values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from cloudsched.model.clouds import Cloud, ObservedVM
from cloudsched.model.vms import VM

_BAD = ("Error", "Shutdown")
_MANY = 100


@dataclass(frozen=True, slots=True)
class Followed:
    """VMs as they are after a listing, those that are gone for good, and those nobody had recorded."""

    vms: tuple[VM, ...] = ()
    gone: tuple[VM, ...] = ()
    strangers: tuple[ObservedVM, ...] = ()


def follow(known: Sequence[VM], listed: Sequence[ObservedVM], departed: Collection[str], now: int) -> Followed:
    """Match one cloud's listing with its VMs, by uid, else by provider id (DESIGN 2).

    `departed` are uids that were destroyed a short while ago and may still be listed.
    """
    by_uid = {seen.uid: seen for seen in listed if seen.uid}
    by_id = {seen.id: seen for seen in listed if seen.id}
    matched: list[VM] = []
    gone: list[VM] = []
    for vm in known:
        seen = by_uid.get(vm.uid) or by_id.get(vm.id)
        if seen is not None:
            matched.append(_seen(vm, seen, now))
        elif vm.destroying or vm.released:
            gone.append(vm)
        elif vm.requested_until is None:
            matched.append(_missing(vm, now))
    names = {vm.uid for vm in known} | set(departed)
    ids = {vm.id for vm in known}
    strangers = tuple(seen for seen in listed if seen.uid not in names and seen.id not in ids)
    return Followed(tuple(matched), tuple(gone), strangers)


def adopted(cloud: Cloud, seen: ObservedVM, position: int, now: int) -> VM:
    """A VM of this installation that the state does not know (it was lost, or loaded from an older dump)."""
    tags: Mapping[str, str] = seen.tags
    vm = VM(
        uid=seen.uid or seen.id,
        cloud=cloud.name,
        id=seen.id,
        user=tags.get("user", ""),
        vmtype=tags.get("vmtype", "default"),
        memory=_number(tags.get("memory"), 0),
        cpucores=_number(tags.get("cpucores"), 1),
        storage=_number(tags.get("storage"), 0),
        cloudtype=cloud.cloud_type,
        clusteraddr=cloud.network_address,
        initialize_time=now,
        position=position,
        reason="adopted: the cloud lists it as ours",
    )
    return _seen(vm, seen, now)


def _seen(vm: VM, seen: ObservedVM, now: int) -> VM:
    changed = seen.status != vm.status
    started = seen.status == "Running" and vm.startup_time is None
    return replace(
        vm,
        id=seen.id or vm.id,
        hostname=seen.hostname or vm.hostname,
        alt_hostname=seen.alt_hostname or vm.alt_hostname,
        ipaddress=seen.ipaddress or vm.ipaddress,
        spot_id=seen.spot_id or vm.spot_id,
        ssh_port=seen.ssh_port,
        status=seen.status,
        last_state_change=now if changed else vm.last_state_change,
        startup_time=now - vm.initialize_time if started else vm.startup_time,
        errorcount=min(vm.errorcount + 1, _MANY) if seen.status in _BAD else 0,
        reason=seen.fault or vm.reason,
        requested_until=None,
    )


def _missing(vm: VM, now: int) -> VM:
    """A VM that was listed before and is not now: an error, as in v1 (PARITY 5.2), that counts up to its end."""
    changed = vm.status != "Error"
    return replace(
        vm,
        status="Error",
        errorcount=min(vm.errorcount + 1, _MANY),
        last_state_change=now if changed else vm.last_state_change,
        reason="the cloud no longer lists it",
    )


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() else otherwise
