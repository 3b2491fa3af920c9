"""How fresh what is shown is, as headers: structured fields (RFC 9651), of the clouds, the batch system, the engine.

    X-Data-As-Of: clouds=@1480000000, batch=@1480000012, engine=@1480000014
    X-Data-Stale: clouds

`clouds` and `batch` are as old as the poll of theirs that is oldest; a source that was never read has no date, and is
stale. The second header is there only when something in it is older than three of its periods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cloudsched.model.snapshot import Heartbeat, Polled

AS_OF, STALE = "X-Data-As-Of", "X-Data-Stale"
PERIODS = 3
_BATCH = ("JobPoller", "MachinePoller")
_CLOUD, _ENGINE = "VMPoller:", "Scheduler"


@dataclass(frozen=True, slots=True)
class Reading:
    """When one thing was last read, and how often it should be; times in Unix seconds."""

    source: str
    at: float | None
    every_seconds: float

    def is_stale(self, now: float) -> bool:
        """Whether it is older than it should ever be."""
        return self.at is None or now - self.at > PERIODS * self.every_seconds


def readings(beats: Iterable[Heartbeat], polls: Iterable[Polled]) -> list[Reading]:
    """Everything that is read again and again, in the order of its source's names above."""
    return [*_polled("clouds", polls, _CLOUD), *_polled("batch", polls, _BATCH), *_engine(beats)]


def _polled(source: str, polls: Iterable[Polled], names: str | tuple[str, ...]) -> Iterator[Reading]:
    return (Reading(source, each.ok_at, each.interval_seconds) for each in polls if each.name.startswith(names))


def _engine(beats: Iterable[Heartbeat]) -> Iterator[Reading]:
    return (Reading("engine", each.beat_at, each.interval_seconds) for each in beats if each.name == _ENGINE)


def headers(found: Sequence[Reading], now: float) -> list[tuple[str, str]]:
    """The headers for an answer made now; none for a state that no engine has ever worked on."""
    oldest: dict[str, float] = {}
    for each in found:
        if each.at is not None:
            oldest[each.source] = min(each.at, oldest.get(each.source, each.at))
    stale = dict.fromkeys(each.source for each in found if each.is_stale(now))
    told = {AS_OF: ", ".join(f"{source}=@{int(at)}" for source, at in oldest.items()), STALE: ", ".join(stale)}
    return [(name, value) for name, value in told.items() if value]
