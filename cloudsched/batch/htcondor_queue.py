"""Reading the schedd's queue: only what changed, by the schedd's clock, and how jobs that left it ended.

A departure is never guessed from silence. Jobs are counted, and when there are fewer than there should be, the history
tells how the missing ones ended; what neither the queue nor the history holds is gone.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cloudsched.batch.htcondor_ads import Ad, JobAds
from cloudsched.batch.htcondor_pool import HTCondorPool
from cloudsched.errors import BatchError
from cloudsched.model.jobs import Job, JobDelta

RESYNC_SECONDS = 60.0
"""How often the whole queue is read all the same: edited attributes show in nothing else."""
DAY = 86400

_PATIENCE = 3
_CLUSTERS_AT_ONCE = 500
_NAME = re.compile(r"(?:.*#)?(\d{1,9})\.(\d{1,9})(?:#(\d{1,15}))?")
log = logging.getLogger("cloudscheduler")


@dataclass(frozen=True, slots=True)
class JobName:
    """A job's numbers, from `CLUSTER.PROC` or a GlobalJobId (`SCHEDD#CLUSTER.PROC#QDATE`)."""

    cluster: int
    proc: int
    queued_at: int


def job_name(text: str) -> JobName | None:
    """Read a job's name; None when it is none."""
    match = _NAME.fullmatch(text)
    return JobName(int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def find(jobs: Iterable[Job], name: str) -> Job | None:
    """Find a job by its full id, or by its numbers where only these are given."""
    short = job_name(name) if "#" not in name else None
    numbers = (short.cluster, short.proc) if short else None
    return next((each for each in jobs if each.id == name or (each.cluster_id, each.proc_id) == numbers), None)


@dataclass(slots=True)
class _Told:
    """What was told: a digest of each job by id, and the schedd's clock at the last reading.

    Only jobs tell that clock: `read_at` is 0 until there has been one.
    """

    digests: dict[str, int] = field(default_factory=dict)
    read_at: int = 0
    resync_at: float = 0.0
    failures: int = 0


class QueueReader:
    """The queue of one schedd. `known` gives the ids of unfinished jobs that the state holds at the start."""

    def __init__(
        self,
        pool: HTCondorPool,
        ads: JobAds,
        known: Callable[[], Iterable[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool, self._ads, self._known, self._clock = pool, ads, known, clock
        self._told: _Told | None = None
        self._lock = threading.Lock()

    def delta(self) -> JobDelta:
        """What changed since the last call; the whole queue at the first. Raises BatchError: nothing is told then."""
        with self._lock:
            first = self._told is None
            told = self._told or _Told(dict.fromkeys(self._known(), 0))
            whole = first or not told.read_at or self._clock() >= told.resync_at
            changed, gone = self._whole(told) if whole else self._changes(told)
            self._told = told
            return JobDelta(tuple(changed), tuple(gone), first, told.read_at or int(self._clock()))

    def matching(self, constraint: str) -> list[Job]:
        """The jobs in the queue that meet a constraint."""
        return self._collected(lambda take: self._pool.jobs(take, constraint))

    def departed(self, constraint: str, since: int) -> list[Job]:
        """The jobs that meet a constraint, among those that left the queue after `since` (the schedd's clock)."""
        return self._collected(lambda take: self._pool.history(take, constraint, f"EnteredCurrentStatus < {since}"))

    def _changes(self, told: _Told) -> tuple[list[Job], list[str]]:
        reading = _Reading(self._ads, told.digests)
        recent = f"EnteredCurrentStatus >= {told.read_at - 1}"
        self._pool.jobs(reading.take, recent)
        size = self._pool.size()
        if size is None:
            return self._whole(told)
        jobs, read_at = size
        known = told.digests.keys() | reading.digests.keys()
        if len(known) > jobs:
            # What left the queue changed its status when it did, as a rule; else the whole queue tells.
            ended = [each for each in self.departed(recent, told.read_at - 1) if each.id in known]
            if len(ended) < len(known) - jobs:
                return self._whole(told)
            reading.end(ended)
        reading.commit(told)
        told.read_at = read_at
        return list(reading.changed.values()), []

    def _whole(self, told: _Told) -> tuple[list[Job], list[str]]:
        reading = _Reading(self._ads, told.digests)
        self._pool.jobs(reading.take)
        missing = told.digests.keys() - reading.seen
        ended = self._ended(told, missing) if missing else []
        reading.end(ended)
        gone = sorted(missing - {each.id for each in ended})
        if gone:
            log.warning("%d job(s) left the queue and are in no history: %s", len(gone), ", ".join(gone[:10]))
        reading.commit(told)
        for job_id in gone:
            del told.digests[job_id]
        told.read_at = reading.server_time or told.read_at
        told.resync_at = self._clock() + RESYNC_SECONDS
        return list(reading.changed.values()), gone

    def _ended(self, told: _Told, missing: Iterable[str]) -> list[Job]:
        """How missing jobs ended. A history that cannot be read is asked again a few times, then done without."""
        names = {job_id: name for job_id in missing if (name := job_name(job_id))}
        clusters = sorted({name.cluster for name in names.values()})
        since = (told.read_at or min((name.queued_at for name in names.values()), default=0)) - DAY
        found: list[Job] = []
        try:
            for start in range(0, len(clusters), _CLUSTERS_AT_ONCE):
                part = ", ".join(map(str, clusters[start : start + _CLUSTERS_AT_ONCE]))
                found += self.departed(f"member(ClusterId, {{{part}}})", since)
            told.failures = 0
        except BatchError as ex:
            told.failures += 1
            if told.failures < _PATIENCE:
                raise
            log.warning("How %d job(s) ended is not known: %s", len(names), ex)
        return [each for each in found if each.id in names]

    def _collected(self, ask: Callable[[Callable[[Ad], None]], None]) -> list[Job]:
        found: list[Job] = []

        def take(ad: Ad) -> None:
            each = self._ads.job(ad)
            if each is not None:
                found.append(each)

        ask(take)
        return found


class _Reading:
    """Takes the ads of one reading and keeps the jobs that are new or differ from what was told."""

    def __init__(self, ads: JobAds, told: Mapping[str, int]) -> None:
        self._ads, self._told = ads, told
        self.seen: set[str] = set()
        self.changed: dict[str, Job] = {}
        self.digests: dict[str, int] = {}
        self.server_time = 0

    def take(self, ad: Ad) -> None:
        """Read one ad."""
        self.server_time = max(self.server_time, int(ad.get("servertime", 0)))
        job_id = str(ad.get("globaljobid", ""))
        self.seen.add(job_id)
        digest = hash(tuple((name, ad[name]) for name in sorted(ad) if name != "servertime"))
        if self._told.get(job_id) == digest:
            return
        each = self._ads.job(ad)
        if each is not None:
            self.changed[job_id], self.digests[job_id] = each, digest

    def end(self, ended: Iterable[Job]) -> None:
        """Note jobs that have left the queue."""
        for each in ended:
            self.changed[each.id] = each
            self.digests.pop(each.id, None)

    def commit(self, told: _Told) -> None:
        """What was read counts as told; jobs that have left are not counted any more."""
        for job_id in self.changed:
            if job_id in self.digests:
                told.digests[job_id] = self.digests[job_id]
            else:
                told.digests.pop(job_id, None)
