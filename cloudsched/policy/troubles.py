"""How a cloud's failures are met: which class bars what, for how long, and what ends it.

A failure changes what the *whole* cloud is asked; that a shape can never work there (BadRequirement) concerns that
shape alone and is no trouble. An answer ends the trouble that the same call was in, and no other: a listing that works
says nothing about boots that are throttled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cloudsched.model.actions import Boot, Plan, SetCloud
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.troubles import CloudCall, Failure, Trouble, TroubleKind


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a class of failure does to a cloud.

    Boots wait `first_seconds`, twice as long after each further failure and `longest_seconds` at most, shorter by up to
    half by chance; None waits for a person. Then one boot is tried. `literal` is v1's reason (PARITY 2.10).
    """

    first_seconds: float | None
    longest_seconds: float
    literal: str
    sentence: str


REACTIONS: Mapping[TroubleKind, Reaction] = {
    TroubleKind.QUOTA: Reaction(
        60.0, 1800.0, "Resource Availability / Quota Problem", "had no room for more than {vms} VMs"
    ),
    TroubleKind.TRANSIENT: Reaction(
        10.0,
        300.0,
        "Error when making VM request: check log",
        "has failed and is left alone for a while",
    ),
    TroubleKind.OUTAGE: Reaction(30.0, 600.0, "Endpoint / Region problem", "does not answer"),
    TroubleKind.CREDENTIAL: Reaction(
        None, 0.0, "Proxy/Auth related issue", "refuses our credentials until somebody mends them"
    ),
}
_GRAVITY = {kind: number for number, kind in enumerate(TroubleKind)}
FORGOTTEN_SECONDS = 3600


def after_failure(before: Trouble | None, failure: Failure, now: float, chance: float) -> Trouble:
    """The trouble after one more failure; `chance`, from 0 to 1, shortens the pause by up to half.

    A graver trouble of another call stays: a cloud that refuses our credentials is not merely full.
    """
    if before is not None and before.call is not failure.call and _GRAVITY[failure.kind] < _GRAVITY[before.kind]:
        return before
    again = before is not None and (before.kind, before.call) == (failure.kind, failure.call)
    failures = before.failures + 1 if before is not None and again else 1
    return Trouble(
        kind=failure.kind,
        call=failure.call,
        cause=failure.cause,
        since=before.since if before is not None and before.kind is failure.kind else now,
        next_try=_next_try(failure, failures, now, chance),
        failures=failures,
        last_good=before.last_good if before is not None else None,
        vms=failure.vms,
        cores=failure.size.cores,
        memory=failure.size.memory,
    )


def _next_try(failure: Failure, failures: int, now: float, chance: float) -> float | None:
    reaction = REACTIONS[failure.kind]
    if reaction.first_seconds is None or failure.retry_at is not None:
        return None if reaction.first_seconds is None else failure.retry_at
    pause = min(reaction.first_seconds * 2.0 ** min(failures - 1, 20), reaction.longest_seconds)
    return now + pause * (1 - chance / 2)


def after_success(before: Trouble | None, call: CloudCall) -> Trouble | None:
    """The trouble after an answer as it should be."""
    return None if before is None or before.call is call else before


def barred(cloud: Cloud, now: int) -> tuple[str, ...]:
    """Why a cloud is not asked for any VM now, v1's literal first; empty when it may be asked."""
    trouble = cloud.trouble
    if trouble is None or trouble.kind is TroubleKind.QUOTA or not _waits(trouble, now):
        return ()
    return REACTIONS[trouble.kind].literal, sentence(cloud)


def most(cloud: Cloud, used: int, now: int) -> int | None:
    """How many VMs a cloud in trouble may have, None for any number: what it had room for, and one to try with."""
    trouble = cloud.trouble
    if trouble is None:
        return None
    probe = 0 if _waits(trouble, now) else 1
    return trouble.vms + probe if trouble.kind is TroubleKind.QUOTA else used + probe


def concerns(cloud: Cloud, shape: Shape) -> bool:
    """Whether a cloud's trouble stands against VMs of a shape: a full cloud may have room for smaller ones."""
    trouble = cloud.trouble
    if trouble is None or trouble.kind is not TroubleKind.QUOTA:
        return trouble is not None
    return shape.req_cpucores >= trouble.cores and shape.req_memory >= trouble.memory


def sentence(cloud: Cloud) -> str:
    """What is wrong with a cloud, as a sentence; empty when nothing is."""
    trouble = cloud.trouble
    if trouble is None:
        return ""
    return f"{cloud.name} {REACTIONS[trouble.kind].sentence.format(vms=trouble.vms)}: {trouble.cause}"


def probes(snapshot: Snapshot, boots: Sequence[Boot], wait_seconds: int) -> Plan:
    """Have nobody else try a cloud in trouble before the answer to this plan's try can have come."""
    asked = {boot.cloud for boot in boots}
    return tuple(
        SetCloud(cloud.name, {"trouble": replace(cloud.trouble, next_try=float(snapshot.now + wait_seconds))})
        for cloud in snapshot.clouds
        if cloud.name in asked and cloud.trouble is not None and not _waits(cloud.trouble, snapshot.now)
    )


def is_forgotten(trouble: Trouble | None, now: int) -> bool:
    """Whether nobody has tried a cloud for long that could be tried: then nothing is known of it any more."""
    return (
        trouble is not None
        and trouble.call is CloudCall.BOOT
        and trouble.next_try is not None
        and now - trouble.next_try > FORGOTTEN_SECONDS
    )


def _waits(trouble: Trouble, now: int) -> bool:
    return trouble.next_try is None or now < trouble.next_try or trouble.call is CloudCall.LISTING
