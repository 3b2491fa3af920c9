"""What is asked of clouds as a whole: when it is reached, and what ends by itself (docs/clouds.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cloudsched.model.actions import Plan, SetCloud
from cloudsched.model.clouds import Cloud, Request, Requested
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.wishes import Wish

SWITCH = {True: Requested.ENABLED, False: Requested.DISABLED}


def request_of(wish: Wish) -> Request:
    """What a wish to enable or disable a cloud asks for."""
    value = wish.value if isinstance(wish.value, dict) else {"enabled": wish.value}
    until = value.get("until")
    return Request(
        SWITCH[bool(value["enabled"])],
        since=wish.made_at,
        by=wish.actor,
        reason=wish.reason,
        until=until,
        then=None if until is None else SWITCH[bool(value["then"])],
    )


def leaving(wish: Wish) -> Request:
    """What a wish that a cloud be gone asks for."""
    return Request(Requested.DRAINED, since=wish.made_at, by=wish.actor, reason=wish.reason)


def is_enabled_by(wish: Wish, now: int) -> bool:
    """Whether a cloud is enabled as far as its last wish for that goes."""
    request = request_of(wish)
    over = request.until is not None and request.until <= now
    return (request.then if over else request.requested) is Requested.ENABLED


def overdue(snapshot: Snapshot) -> Plan:
    """End what was asked for a time that is over; each is an act of our own, with its reason."""
    return tuple(
        SetCloud(cloud.name, _then(cloud, cloud.request, cloud.request.until), _over(cloud.request))
        for cloud in snapshot.clouds
        if cloud.request is not None and cloud.request.until is not None and cloud.request.until <= snapshot.now
    )


def _then(cloud: Cloud, request: Request, until: int) -> dict[str, Any]:
    then = request.then or request.requested
    fields: dict[str, Any] = {"request": Request(then, since=until)}
    if cloud.removed or then is request.requested:
        return fields
    is_enabled = then is Requested.ENABLED and cloud.unusable is None
    return fields | {"enabled": is_enabled, "connection_problem": False, "errorconnect": None}


def _over(request: Request) -> str:
    why = f": {request.reason}" if request.reason else ""
    return f"It was {request.requested} for a time that is over{why}"


def arrivals(snapshot: Snapshot) -> Plan:
    """Record since when a cloud is as it was asked to be, or that it is so no more."""
    return tuple(
        SetCloud(cloud.name, {"request": replace(cloud.request, reached_at=snapshot.now if reached else None)})
        for cloud in snapshot.clouds
        if cloud.request is not None
        and (reached := is_reached(cloud, cloud.request, snapshot)) is (cloud.request.reached_at is None)
    )


def is_reached(cloud: Cloud, request: Request, snapshot: Snapshot) -> bool:
    """Whether a cloud is as requested: it may boot VMs; or it must not and the last of ours is gone."""
    if request.requested is Requested.ENABLED:
        return cloud.enabled
    return not cloud.enabled and all(vm.cloud != cloud.name for vm in snapshot.vms)
