"""What a cloud's listing makes of the VMs we know: pure functions from values to values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from cloudsched.model.clouds import Cloud, ObservedVM
from cloudsched.model.vms import VM

_BAD = ("Error", "Shutdown")
_MANY = 100
_TELLING = [name for name in ObservedVM.__dataclass_fields__ if name != "tags"]
telling: Callable[[ObservedVM], tuple[Any, ...]] = attrgetter(*_TELLING)
"""What a listing tells of a VM that is on record already, to hold the next one against."""


@dataclass(frozen=True, slots=True)
class Followed:
    """VMs that a listing changes, as they are now, those that are gone for good, and those nobody had recorded."""

    vms: tuple[VM, ...] = ()
    gone: tuple[VM, ...] = ()
    strangers: tuple[ObservedVM, ...] = ()


def follow(known: Sequence[VM], listed: Sequence[ObservedVM], now: int) -> Followed:
    """Match one cloud's listing with its VMs, by uid, else by provider id (DESIGN 2).

    Among the strangers are those that were destroyed a short while ago and are listed still.
    """
    by_uid = {seen.uid: seen for seen in listed if seen.uid}
    by_id: Mapping[str, ObservedVM] | None = None
    changed: list[VM] = []
    gone: list[VM] = []
    met = 0
    for vm in known:
        seen = by_uid.get(vm.uid)
        if seen is None:
            by_id = by_id if by_id is not None else {seen.id: seen for seen in listed if seen.id}
            seen = by_id.get(vm.id)
        if seen is not None:
            met += 1
            if not _is_known(vm, seen):
                changed.append(_seen(vm, seen, now))
        elif vm.destroying or vm.released:
            gone.append(vm)
        elif vm.requested_until is None:
            changed.append(_missing(vm, now))
    # VMs that were all met by their own names are as many as the listing's entries: nobody else is in it.
    all_met = by_id is None and met == len(by_uid) == len(listed)
    strangers = () if all_met else _strangers(known, listed)
    return Followed(tuple(changed), tuple(gone), strangers)


def _strangers(known: Sequence[VM], listed: Sequence[ObservedVM]) -> tuple[ObservedVM, ...]:
    names, ids = {vm.uid for vm in known}, {vm.id for vm in known}
    return tuple(seen for seen in listed if seen.uid not in names and seen.id not in ids)


def _is_known(vm: VM, seen: ObservedVM) -> bool:
    """Whether a listing tells nothing of a VM that is not on record: most tell nothing, so this comes first."""
    return (
        seen.status == vm.status
        and vm.requested_until is None
        and vm.errorcount == 0
        and seen.status not in _BAD
        and (vm.startup_time is not None or seen.status != "Running")
        and seen.ssh_port == vm.ssh_port
        and (not seen.id or seen.id == vm.id)
        and (not seen.hostname or seen.hostname == vm.hostname)
        and (not seen.ipaddress or seen.ipaddress == vm.ipaddress)
        and (not seen.alt_hostname or seen.alt_hostname == vm.alt_hostname)
        and (not seen.spot_id or seen.spot_id == vm.spot_id)
        and (not seen.fault or seen.fault == vm.reason)
    )


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
