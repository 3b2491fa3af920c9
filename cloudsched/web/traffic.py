"""What this daemon has answered: counts by method and status, and how long it took."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

from cloudsched.model.metrics import INFINITE, PROCESS, SUM, Key
from cloudsched.render.metrics import Family, family, histogram

_METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"))
_REQUESTS, _SECONDS = PROCESS["cloudsched_http_requests_total"], PROCESS["cloudsched_http_request_seconds"]
_BOUNDS = (*(f"{bound:g}" for bound in _SECONDS.bounds), INFINITE)


class Traffic:
    """Counters of one process; any thread may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[Key] = Counter()
        self._seconds: dict[Key, float] = {}

    def add(self, method: str, status: int, seconds: float) -> None:
        """Count one answer; methods that nobody knows are `other`."""
        bucket = (_BOUNDS[bisect_left(_SECONDS.bounds, seconds)],)
        with self._lock:
            self._requests[method if method in _METHODS else "other", str(status)] += 1
            self._seconds[bucket] = self._seconds.get(bucket, 0.0) + 1.0
            self._seconds[SUM,] = self._seconds.get((SUM,), 0.0) + seconds

    def families(self) -> list[Family]:
        """The counts as metrics."""
        with self._lock:
            requests, seconds = dict(self._requests), dict(self._seconds)
        return [family(_REQUESTS, requests), histogram(_SECONDS, seconds, [()])]
