"""Clouds from the configuration into the state: at the start and at a reconfig, in one transaction.

What the configuration says and what operators asked for are merged here, once: a lasting wish wins over the file, a
quota wish only as long as the file still says what it said when the wish was made (DESIGN 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from cloudsched.engine import acts
from cloudsched.engine.troubles import is_refused, relieved
from cloudsched.model.clouds import Cloud
from cloudsched.model.journal import Entry
from cloudsched.model.metrics import STATE, UNKNOWN, Key
from cloudsched.model.wishes import Aspect, Wish
from cloudsched.store import Writing, clouds, operations, tallies, vms
from cloudsched.store.verbs import configured_slots

_OWN = ("failed_images", "connection_problem", "errorconnect", "stale", "last_error", "trouble")
_COMPARED = tuple(each.name for each in fields(Cloud) if each.name not in (*_OWN, "options", "position"))

_CONFIGURED = "The configuration says so."


def record_inventory(writing: Writing, configured: Sequence[Cloud]) -> list[str]:
    """Make the configured clouds the state's; returns what changed, as sentences.

    A cloud that is no longer configured stays, disabled and `removed`, as long as it has VMs.
    """
    present = {cloud.name: cloud for cloud in clouds.all_clouds(writing.connection)}
    asked = _asked(operations.lasting(writing.connection))
    wanted = [_merged(cloud, present.get(cloud.name), asked) for cloud in configured]
    names = {cloud.name for cloud in wanted}
    with_vms = vms.clouds_with_vms(writing.connection)
    leaving = [
        replace(cloud, enabled=False, removed=True)
        for cloud in present.values()
        if cloud.name not in names and cloud.name in with_vms
    ]
    acts.record(writing, *_acts(present, [*wanted, *leaving]))
    clouds.record_clouds(writing, [*wanted, *leaving])
    return list(_changes(present, wanted, leaving))


def forget_drained(writing: Writing) -> None:
    """Delete removed clouds whose last VM is gone."""
    with_vms = vms.clouds_with_vms(writing.connection)
    present = clouds.all_clouds(writing.connection)
    kept = [cloud for cloud in present if not cloud.removed or cloud.name in with_vms]
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


def _asked(lasting: Iterable[Wish]) -> Mapping[tuple[str, Aspect], Wish]:
    return {(wish.name, wish.aspect): wish for wish in lasting if wish.kind == "cloud"}


def _merged(cloud: Cloud, present: Cloud | None, asked: Mapping[tuple[str, Aspect], Wish]) -> Cloud:
    if present is not None:
        enabled = cloud.enabled if present.removed or present.unusable is not None else present.enabled
        # Whoever mended the credentials has the configuration read again: then they are tried.
        own = {name: getattr(present, name) for name in _OWN} | (relieved(present) if is_refused(present) else {})
        cloud = replace(cloud, **{"enabled": enabled, **own})
    wish = asked.get((cloud.name, Aspect.ENABLED))
    if wish is not None:
        cloud = replace(cloud, enabled=bool(wish.value))
    quota = asked.get((cloud.name, Aspect.VM_SLOTS))
    if quota is not None and _is_in_force(quota, cloud, present):
        cloud = replace(cloud, vm_slots=quota.value["slots"])
    return cloud if cloud.unusable is None else replace(cloud, enabled=False)


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
    return {name: getattr(cloud, name) for name in _COMPARED} if cloud else {}


def _changes(present: Mapping[str, Cloud], wanted: Sequence[Cloud], leaving: Sequence[Cloud]) -> Iterable[str]:
    for cloud in wanted:
        if cloud.name not in present:
            yield f"{cloud.name}: added"
            continue
        before = present[cloud.name]
        for name in _COMPARED:
            old, new = getattr(before, name), getattr(cloud, name)
            if old != new:
                yield f"{cloud.name}: {name} {old} -> {new}"
    draining = {cloud.name for cloud in leaving}
    gone = {name for name, cloud in present.items() if not cloud.removed} - {cloud.name for cloud in wanted}
    yield from (f"{name}: removed{', its VMs drain' if name in draining else ''}" for name in sorted(gone))
