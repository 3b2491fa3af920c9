"""Recording what came in since the last turn: poll results and the ends of calls.

Everything goes into one commit. What cannot be committed now is kept until it can, for a batch system tells its
changes only once; what can never be recorded costs its own source only.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from cloudsched.engine.calls import Calls, End
from cloudsched.engine.minutes import Minutes
from cloudsched.engine.observe import Observer
from cloudsched.engine.polls import PollResult, Polls
from cloudsched.errors import StateError
from cloudsched.model.snapshot import Heartbeat, Polled
from cloudsched.store import Store, Writing, heartbeats, polls

log = logging.getLogger("cloudscheduler")

_BEATS_SECONDS = 5.0
_AT_ONCE = 5
"""How many polls start in a turn, and how many results a commit takes at least: a wish waits for no hundred threads."""

_LONGEST_SECONDS = 0.005
"""After so much work a commit takes no more results than those: a wish waits for no hundred clouds."""

_REST_OF_COMMITS = 2.0
"""How many times as long as a commit took no other is made for mere observations."""

_Part = Callable[[Writing], None]


@dataclass(slots=True)
class Intake:
    """Used by the engine's thread alone."""

    store: Store
    polls: Polls
    calls: Calls
    observer: Observer
    minutes: Minutes
    _results: list[PollResult] = field(default_factory=list)
    _beats: dict[str, Heartbeat] = field(default_factory=dict)
    _cycles: list[Polled] = field(default_factory=list)
    _next_beats: float = 0.0
    _rests_until: float = 0.0

    @property
    def is_behind(self) -> bool:
        """Whether results wait to be recorded."""
        return bool(self._results)

    def start_polls(self) -> None:
        """Start some of the polls that are due, unless older results still wait to be recorded."""
        if not self.is_behind:
            self.polls.start_due(_AT_ONCE)

    def beat(self, name: str, interval: float, at: float) -> None:
        """Have a stage's heartbeat recorded with what comes in next."""
        self._beats[name] = Heartbeat(name, int(interval), at)

    def cycled(self, interval: float, began: float, ended: float) -> None:
        """Have a planning cycle recorded with what comes in next, and how long it took."""
        self._cycles = [Polled("Scheduler", interval, ok_at=ended, seconds=max(ended - began, 0.0))]

    def record(self, now: float) -> tuple[int, int]:
        """Record what there is, some results at a time; returns how many results and how many ends of calls.

        Raises StateUnavailable, with everything kept for the next time.
        """
        came, ends = self.polls.results(), self.calls.ends()
        for result in came:
            if result.poll.heartbeat:
                self.beat(result.poll.heartbeat, result.poll.interval_seconds, now)
        self._results += came
        if not ends and now < self._next_beats and (not self._results or time.monotonic() < self._rests_until):
            # Polls that answer one after the other go into few commits; what a call has done is told at once.
            return 0, 0
        began = time.monotonic()
        # A listing from before a call comes before that call's end.
        recorded = self._record_all(ends, int(now), math.inf if ends else began + _LONGEST_SECONDS)
        self.observer.recorded(recorded)
        self._rests_until = time.monotonic() + _REST_OF_COMMITS * (time.monotonic() - began)
        self._next_beats = now + _BEATS_SECONDS
        del self._results[: len(recorded)]
        self._beats.clear()
        self._cycles.clear()
        self.calls.recorded(ends)
        return len(recorded), len(ends)

    def _record_all(self, ends: Sequence[End], now: int, until: float) -> list[PollResult]:
        """Record the results there is time for, a few at least, and all ends; returns the results as recorded."""
        finishes = [partial(_finish, end) for end in ends]
        beats = partial(_record_beats, beats=list(self._beats.values()), cycles=list(self._cycles))
        tried: list[PollResult] = []

        def record(writing: Writing) -> None:
            for result in self._results:
                tried.append(result)
                self._observation(result, now)(writing)
                if len(tried) >= _AT_ONCE and time.monotonic() > until:
                    break

        try:
            self._commit(record, *finishes, beats)
        except StateError:
            raise
        except Exception:  # one of them is at fault: the others must not pay for it (B-39)
            for number, result in enumerate(tried):
                error = self._alone(self._observation(result, now))
                if error:
                    tried[number] = replace(result, value=None, error=error)
                    self._alone(self._observation(tried[number], now))
            for part in (*finishes, beats):
                self._alone(part)
        return tried

    def _alone(self, part: _Part) -> Exception | None:
        try:
            self._commit(part)
        except StateError:
            raise
        except Exception as ex:
            log.exception("What came in could not be recorded.")
            return ex
        return None

    def _commit(self, *parts: _Part) -> None:
        with self.store.writing() as writing:
            for part in parts:
                part(writing)
            self.minutes.add_idle(writing)
        self.minutes.added()

    def _observation(self, result: PollResult, now: int) -> _Part:
        return partial(self.observer.record, result=result, now=now)


def _record_beats(writing: Writing, beats: Sequence[Heartbeat], cycles: Sequence[Polled]) -> None:
    heartbeats.record_heartbeats(writing, beats)
    polls.record_polls(writing, cycles)


def _finish(end: End, writing: Writing) -> None:
    call, result = end
    call.finish(writing, result)
