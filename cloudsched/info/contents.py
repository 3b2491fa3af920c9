"""What the state holds at one index, read again only where it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from cloudsched.info import queue
from cloudsched.info.queue import Change, Listing, Queue, Shapes
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Machine, Shape
from cloudsched.model.metrics import Key
from cloudsched.model.vms import VM
from cloudsched.store import StateRow, Store, jobs, limits, operations, queues, rows, state_row, tables, vms
from cloudsched.store.queues import Census, Where
from cloudsched.store.tallies import to_key

T = TypeVar("T")
ByCloud = Mapping[str, Mapping[str, VM]]


@dataclass(frozen=True, slots=True)
class Explained:
    """A shape, and why its waiting jobs have no VM."""

    shape: Shape
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """A counter that only grows."""

    key: Key
    value: float


@dataclass(frozen=True, slots=True)
class Contents:
    """Rows by their keys, all of the index in `row`; a mapping that did not change stays the same object."""

    row: StateRow
    clouds: Mapping[str, Cloud] = field(default_factory=dict)
    vms: ByCloud = field(default_factory=dict)
    """By cloud, then by uid; a cloud whose VMs did not change keeps its mapping."""
    shapes: Mapping[str, Explained] = field(default_factory=dict)
    machines: Mapping[str, Machine] = field(default_factory=dict)
    user_limits: Mapping[str, int] = field(default_factory=dict)
    cloud_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    """`waiting` counts, by aspect, the wishes that have no outcome yet."""
    problems: Mapping[str, str] = field(default_factory=dict)
    listings: Mapping[Queue, Listing] = field(default_factory=dict)
    census: Census | None = None
    """`listings` are the queues somebody reads; `census` is None until somebody wants to count jobs."""

    @property
    def queue_shapes(self) -> Shapes:
        """The shapes as the queues need them."""
        known = {key: each.shape for key, each in self.shapes.items()}
        return Shapes(known, {key: each.reasons for key, each in self.shapes.items() if each.reasons})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the jobs the contents shall hold; nothing else of them is read."""

    queues: frozenset[Queue] = frozenset()
    census: bool = False


NO_JOBS = Wanted()

NOTHING = Contents(StateRow(*(0 for _ in fields(StateRow))))
"""What is known before the first reading."""


def read(store: Store, before: Contents, wanted: Wanted = NO_JOBS) -> Contents:
    """The contents now, in one read transaction; of a topic that changed since `before` only the changed rows are read.

    Everything is read where tombstones that would be needed are gone, and where the index went back because another
    state was put in place. Raises StateUnavailable.
    """
    with store.reading() as connection:
        row = state_row(connection)
        if not row.oldest <= before.row.index <= row.index:
            before = NOTHING
        found = _read(_Delta(connection, row, before.row.index), before)
        census = before.census if row.jobs == before.row.jobs else None
        return replace(
            found,
            listings=_listings(queues.Reader(connection), before, found, wanted),
            census=census or (queues.census(connection) if wanted.census else None),
        )


@dataclass(frozen=True, slots=True)
class _Delta:
    """What has changed after the index `since`."""

    connection: Any
    row: StateRow
    since: int

    def merged(self, name: str, old: Mapping[str, T], value: Callable[[Mapping[str, Any]], T]) -> Mapping[str, T]:
        """A table's rows by key, each made a value of."""
        topic = name if name in tables.TOPICS else "index"
        if getattr(self.row, topic) <= self.since:
            return old
        table = tables.metadata.tables[name]
        key = str(rows.key_column(table).key)
        found, gone = rows.changes(self.connection, table, topic, self.since)
        kept = dict(old)
        for each in gone:
            kept.pop(each, None)
        kept.update((each[key], value(dict(each))) for each in found)
        return kept


def _read(delta: _Delta, before: Contents) -> Contents:
    """All but the jobs."""
    connection, row, since, merged = delta.connection, delta.row, delta.since, delta.merged
    limits_changed = row.limits > since
    return Contents(
        row,
        clouds=merged("clouds", before.clouds, lambda each: rows.from_row(Cloud, each)),
        vms=_with_vms(before.vms, *vms.changed(connection, since)) if row.vms > since else before.vms,
        shapes=merged("shapes", before.shapes, _explained),
        machines=merged("machines", before.machines, lambda each: rows.from_row(Machine, each)),
        user_limits=limits.read_user_limits(connection) if limits_changed else before.user_limits,
        cloud_aliases=limits.read_cloud_aliases(connection) if limits_changed else before.cloud_aliases,
        tallies=merged("tallies", before.tallies, lambda each: Tally(to_key(each["key"]), each["value"])),
        waiting=operations.waiting(connection) if row.verbs > since else before.waiting,
        problems=limits.read_settings(connection).get(limits.PROBLEMS, {}) if limits_changed else before.problems,
    )


def _with_vms(before: ByCloud, changed: Iterable[VM], gone: Iterable[str]) -> ByCloud:
    """The VMs by cloud after a change; only the clouds it concerns get new mappings."""
    found = dict(before)
    copied: set[str] = set()

    def own(cloud: str) -> dict[str, VM]:
        if cloud not in copied:
            found[cloud] = dict(found.get(cloud, {}))
            copied.add(cloud)
        return found[cloud]  # type: ignore[return-value]

    listed = list(changed)
    places = {**dict.fromkeys(gone), **({vm.uid: vm.cloud for vm in listed} if before else {})}
    for uid, place in places.items():
        for cloud in [name for name, held in found.items() if uid in held and name != place]:
            own(cloud).pop(uid)
    for vm in listed:
        own(vm.cloud)[vm.uid] = vm
    return {cloud: held for cloud, held in found.items() if held}


def _listings(reader: queues.Reader, before: Contents, now: Contents, wanted: Wanted) -> Mapping[Queue, Listing]:
    shapes, since = now.queue_shapes, before.row.index
    known = {each: before.listings[each] for each in wanted.queues if each in before.listings}
    if known and (now.row.jobs > since or now.row.shapes > since):
        change = _change(reader, before, shapes, any(each.tells_reasons for each in known))
        known = {each: queue.follow(each, listing, change, shapes) for each, listing in known.items()}
    for each in wanted.queues - known.keys():
        found = (job for where in queue.wheres(each.word, shapes) for job in reader.selected(where, shapes.known))
        known[each] = queue.listing(each, found, shapes)
    return known


def _change(reader: queues.Reader, before: Contents, shapes: Shapes, with_reasons: bool) -> Change:
    changed, gone = reader.changed(before.row.index, shapes.known)
    if not with_reasons:
        return Change(tuple(changed), tuple(gone))
    old = before.queue_shapes.reasons
    keys = old.keys() | shapes.reasons.keys()
    reasoned = frozenset(key for key in keys if old.get(key, ()) != shapes.reasons.get(key, ()))
    waiting = reader.selected(Where(shapes=reasoned), shapes.known) if reasoned else ()
    return Change((*changed, *waiting), tuple(gone), reasoned)


def _explained(row: Mapping[str, Any]) -> Explained:
    return Explained(jobs.to_shape(row["shape"]), tuple(row["reasons"]))
