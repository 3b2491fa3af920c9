"""A plan together with what it was decided on: the planner acts on the one, and whoever asks why is told by the other.

What stands in an answer about a waiting job was found by the very functions that boot VMs (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Generator
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
    deciding, actions = stages(snapshot, settings, defaults), list[Action]()
    while True:
        try:
            actions += next(deciding)
        except StopIteration as end:
            return Outlook(tuple(actions), end.value)


def stages(
    snapshot: Snapshot, settings: Global, defaults: JobDefaults
) -> Generator[tuple[Action, ...], None, Placement | None]:
    """The same piece by piece, each decided when it is asked for: for who has other things to do in between."""
    yield (done := wishes(snapshot))
    slots = slots_by_vm(snapshot)
    yield (done := overdue(snapshot := foresee(snapshot, done)))
    yield (done := connections(snapshot := foresee(snapshot, done), settings))
    yield (done := arrivals(snapshot := foresee(snapshot, done)))
    yield (done := registrations(snapshot := foresee(snapshot, done), slots))
    yield (done := endings(snapshot := foresee(snapshot, done), settings, slots))
    yield (done := drains(snapshot := foresee(snapshot, done), slots))
    snapshot = foresee(snapshot, done)
    if not snapshot.jobs_known:
        return None
    found = supply(snapshot, slots)
    yield ()
    yield (done := unneeded(snapshot, slots, found.spare))
    snapshot = foresee(snapshot, done)
    allocation = allocate(snapshot, settings, Survey(snapshot, defaults), found.unserved)
    placement = Placement(snapshot, found, allocation)
    yield (boots := allocation.ledger.boots())
    yield (done := probes(snapshot, boots, settings.call_timeout_seconds))
    yield (done := balance(snapshot := foresee(snapshot, done), settings, slots, allocation))
    yield schedules(snapshot := foresee(snapshot, done), found)
    yield explanations(snapshot, allocation)
    return placement
