"""What is wrong with a cloud at present, and what a call to it met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class TroubleKind(StrEnum):
    """The classes of failure that concern a whole cloud, the gravest last (errors.CloudError)."""

    QUOTA = "quota"
    TRANSIENT = "transient"
    OUTAGE = "outage"
    CREDENTIAL = "credential"


STATES: Mapping[TroubleKind, str] = {
    TroubleKind.QUOTA: "full",
    TroubleKind.TRANSIENT: "backing-off",
    TroubleKind.OUTAGE: "out",
    TroubleKind.CREDENTIAL: "refused",
}
OK = "ok"


class CloudCall(StrEnum):
    """The calls whose answers tell how a cloud is."""

    LISTING = "listing"
    BOOT = "boot"


@dataclass(frozen=True, slots=True)
class Size:
    """The smallest VM that a cloud had no room for; memory in MB."""

    cores: int
    memory: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed: `cause` is a sentence.

    `retry_at`: when it is made again in any case, None where nobody has planned that. For quota: the cloud had `vms` of
    ours when it refused one of `size`.
    """

    kind: TroubleKind
    call: CloudCall
    cause: str
    retry_at: float | None = None
    vms: int = 0
    size: Size = Size(0, 0)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A cloud's trouble; times are Unix seconds.

    `next_try` is when the call is made again, None when that takes somebody who mends the credentials. `failures` of
    this kind came in a row; `last_good` is when the cloud was last listed. `vms`, `cores` and `memory`: what a full
    cloud has room for, as Failure has it.
    """

    kind: TroubleKind
    call: CloudCall
    cause: str
    since: float
    next_try: float | None = None
    failures: int = 1
    last_good: float | None = None
    vms: int = 0
    cores: int = 0
    memory: int = 0


def state(trouble: Trouble | None) -> str:
    """The word for how a cloud answers: ok, full, backing-off, out or refused."""
    return OK if trouble is None else STATES[trouble.kind]


def to_trouble(values: Mapping[str, Any] | None) -> Trouble | None:
    """A trouble of its JSON object."""
    if values is None:
        return None
    return Trouble(**{**values, "kind": TroubleKind(values["kind"]), "call": CloudCall(values["call"])})
