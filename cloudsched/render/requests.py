"""What was asked of a cloud as a whole beside how far that has come, for JSON documents."""

from __future__ import annotations

from cloudsched.model.clouds import Cloud, Request, Requested
from cloudsched.model.vms import is_leaving
from cloudsched.render.fleet import CloudVMs


def fleet(each: CloudVMs) -> dict[str, object]:
    """What is wanted of a cloud, why, by whom and until when; its state, since when it is so, and its VMs."""
    cloud = each.cloud
    request = cloud.request or Request(_configured(cloud), since=0)
    if cloud.removed and request.requested is not Requested.DRAINED:
        # What was asked before it left the file holds again once it is back; until then the file has the last word.
        request = Request(Requested.DRAINED, since=0)
    ours = (*each.vms, *each.retired)
    return {
        "requested": request.requested,
        "since": request.since or None,
        "by": request.by,
        "reason": request.reason,
        "until": request.until,
        "then": request.then,
        "state": _state(cloud, request, len(ours)),
        "reached_at": request.reached_at,
        "vms": len(ours),
        "leaving": sum(map(is_leaving, ours)),
        "released": len(each.released),
    }


def _configured(cloud: Cloud) -> Requested:
    """What the configuration wants of a cloud of which nobody has asked for anything."""
    if cloud.removed:
        return Requested.DRAINED
    return Requested.ENABLED if cloud.enabled or cloud.connection_problem else Requested.DISABLED


def _state(cloud: Cloud, request: Request, vms: int) -> str:
    if request.requested is Requested.ENABLED:
        return "enabled" if cloud.enabled else "suspended"
    if request.requested is Requested.DRAINED:
        return "draining"
    return "emptying" if vms else "empty"
