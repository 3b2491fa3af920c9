"""The books of one plan: what clouds have left and users hold, as VMs are promised to jobs."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Container, Iterator

from cloudsched.config.options import Global
from cloudsched.model.actions import Boot
from cloudsched.model.clouds import Cloud
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.fairshare import Held, holdings
from cloudsched.policy.placement import Survey, Verdict
from cloudsched.policy.room import Room
from cloudsched.policy.supply import Demand
from cloudsched.policy.vms import STARTING

_Choice = tuple[float, int, int, str]


class Ledger:
    """Promises VMs one by one, within room, limits and `max_starting_vm`."""

    def __init__(self, snapshot: Snapshot, settings: Global, survey: Survey) -> None:
        self.room = Room(snapshot)
        self.held = holdings(snapshot.vms)
        self.survey = survey
        self.promised: Counter[tuple[str, str]] = Counter()
        self._settings = settings
        self._users = Counter(vm.user for vm in snapshot.vms if not vm.retired)
        self._limits = snapshot.user_limits
        self._starting = sum(vm.status in STARTING for vm in snapshot.vms)
        # Promises give nothing back: a cloud without slots is out of it.
        self._order = sorted(map(self._priced, filter(self.room.has_slots, snapshot.clouds)))

    def verdict(self, demand: Demand) -> Verdict:
        """What the clouds can do for these jobs, room aside."""
        return self.survey.judge(demand.key, demand.shape, demand.blocked)

    def holds(self, user: str) -> bool:
        """Whether the user has any VM, promised ones included."""
        return self._users[user] > 0

    def headroom(self, demand: Demand) -> float:
        """How many more VMs the limits allow these jobs."""
        return min((most - used for used, most, _ in self._limited(demand)), default=math.inf)

    def barred(self, demand: Demand) -> str:
        """The limit that stands against one more VM for these jobs, as a sentence, or empty."""
        return next((reason for used, most, reason in self._limited(demand) if used >= most), "")

    def _limited(self, demand: Demand) -> Iterator[tuple[int, int, str]]:
        """Each limit as used, allowed and sentence; high-priority jobs are above those of users (PARITY 6.4)."""
        shape = demand.shape
        most, used = self._settings.max_starting_vm, self._starting
        if most >= 0:
            yield used, most, f"{used} VMs are starting, max_starting_vm is {most}"
        if shape.high_priority:
            return
        if shape.user in self._limits:
            used, most = self._users[shape.user], self._limits[shape.user]
            yield used, most, f"user {shape.user} has {used} VMs, the limit is {most}"
        if shape.usertype_limit >= 0:
            used, most = self.held.get(shape.uservmtype, Held()).vms, shape.usertype_limit
            yield used, most, f"{shape.uservmtype} has {used} VMs, its VMTypeLimit is {most}"

    def place(self, demand: Demand, kept: Container[str] = ()) -> bool:
        """Promise one VM for these jobs on the best cloud that has room and is not `kept` for others."""
        cloud = None if self.barred(demand) else self._best(demand, kept)
        if cloud is None:
            return False
        shape = demand.shape
        del self._order[bisect_left(self._order, self._priced(cloud))]
        self.room.take(shape, cloud)
        if self.room.has_slots(cloud):
            insort(self._order, self._priced(cloud))
        before = self.held.get(shape.uservmtype, Held())
        self.held[shape.uservmtype] = before.plus_vm(shape.req_memory, shape.req_cpucores, shape.req_storage)
        self._users[shape.user] += 1
        self._starting += 1
        self.promised[cloud.name, demand.key] += 1
        return True

    def boots(self) -> tuple[Boot, ...]:
        """What has been promised, in the order of the first promises."""
        return tuple(Boot(cloud, key, vms) for (cloud, key), vms in self.promised.items())

    def _best(self, demand: Demand, kept: Container[str]) -> Cloud | None:
        """The cloud with the lowest used-slot ratio, then priority, then position (PARITY 6.4)."""
        suitable = self.verdict(demand).suitable
        for _, _, _, name in self._order:
            if name in suitable and name not in kept and not self.room.lacks(demand.shape, suitable[name]):
                return suitable[name]
        return None

    def _priced(self, cloud: Cloud) -> _Choice:
        return self.room.fill(cloud), cloud.priority, cloud.position, cloud.name
