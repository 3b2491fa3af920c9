"""v1's shares per user:vmtype: what each has, what its jobs ask for, and the difference (PARITY 6.4, 2.9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cloudsched.config.options import Global
from cloudsched.model.jobs import Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy.supply import plannable

Shares = dict[str, float]


@dataclass(frozen=True, slots=True)
class Held:
    """What the VMs of one user:vmtype amount to; memory in MB, storage in GB."""

    vms: int = 0
    memory: int = 0
    cores: int = 0
    storage: int = 0

    def plus_vm(self, memory: int, cores: int, storage: int) -> Held:
        """The same with one VM more."""
        return Held(self.vms + 1, self.memory + memory, self.cores + cores, self.storage + storage)


def _slot(held: Held, settings: Global) -> float:
    return held.vms


def _memory(held: Held, settings: Global) -> float:
    return held.memory


def _memory_cpu(held: Held, settings: Global) -> float:
    return held.memory * held.cores


def _memory_cpu_storage(held: Held, settings: Global) -> float:
    product = held.memory * settings.memory_distribution_weight * held.cores * settings.cpu_distribution_weight
    return product * held.storage * settings.storage_distribution_weight if held.storage else product


_METRICS: Mapping[str, Callable[[Held, Global], float]] = {
    "slot": _slot,
    "memory": _memory,
    "memory_cpu": _memory_cpu,
    "memory_cpu_storage": _memory_cpu_storage,
}


def measure(held: Held, settings: Global) -> float:
    """What VMs count for in the configured `scheduling_metric`."""
    return _METRICS[settings.scheduling_metric](held, settings)


def holdings(vms: Iterable[VM]) -> dict[str, Held]:
    """What each user:vmtype holds; drained VMs lie outside the clouds' allowances and do not count."""
    sums: dict[str, list[int]] = {}
    for vm in vms:
        if not vm.retired:
            held = sums.setdefault(f"{vm.user}:{vm.vmtype}", [0, 0, 0, 0])
            held[0] += 1
            held[1] += vm.memory
            held[2] += vm.cpucores
            held[3] += vm.storage
    return {name: Held(*each) for name, each in sums.items()}


def current_shares(held: Mapping[str, Held], settings: Global) -> Shares:
    """The share of each user:vmtype in all that is held; all zero when the metric sees nothing."""
    amounts = {name: measure(each, settings) for name, each in held.items()}
    total = sum(amounts.values())
    return {name: amount / total if total else 0.0 for name, amount in amounts.items()}


def tops(wanting: Iterable[tuple[Shape, int]], settings: Global) -> dict[str, list[str]]:
    """Per user, the user:vmtypes his unit goes to: of his highest-priority jobs, one type, or all with `split`.

    `wanting` are shapes with a JobPrio. Ties in the normal distribution go to the first name.
    """
    best: dict[str, tuple[int, set[str]]] = {}
    for shape, priority in wanting:
        known = best.get(shape.user)
        if known is None or priority > known[0]:
            best[shape.user] = (priority, {shape.uservmtype})
        elif priority == known[0]:
            known[1].add(shape.uservmtype)
    split = settings.job_distribution_type == "split"
    return {user: sorted(types) if split else [min(types)] for user, (_, types) in best.items()}


def desired_shares(wanting: Iterable[tuple[Shape, int]], settings: Global) -> Shares:
    """The share each user:vmtype should have; high-priority jobs make their user count once more."""
    jobs = list(wanting)
    everyone = tops(jobs, settings)
    high = tops(((shape, priority) for shape, priority in jobs if shape.high_priority), settings)
    weight = settings.high_priority_job_weight
    ordinary = 1 / weight if high else 1.0
    shares: Shares = {}
    for users, unit in ((everyone, ordinary), (high, float(weight))):
        for types in users.values():
            for name in types:
                shares[name] = shares.get(name, 0.0) + unit / len(types)
    return {name: share / (len(everyone) + len(high)) for name, share in shares.items()}


def distributions(snapshot: Snapshot, settings: Global) -> tuple[Shares, Shares, Shares]:
    """(diff, current, desired) by user:vmtype as v1 showed them; a negative diff means under-served (PARITY 2.9)."""
    wanting = [
        (snapshot.shapes[group.shape], group.priority)
        for group in plannable(snapshot.groups)
        if group.status == "Unscheduled" and group.jobs > 0
    ]
    held = holdings(snapshot.vms)
    current = current_shares(held, settings)
    desired = desired_shares(wanting, settings)
    diff = {name: share - desired[name] if name in desired else 1.0 for name, share in current.items()}
    diff |= {name: -share for name, share in desired.items() if name not in current}
    return _spread(diff, _limited(snapshot, wanting, held)), current, desired


def _spread(diff: Shares, limited: set[str]) -> Shares:
    """Hand what limited types lack to the others, in equal parts."""
    others = [name for name in diff if name not in limited]
    lacking = sum(min(0.0, share) for name, share in diff.items() if name in limited)
    return diff | {name: diff[name] + lacking / len(others) for name in others}


def _limited(snapshot: Snapshot, wanting: Iterable[tuple[Shape, int]], held: Mapping[str, Held]) -> set[str]:
    owners = {vm.uservmtype: vm.user for vm in snapshot.vms} | {shape.uservmtype: shape.user for shape, _ in wanting}
    users = Counter(vm.user for vm in snapshot.vms if not vm.retired)
    limits = snapshot.user_limits
    by_user = {name for name, user in owners.items() if user in limits and users[user] >= limits[user]}
    return by_user | {
        shape.uservmtype for shape, _ in wanting if 0 <= shape.usertype_limit <= held.get(shape.uservmtype, Held()).vms
    }
