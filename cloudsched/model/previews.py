"""What a verb would do if it were asked now: its targets, the VMs and running jobs it hits, and what that costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any


class Fate(StrEnum):
    """What a verb does to a VM."""

    ENDED = "ended"  # destroyed at once: what runs on it is lost, and starts again elsewhere
    DRAINED = "drained"  # takes no new jobs, finishes those it has, and ends
    FORGOTTEN = "forgotten"  # runs on out of our sight
    KEPT = "kept"  # is under automatic control afterwards


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that runs now: for so many seconds, on so many cores; `number` is CLUSTER.PROC, `vm` a uid or empty.

    `lost` says whether it would be ended, and would have to start again where it is not removed.
    """

    id: str
    number: str
    user: str
    vm: str
    cores: int
    seconds: int
    lost: bool = False


@dataclass(frozen=True, slots=True)
class StruckVM:
    """A VM that would be hit: `id` is its cloud's for it, `status` the one shown."""

    uid: str
    id: str
    cloud: str
    user: str
    status: str
    fate: Fate


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One target: what would be asked of it and what that changes, by field.

    `problem` says why it would come to nothing, as far as that is known beforehand.
    """

    kind: str
    name: str
    label: str
    aspect: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """A verb as it would be done at the state index `index`."""

    verb: str
    index: int
    targets: tuple[Foreseen, ...] = ()
    vms: tuple[StruckVM, ...] = ()
    jobs: tuple[RunningJob, ...] = ()

    @property
    def id(self) -> str:
        """A digest of what would happen: the same as long as the same would happen.

        Jobs that may finish come and go without changing it, those that would be lost do not; time alone does not.
        """
        targets = [[each.kind, each.name, each.aspect, each.before, each.after, each.problem] for each in self.targets]
        struck = sorted([each.uid, each.fate.value] for each in self.vms)
        what = [self.verb, targets, struck, sorted(each.id for each in self.lost)]
        text = json.dumps(what, sort_keys=True, default=str, separators=(",", ":"))
        return sha256(text.encode(errors="replace")).hexdigest()[:32]

    @property
    def lost(self) -> tuple[RunningJob, ...]:
        """The running jobs that would be ended."""
        return tuple(each for each in self.jobs if each.lost)

    @property
    def core_hours_lost(self) -> float:
        """The work of theirs that would be for nothing."""
        return sum(each.cores * each.seconds for each in self.lost) / 3600
