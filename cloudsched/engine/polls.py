"""Polls of clouds and of the batch system: when due, each in a thread with a time limit, backing off when it fails."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from cloudsched.errors import CloudschedError

log = logging.getLogger("cloudscheduler")

_LONGEST_PAUSE = 300.0
_SHORTEST_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Poll:
    """One thing to ask again and again; `name` is unique, `heartbeat` the v1 stage it belongs to, if any.

    `told_once`: an answer counts however late it comes, for the next one will not repeat it.
    """

    name: str
    heartbeat: str
    call: Callable[[], Any]
    interval_seconds: float
    told_once: bool = False


@dataclass(frozen=True, slots=True)
class PollResult:
    """What a poll brought: `value`, or the `error` why it brought nothing, and after how many `seconds`.

    Times are Unix seconds; `due_at` is when it is asked again.
    """

    poll: Poll
    started_at: float
    value: Any = None
    error: Exception | None = None
    seconds: float = 0.0
    due_at: float | None = None


@dataclass(slots=True)
class _Run:
    """Where a poll stands. `round` tells an answer that came in time from one that was given up.

    `answering`: its thread has not answered yet; `given_up`: nobody waits for that answer any more; `again`: something
    happened since it was asked.
    """

    due_at: float
    round: int = 0
    started_at: float = 0.0
    failures: int = 0
    answering: bool = False
    given_up: bool = False
    again: bool = False


class Polls:
    """The set of polls; used by the engine's thread alone, except for `hurry`."""

    def __init__(self, wake: Callable[[], None], limit_seconds: float) -> None:
        self._wake, self._limit = wake, limit_seconds
        self._polls: dict[str, Poll] = {}
        self._runs: dict[str, _Run] = {}
        self._answers: queue.SimpleQueue[tuple[int, PollResult]] = queue.SimpleQueue()
        self._hurried: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._suspended: frozenset[str] = frozenset()

    def replace(self, polls: Iterable[Poll]) -> None:
        """Make these all the polls there are; the same ones keep their schedule, new ones are due at once.

        A poll that asks something else under a known name is a new one: nothing that the old one brings counts.
        """
        before, self._polls = self._polls, {poll.name: poll for poll in polls}
        self._runs = {
            name: self._runs[name] if name in before and before[name].call == poll.call else self._fresh(name)
            for name, poll in self._polls.items()
        }

    def names(self) -> list[str]:
        """What is asked."""
        return list(self._polls)

    def suspend(self, names: Collection[str]) -> None:
        """Ask these, and no others, no more; what leaves the set is due at once, as if it had never failed."""
        for name in self._suspended - frozenset(names):
            if name in self._runs:
                self._runs[name].due_at, self._runs[name].failures = 0.0, 0
        self._suspended = frozenset(names)

    def hurry(self, *names: str) -> None:
        """Make polls due now (any thread): something happened that they will see."""
        for name in names:
            self._hurried.put(name)
        self._wake()

    def start_due(self, most: int | None = None) -> None:
        """Start the polls that are due and not still running, or so many of them that have been due for longest."""
        now = time.time()
        while not self._hurried.empty():
            run = self._runs.get(self._hurried.get())
            if run is not None and run.answering:
                run.again = True
            elif run is not None and not run.failures:
                run.due_at = min(run.due_at, _soonest(run, now))
        due = [
            (name, run)
            for name, run in self._runs.items()
            if run.due_at <= now and not run.answering and name not in self._suspended
        ]
        if most is not None and len(due) > most:
            due = sorted(due, key=lambda each: each[1].due_at)[:most]
        for name, run in due:
            self._start(self._polls[name], run, now)

    def results(self) -> list[PollResult]:
        """What came in since the last call, late answers left out; polls over their limit give an error."""
        found = []
        while not self._answers.empty():
            number, result = self._answers.get()
            run = self._runs.get(result.poll.name)
            if run is None:
                continue
            run.answering = False
            if run.round == number or (result.poll.told_once and result.error is None):
                found.append(self._ended(run, result))
            else:
                run.due_at = min(run.due_at, time.time())
        return found + self._overdue()

    def _fresh(self, name: str) -> _Run:
        return _Run(due_at=0.0, round=self._runs[name].round + 1 if name in self._runs else 0)

    def _start(self, poll: Poll, run: _Run, now: float) -> None:
        run.round += 1
        run.started_at, run.answering, run.given_up, run.again = now, True, False, False
        threading.Thread(target=self._ask, args=(poll, run.round, now), name=poll.name, daemon=True).start()

    def _ask(self, poll: Poll, number: int, started_at: float) -> None:
        try:
            value = poll.call()
            result = PollResult(poll, started_at, value=value, seconds=max(time.time() - started_at, 0.0))
        except Exception as ex:  # an adapter's mistake must cost its own poll only
            result = PollResult(poll, started_at, error=ex, seconds=max(time.time() - started_at, 0.0))
        self._answers.put((number, result))
        self._wake()

    def _ended(self, run: _Run, result: PollResult) -> PollResult:
        run.failures = run.failures + 1 if result.error else 0
        pause = result.poll.interval_seconds * 2 ** min(run.failures, 10)
        if run.failures:
            pause = min(pause, max(_LONGEST_PAUSE, result.poll.interval_seconds)) * random.uniform(0.75, 1.25)
        now = time.time()
        run.due_at = _soonest(run, now) if run.again and not run.failures else now + pause
        return replace(result, due_at=run.due_at)

    def _overdue(self) -> list[PollResult]:
        """Give up on polls over their limit: their thread stays, and they are asked again once it has answered."""
        found = []
        now = time.time()
        for name, run in self._runs.items():
            if run.answering and not run.given_up and now - run.started_at > self._limit:
                run.round += 1
                run.given_up = True
                error = TimeoutError(f"No answer within {self._limit:g} seconds.")
                seconds = now - run.started_at
                found.append(self._ended(run, PollResult(self._polls[name], run.started_at, None, error, seconds)))
        return found


def _soonest(run: _Run, now: float) -> float:
    return max(now, run.started_at + _SHORTEST_PAUSE)


def failure_sentence(error: Exception | None) -> str:
    """An error as a sentence: ours as it is, others by their kind."""
    if isinstance(error, (CloudschedError, TimeoutError)):
        return str(error)
    return f"{type(error).__name__}: {error}"
