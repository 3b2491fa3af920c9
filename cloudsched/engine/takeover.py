"""Taking over the VMs of another scheduler's installation, v1's in practice, while no engine runs.

A VM is marked as ours at its cloud before it is recorded: were it the other way round, a record whose VM is not listed
as ours would count as a VM that failed, and be destroyed with its jobs. Doing it twice takes over what was left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from cloudsched.config.load import Config
from cloudsched.engine import adapters
from cloudsched.engine.polls import failure_sentence
from cloudsched.engine.scheduler import installation
from cloudsched.errors import CloudError, ConfigError
from cloudsched.model.adapters import CloudAdapter
from cloudsched.model.clouds import AdoptOutcome
from cloudsched.model.vms import VM
from cloudsched.store import Store, place, vms


@dataclass(frozen=True, slots=True)
class TakenOver:
    """How many VMs were taken over, by cloud, and a sentence about each that was not."""

    vms: Mapping[str, int]
    problems: tuple[str, ...] = ()


def take_over(store: Store, config: Config, found: Sequence[VM], now: int) -> TakenOver:
    """Mark VMs as ours at their clouds and record those; VMs that the state knows already are passed over.

    From `now` (Unix seconds) they have the time of any new VM to show up in the batch system. Raises ConfigError for a
    cloud that is not configured or cannot be used, before anything is changed; StateHeld while an engine runs,
    StateUnavailable.
    """
    with closing(place.hold(store)):
        with store.writing() as writing:
            name = installation(writing, store.directory)
            known = {(vm.cloud, vm.id) for vm in vms.all_vms(writing.connection)}
        wanted: dict[str, list[VM]] = defaultdict(list)
        for vm in found:
            if (vm.cloud, vm.id) not in known:
                wanted[vm.cloud].append(vm)
        at = _adapters(config, name, wanted)
        adopted, problems = [], []
        for cloud, group in wanted.items():
            ours, sentences = _adopted(at[cloud], group)
            adopted += ours
            problems += [f"{cloud}: {sentence}" for sentence in sentences]
        with store.writing() as writing:
            first = vms.next_position(writing.connection)
            vms.record_vms(writing, [_recorded(vm, first + number, now) for number, vm in enumerate(adopted)])
    counts = {cloud: sum(vm.cloud == cloud for vm in adopted) for cloud in wanted}
    return TakenOver({cloud: count for cloud, count in counts.items() if count}, tuple(problems))


def _recorded(vm: VM, position: int, now: int) -> VM:
    return replace(vm, position=position, last_state_change=now, errorcount=0)


def _adapters(config: Config, name: str, wanted: Mapping[str, object]) -> Mapping[str, CloudAdapter]:
    sections = {section.cloud.name: section for section in config.clouds}
    at, problems = adapters.clouds([sections[cloud] for cloud in wanted if cloud in sections], config, name)
    for cloud in wanted:
        if cloud not in sections:
            raise ConfigError(f"v1 has VMs on cloud {cloud!r}, which is not configured here: add its section.")
        if cloud not in at:
            reason = problems.get(cloud) or sections[cloud].cloud.unusable or "it is of no kind that can be asked."
            raise ConfigError(f"v1 has VMs on cloud {cloud!r}, which cannot be used: {reason}")
    return at


def _adopted(adapter: CloudAdapter, group: Sequence[VM]) -> tuple[list[VM], list[str]]:
    """The VMs of one cloud that are ours now, and why the others are not."""
    try:
        outcomes = adapter.adopt(group)
    except CloudError as ex:
        outcomes = [AdoptOutcome(vm.uid, ex) for vm in group]
    pairs = list(zip(group, outcomes, strict=True))
    ours = [vm for vm, outcome in pairs if outcome.error is None]
    return ours, [f"{vm.id}: {failure_sentence(end.error)}" for vm, end in pairs if end.error is not None]
