"""The planner's view of the state, re-reading only the topics that changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from cloudsched.model.snapshot import Snapshot
from cloudsched.store import clouds, jobs, limits, machines, operations, vms
from cloudsched.store.connect import Store, state_row

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the engine knows besides the state when it plans (see model.Snapshot)."""

    now: int
    jobs_known: bool = False
    machines_known: bool = False
    in_flight: frozenset[str] = frozenset()


class SnapshotReader:
    """Makes snapshots for one thread; an unchanged topic costs nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: dict[str, tuple[int, Any]] = {}

    def snapshot(self, seen: Seen) -> Snapshot:
        """Everything the planner sees, of one state index. Raises StateUnavailable."""
        with self._store.reading() as connection:
            row = state_row(connection)

            def topic(name: str, revision: int, read: Callable[[Connection], Iterable[T]]) -> tuple[T, ...]:
                cached = self._cache.get(name)
                if cached is None or cached[0] != revision:
                    self._cache[name] = cached = (revision, tuple(read(connection)))
                return cached[1]

            all_clouds = topic("clouds", row.clouds, clouds.all_clouds)
            all_vms = topic("vms", row.vms, vms.all_vms)
            return Snapshot(
                index=row.index,
                now=seen.now,
                clouds=all_clouds,
                vms=tuple(vm for vm in all_vms if not vm.released),
                shapes=dict(topic("shapes", row.shapes, lambda c: jobs.all_shapes(c).items())),
                groups=topic("groups", row.jobs, jobs.groups),
                machines=topic("machines", row.machines, machines.all_machines),
                wishes=topic("wishes", row.verbs, operations.unsettled),
                blocks=topic("blocks", row.shapes, jobs.blocks),
                user_limits=dict(topic("limits", row.limits, lambda c: limits.read_user_limits(c).items())),
                cloud_aliases=dict(topic("aliases", row.limits, lambda c: limits.read_cloud_aliases(c).items())),
                banned_images=dict(topic("banned", row.limits, lambda c: limits.read_banned_images(c).items())),
                jobs_known=seen.jobs_known,
                machines_known=seen.machines_known,
                stale_clouds=frozenset(cloud.name for cloud in all_clouds if cloud.stale),
                in_flight=seen.in_flight,
                released_on=frozenset(vm.cloud for vm in all_vms if vm.released),
            )
