"""Waiting for the engine: v1's verbs answered when the work was done, so ours wait for the outcome, up to a bound.

One thread watches the state while somebody waits and wakes them all; no waiter polls the database or holds a
connection. Whoever finds no seat, no engine or no time left is answered with the operation as it stands (DESIGN 2).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cloudsched.errors import CloudschedError, StateUnavailable
from cloudsched.model.wishes import Operation
from cloudsched.store import Store, operations, place
from cloudsched.store.watch import Watch

POLL_SECONDS = 0.02
CHECK_SECONDS = 0.5
"""How often a waiter looks whether its client and the engine are still there."""


class Waiting:
    """The waiting room: `seats` at once, each for at most `seconds` unless it says how long itself."""

    def __init__(self, store: Store, seats: int, seconds: float) -> None:
        self._store, self._seconds = store, seconds
        self._seats = threading.Semaphore(seats)
        self._changed = threading.Condition()
        self._moves = 0
        self._waiters = 0
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def outcome(
        self, operation: Operation, has_left: Callable[[], bool] = lambda: False, seconds: int | None = None
    ) -> Operation:
        """The operation once it is settled, or as it stands when waiting is over, after `seconds` if that is given.

        `has_left` says whether the client is gone, so that its seat is free for others.
        """
        if seconds == 0 or operation.state != "running" or not self._seats.acquire(blocking=False):
            return operation
        try:
            with self._watched():
                return self._wait(operation, has_left, self._seconds if seconds is None else seconds)
        finally:
            self._seats.release()

    def close(self) -> None:
        """Send everybody home with what there is; nobody waits afterwards."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._watcher:
            self._watcher.join()

    def _wait(self, operation: Operation, has_left: Callable[[], bool], seconds: float) -> Operation:
        deadline = time.monotonic() + seconds
        while True:
            # Noted before reading, so that a commit in between ends the wait below at once.
            seen = self._moves
            operation = self._read(operation)
            left_seconds = deadline - time.monotonic()
            if operation.state != "running" or left_seconds <= 0 or has_left() or not self._expected():
                return operation
            self._sleep(seen, min(left_seconds, CHECK_SECONDS))

    def _sleep(self, seen: int, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._moves != seen or self._closed.is_set(), seconds)

    def _read(self, operation: Operation) -> Operation:
        try:
            return operations.read(self._store, operation.id)
        except StateUnavailable:
            return operation

    def _expected(self) -> bool:
        try:
            return not self._closed.is_set() and place.holder(self._store) is not None
        except StateUnavailable:
            return False

    @contextmanager
    def _watched(self) -> Iterator[None]:
        with self._changed:
            self._waiters += 1
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="outcome-watch", daemon=True)
                self._watcher.start()
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._waiters -= 1

    def _watch(self) -> None:
        watch = Watch(self._store)
        last: int | None = None
        while not self._closed.is_set():
            with self._changed:
                if not self._waiters:
                    last = None
                    self._changed.wait_for(lambda: self._waiters or self._closed.is_set())
            try:
                verbs = watch.verbs()
            except CloudschedError:
                verbs = last or 0
            if verbs != last:
                with self._changed:
                    self._moves += 1
                    self._changed.notify_all()
            last = verbs
            self._closed.wait(POLL_SECONDS)
        watch.close()
