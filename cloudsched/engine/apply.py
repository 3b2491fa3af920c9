"""Carrying out a plan: first everything is recorded in one transaction, then the world is asked.

The order is the point: a VM exists in the state before its cloud hears of it, so a crash between the two leaves a
record to follow up and never a VM that nobody knows (DESIGN 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cloudsched.engine import acts
from cloudsched.engine.boots import Boots
from cloudsched.engine.calls import Call
from cloudsched.engine.endings import Endings
from cloudsched.engine.orders import Orders
from cloudsched.engine.proxies import Proxies
from cloudsched.engine.reloads import Reloads
from cloudsched.model import actions
from cloudsched.model.journal import Entry
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.wishes import Outcome
from cloudsched.store import Store, Writing, clouds, jobs, operations, vms

T = TypeVar("T")

_SWITCHED = {True: "enable", False: "disable", None: "change"}


@dataclass(frozen=True, slots=True)
class Apply:
    """Turns a plan into one commit and the calls to make after it."""

    store: Store
    boots: Boots
    endings: Endings
    reloads: Reloads
    orders: Orders
    proxies: Proxies

    def plan(self, snapshot: Snapshot, plan: actions.Plan) -> list[Call]:
        """Record a plan; returns the calls that carry out the rest. Raises StateUnavailable, with nothing done."""
        ends = [each for each in plan if isinstance(each, (actions.Destroy, actions.Retire))]
        with self.store.writing() as writing:
            vms.record_fields(writing, _fields_by_vm(_of(actions.SetVM, plan)))
            jobs.record_reasons(writing, {each.shape: each.reasons for each in _of(actions.Explain, plan)})
            for action in plan:
                self._record(writing, action, snapshot)
            operations.record_superseded(writing, snapshot.now)
            requested = self.boots.record(writing, snapshot, _of(actions.Boot, plan))
            self.endings.record(writing, snapshot, ends)
        return [
            *self.endings.destroy_calls(snapshot, _of(actions.Destroy, plan)),
            *self.endings.retire_calls(snapshot, _of(actions.Retire, plan)),
            *self.orders.calls(_of(actions.OrderJobs, plan), snapshot.now),
            *(self.proxies.call(each, snapshot.now) for each in _of(actions.Renew, plan)),
            *self.boots.calls(snapshot, requested),
        ]

    def _record(self, writing: Writing, action: actions.Action, snapshot: Snapshot) -> None:
        now = snapshot.now
        match action:
            case actions.SetCloud(name, fields, reason):
                clouds.record_fields(writing, name, fields)
                if reason:
                    acts.record(writing, _set_cloud(snapshot, action))
            case actions.Schedule(shape, priority, count):
                jobs.record_scheduled(writing, shape, priority, count)
            case actions.Drop(uid, reason):
                self.endings.drop(writing, uid, reason)
            case actions.Settle(wish, state, detail):
                operations.record_outcomes(writing, [Outcome(wish, state, detail, now)])
            case actions.Reload():
                self.reloads.apply(writing, action, now)
            case _:
                pass  # Boot, Destroy, Retire, OrderJobs and Renew are calls as well; all of a kind go together


def _set_cloud(snapshot: Snapshot, action: actions.SetCloud) -> Entry:
    cloud = next(each for each in snapshot.clouds if each.name == action.name)
    before = {name: getattr(cloud, name) for name in action.fields}
    verb = _SWITCHED[action.fields.get("enabled")]
    changed = acts.changed(_flat(before), _flat(action.fields))
    return acts.of_cloud(verb, action.name, action.reason, **changed)


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as the journal has them: of a request, which names people, only until when it holds."""
    flat = {name: value for name, value in fields.items() if name != "request"}
    request = fields.get("request")
    return flat if request is None else flat | {"until": request.until}


def _fields_by_vm(changes: Sequence[actions.SetVM]) -> list[dict[str, Any]]:
    """One change for each VM; of two that set the same field the later counts."""
    found: dict[str, dict[str, Any]] = {}
    for change in changes:
        found.setdefault(change.uid, {"uid": change.uid}).update(change.fields)
    return list(found.values())


def _of(kind: type[T], plan: actions.Plan) -> list[T]:
    return [each for each in plan if isinstance(each, kind)]
