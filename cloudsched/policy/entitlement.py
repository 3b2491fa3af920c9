"""How many VMs each user:vmtype may keep while others wait (PARITY 6.6b, with the fix of B-46)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cloudsched.config.options import Global
from cloudsched.model.jobs import Shape
from cloudsched.policy.fairshare import Shares

Level = tuple[bool, int]


def entitlements(
    total: float, live: Iterable[tuple[Shape, int]], held: Shares, wanted: Shares, settings: Global
) -> Shares:
    """Divide `total` VMs among the users with jobs, and each user's part among his types, nobody beyond his need.

    `live` are the shapes, with JobPrio, of all jobs that wait or run; `held` and `wanted` count VMs by
    user:vmtype. A user's types are served by priority; among equals the normal distribution leaves what is held,
    `split` gives equal parts. Types without jobs are entitled to nothing.
    """
    levels: dict[str, dict[str, Level]] = {}
    for shape, priority in live:
        types = levels.setdefault(shape.user, {})
        level = (bool(shape.high_priority), priority)
        types[shape.uservmtype] = max(level, types.get(shape.uservmtype, level))
    needs = {user: sum(held.get(name, 0) + wanted.get(name, 0) for name in types) for user, types in levels.items()}
    parts = divide(total, needs, _weights(levels, wanted, settings))
    split = settings.job_distribution_type == "split"
    given: Shares = {}
    for user, types in levels.items():
        given |= _within(parts[user], types, held, wanted, split)
    return given


def divide(total: float, needs: Mapping[str, float], weights: Mapping[str, float]) -> Shares:
    """Divide by weight; what somebody does not need goes to the others."""
    given: Shares = {}
    weight_left = sum(weights[name] for name in needs)
    for name in sorted(needs, key=lambda each: (needs[each] / weights[each], each)):
        given[name] = min(needs[name], total * weights[name] / weight_left)
        total -= given[name]
        weight_left -= weights[name]
    return given


def _weights(levels: Mapping[str, Mapping[str, Level]], wanted: Shares, settings: Global) -> Shares:
    """One unit a user; one more, weighted, for those with high-priority jobs waiting (PARITY 6.4)."""
    high = {
        user for user, types in levels.items() if any(level[0] and wanted.get(name, 0) for name, level in types.items())
    }
    weight = settings.high_priority_job_weight
    ordinary = 1 / weight if high else 1.0
    return {user: ordinary + (weight if user in high else 0) for user in levels}


def _within(total: float, types: Mapping[str, Level], held: Shares, wanted: Shares, split: bool) -> Shares:
    given = dict.fromkeys(types, 0.0)
    for level in sorted(set(types.values()), reverse=True):
        equals = sorted(name for name in types if types[name] == level)
        for needs in _rounds(equals, held, wanted, split):
            for name, part in divide(total, needs, dict.fromkeys(needs, 1.0)).items():
                given[name] += part
                total -= part
    return given


def _rounds(names: Iterable[str], held: Shares, wanted: Shares, split: bool) -> list[Shares]:
    if split:
        return [{name: held.get(name, 0) + wanted.get(name, 0) for name in names}]
    return [{name: each.get(name, 0) for name in names} for each in (held, wanted)]
