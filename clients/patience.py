"""Waiting for a verb: as long as was asked, and on a terminal with a line that says how far it is.

The daemon is asked again and again under one Idempotency-Key, each time for a short while, so that what is printed in
the end is the verb's own answer; in between its operation tells how many of the targets are done.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from cloudsched.client import Answer, Ask, Client, NoAnswer

STEP_SECONDS = 1.0
_ERASE = "\r\033[K"


def ask(client: Client, verb: Ask, seconds: int | None, otherwise: int) -> Answer:
    """The answer to a verb, waited for `seconds`, or for `otherwise` as the daemon is configured to."""
    client = replace(client, timeout_seconds=max(client.timeout_seconds, (seconds or 0) + 10))
    if verb.reads or not sys.stderr.isatty():
        return client.ask(verb if seconds is None else _waiting(verb, seconds))
    return _watched(client, verb, otherwise if seconds is None else seconds)


def _waiting(verb: Ask, seconds: float) -> Ask:
    return replace(verb, params={**verb.params, "wait": str(int(seconds))})


def _watched(client: Client, verb: Ask, seconds: int, clock: Callable[[], float] = time.monotonic) -> Answer:
    began = clock()
    try:
        while True:
            left = seconds - (clock() - began)
            answer = client.ask(_waiting(verb, max(min(STEP_SECONDS, left), 0)))
            left = seconds - (clock() - began)
            if not answer.accepted or left <= 0:
                return answer
            _say(f"{_progress(client, answer.location)}; {clock() - began:.0f} s of {seconds}")
    finally:
        _say("")


def _progress(client: Client, location: str) -> str:
    """How far an operation is, as far as that can be learnt."""
    number = location.rpartition("/")[2]
    try:
        told = client.ask(Ask("GET", ["operations", f"{number}.json"]))
        targets = json.loads(told.text)["targets"]
        done = sum(target["state"] != "running" for target in targets)
    except (NoAnswer, ValueError, LookupError, TypeError):
        return "under way"
    return f"operation {number}: {done} of {len(targets)} done"


def _say(words: str) -> None:
    sys.stderr.write(f"{_ERASE}{words}")
    sys.stderr.flush()
