"""What is left of a plan once wishes have been answered that came while it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from cloudsched.model.actions import Action, Boot, Destroy, Drop, Plan, Retire, SetCloud, SetVM
from cloudsched.model.snapshot import Snapshot

T = TypeVar("T")

_BOUNDS = ("user_limits", "cloud_aliases", "banned_images", "blocks")
"""What bounds all boots."""


def remaining(plan: Plan, planned_on: Snapshot, now: Snapshot) -> Plan:
    """The actions that nothing has changed for since they were planned; the next plan sees to the others.

    Of a VM or cloud that is not the same object in both snapshots something has changed, and of a cloud with such a
    VM: none is booted on a cloud that was disabled or on which a VM counts again. What answers a wish that has been
    answered is left out.
    """
    vms = _changed(planned_on.vms, now.vms)
    clouds = {cloud.name for cloud in _changed(planned_on.clouds, now.clouds)} | {vm.cloud for vm in vms}
    changes = _Changes(
        wishes=frozenset(wish.id for wish in now.wishes),
        vms=frozenset(vm.uid for vm in vms),
        clouds=frozenset(clouds),
        bounds=any(getattr(planned_on, name) != getattr(now, name) for name in _BOUNDS),
    )
    return tuple(action for action in plan if not changes.concern(action))


@dataclass(frozen=True, slots=True)
class _Changes:
    """`wishes` are those that still wait; `vms` and `clouds` those that have changed, by uid and name."""

    wishes: frozenset[int]
    vms: frozenset[str]
    clouds: frozenset[str]
    bounds: bool

    def concern(self, action: Action) -> bool:
        wish = getattr(action, "wish", None)
        if wish is not None and wish not in self.wishes:
            return True
        match action:
            case Boot():
                return self.bounds or action.cloud in self.clouds
            case SetCloud():
                return action.name in self.clouds
            case Retire() | Destroy() | Drop() | SetVM():
                return action.uid in self.vms
            case _:
                return False


def _changed(before: Sequence[T], after: Sequence[T]) -> list[T]:
    """What is not the same object in both, from both."""
    if before is after:
        return []
    old, new = ({id(each): each for each in every} for every in (before, after))
    return [old[key] for key in old.keys() - new.keys()] + [new[key] for key in new.keys() - old.keys()]
