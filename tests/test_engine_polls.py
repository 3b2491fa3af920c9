"""Polls on their own: limits, hurries, what counts when it comes late; and calls whose ends cannot be recorded yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from cloudsched.engine.calls import Call, Calls
from cloudsched.engine.intake import Intake
from cloudsched.engine.minutes import Minutes
from cloudsched.engine.observe import Observer
from cloudsched.engine.polls import Poll, PollResult, Polls
from cloudsched.store import Store, heartbeats

DEADLINE_SECONDS = 300.0


@dataclass
class Asked:
    """Something to poll that may be made to wait; it answers how often it has been asked."""

    times: int = 0
    go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.go.set()

    def __call__(self) -> int:
        self.times += 1
        told = self.times
        self.go.wait(DEADLINE_SECONDS)
        return told


def came(polls: Polls, condition: Callable[[list[PollResult]], Any]) -> list[PollResult]:
    """Poll until what came in meets a condition."""
    found: list[PollResult] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        polls.start_due()
        found += polls.results()
        if condition(found):
            return found
        time.sleep(0.005)
    raise AssertionError(f"never came: {found}")


def polls_of(asked: Asked, limit: float = DEADLINE_SECONDS, **options: Any) -> Polls:
    polls = Polls(lambda: None, limit)
    polls.replace([Poll("cloud", "VMPoller", asked, 3600, **options)])
    return polls


def test_hurry_during_a_poll_asks_once_more_after_it() -> None:
    asked = Asked()
    polls = polls_of(asked)
    asked.go.clear()
    polls.start_due()
    polls.hurry("cloud", "cloud", "unknown")
    polls.start_due()
    asked.go.set()
    assert [each.value for each in came(polls, lambda found: len(found) == 2)] == [1, 2]


def test_hurried_poll_keeps_its_time_limit() -> None:
    asked = Asked()
    polls = polls_of(asked, limit=0.1)
    asked.go.clear()
    polls.start_due()
    polls.hurry("cloud")
    (result,) = came(polls, len)
    assert str(result.error) == "No answer within 0.1 seconds."
    asked.go.set()


@pytest.mark.parametrize(("told_once", "values"), [(False, [2]), (True, [1, 2])])
def test_late_answer_counts_only_where_it_is_told_once(told_once: bool, values: list[int]) -> None:
    asked = Asked()
    polls = polls_of(asked, limit=0.1, told_once=told_once)
    asked.go.clear()
    (given_up,) = came(polls, len)
    assert given_up.error is not None
    asked.go.set()
    found = came(polls, lambda found: found or polls.hurry("cloud"))
    polls.hurry("cloud")
    found += [] if found[-1].value == 2 else came(polls, len)
    assert [each.value for each in found] == values


def test_exchanged_poll_does_not_wait_for_the_old_one() -> None:
    old, new = Asked(), Asked(times=10)
    polls = polls_of(old)
    old.go.clear()
    polls.start_due()
    polls.replace([Poll("cloud", "VMPoller", new, 3600)])
    assert [each.value for each in came(polls, len)] == [11]
    old.go.set()


def test_ends_are_kept_until_they_are_recorded() -> None:
    wake = threading.Event()
    calls = Calls(wake.set)
    done = Call("mouse", ("a",), lambda: 1, lambda *_: None)
    calls.start([done])
    assert wake.wait(DEADLINE_SECONDS)
    first = calls.ends()
    assert first == calls.ends() == [(done, 1)]
    assert (calls.in_flight, calls.idle) == (frozenset("a"), False)
    calls.recorded(first)
    assert (calls.ends(), calls.in_flight, calls.idle) == ([], frozenset(), True)


def test_few_calls_are_made_at_once_to_one_place_and_none_waits_for_another() -> None:
    go, running = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        running.release()
        go.wait(DEADLINE_SECONDS)

    calls = Calls(lambda: None)
    calls.start([Call("mouse", (str(number),), work, lambda *_: None) for number in range(9)])
    calls.start([Call("cheetah", ("c",), running.release, lambda *_: None)])
    for _ in range(5):
        assert running.acquire(timeout=DEADLINE_SECONDS)
    assert not running.acquire(timeout=0.1)
    go.set()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not calls.idle and time.monotonic() < deadline:
        calls.recorded(calls.ends())
        time.sleep(0.005)
    assert calls.idle


def test_suspended_poll_is_not_asked_until_it_is_suspended_no_more() -> None:
    asked = Asked()
    polls = polls_of(asked)
    polls.suspend({"cloud"})
    polls.start_due()
    assert asked.times == 0
    polls.suspend(set())
    assert [each.value for each in came(polls, len)] == [1]


def test_call_over_its_time_ends_and_what_it_does_later_counts_no_more() -> None:
    go, ended = threading.Event(), threading.Event()

    def work() -> int:
        go.wait(DEADLINE_SECONDS)
        ended.set()
        return 1

    calls = Calls(lambda: None)
    # More than are made at once: the last of them never begins.
    hung = [Call("mouse", (str(number),), work, lambda *_: None, 0.05) for number in range(5)]
    calls.start(hung)
    found: list[tuple[Call, Any]] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(found) < len(hung) and time.monotonic() < deadline:
        found = calls.ends()
        time.sleep(0.005)
    assert [str(error) for _, error in found] == ["No answer within 0.05 seconds."] * 5
    calls.recorded(found)
    assert (calls.in_flight, calls.idle) == (frozenset(), True)
    go.set()
    assert ended.wait(DEADLINE_SECONDS)
    done = Call("mouse", ("again",), lambda: 2, lambda *_: None, 60.0)
    calls.start([done])
    while not (found := calls.ends()) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert found == [(done, 2)]


def test_heartbeat_waits_for_the_next_commit_and_is_not_lost(store: Store) -> None:
    intake = Intake(store, Polls(lambda: None, DEADLINE_SECONDS), Calls(lambda: None), Observer(), Minutes())

    def beats() -> list[float]:
        with store.reading() as connection:
            return [each.beat_at for each in heartbeats.all_heartbeats(connection)]

    intake.record(100.0)
    intake.beat("Scheduler", 5, 101.0)
    intake.record(102.0)
    assert beats() == []
    intake.record(110.0)
    assert beats() == [101.0]
