"""Clouds from the configuration into the state: at the start and at a reconfig, in one transaction.

What the file and the definitions by API say, and what operators asked for, are merged here, once: a lasting wish wins
over a definition, a quota wish only as long as that still says what it said when the wish was made (DESIGN 7).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from cloudsched.engine import acts
from cloudsched.engine.troubles import is_refused, relieved
from cloudsched.model.adapters import CloudAdapter, Enforcing
from cloudsched.model.clouds import Cloud, Origin
from cloudsched.model.journal import Entry
from cloudsched.model.metrics import STATE, UNKNOWN, Key
from cloudsched.model.wishes import Aspect, Wish
from cloudsched.policy.requests import is_enabled_by
from cloudsched.store import Writing, clouds, limits, operations, tallies, vms
from cloudsched.store.wants import configured_slots

log = logging.getLogger("cloudscheduler")

_OWN = ("failed_images", "connection_problem", "errorconnect", "stale", "last_error", "trouble", "request")
COMPARED = tuple(each.name for each in fields(Cloud) if each.name not in (*_OWN, "options", "position", "origin"))
"""The fields of a cloud that the configuration decides."""

_CONFIGURED = "The configuration says so."


@dataclass(frozen=True, slots=True)
class Asked:
    """The one cloud whose definition somebody has just changed, and the `fields` that this sets by the way."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def record_inventory(writing: Writing, configured: Sequence[Cloud], asked_for: Asked | None = None) -> list[str]:
    """Make the configured clouds the state's; returns what changed, as sentences.

    A cloud that is no longer configured stays, disabled and `removed`, as long as it has VMs. Unless somebody has
    `asked_for` just one, the configuration has been read anew, which is an act of ours.
    """
    present = {cloud.name: cloud for cloud in clouds.all_clouds(writing.connection)}
    merge = _Merge({(w.name, w.aspect): w for w in operations.lasting(writing.connection)}, int(time.time()), asked_for)
    wanted = [merge.merged(cloud, present.get(cloud.name)) for cloud in configured]
    names = {cloud.name for cloud in wanted}
    with_vms = vms.clouds_with_vms(writing.connection)
    leaving = [
        replace(cloud, enabled=False, removed=True)
        for cloud in present.values()
        if cloud.name not in names and cloud.name in with_vms
    ]
    if asked_for is None:
        acts.record(writing, *_acts(present, [*wanted, *leaving]))
    clouds.record_clouds(writing, [*wanted, *leaving])
    return list(_changes(present, wanted, leaving))


def forget_drained(writing: Writing) -> None:
    """Delete clouds removed from the file whose last VM is gone; one made by API goes with the wish for it."""
    with_vms = vms.clouds_with_vms(writing.connection)
    present = clouds.all_clouds(writing.connection)
    kept = [c for c in present if not c.removed or c.name in with_vms or c.origin is Origin.API]
    if len(kept) < len(present):
        drained = sorted({cloud.name for cloud in present} - {cloud.name for cloud in kept})
        acts.record(writing, *(acts.of_cloud("remove", name, "Its last VM is gone.") for name in drained))
        clouds.record_clouds(writing, kept)


def forget_tallies(writing: Writing) -> None:
    """Delete the counters of clouds that are gone, so that no name lasts for ever, and of metrics we know no more."""
    known = {cloud.name for cloud in clouds.all_clouds(writing.connection)} | {UNKNOWN}

    def is_kept(key: Key) -> bool:
        return key[0] in STATE and ("cloud" not in STATE[key[0]].labels or key[1] in known)

    found = tallies.all_tallies(writing.connection)
    tallies.forget_tallies(writing, [key for key in found if not is_kept(key)])


def record_enforced(writing: Writing, adapters: Mapping[str, CloudAdapter]) -> None:
    """Record, and say when it is news, what clouds on this host enforce and what they do not."""
    enforced = {name: each.enforced for name, each in adapters.items() if isinstance(each, Enforcing)}
    before = limits.enforced(writing.connection)
    for name, statement in enforced.items():
        if before.get(name) != statement:
            log.info("Cloud %s: %s.", name, statement)
    if enforced != before:
        limits.record_setting(writing, limits.ENFORCED, enforced)


@dataclass(frozen=True, slots=True)
class _Merge:
    """What operators asked for, by cloud and aspect, over what the definitions say."""

    wishes: Mapping[tuple[str, Aspect], Wish]
    now: int
    asked_for: Asked | None

    def merged(self, cloud: Cloud, present: Cloud | None) -> Cloud:
        """The cloud as it shall be in the state."""
        if present is not None:
            was_there = not present.removed and present.unusable is None
            own = {name: getattr(present, name) for name in _OWN}
            # A deletion that no scheduler has got to yet shows as what was asked from the first record on.
            own |= {"request": cloud.request} if cloud.removed and not present.removed else {}
            own |= relieved(present) if self._is_tried(present) else {}
            cloud = replace(cloud, **{"enabled": present.enabled if was_there else cloud.enabled, **own})
        wish = self.wishes.get((cloud.name, Aspect.ENABLED))
        if wish is not None:
            cloud = replace(cloud, enabled=is_enabled_by(wish, self.now))
        quota = self.wishes.get((cloud.name, Aspect.VM_SLOTS))
        if quota is not None and _is_in_force(quota, cloud, present):
            cloud = replace(cloud, vm_slots=quota.value["slots"])
        if self.asked_for is not None and self.asked_for.name == cloud.name:
            cloud = replace(cloud, **self.asked_for.fields)
        return replace(cloud, enabled=False) if cloud.unusable is not None or cloud.removed else cloud

    def _is_tried(self, present: Cloud) -> bool:
        """Whoever mended the credentials has the definition read again: then they are tried."""
        return is_refused(present) and (self.asked_for is None or self.asked_for.name == present.name)


def _is_in_force(quota: Wish, cloud: Cloud, present: Cloud | None) -> bool:
    """A quota wish ends for good once the file says something else: from then on the cloud has another quota."""
    file_still_says_so = bool(quota.value["file"] == configured_slots(cloud.options, cloud.vm_slots))
    return file_still_says_so and (present is None or present.vm_slots == quota.value["slots"])


def _acts(present: Mapping[str, Cloud], kept: Sequence[Cloud]) -> Iterable[Entry]:
    """The journal's entries for clouds that come, change or go."""
    for cloud in kept:
        verb = "change" if cloud.name in present else "add"
        changed = acts.changed(_fields(present.get(cloud.name)), _fields(cloud))
        if changed["after"]:
            yield acts.of_cloud(verb, cloud.name, _CONFIGURED, **changed)
    for name in sorted(present.keys() - {cloud.name for cloud in kept}):
        yield acts.of_cloud("remove", name, _CONFIGURED)


def _fields(cloud: Cloud | None) -> dict[str, Any]:
    return {name: getattr(cloud, name) for name in COMPARED} if cloud else {}


def _changes(present: Mapping[str, Cloud], wanted: Sequence[Cloud], leaving: Sequence[Cloud]) -> Iterable[str]:
    for cloud in wanted:
        if cloud.name not in present:
            yield f"{cloud.name}: added"
            continue
        before = present[cloud.name]
        for name in COMPARED:
            old, new = getattr(before, name), getattr(cloud, name)
            if old != new:
                yield f"{cloud.name}: {name} {old} -> {new}"
    draining = {cloud.name for cloud in leaving}
    gone = {name for name, cloud in present.items() if not cloud.removed} - {cloud.name for cloud in wanted}
    yield from (f"{name}: removed{', its VMs drain' if name in draining else ''}" for name in sorted(gone))
