"""Waiting for news: `?index=N&wait=S` is answered when the page shows more than index N, or after S seconds.

Seats are bounded, because who waits holds a thread. One thread looks at the state while somebody waits, and wakes all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cloudsched.errors import BadRequest, StateError, StateUnavailable
from cloudsched.web import params

LOOK_SECONDS = 0.02
CHECK_SECONDS = 0.5
LONGEST_SECONDS, USUAL_SECONDS = 300, 30

PARAMETERS = (
    params.Parameter("index", params.integer(0, 10**18 - 1)),
    params.Parameter("wait", params.integer(0, LONGEST_SECONDS)),
)


@dataclass(frozen=True, slots=True)
class Awaited:
    """The state index that a client has, and for how many seconds it waits for another."""

    index: int
    seconds: int


def awaited(values: Mapping[str, Any]) -> Awaited | None:
    """What the PARAMETERS of a request say; None when it does not wait. Raises BadRequest for `wait` alone."""
    if "index" not in values:
        if "wait" in values:
            raise BadRequest("The parameter 'wait' needs 'index', the state index you have.", parameter="wait")
        return None
    return Awaited(values["index"], values.get("wait", USUAL_SECONDS))


class News:
    """The waiting room of the information daemon: `seats` clients at once; `look` gives what there is now."""

    def __init__(self, look: Callable[[], object], seats: int) -> None:
        self._look, self._count, self._seats = look, seats, threading.Semaphore(seats)
        self._changed = threading.Condition()
        self._turns = self._waiters = 0
        self._is_closed = False

    def wait(self, is_there: Callable[[], bool], seconds: float, has_left: Callable[[], bool]) -> None:
        """Return when there is news, when time is over, when the client has left or the room is closed.

        Raises StateUnavailable when there is no seat.
        """
        if not seconds or is_there():
            return
        if not self._seats.acquire(blocking=False):
            raise StateUnavailable(f"All {self._count} seats for waiting are taken.", retry_after=5)
        try:
            with self._watched():
                self._wait(is_there, time.monotonic() + seconds, has_left)
        finally:
            self._seats.release()

    def close(self) -> None:
        """Answer everybody with what there is; nobody waits afterwards."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _wait(self, is_there: Callable[[], bool], deadline: float, has_left: Callable[[], bool]) -> None:
        while True:
            # Noted before looking, so that a change in between ends the wait below at once.
            turn = self._turns
            left = deadline - time.monotonic()
            if is_there() or left <= 0 or self._is_closed or has_left():
                return
            with self._changed:
                if self._turns == turn and not self._is_closed:
                    self._changed.wait(min(left, CHECK_SECONDS))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        with self._changed:
            self._waiters += 1
            if self._waiters == 1:
                threading.Thread(target=self._watch, name="news", daemon=True).start()
        try:
            yield
        finally:
            with self._changed:
                self._waiters -= 1

    def _watch(self) -> None:
        shown: object = None
        while True:
            try:
                found = self._look()
            except StateError:
                found = None
            with self._changed:
                if not self._waiters or self._is_closed:
                    return
                if found is not shown:
                    self._turns += 1
                    self._changed.notify_all()
            shown = found
            time.sleep(LOOK_SECONDS)
