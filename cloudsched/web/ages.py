"""The headers that tell how fresh an answer is. They change without a commit, so no body with an ETag has them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from cloudsched.errors import StateError
from cloudsched.render import ages
from cloudsched.store import Store, polls
from cloudsched.store.heartbeats import all_heartbeats

REREAD_SECONDS = 0.5

Told = Sequence[tuple[str, str]]
"""Headers: names and values."""


class Ages:
    """Reads the dates of polls and heartbeats, at most every REREAD_SECONDS; call it for each answer."""

    def __init__(
        self, store: Store, now: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._now, self._clock = store, now, clock
        self._lock = threading.Lock()
        self._until = float("-inf")
        self._headers: Told = ()

    def __call__(self) -> Told:
        """The headers; none while the state cannot be read."""
        if self._clock() >= self._until:
            with self._lock:
                if self._clock() >= self._until:
                    self._headers = self._read()
                    self._until = self._clock() + REREAD_SECONDS
        return self._headers

    def at_hand(self) -> Told | None:
        """The headers, or None when they are to be read again."""
        return self._headers if self._clock() < self._until else None

    def _read(self) -> Told:
        with suppress(StateError), self._store.reading() as connection:
            found = ages.readings(all_heartbeats(connection), polls.all_polls(connection))
            return ages.headers(found, self._now())
        return ()
