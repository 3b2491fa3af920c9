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
    clouds = {cloud.name: cloud for cloud in snapshot.clouds}
    vms = {vm.uid: vm for vm in snapshot.vms}
    for action in actions:
        _do(action, clouds, vms)
    kept = tuple(vm for vm in vms.values() if not vm.released)
    return replace(snapshot, clouds=tuple(clouds.values()), vms=kept)


def _do(action: Action, clouds: dict[str, Cloud], vms: dict[str, VM]) -> None:
    match action:
        case SetCloud():
            clouds[action.name] = replace(clouds[action.name], **action.fields)
        case SetVM():
            _change(vms, action.uid, **action.fields)
        case Retire():
            _change(vms, action.uid, override_status=RETIRING, retired=vms[action.uid].retired or action.drain)
        case Destroy():
            _change(vms, action.uid, destroying=True)
        case Drop():
            del vms[action.uid]
        case _:
            pass


def _change(vms: dict[str, VM], uid: str, **fields: Any) -> None:
    # A VM that was forgotten is in no snapshot, and may be taken back.
    if uid in vms:
        vms[uid] = replace(vms[uid], **fields)
