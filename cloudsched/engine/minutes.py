"""What the engine notes as time passes: core-seconds that ran no job, and a row a minute of the day's history."""

from __future__ import annotations

import math
from collections import defaultdict

from cloudsched.model.jobs import JobStatus
from cloudsched.model.metrics import IDLE
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.idleness import idle_cores
from cloudsched.store import Writing, history, tallies

_LONGEST_GAP = 60.0
_COUNTED_SECONDS = 1.0
_OFTEN_SECONDS = 5.0
_SELDOM_SECONDS = 600.0
_WAITING = (JobStatus.NEW, JobStatus.IDLE)


class Minutes:
    """Used by the engine's thread alone; what was not recorded yet is lost with the process.

    Idle cores go along with commits that move the index anyway: while nothing changes the index rests, but for ten
    minutes at most.
    """

    def __init__(self) -> None:
        self._of: tuple[object, object, object] = (None, None, None)
        self._idle: dict[str, float] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._counts: dict[str, float] = {}
        self._seen_at: float | None = None
        self._counted_at = -math.inf
        self._added_at = 0.0
        self._adding = False
        self._minute = 0

    def see(self, snapshot: Snapshot, now: float) -> None:
        """Note a cycle's snapshot; until the next one, and for a minute at most, all is taken to stay as it is."""
        if self._seen_at is None:
            self._added_at = now
        else:
            gap = min(max(now - self._seen_at, 0.0), _LONGEST_GAP)
            for cause, cores in self._idle.items():
                self._seconds[cause] += cores * gap
        self._seen_at = now
        of = (snapshot.vms, snapshot.machines, snapshot.groups)
        rests = all(one is other for one, other in zip(of, self._of, strict=True))
        # Every VM is looked at, so a fleet in which something changes all the time is counted once a second.
        if not rests and not 0 <= now - self._counted_at < _COUNTED_SECONDS:
            self._of, self._counted_at, self._idle = of, now, idle_cores(snapshot)
            self._counts = counts(snapshot, self._idle)

    def add_idle(self, writing: Writing) -> None:
        """Add the idle core-seconds to a commit, last of all, if it is time; call `added` after the commit."""
        since = (self._seen_at or 0.0) - self._added_at
        if since >= (_OFTEN_SECONDS if writing.touched else _SELDOM_SECONDS):
            found = {cause: seconds for cause, seconds in self._seconds.items() if seconds}
            tallies.add_tallies(writing, [((IDLE, cause), round(seconds, 3)) for cause, seconds in found.items()])
            self._adding = True

    def added(self) -> None:
        """The transaction of the last `add_idle` has committed."""
        if self._adding:
            self._adding, self._added_at = False, self._seen_at or 0.0
            self._seconds.clear()

    def is_due(self, now: float) -> bool:
        """Whether a minute has begun that has no row yet."""
        return bool(self._counts) and int(now // 60) != self._minute

    def record(self, writing: Writing, now: float) -> None:
        """Record the minute in the history; call `recorded` after the commit."""
        history.record_minute(writing, int(now // 60), self._counts)

    def recorded(self, now: float) -> None:
        """The transaction of the last `record` has committed."""
        self._minute = int(now // 60)


def counts(snapshot: Snapshot, idle: dict[str, float]) -> dict[str, float]:
    """The figures of one moment that the history keeps."""

    def jobs(*statuses: int) -> float:
        return float(sum(group.jobs for group in snapshot.groups if group.job_status in statuses))

    return {
        "vms": float(len(snapshot.vms)),
        "vms_running": float(sum(vm.shown_status == "Running" for vm in snapshot.vms)),
        "jobs_waiting": jobs(*_WAITING),
        "jobs_running": jobs(JobStatus.RUNNING),
        "jobs_held": jobs(JobStatus.HELD),
        "idle_cores": sum(idle.values()),
    }
