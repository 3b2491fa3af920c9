"""Orders to the batch system: submit, hold, release, remove."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloudsched.engine.calls import Call
from cloudsched.engine.places import Places
from cloudsched.model.actions import OrderJobs
from cloudsched.model.jobs import JobOutcome
from cloudsched.model.wishes import Outcome, OutcomeState
from cloudsched.store import Writing, operations

WISH = "wish-"
"""Orders under way are kept among the busy uids under this prefix and the wish's id."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Turns OrderJobs actions into a call. `settle_later` takes the outcome of an order that was carried out.

    Who is told that jobs are queued or held may ask for them at once, so they are in the state before the outcome is.
    """

    places: Places
    settle_later: Callable[[Outcome, float], None]

    def calls(self, orders: Sequence[OrderJobs], now: int) -> list[Call]:
        """The call that passes the orders on, if there are any."""
        if not orders:
            return []

        def work() -> list[JobOutcome]:
            return self.places.batch.act([each.order for each in orders])

        def finish(writing: Writing, result: list[JobOutcome] | Exception) -> None:
            if isinstance(result, Exception):
                result = [JobOutcome(each.order.token, str(result)) for each in orders]
            for each, outcome in zip(orders, result, strict=True):
                if each.wish is not None:
                    self._finish(writing, each.wish, outcome, now)

        return [Call("batch", tuple(f"{WISH}{each.wish}" for each in orders), work, finish)]

    def _finish(self, writing: Writing, wish: int, outcome: JobOutcome, now: int) -> None:
        if outcome.error:
            operations.record_outcomes(writing, [Outcome(wish, OutcomeState.FAILED, {"error": outcome.error}, now)])
            return
        detail = {"cluster": outcome.cluster, "jobs": outcome.jobs} if outcome.cluster else {}
        self.settle_later(Outcome(wish, OutcomeState.DONE, detail, now), time.time())
