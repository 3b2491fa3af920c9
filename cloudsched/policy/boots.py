"""Which VMs to boot in this cycle, and which jobs get none (PARITY 6.4 "Placement cycle").

v1 gave each user:vmtype at most one VM per cycle. The same turns are taken here until nothing more can be placed,
so one cycle ends where v1 ended after many. Different from v1: the most under-served goes first and ties rotate
(B-46), a job that cannot be placed does not hold up the user's next one, and ordinary jobs are kept off only those
clouds on which a high-priority job waits for room, instead of all.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from cloudsched.config.options import Global
from cloudsched.model.jobs import Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import is_leaving
from cloudsched.policy.fairshare import Held, measure, tops
from cloudsched.policy.ledger import Ledger
from cloudsched.policy.placement import Survey
from cloudsched.policy.supply import Demand, fits

TURN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Allocation:
    """The books after all promises, the jobs left without a VM, and the clouds that are kept, with for whom."""

    ledger: Ledger
    unserved: tuple[Demand, ...]
    kept: dict[str, str]


def allocate(snapshot: Snapshot, settings: Global, survey: Survey, demands: Sequence[Demand]) -> Allocation:
    """Promise VMs to waiting jobs: high-priority ones first, then by the configured `scheduling_algorithm`.

    `demands` are what existing and starting VMs will not take, best first.
    """
    ledger = Ledger(snapshot, settings, survey)
    high = _high_priority(ledger, [each for each in demands if each.shape.high_priority])
    kept = {name: "high-priority jobs" for each in high for name in ledger.verdict(each).suitable}
    ordinary = [each for each in demands if not each.shape.high_priority]
    if settings.scheduling_algorithm == "fifo":
        return Allocation(ledger, (*high, *_fifo(ledger, ordinary, kept)), kept)
    sharing = _FairShare(snapshot, settings, ledger, ordinary, kept)
    left = sharing.run()
    return Allocation(ledger, (*high, *left), dict.fromkeys(sharing.short, "users below their share") | kept)


class _Queue:
    """Waiting jobs, best first; those that get a VM or cannot be placed leave it."""

    def __init__(self, demands: Iterable[Demand]) -> None:
        self._demands = list(demands)
        self._jobs = [each.jobs for each in self._demands]
        self._first = 0

    @property
    def first(self) -> Demand | None:
        return self._demands[self._first] if self._first < len(self._demands) else None

    def turn(self, ledger: Ledger, kept: Container[str]) -> list[Demand]:
        """Promise one VM to the first jobs that can have one; returns the jobs before them, which cannot."""
        left: list[Demand] = []
        while (first := self.first) is not None:
            if ledger.place(first, kept):
                self._serve(first.shape)
                break
            left.append(replace(first, jobs=self._jobs[self._first]))
            self._jobs[self._first] = 0
            self._advance()
        return left

    def _serve(self, shape: Shape) -> None:
        """Count off the jobs that one VM of this shape takes: one, or one per core with VMJobPerCore."""
        slots = max(1, shape.req_cpucores) if shape.job_per_core else 1
        for index in range(self._first, len(self._demands)):
            other = self._demands[index].shape
            if other.uservmtype == shape.uservmtype and fits(other, shape):
                taken = min(slots, self._jobs[index])
                self._jobs[index] -= taken
                slots -= taken
            if not slots:
                break
        self._advance()

    def _advance(self) -> None:
        while self._first < len(self._jobs) and not self._jobs[self._first]:
            self._first += 1


def _high_priority(ledger: Ledger, demands: Iterable[Demand]) -> list[Demand]:
    """Each user in turn gets one VM, whatever his share and limit; returns the jobs that got none."""
    by_user: dict[str, list[Demand]] = {}
    for demand in demands:
        by_user.setdefault(demand.shape.user, []).append(demand)
    queues = [_Queue(each) for each in by_user.values()]
    left: list[Demand] = []
    while queues:
        for queue in queues:
            left += queue.turn(ledger, ())
        queues = [queue for queue in queues if queue.first is not None]
    return left


def _fifo(ledger: Ledger, demands: Iterable[Demand], kept: Container[str]) -> list[Demand]:
    """Highest JobPrio first, then in order of submission; returns the jobs that got none (B-16)."""
    queue = _Queue(demands)
    left: list[Demand] = []
    while queue.first is not None:
        left += queue.turn(ledger, kept)
    return left


class _FairShare:
    """Turns by share: a type's price is what it holds over its user's unit, and a low price goes first.

    Under-served means price <= total held / number of users, which is v1's diff <= 0 with both sides multiplied out;
    so a price changes only when its own type or user does, and the types wait in a heap.
    """

    def __init__(
        self, snapshot: Snapshot, settings: Global, ledger: Ledger, demands: Iterable[Demand], kept: Iterable[str]
    ) -> None:
        types: dict[str, list[Demand]] = {}
        self._users: dict[str, set[str]] = {}
        for demand in demands:
            types.setdefault(demand.shape.uservmtype, []).append(demand)
            self._users.setdefault(demand.shape.user, set()).add(demand.shape.uservmtype)
        self._queues = {name: _Queue(each) for name, each in types.items()}
        self._owners = {name: each[0].shape.user for name, each in types.items()}
        self._ranks = _rotated(sorted(types), snapshot.now)
        self._settings = settings
        self._ledger = ledger
        self._kept = frozenset(kept)
        self._leaving = {vm.cloud for vm in snapshot.vms if is_leaving(vm) and not vm.retired}
        self._total = sum(measure(each, settings) for each in ledger.held.values())
        self._prices: dict[str, float] = {}
        self._units: dict[str, float] = {}
        self._heap: list[tuple[float, int, str]] = []
        self.short: set[str] = set()
        for user in list(self._users):
            self._price(user)

    def run(self) -> list[Demand]:
        """Take turns until every job has a VM or cannot be placed; returns the latter."""
        left: list[Demand] = []
        while self._users:
            served = self._under_served()
            for name in served:
                dropped = self._turn(name, self._kept)
                left += dropped
                self._keep_for(dropped)
            for name in self._over_served(set(served)):
                left += self._turn(name, self._kept | self.short)
        return left

    def _under_served(self) -> list[str]:
        bar = self._total / len(self._users)
        names = []
        while self._heap and self._heap[0][0] <= bar:
            price, _, name = heappop(self._heap)
            if price == self._prices.get(name):
                del self._prices[name]
                names.append(name)
        return names

    def _over_served(self, served: set[str]) -> list[str]:
        """Types beyond their share that may have a VM: no other user below his share still waits (PARITY 6.4)."""
        ahead = {self._owners[name] for name in served if self._queues[name].first is not None}
        if len(ahead) > 1:
            return []
        names = {name for user in ahead or self._users for name in self._users[user]} - served
        return sorted(names, key=lambda name: (self._prices[name], self._ranks[name]))

    def _turn(self, name: str, kept: frozenset[str]) -> list[Demand]:
        queue = self._queues[name]
        first, before = queue.first, self._amount(name)
        left = queue.turn(self._ledger, kept)
        self._total += self._amount(name) - before
        if queue.first is first:
            self._push(name)
        else:
            self._price(self._owners[name])
        return left

    def _price(self, user: str) -> None:
        """Give the user's unit to the types of his most important waiting jobs; he leaves with his last job."""
        firsts = {name: first for name in self._users[user] if (first := self._queues[name].first) is not None}
        for name in self._users[user] - firsts.keys():
            self._prices.pop(name, None)
        self._users[user] = set(firsts)
        if not firsts:
            del self._users[user]
            return
        entitled = tops([(each.shape, each.priority) for each in firsts.values()], self._settings)[user]
        for name in firsts:
            self._units[name] = 1 / len(entitled) if name in entitled else 0.0
            self._push(name)

    def _push(self, name: str) -> None:
        price = self._amount(name) / self._units[name] if self._units[name] else math.inf
        if self._prices.get(name) != price:
            self._prices[name] = price
            heappush(self._heap, (price, self._ranks[name], name))

    def _amount(self, name: str) -> float:
        return measure(self._ledger.held.get(name, Held()), self._settings)

    def _keep_for(self, dropped: Iterable[Demand]) -> None:
        """Keep clouds where VMs are leaving for the under-served jobs that wait for more than one VM's room."""
        for demand in dropped:
            if not self._ledger.barred(demand):
                self.short |= self._leaving & self._ledger.verdict(demand).suitable.keys()


def _rotated(names: Sequence[str], now: int) -> dict[str, int]:
    """The rank of each name among equals: every hour another one is first, so that none starves (B-46)."""
    start = now // TURN_SECONDS % len(names) if names else 0
    return {name: (index - start) % len(names) for index, name in enumerate(names)}
