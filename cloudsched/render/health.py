"""Is the scheduler alive and does it see: named checks, as text and as a document.

A check that `failed` makes the daemon not ready. One cloud that cannot be read is `degraded`: its last listing is shown
and the others work; only when no cloud at all can be read is the engine blind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from cloudsched.model.snapshot import Heartbeat, Polled
from cloudsched.render.cells import cell
from cloudsched.render.documents import Document

OK, DEGRADED, FAILED = "ok", "degraded", "failed"
_SIGNS = {OK: "+", DEGRADED: "~", FAILED: "-"}
_GRACE_SECONDS = 20
_CYCLES = 3
_NEEDED = ("JobPoller", "MachinePoller")
_CLOUD = "VMPoller:"


@dataclass(frozen=True, slots=True)
class Check:
    """One check; `age_seconds` and `limit_seconds` where it is about an age."""

    name: str
    status: str
    detail: str
    age_seconds: float | None = None
    limit_seconds: float | None = None


def is_ready(checks: Iterable[Check]) -> bool:
    """Whether no check failed."""
    return all(check.status != FAILED for check in checks)


def beat_checks(beats: Sequence[Heartbeat], now: float, poll_seconds: float) -> list[Check]:
    """A check for each stage that ever beat; the Scheduler must have. A poll may take `poll_seconds`."""
    found = [_aged(f"heartbeat {beat.name}", beat.beat_at, beat_limit(beat, poll_seconds), now) for beat in beats]
    if not any(beat.name == "Scheduler" for beat in beats):
        found.insert(0, Check("heartbeat Scheduler", FAILED, "it has never ended a cycle"))
    return found


def beat_limit(beat: Heartbeat, poll_seconds: float) -> float:
    """The seconds after which the stage is late."""
    return _limit(beat.interval_seconds, poll_seconds if beat.name.endswith("Poller") else 0.0)


def poll_checks(polls: Sequence[Polled], now: float, poll_seconds: float) -> list[Check]:
    """A check for each source: the queue and the machines must be seen, and at least one of the clouds."""
    found = [
        _aged(f"poll {each.name}", each.ok_at, _limit(each.interval_seconds, poll_seconds), now)
        for each in polls
        if each.name != "Scheduler"
    ]
    names = {each.name for each in polls}
    found += [Check(f"poll {name}", FAILED, "it was never read") for name in _NEEDED if name not in names]
    clouds = [check for check in found if check.name.startswith(f"poll {_CLOUD}")]
    if not is_ready(clouds) and any(check.status == OK for check in clouds):
        found = [_degraded(check) if check in clouds else check for check in found]
    return sorted(found, key=lambda check: (check in clouds, check.name))


def _limit(interval: float, slack: float) -> float:
    return _CYCLES * interval + slack + _GRACE_SECONDS


def _aged(name: str, at: float | None, limit: float, now: float) -> Check:
    if at is None:
        return Check(name, FAILED, "it was never read", limit_seconds=limit)
    age = max(now - at, 0.0)
    return Check(name, OK if age <= limit else FAILED, f"{age:.0f} s ago, limit {limit:.0f} s", round(age, 1), limit)


def _degraded(check: Check) -> Check:
    return check if check.status == OK else replace(check, status=DEGRADED)


def text(checks: Sequence[Check]) -> str:
    """`ready` or `not ready`, then a line a check: `[+]` is ok, `[~]` degraded, `[-]` failed."""
    verdict = "ready" if is_ready(checks) else "not ready"
    lines = (f"[{_SIGNS[check.status]}] {cell(check.name)}: {cell(check.detail)}\n" for check in checks)
    return f"{verdict}\n{''.join(lines)}"


def document(checks: Sequence[Check]) -> Document:
    """The same as a document."""
    return {"ready": is_ready(checks), "checks": [asdict(check) for check in checks]}
