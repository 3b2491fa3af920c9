"""Carrying out a plan: first everything is recorded in one transaction, then the world is asked.

The order is the point: a VM exists in the state before its cloud hears of it, so a crash between the two leaves a
record to follow up and never a VM that nobody knows (DESIGN 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cloudsched.engine.boots import Boots
from cloudsched.engine.calls import Call
from cloudsched.engine.endings import Endings
from cloudsched.engine.observe import failure_sentence
from cloudsched.engine.places import Places
from cloudsched.engine.proxies import Found, Proxies, summary
from cloudsched.engine.reloads import Reloads
from cloudsched.model import actions
from cloudsched.model.jobs import JobOutcome
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.wishes import Outcome, OutcomeState
from cloudsched.store import Store, Writing, clouds, jobs, operations, vms

T = TypeVar("T")

WISH = "wish-"
"""Orders under way are kept among the busy uids under this prefix and the wish's id."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Turns a plan into one commit and the calls to make after it."""

    store: Store
    places: Places
    boots: Boots
    endings: Endings
    reloads: Reloads
    proxies: Proxies

    def plan(self, snapshot: Snapshot, plan: actions.Plan) -> list[Call]:
        """Record a plan; returns the calls that carry out the rest. Raises StateUnavailable, with nothing done."""
        ends = [each for each in plan if isinstance(each, (actions.Destroy, actions.Retire))]
        with self.store.writing() as writing:
            for action in plan:
                self._record(writing, action, snapshot.now)
            operations.record_superseded(writing, snapshot.now)
            requested = self.boots.record(writing, snapshot, _of(actions.Boot, plan))
            self.endings.record(writing, snapshot, ends)
        return [
            *self.endings.destroy_calls(snapshot, _of(actions.Destroy, plan)),
            *self.endings.retire_calls(snapshot, _of(actions.Retire, plan)),
            *self._order_calls(_of(actions.OrderJobs, plan), snapshot.now),
            *(self._renew_call(each, snapshot.now) for each in _of(actions.Renew, plan)),
            *self.boots.calls(snapshot, requested),
        ]

    def _record(self, writing: Writing, action: actions.Action, now: int) -> None:
        match action:
            case actions.SetVM(uid, fields):
                vms.record_fields(writing, [{"uid": uid, **fields}])
            case actions.SetCloud(name, fields):
                clouds.record_fields(writing, name, fields)
            case actions.Schedule(shape, priority, count):
                jobs.record_scheduled(writing, shape, priority, count)
            case actions.Explain(shape, reasons):
                jobs.record_reasons(writing, shape, reasons)
            case actions.Drop(uid):
                vms.forget(writing, [uid])
            case actions.Settle(wish, state, detail):
                operations.record_outcomes(writing, [Outcome(wish, state, detail, now)])
            case actions.Reload():
                self.reloads.apply(writing, action, now)
            case _:
                pass  # Boot, Destroy, Retire, OrderJobs and Renew are calls as well, and recorded together

    def _order_calls(self, orders: Sequence[actions.OrderJobs], now: int) -> list[Call]:
        if not orders:
            return []

        def work() -> list[JobOutcome]:
            return self.places.batch.act([each.order for each in orders])

        def finish(writing: Writing, result: list[JobOutcome] | Exception) -> None:
            if isinstance(result, Exception):
                result = [JobOutcome(each.order.token, str(result)) for each in orders]
            for each, outcome in zip(orders, result, strict=True):
                if each.wish is not None:
                    operations.record_outcomes(writing, [_order_outcome(each.wish, outcome, now)])

        return [Call("batch", tuple(f"{WISH}{each.wish}" for each in orders), work, finish)]


    def _renew_call(self, action: actions.Renew, now: int) -> Call:
        def work() -> list[Found]:
            return self.proxies.refresh(action.aspect, action.user)

        def finish(writing: Writing, result: list[Found] | Exception) -> None:
            if isinstance(result, Exception):
                error, renewed = failure_sentence(result), 0
            else:
                self.proxies.record(writing, action.aspect, result)
                error, renewed = summary(result)
            state = OutcomeState.FAILED if error else OutcomeState.DONE
            detail = {"renewed": renewed} | ({"error": error} if error else {})
            operations.record_outcomes(writing, [Outcome(action.wish, state, detail, now)])

        return Call("proxies", (f"{WISH}{action.wish}",), work, finish)


def _order_outcome(wish: int, outcome: JobOutcome, now: int) -> Outcome:
    if outcome.error:
        return Outcome(wish, OutcomeState.FAILED, {"error": outcome.error}, now)
    detail: Mapping[str, Any] = {"cluster": outcome.cluster, "jobs": outcome.jobs} if outcome.cluster else {}
    return Outcome(wish, OutcomeState.DONE, detail, now)


def _of(kind: type[T], plan: actions.Plan) -> list[T]:
    return [each for each in plan if isinstance(each, kind)]
