"""Recording how clouds answer: what a call met becomes the cloud's trouble, or ends it (policy/troubles.py decides)."""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from cloudsched.engine import acts
from cloudsched.engine.polls import failure_sentence
from cloudsched.errors import BadRequirement, CredentialRefused, Outage, QuotaExceeded
from cloudsched.model.clouds import BootOutcome, Cloud
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.troubles import CloudCall, Failure, Size, Trouble, TroubleKind, state
from cloudsched.model.vms import VM
from cloudsched.policy.troubles import after_failure, after_success
from cloudsched.store import Writing, clouds, polls, vms

log = logging.getLogger("cloudscheduler")

_KINDS: tuple[tuple[type[Exception], TroubleKind], ...] = (
    (QuotaExceeded, TroubleKind.QUOTA),
    (CredentialRefused, TroubleKind.CREDENTIAL),
    (Outage, TroubleKind.OUTAGE),
    (TimeoutError, TroubleKind.OUTAGE),
    (Exception, TroubleKind.TRANSIENT),
)


def poll_name(cloud: str) -> str:
    """The name of the poll that lists a cloud's VMs."""
    return f"VMPoller:{cloud}"


def kind_of(error: Exception) -> TroubleKind:
    """The class of an error that a cloud's adapter raised."""
    return next(kind for each, kind in _KINDS if isinstance(error, each))


def record_listing(writing: Writing, name: str, error: Exception | None, now: float, retry_at: float | None) -> None:
    """Record what a listing of a cloud met; `retry_at` is when it is listed again."""
    if error is None:
        _record(writing, clouds.find(writing.connection, name), CloudCall.LISTING, None, now)
    else:
        failure = Failure(kind_of(error), CloudCall.LISTING, failure_sentence(error), retry_at)
        _record(writing, clouds.find(writing.connection, name), CloudCall.LISTING, failure, now)


def record_boots(writing: Writing, asked: Sequence[VM], outcomes: Sequence[BootOutcome], now: float) -> None:
    """Record what the boots of one cloud met, once the refused VMs have been forgotten; the gravest failure counts.

    That a request can never work there says that the cloud answers.
    """
    failed = [(vm, end.error) for vm, end in zip(asked, outcomes, strict=True) if _is_the_clouds(end.error)]
    cloud = clouds.find(writing.connection, asked[0].cloud)
    if len(failed) < len(asked):
        _record(writing, cloud, CloudCall.BOOT, None, now)
        cloud = clouds.find(writing.connection, cloud.name)
    if failed:
        kind = max((kind_of(error) for _, error in failed if error), key=list(TroubleKind).index)
        of_kind = [(vm, error) for vm, error in failed if error and kind_of(error) is kind]
        size = Size(min(vm.cpucores for vm, _ in of_kind), min(vm.memory for vm, _ in of_kind))
        holds = vms.held(writing.connection, cloud.name)
        failure = Failure(kind, CloudCall.BOOT, failure_sentence(of_kind[0][1]), None, holds, size)
        _record(writing, cloud, CloudCall.BOOT, failure, now)


def suspended(snapshot: Snapshot) -> Collection[str]:
    """The polls that are not to be made: of clouds that refuse our credentials, until somebody has mended them."""
    return {poll_name(cloud.name) for cloud in snapshot.clouds if is_refused(cloud)}


def is_refused(cloud: Cloud) -> bool:
    """Whether the cloud refuses our credentials."""
    return cloud.trouble is not None and cloud.trouble.kind is TroubleKind.CREDENTIAL


def relieved(cloud: Cloud) -> dict[str, Any]:
    """What changes of a cloud whose trouble is over: one that refused our credentials is as enabled as before."""
    if not is_refused(cloud) or not cloud.connection_problem:
        return {"trouble": None}
    enabled = cloud.unusable is None and not cloud.removed
    return {"trouble": None, "enabled": enabled, "connection_problem": False, "errorconnect": None}


def _is_the_clouds(error: Exception | None) -> bool:
    return error is not None and not isinstance(error, BadRequirement)


def _record(writing: Writing, cloud: Cloud, call: CloudCall, failure: Failure | None, now: float) -> None:
    before = cloud.trouble
    after = after_success(before, call) if failure is None else after_failure(before, failure, now, random.random())
    if before is None and after is not None:
        after = _with_last_good(writing, cloud, after)
    if after != before:
        fields = relieved(cloud) if after is None else {"trouble": after}
        _say(writing, cloud, fields)
        clouds.record_fields(writing, cloud.name, fields)


def _with_last_good(writing: Writing, cloud: Cloud, trouble: Trouble) -> Trouble:
    listed = {each.name: each.ok_at for each in polls.all_polls(writing.connection)}
    return replace(trouble, last_good=listed.get(poll_name(cloud.name)))


def _say(writing: Writing, cloud: Cloud, fields: dict[str, Any]) -> None:
    """Tell operators, and the journal, of a change, and not of every failure of the same kind."""
    after: Trouble | None = fields["trouble"]
    was, is_now = state(cloud.trouble), state(after)
    if was != is_now:
        level = logging.INFO if after is None else logging.WARNING
        why = "it answers as it should again" if after is None else after.cause
        log.log(level, "Cloud %s: %s -> %s: %s", cloud.name, was, is_now, why)
        enabled = fields.get("enabled", cloud.enabled)
        changed = acts.changed({"state": was, "enabled": cloud.enabled}, {"state": is_now, "enabled": enabled})
        acts.record(writing, acts.of_cloud("trouble", cloud.name, why, **changed))
