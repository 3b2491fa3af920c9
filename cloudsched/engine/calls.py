"""Calls that change the world (boot, destroy, retire, orders): made in threads, their ends recorded by the engine.

A call is two functions: `work` runs in a thread and touches only the adapter; `finish` runs in the engine's thread,
inside its write transaction, and records what came of it. An end is kept until the transaction that recorded it has
committed, so a state that cannot be written for a while loses no outcome.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cloudsched.store import Writing

log = logging.getLogger("cloudscheduler")

_PER_PLACE = 4


@dataclass(frozen=True, slots=True)
class Call:
    """`place` is the cloud or batch system asked; `uids` the VMs nobody else should touch meanwhile.

    `finish` gets the write transaction and what `work` returned or raised. `seconds` is how long it may take, waiting
    for its turn included, None for any time: then its end is a TimeoutError, and what `work` does later counts no more.
    """

    place: str
    uids: tuple[str, ...]
    work: Callable[[], Any]
    finish: Callable[[Writing, Any], None]
    seconds: float | None = None


End = tuple[Call, Any]
"""A call that has ended, and what its `work` returned or raised."""


class Calls:
    """Calls under way and ended; used by the engine's thread alone."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: dict[str, deque[Call]] = defaultdict(deque)
        self._running: dict[str, int] = defaultdict(int)
        self._busy: list[Call] = []
        self._deadlines: dict[int, float] = {}
        self._given_up: list[Call] = []
        self._ends: queue.SimpleQueue[End] = queue.SimpleQueue()
        self._unrecorded: list[End] = []

    @property
    def in_flight(self) -> frozenset[str]:
        """The VMs that a call is under way for, or whose call's end is not recorded yet."""
        return frozenset(uid for call in self._busy for uid in call.uids)

    @property
    def idle(self) -> bool:
        """Nothing under way, nothing to record."""
        return not self._busy

    def start(self, calls: Iterable[Call]) -> None:
        """Make calls, at most a few at once per place."""
        for call in calls:
            self._busy.append(call)
            if call.seconds is not None:
                self._deadlines[id(call)] = time.monotonic() + call.seconds
            self._waiting[call.place].append(call)
            self._next(call.place)

    def ends(self) -> list[End]:
        """Every end that is not recorded yet, in the order they came; pass them to `recorded` after the commit."""
        while not self._ends.empty():
            call, result = self._ends.get()
            self._running[call.place] -= 1
            self._next(call.place)
            if call in self._given_up:
                self._given_up.remove(call)
                log.info("%s has answered a call that was given up.", call.place)
            else:
                self._deadlines.pop(id(call), None)
                self._unrecorded.append((call, result))
        self._give_up(time.monotonic())
        return list(self._unrecorded)

    def recorded(self, ends: Iterable[End]) -> None:
        """These ends have been committed."""
        done = {id(call) for call, _ in ends}
        self._busy = [call for call in self._busy if id(call) not in done]
        self._unrecorded = [end for end in self._unrecorded if id(end[0]) not in done]

    def _give_up(self, now: float) -> None:
        """End the calls that are over their time. The threads of those under way stay until their place answers."""
        for call in [call for call in self._busy if self._deadlines.get(id(call), now) < now]:
            del self._deadlines[id(call)]
            if call in self._waiting[call.place]:
                self._waiting[call.place].remove(call)
            else:
                self._given_up.append(call)
            self._unrecorded.append((call, TimeoutError(f"No answer within {call.seconds:g} seconds.")))

    def _next(self, place: str) -> None:
        waiting = self._waiting[place]
        while waiting and self._running[place] < _PER_PLACE:
            self._running[place] += 1
            call = waiting.popleft()
            threading.Thread(target=self._make, args=(call,), name=f"Call-{place}", daemon=True).start()

    def _make(self, call: Call) -> None:
        try:
            result = call.work()
        except Exception as ex:  # whatever an adapter raises is an outcome that must be recorded
            result = ex
        self._ends.put((call, result))
        self._wake()
