"""A plan together with what it was decided on: the planner acts on the one, and whoever asks why is told by the other.

What stands in an answer about a waiting job was found by the very functions that boot VMs (DESIGN 3).
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudsched.config.options import Global, JobDefaults
from cloudsched.model.actions import Action, Plan
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.balance import balance
from cloudsched.policy.boots import Allocation, allocate
from cloudsched.policy.connection import connections
from cloudsched.policy.foresight import foresee
from cloudsched.policy.machines import slots_by_vm
from cloudsched.policy.placement import Survey
from cloudsched.policy.registration import registrations
from cloudsched.policy.requests import arrivals, overdue
from cloudsched.policy.retirement import drains, endings, unneeded
from cloudsched.policy.schedule import explanations, schedules
from cloudsched.policy.supply import Supply, supply
from cloudsched.policy.troubles import probes
from cloudsched.policy.wishes import wishes


@dataclass(frozen=True, slots=True)
class Placement:
    """Which jobs present VMs will take, and what becomes of the others; `snapshot` is what both were found in."""

    snapshot: Snapshot
    supply: Supply
    allocation: Allocation


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to do next; `placement` is None while the queue has not been read."""

    plan: Plan
    placement: Placement | None = None


def look(snapshot: Snapshot, settings: Global, defaults: JobDefaults) -> Outlook:
    """Decide; the same snapshot gives the same outlook (see `policy.plan`)."""
    actions: list[Action] = []

    def then(stage: Plan) -> None:
        nonlocal snapshot
        snapshot = foresee(snapshot, stage)
        actions.extend(stage)

    slots = slots_by_vm(snapshot)
    then(wishes(snapshot))
    then(overdue(snapshot))
    then(connections(snapshot, settings))
    then(arrivals(snapshot))
    then(registrations(snapshot, slots))
    then(endings(snapshot, settings, slots))
    then(drains(snapshot, slots))
    if not snapshot.jobs_known:
        return Outlook(tuple(actions))
    found = supply(snapshot, slots)
    then(unneeded(snapshot, slots, found.spare))
    allocation = allocate(snapshot, settings, Survey(snapshot, defaults), found.unserved)
    placement = Placement(snapshot, found, allocation)
    boots = allocation.ledger.boots()
    then(boots)
    then(probes(snapshot, boots, settings.call_timeout_seconds))
    then(balance(snapshot, settings, slots, allocation))
    then(schedules(snapshot, found))
    then(explanations(snapshot, allocation))
    return Outlook(tuple(actions), placement)
