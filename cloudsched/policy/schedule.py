"""What jobs are told: whether a VM has been found for them, and if not, why (PARITY 5.3, 2.10)."""

from __future__ import annotations

from collections import Counter

from cloudsched.model.actions import Explain, Plan, Schedule
from cloudsched.model.explanations import Standing
from cloudsched.model.jobs import WAITING
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.boots import Allocation
from cloudsched.policy.supply import Demand, Supply, plannable

NO_ROOM = "Insufficient Resources on cloud"


def schedules(snapshot: Snapshot, supply: Supply) -> Plan:
    """Make as many waiting jobs Scheduled as VMs, present or starting, will take; running ones are so anyway.

    Only the numbers that are not right already are named.
    """
    present: Counter[tuple[str, int]] = Counter()
    for group in plannable(snapshot.groups):
        if group.job_status in WAITING:
            present[group.shape, group.priority] += group.jobs if group.status == "Scheduled" else 0
    return tuple(
        Schedule(shape, priority, supply.served.get((shape, priority), 0))
        for (shape, priority), jobs in present.items()
        if jobs != supply.served.get((shape, priority), 0)
    )


def explanations(snapshot: Snapshot, allocation: Allocation) -> Plan:
    """Tell every shape whose jobs got no VM what stands against it, and clear the reasons of all others.

    Jobs that no cloud could ever take are explained in the same way. v1 held them (PARITY 6.5.5.1), even when the
    clouds were only disabled (B-19); here they wait, and run once a cloud fits.
    """
    reasons: dict[str, list[str]] = {group.shape: [] for group in plannable(snapshot.groups)}
    for demand in allocation.unserved:
        reasons[demand.key] += _reasons(snapshot, allocation, demand)
    return tuple(Explain(shape, tuple(dict.fromkeys(each))) for shape, each in reasons.items())


def _reasons(snapshot: Snapshot, allocation: Allocation, demand: Demand) -> list[str]:
    if not snapshot.clouds:
        return ["no cloud is configured"]
    limit = allocation.ledger.barred(demand)
    if limit:
        return [limit]
    lacking = _lacking(allocation, demand)
    full = list(filter(None, lacking.values()))
    kept = [_kept_for(allocation, name) for name, reason in lacking.items() if not reason] if allocation.kept else []
    rejected = [each.reason for each in allocation.ledger.verdict(demand).rejected]
    return [*([NO_ROOM] if full else []), *full, *filter(None, kept), *rejected]


def against(allocation: Allocation, demand: Demand) -> list[Standing]:
    """How each cloud that concerns these jobs stands to them, after all promises: first those that lack room."""
    lacking = _lacking(allocation, demand)
    full = [Standing(name, reason, lacks_room=True) for name, reason in lacking.items() if reason]
    able = [Standing(name, _kept_for(allocation, name)) for name, reason in lacking.items() if not reason]
    rejected = allocation.ledger.verdict(demand).rejected
    return [*full, *able, *(Standing(each.cloud, each.reason) for each in rejected)]


def _lacking(allocation: Allocation, demand: Demand) -> dict[str, str]:
    """What each cloud that could take these jobs has too little of by now, empty where it has room."""
    ledger = allocation.ledger
    return {name: ledger.room.lacks(demand.shape, cloud) for name, cloud in ledger.verdict(demand).suitable.items()}


def _kept_for(allocation: Allocation, name: str) -> str:
    kept = allocation.kept
    return f"room on {name} is kept for {kept[name]}" if name in kept else ""
