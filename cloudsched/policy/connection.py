"""Clouds that no longer answer are disabled, and tried again later (PARITY 6.3, 6.5 step 8).

So are clouds that refuse our credentials, but those wait for somebody who mends them.
"""

from __future__ import annotations

from typing import Any

from cloudsched.config.options import Global
from cloudsched.model.actions import Plan, SetCloud
from cloudsched.model.clouds import Cloud
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.troubles import TroubleKind
from cloudsched.policy.troubles import is_forgotten


def connections(snapshot: Snapshot, settings: Global) -> Plan:
    """Disable clouds after `vm_connection_fail_threshold` s of silence, enable them again when their time is over.

    A cloud's `errorconnect` is when its silence began, and from then on when it was disabled. Only a cloud that was
    enabled is disabled here, so one that an operator switched off stays off.
    """
    changes = ((cloud, _change(cloud, snapshot, settings)) for cloud in snapshot.clouds if not cloud.removed)
    return tuple(SetCloud(cloud.name, *change) for cloud, change in changes if change)


def _change(cloud: Cloud, snapshot: Snapshot, settings: Global) -> tuple[dict[str, Any], str] | None:
    """The fields to change, and why."""
    if is_forgotten(cloud.trouble, snapshot.now):
        return {"trouble": None}, ""
    if cloud.trouble is not None and cloud.trouble.kind is TroubleKind.CREDENTIAL:
        disabled = {"enabled": False, "connection_problem": True, "errorconnect": cloud.trouble.since}
        return (disabled, cloud.trouble.cause) if cloud.enabled else None
    if cloud.errorconnect is None:
        return None
    silent = snapshot.now - cloud.errorconnect
    threshold = settings.vm_connection_fail_threshold
    if cloud.connection_problem:
        if silent > cloud.connection_fail_disable_time + threshold:
            again = {"enabled": cloud.unusable is None, "connection_problem": False, "errorconnect": None}
            return again, "It has been left alone long enough and is tried again."
    elif cloud.enabled and cloud.name in snapshot.stale_clouds and silent > threshold:
        fields = {"enabled": False, "connection_problem": True, "errorconnect": snapshot.now}
        return fields, f"It has not answered for {silent:.0f} s: {cloud.last_error or 'no error was told'}"
    return None
