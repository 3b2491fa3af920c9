"""Making room for users below their share by retiring VMs of those above it (PARITY 6.6).

Nothing is retired while the waiting jobs fit anywhere, be it where VMs are leaving already, so a second look finds
nothing more to do. Different from v1, whose balancing booted one VM per job under mixed load (B-46): a user keeps
his share while he has jobs, waiting or running; VMs requested or changed within ten minutes are left alone; and
VMs go only where the waiting jobs will then really fit (B-41). Where there are more users than VMs, a user without
any takes over the VM of one above his share after an hour.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cloudsched.config.options import Global
from cloudsched.model.actions import Action, Destroy, Plan, Retire
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM, is_leaving
from cloudsched.policy.boots import Allocation
from cloudsched.policy.entitlement import entitlements
from cloudsched.policy.fairshare import Shares, current_shares
from cloudsched.policy.ledger import Ledger
from cloudsched.policy.machines import Slots
from cloudsched.policy.sacrifice import Sacrifices
from cloudsched.policy.supply import Demand, plannable

_NEARLY = 1e-6

Wants = Mapping[str, Sequence[Demand]]


def balance(snapshot: Snapshot, settings: Global, slots: Slots, allocation: Allocation) -> Plan:
    """Retire just the VMs whose room lets under-served jobs boot; with `graceful_shutdown` off, destroy them.

    Error VMs go first, then those that have not joined, idle ones and last busy ones. Without machines, and with
    another algorithm than fairshare, nothing is balanced.
    """
    wants = _wants(allocation)
    if not wants or not snapshot.machines_known or not snapshot.machines or settings.scheduling_algorithm == "fifo":
        return ()
    excess = _excess(snapshot, settings, allocation.ledger, wants)
    room = allocation.ledger.room.copy()
    for vm in snapshot.vms:
        if is_leaving(vm):
            room.give_back(vm)
    sacrifices = Sacrifices(snapshot, slots, room, excess)
    return tuple(_exchange(allocation.ledger, wants, excess, sacrifices, settings))


def _wants(allocation: Allocation) -> Wants:
    """The unserved jobs, by user:vmtype, that only lack room."""
    ledger = allocation.ledger
    wants: dict[str, list[Demand]] = {}
    for demand in allocation.unserved:
        if ledger.headroom(demand) >= 1 and ledger.verdict(demand).suitable:
            wants.setdefault(demand.shape.uservmtype, []).append(demand)
    return wants


def _vms_for(demand: Demand) -> int:
    return -(-demand.jobs // demand.shape.req_cpucores) if demand.shape.job_per_core else demand.jobs


def _excess(snapshot: Snapshot, settings: Global, ledger: Ledger, wants: Wants) -> Shares:
    """By user:vmtype, how many VMs it keeps beyond its entitlement; negative for those that lack VMs.

    What it keeps is its share, in the configured metric, of the number of VMs, without those that are leaving.
    """
    total = sum(each.vms for each in ledger.held.values())
    shares = current_shares(ledger.held, settings)
    leaving = Counter(vm.uservmtype for vm in snapshot.vms if is_leaving(vm) and not vm.retired)
    held = {name: shares[name] * total * (1 - leaving[name] / each.vms) for name, each in ledger.held.items()}
    wanted = {name: float(sum(map(_vms_for, demands))) for name, demands in wants.items()}
    live = ((snapshot.shapes[each.shape], each.priority) for each in plannable(snapshot.groups) if each.jobs > 0)
    entitled = entitlements(total, live, held, wanted, settings)
    return {name: held.get(name, 0.0) - entitled.get(name, 0.0) for name in held | wanted}


def _exchange(
    ledger: Ledger, wants: Wants, excess: Shares, sacrifices: Sacrifices, settings: Global
) -> Iterator[Action]:
    """Give each type what it lacks, the one that lacks most first, and end the VMs this takes."""
    granted: Counter[str] = Counter()
    for name in sorted(wants, key=lambda each: (excess[each], each)):
        user = wants[name][0].shape.user
        lacking = math.floor(_NEARLY - excess[name])
        starving = lacking < 1 and not granted[user] and not ledger.holds(user)
        for demand in wants[name]:
            most = min(_vms_for(demand), 1 if starving else lacking, ledger.headroom(demand) - granted[user])
            for _ in range(int(most)):
                vms = sacrifices.make_room(demand.shape, ledger.verdict(demand).suitable.values(), starving)
                if vms is None:
                    break
                granted[user] += 1
                lacking -= 1
                starving = False
                yield from (_end(vm, demand, settings, sacrifices.has_joined(vm)) for vm in vms)


def _end(vm: VM, demand: Demand, settings: Global, joined: bool) -> Action:
    reason = f"{vm.uservmtype} is above its share and {demand.shape.uservmtype} waits for room."
    if joined and settings.graceful_shutdown:
        return Retire(vm.uid, reason, forced=False)
    return Destroy(vm.uid, reason)
