"""What the engine notes once a minute: core-seconds that ran no job, and a row of the day's history."""

from __future__ import annotations

from collections import defaultdict

from cloudsched.model.jobs import JobStatus
from cloudsched.model.metrics import IDLE
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.idleness import idle_cores
from cloudsched.store import Writing, history, tallies

_LONGEST_GAP = 60.0
_WAITING = (JobStatus.NEW, JobStatus.IDLE)


class Minutes:
    """Used by the engine's thread alone; what was noted since the last minute is lost with the process."""

    def __init__(self) -> None:
        self._idle: dict[str, float] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._counts: dict[str, float] = {}
        self._seen_at: float | None = None
        self._minute = 0

    def see(self, snapshot: Snapshot, now: float) -> None:
        """Note a cycle's snapshot; until the next one, and for a minute at most, all is taken to stay as it is."""
        if self._seen_at is not None:
            gap = min(max(now - self._seen_at, 0.0), _LONGEST_GAP)
            for cause, cores in self._idle.items():
                self._seconds[cause] += cores * gap
        self._idle, self._seen_at = idle_cores(snapshot), now
        self._counts = counts(snapshot, self._idle)

    def is_due(self, now: float) -> bool:
        """Whether a minute has begun that has no row yet."""
        return bool(self._counts) and int(now // 60) != self._minute

    def record(self, writing: Writing, now: float) -> None:
        """Record the minute; call `recorded` after the commit."""
        history.record_minute(writing, int(now // 60), self._counts)
        tallies.add_tallies(writing, [((IDLE, cause), round(each, 3)) for cause, each in self._seconds.items()])

    def recorded(self, now: float) -> None:
        """The transaction of the last `record` has committed."""
        self._minute = int(now // 60)
        self._seconds.clear()


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
