"""The planner's view of the state, kept up by reading what has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import JobGroup, Machine, Shape
from cloudsched.model.snapshot import Block, Snapshot
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Wish
from cloudsched.store import clouds, groups, jobs, limits, machines, operations, vms
from cloudsched.store.connect import StateRow, Store, state_row
from cloudsched.store.following import Following
from cloudsched.store.jobs import KnownShape

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the engine knows besides the state when it plans (see model.Snapshot)."""

    now: int
    jobs_known: bool = False
    machines_known: bool = False
    in_flight: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Known:
    """What is followed of the state; who also looks at it while writing shares it with the reader of snapshots."""

    vms: Following[VM] = field(default_factory=vms.following)
    clouds: Following[Cloud] = field(default_factory=clouds.following)
    machines: Following[Machine] = field(default_factory=machines.following)


class SnapshotReader:
    """Makes snapshots for one thread. An unchanged topic costs nothing, and its values stay the same objects."""

    def __init__(self, store: Store, known: Known | None = None) -> None:
        self._store, self._known = store, known or Known()
        self._shapes = jobs.shapes_following()
        self._kept: dict[str, tuple[Any, Any]] = {}

    def snapshot(self, seen: Seen) -> Snapshot:
        """Everything the planner sees, of one state index. Raises StateUnavailable."""
        with self._store.reading() as connection:
            row = state_row(connection)
            all_clouds = self._known.clouds.all(connection, row)
            all_vms = self._known.vms.all(connection, row)
            known = self._shapes.all(connection, row)
            return Snapshot(
                index=row.index,
                now=seen.now,
                clouds=all_clouds,
                vms=self._once("vms", all_vms, _steered),
                shapes=self._once("shapes", known, _shapes),
                groups=self._groups(connection, row),
                machines=self._known.machines.all(connection, row),
                wishes=self._wishes(connection, row),
                blocks=self._once("blocks", known, _blocks),
                user_limits=self._once("limits", row.limits, lambda _: limits.read_user_limits(connection)),
                cloud_aliases=self._once("aliases", row.limits, lambda _: limits.read_cloud_aliases(connection)),
                banned_images=self._once("banned", row.limits, lambda _: limits.read_banned_images(connection)),
                jobs_known=seen.jobs_known,
                machines_known=seen.machines_known,
                stale_clouds=self._once("stale", all_clouds, _stale),
                in_flight=seen.in_flight,
                unseen=seen.unseen,
                released_on=self._once("released", all_vms, _released_on),
            )

    def _groups(self, connection: Connection, row: StateRow) -> tuple[JobGroup, ...]:
        return self._once("groups", row.jobs, lambda _: tuple(groups.groups(connection)))

    def _wishes(self, connection: Connection, row: StateRow) -> tuple[Wish, ...]:
        return self._once("wishes", row.verbs, lambda _: tuple(operations.unsettled(connection)))

    def _once(self, name: str, of: S, make: Callable[[S], T]) -> T:
        """What is made of values or at an index, made again only of other values or at another index."""
        kept = self._kept.get(name)
        if kept is None or not (kept[0] is of or (isinstance(of, int) and kept[0] == of)):
            self._kept[name] = kept = (of, make(of))
        made: T = kept[1]
        return made


def _stale(every: tuple[Cloud, ...]) -> frozenset[str]:
    return frozenset(cloud.name for cloud in every if cloud.stale)


def _steered(every: tuple[VM, ...]) -> tuple[VM, ...]:
    return tuple(vm for vm in every if not vm.released)


def _released_on(every: tuple[VM, ...]) -> frozenset[str]:
    return frozenset(vm.cloud for vm in every if vm.released)


def _shapes(known: tuple[KnownShape, ...]) -> Mapping[str, Shape]:
    return {each.key: each.shape for each in known}


def _blocks(known: tuple[KnownShape, ...]) -> tuple[Block, ...]:
    return tuple(block for each in known for block in each.blocks)
