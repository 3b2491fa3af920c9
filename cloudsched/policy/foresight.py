"""What a snapshot looks like once actions are done.

Each stage of a plan decides on what the stages before it leave behind, so no two of them contradict each other:
a VM that is destroyed is not also retired, and a cloud that was just disabled takes no boots.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cloudsched.model.actions import Action, Destroy, Drop, Retire, SetCloud, SetVM
from cloudsched.model.clouds import Cloud
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import RETIRING, VM


def foresee(snapshot: Snapshot, actions: Iterable[Action]) -> Snapshot:
    """The snapshot with the effects that actions have on VMs and clouds; all others change nothing here."""
    ahead = Ahead(snapshot)
    ahead.do(actions)
    return ahead.snapshot()


class Ahead:
    """A snapshot that actions are done to, one after the other; what nothing is done to stays the same object."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._clouds: dict[str, Cloud] | None = None
        self._vms: dict[str, VM] | None = None

    @property
    def clouds(self) -> dict[str, Cloud]:
        """The clouds as they are by now, by name."""
        if self._clouds is None:
            self._clouds = {cloud.name: cloud for cloud in self._snapshot.clouds}
        return self._clouds

    @property
    def vms(self) -> dict[str, VM]:
        """The VMs as they are by now, by uid."""
        if self._vms is None:
            self._vms = {vm.uid: vm for vm in self._snapshot.vms}
        return self._vms

    def is_empty(self, cloud: str) -> bool:
        """Whether no VM of ours is left on a cloud; those that were forgotten do not count."""
        return all(vm.cloud != cloud or vm.released for vm in self.vms.values())

    def has_released(self, cloud: str) -> bool:
        """Whether VMs that were forgotten are on a cloud."""
        return cloud in self._snapshot.released_on

    def do(self, actions: Iterable[Action]) -> None:
        """Have these done too."""
        for action in actions:
            self._do(action)

    def snapshot(self) -> Snapshot:
        """What all of it comes to."""
        found: dict[str, Any] = {}
        if self._clouds is not None:
            found["clouds"] = tuple(self._clouds.values())
        if self._vms is not None:
            found["vms"] = tuple(vm for vm in self._vms.values() if not vm.released)
        return replace(self._snapshot, **found) if found else self._snapshot

    def _do(self, action: Action) -> None:
        match action:
            case SetCloud():
                self.clouds[action.name] = replace(self.clouds[action.name], **action.fields)
            case SetVM():
                self._change(action.uid, **action.fields)
            case Retire():
                drained = self.vms[action.uid].retired or action.drain
                self._change(action.uid, override_status=RETIRING, retired=drained)
            case Destroy():
                self._change(action.uid, destroying=True)
            case Drop():
                del self.vms[action.uid]
            case _:
                pass

    def _change(self, uid: str, **fields: Any) -> None:
        # A VM that was forgotten is in no snapshot, and may be taken back.
        if uid in self.vms:
            self.vms[uid] = replace(self.vms[uid], **fields)
