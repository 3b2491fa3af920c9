"""Which clouds could take a shape, and the reason why each other one cannot (PARITY 6.4 "Choosing a cloud").

One set of rules decides and explains, for TargetClouds too (B-20). Images that failed on a cloud are not a reason:
v1 listed them and tried again, and so do we; banned ones are (PARITY 6.8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cloudsched.config.options import JobDefaults
from cloudsched.model.clouds import Cloud, Requirement
from cloudsched.model.jobs import Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.images import image_for
from cloudsched.policy.room import Room
from cloudsched.policy.troubles import barred

_Offer = tuple[tuple[str, ...], int, int, int, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The clouds, by name, that could take a shape if they had room, and why the others never will as things stand."""

    suitable: Mapping[str, Cloud]
    rejected: tuple[Requirement, ...]


class Survey:
    """The clouds of one snapshot, judged for each shape once."""

    def __init__(self, snapshot: Snapshot, defaults: JobDefaults) -> None:
        self._defaults = defaults
        self._aliases = {name.lower(): names for name, names in snapshot.cloud_aliases.items()}
        self._banned = {image: {name.lower() for name in names} for image, names in snapshot.banned_images.items()}
        self._blocks: dict[str, dict[str, str]] = {}
        for block in snapshot.blocks:
            if block.until > snapshot.now:
                self._blocks.setdefault(block.shape, {})[block.cloud] = block.reason
        self._open: list[tuple[Cloud, str, _Offer]] = []
        self._closed: dict[str, tuple[str, ...]] = {}
        for cloud in snapshot.clouds:
            reasons = _closed(cloud, snapshot)
            if reasons:
                self._closed[cloud.name.lower()] = reasons
            else:
                self._open.append((cloud, cloud.name.lower(), _offer(cloud)))
        self._names = [cloud.name for cloud in snapshot.clouds]
        self._verdicts: dict[tuple[str, tuple[str, ...]], Verdict] = {}

    def judge(self, key: str, shape: Shape, blocked: tuple[str, ...] = ()) -> Verdict:
        """What the clouds can do for jobs of a shape that must not be tried on the `blocked` clouds.

        A job with TargetClouds hears about those only.
        """
        found = self._verdicts.get((key, blocked))
        if found is None:
            found = self._verdicts[key, blocked] = self._judge(key, shape, {name.lower() for name in blocked})
        return found

    def _judge(self, key: str, shape: Shape, blocked: set[str]) -> Verdict:
        targets, refused = self._targets(shape), self._refused(key, blocked)
        suitable = {}
        rejected = []
        small: dict[_Offer, bool] = {}
        for cloud, name, offer in self._open:
            if targets is None or name in targets:
                # Most clouds offer what others do: the rules are asked once for all of those, and again for words.
                if offer not in small:
                    small[offer] = bool(_lacking(shape, cloud))
                reason = refused.get(name) or (_lacking(shape, cloud) if small[offer] else "")
                reason = reason or (self._banned_image(shape, cloud) if self._banned else "")
                if reason:
                    rejected += [Requirement(cloud.name, each) for each in reason.splitlines()]
                else:
                    suitable[cloud.name] = cloud
        for name, reasons in self._closed.items():
            if targets is None or name in targets:
                rejected += [Requirement(name, each) for each in reasons]
        for name in sorted(targets - {each.lower() for each in self._names}) if targets else ():
            rejected.append(Requirement(name, f"TargetClouds names {name!r}, which is no cloud here"))
        return Verdict(suitable, tuple(rejected))

    def _targets(self, shape: Shape) -> set[str] | None:
        if not shape.target_clouds:
            return None
        names = (self._aliases.get(each.lower(), (each,)) for each in shape.target_clouds)
        return {name.lower() for each in names for name in each}

    def _refused(self, key: str, blocked: set[str]) -> dict[str, str]:
        """The clouds, in lower case, that jobs of a shape are kept off, and why."""
        held = {name.lower(): reason for name, reason in self._blocks.get(key, {}).items()}
        words = "{} is blocked for this job after a failure"
        names = {cloud.name.lower(): cloud.name for cloud, _, _ in self._open} if held or blocked else {}
        return {
            name: words.format(names[name]) if name in blocked else held[name] or words.format(names[name])
            for name in (blocked | held.keys()) & names.keys()
        }

    def _banned_image(self, shape: Shape, cloud: Cloud) -> str:
        image = image_for(shape, cloud, self._defaults, self._aliases)
        return f"image {image} is banned on {cloud.name}" if cloud.name.lower() in self._banned.get(image, ()) else ""


def _offer(cloud: Cloud) -> _Offer:
    """All that the rules look at of a cloud but its name."""
    return (*cloud.network_pools,), cloud.max_vm_mem, cloud.cpu_cores, cloud.memory_mb, cloud.storage_gb


def _lacking(shape: Shape, cloud: Cloud) -> str:
    """What the cloud can never give a VM of this shape, as a sentence, or empty."""
    return next((reason for rule in _RULES if (reason := rule(shape, cloud))), "")


def rejections(shape: Shape, snapshot: Snapshot, defaults: JobDefaults) -> list[Requirement]:
    """Why each cloud cannot take one more VM of this shape now; a cloud that can is not in the list."""
    verdict = Survey(snapshot, defaults).judge(shape.key, shape)
    room = Room(snapshot)
    lacking = ((cloud, room.lacks(shape, cloud)) for cloud in verdict.suitable.values())
    return [*verdict.rejected, *(Requirement(cloud.name, reason) for cloud, reason in lacking if reason)]


def _closed(cloud: Cloud, snapshot: Snapshot) -> tuple[str, ...]:
    """Why a cloud takes no VMs at all, empty when it does."""
    trouble = barred(cloud, snapshot.now)
    reasons = (
        (cloud.removed, (f"{cloud.name} is no longer configured",)),
        (cloud.unusable is not None, (f"{cloud.name} cannot be used: {cloud.unusable}",)),
        (cloud.enabled or cloud.connection_problem, trouble),
        (cloud.connection_problem, (f"{cloud.name} is disabled for a while after connection problems",)),
        (not cloud.enabled, (f"{cloud.name} is disabled",)),
        (cloud.name in snapshot.stale_clouds, (f"{cloud.name} did not answer when last asked for its VMs",)),
    )
    return next((sentences for applies, sentences in reasons if applies and sentences), ())


def _network(shape: Shape, cloud: Cloud) -> str:
    """A cloud that lists no networks has not said what it offers: it is tried, as v1 did."""
    if not shape.req_network or not cloud.network_pools or shape.req_network in cloud.network_pools:
        return ""
    return f"needs network {shape.req_network}, {cloud.name} has {', '.join(cloud.network_pools)}"


def _largest_memory(shape: Shape, cloud: Cloud) -> str:
    if cloud.max_vm_mem < 0 or shape.req_memory <= cloud.max_vm_mem:
        return ""
    return f"needs {shape.req_memory} MB, {cloud.name} gives a VM {cloud.max_vm_mem} MB at most"


def _cores(shape: Shape, cloud: Cloud) -> str:
    if cloud.cpu_cores < 0 or shape.req_cpucores <= cloud.cpu_cores:
        return ""
    return f"needs {shape.req_cpucores} cores, {cloud.name} gives a VM {cloud.cpu_cores} at most"


def _all_memory(shape: Shape, cloud: Cloud) -> str:
    if shape.req_memory <= cloud.memory_mb:
        return ""
    return f"needs {shape.req_memory} MB, {cloud.name} has {cloud.memory_mb} MB in all"


def _all_storage(shape: Shape, cloud: Cloud) -> str:
    if shape.req_storage <= cloud.storage_gb:
        return ""
    return f"needs {shape.req_storage} GB of storage, {cloud.name} has {cloud.storage_gb} GB in all"


_RULES: Sequence[Callable[[Shape, Cloud], str]] = (_network, _largest_memory, _cores, _all_memory, _all_storage)
