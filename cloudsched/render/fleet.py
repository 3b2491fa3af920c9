"""Clouds with their VMs told apart: what every view of either starts from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from cloudsched.model.clouds import Cloud, Origin
from cloudsched.model.vms import VM


@dataclass(frozen=True)
class CloudVMs:
    """A cloud and its VMs in creation order.

    `vms` count against the allowance, `retired` drain and give nothing back (PARITY 5.1), `released` only run on.
    """

    cloud: Cloud
    vms: tuple[VM, ...] = ()
    retired: tuple[VM, ...] = ()
    released: tuple[VM, ...] = ()

    def vm(self, vm_id: str) -> VM | None:
        """The VM of that id, else spot request (PARITY 6.4), else uid; retired and released ones too."""
        return self._by_name.get(vm_id)

    @cached_property
    def _by_name(self) -> Mapping[str, VM]:
        """The VMs by every name they have: of two with one, what counts more in `vm`, then who comes first."""
        known = (*self.vms, *self.retired, *self.released)
        return {getattr(vm, key): vm for key in ("uid", "spot_id", "id") for vm in reversed(known)}


@dataclass(frozen=True, slots=True)
class Fleet:
    """`active` clouds are configured, `removed` ones are not and drain; both in the order of the file."""

    active: tuple[CloudVMs, ...] = ()
    removed: tuple[CloudVMs, ...] = ()

    @property
    def vms(self) -> Iterator[VM]:
        """The VMs v1 counted: of active clouds, neither retired nor released."""
        return (vm for each in self.active for vm in each.vms)

    @property
    def retired(self) -> Iterator[VM]:
        """VMs that drain after a quota cut or with their removed cloud."""
        return (vm for each in (*self.active, *self.removed) for vm in each.retired)

    def find(self, name: str) -> CloudVMs | None:
        """The cloud of that name: exact first, then whatever the case (PARITY 10, B-09); active before removed."""
        every = (*self.active, *self.removed)
        folded = name.casefold()
        exact = (each for each in every if each.cloud.name == name)
        alike = (each for each in every if each.cloud.name.casefold() == folded)
        return next(exact, None) or next(alike, None)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a cloud has left: slots, MB and GB."""

    vm_slots: int
    memory: int
    storage: int


def remaining(each: CloudVMs) -> Remaining:
    """What the cloud's allowance leaves after its VMs; never negative. Retired and released VMs take nothing."""
    cloud = each.cloud
    return Remaining(
        vm_slots=max(0, cloud.vm_slots - len(each.vms)),
        memory=max(0, cloud.memory_mb - sum(vm.memory for vm in each.vms)),
        storage=max(0, cloud.storage_gb - sum(vm.storage for vm in each.vms)),
    )


def fleet(clouds: Iterable[Cloud], vms: Iterable[VM]) -> Fleet:
    """Sort clouds and VMs into v1's order and give each cloud its own."""
    of_cloud: dict[str, list[VM]] = defaultdict(list)
    for vm in vms:
        of_cloud[vm.cloud].append(vm)
    return fleet_of(cloud_vms(cloud, of_cloud[cloud.name]) for cloud in clouds)


def fleet_of(clouds: Iterable[CloudVMs]) -> Fleet:
    """Clouds with their VMs, in v1's order."""
    every = sorted(clouds, key=lambda each: each.cloud.position)
    return Fleet(
        active=tuple(each for each in every if not each.cloud.removed),
        removed=tuple(each for each in every if each.cloud.removed and (each.retired or _is_by_api(each.cloud))),
    )


def _is_by_api(cloud: Cloud) -> bool:
    """One of these is there until the wish to delete it is done; of the others nothing is left to show."""
    return cloud.origin is Origin.API


def cloud_vms(cloud: Cloud, unsorted: Iterable[VM]) -> CloudVMs:
    """A cloud and its VMs told apart; every VM of a removed cloud is retired."""
    vms = sorted(unsorted, key=lambda vm: vm.position)
    ours = [vm for vm in vms if not vm.released]
    return CloudVMs(
        cloud,
        vms=tuple(vm for vm in ours if not (vm.retired or cloud.removed)),
        retired=tuple(vm for vm in ours if vm.retired or cloud.removed),
        released=tuple(vm for vm in vms if vm.released),
    )
