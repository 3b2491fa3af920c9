"""The metrics of a state: pure functions from what is to families of samples, the same for every form.

Cardinality is bounded: of users, VM types and states the largest keep their names and the others are `other`. Clouds
are named by the operator and all keep theirs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cloudsched.model.jobs import JobStatus, Machine
from cloudsched.model.metrics import (
    BOOT_FAILURES,
    BOOTS,
    FAILURE_CLASSES,
    IDLE,
    IDLE_CAUSES,
    INFINITE,
    STATE,
    SUM,
    UNKNOWN,
    Key,
    Metric,
)
from cloudsched.render.documents import Document
from cloudsched.render.fleet import CloudVMs, Fleet

OTHER = "other"
LIMITS = {"user": 50, "vmtype": 50, "state": 20}
"""How many values of a label keep their names."""

Counts = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure; `name` is the metric's, for a distribution with `_bucket`, `_sum` or `_count`."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its samples."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the figures of one state index are made of.

    `jobs` counts by job_status and user, `waiting` wishes by aspect, `idle` cores by cause.
    """

    index: int
    fleet: Fleet = field(default_factory=Fleet)
    jobs: Mapping[tuple[int, str], int] = field(default_factory=dict)
    machines: Iterable[Machine] = ()
    waiting: Mapping[str, int] = field(default_factory=dict)
    idle: Mapping[str, float] = field(default_factory=dict)
    tallies: Mapping[Key, float] = field(default_factory=dict)


def state_families(facts: Facts) -> list[Family]:
    """Every metric of the state, in the registry's order, each family's samples sorted."""
    return [_STATE[name](metric, facts) for name, metric in STATE.items()]


def family(metric: Metric, counts: Counts) -> Family:
    """A gauge or counter from its figures by label values."""
    samples = (
        Sample(metric.name, dict(zip(metric.labels, key, strict=True)), value) for key, value in sorted(counts.items())
    )
    return Family(metric.name, metric.kind, metric.help, tuple(samples))


def histogram(metric: Metric, counts: Mapping[Key, float], series: Iterable[tuple[str, ...]]) -> Family:
    """A distribution for each of the series, from counts by label values and bucket (`sum` for the sum)."""
    samples = (sample for labels in sorted(set(series)) for sample in _distribution(metric, counts, labels))
    return Family(metric.name, metric.kind, metric.help, tuple(samples))


def _distribution(metric: Metric, counts: Mapping[Key, float], values: tuple[str, ...]) -> Iterator[Sample]:
    labels = dict(zip(metric.labels, values, strict=True))
    total = 0.0
    for bound in (*(f"{each:g}" for each in metric.bounds), INFINITE):
        total += counts.get((*values, bound), 0.0)
        yield Sample(f"{metric.name}_bucket", labels | {"le": bound}, total)
    yield Sample(f"{metric.name}_sum", labels, counts.get((*values, SUM), 0.0))
    yield Sample(f"{metric.name}_count", labels, total)


def folded(metric: Metric, counts: Counts) -> Counts:
    """The counts with all but the largest values of the bounded labels summed up as `other`."""
    kept = {
        place: _largest(counts, place, LIMITS[label]) for place, label in enumerate(metric.labels) if label in LIMITS
    }
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for key, value in counts.items():
        named = (each if place not in kept or each in kept[place] else OTHER for place, each in enumerate(key))
        found[tuple(named)] += value
    return found


def _largest(counts: Counts, place: int, limit: int) -> frozenset[str]:
    sums: dict[str, float] = defaultdict(float)
    for key, value in counts.items():
        sums[key[place]] += value
    return frozenset(sorted(sums, key=lambda name: (-sums[name], name))[:limit])


def document(index: int | None, families: Iterable[Family]) -> Document:
    """The families as a document; `index` is the state's, None for what moves without it."""
    found = [
        {
            "name": each.name,
            "type": each.kind,
            "help": each.help,
            "samples": [{"name": s.name, "labels": dict(s.labels), "value": s.value} for s in each.samples],
        }
        for each in families
    ]
    return ({} if index is None else {"index": index}) | {"metrics": found}


def _every_cloud(facts: Facts) -> tuple[CloudVMs, ...]:
    return (*facts.fleet.active, *facts.fleet.removed)


def _by_cloud(value: Callable[[CloudVMs], float]) -> Callable[[Metric, Facts], Family]:
    def make(metric: Metric, facts: Facts) -> Family:
        return family(metric, {(each.cloud.name,): float(value(each)) for each in _every_cloud(facts)})

    return make


def _index(metric: Metric, facts: Facts) -> Family:
    return family(metric, {(): float(facts.index)})


def _vms(metric: Metric, facts: Facts) -> Family:
    ours = (vm for each in _every_cloud(facts) for vm in (*each.vms, *each.retired))
    return family(metric, folded(metric, Counter((vm.cloud, vm.shown_status, vm.user, vm.vmtype) for vm in ours)))


def _jobs(metric: Metric, facts: Facts) -> Family:
    words = {status.value: status.name.lower() for status in JobStatus}
    counts: Counts = {
        (words.get(status, str(status)), user): float(number) for (status, user), number in facts.jobs.items()
    }
    return family(metric, folded(metric, counts))


def _machines(metric: Metric, facts: Facts) -> Family:
    return family(metric, folded(metric, Counter((machine.state,) for machine in facts.machines)))


def _idle(metric: Metric, facts: Facts) -> Family:
    return family(metric, {(cause,): facts.idle.get(cause, 0.0) for cause in IDLE_CAUSES})


def _waiting(metric: Metric, facts: Facts) -> Family:
    return family(metric, {(aspect,): float(count) for aspect, count in facts.waiting.items()})


def _tallied(expected: Callable[[Facts], Iterable[tuple[str, ...]]]) -> Callable[[Metric, Facts], Family]:
    """A counter kept by the engine; what is expected is 0 before it first happens."""

    def make(metric: Metric, facts: Facts) -> Family:
        counts = dict.fromkeys(expected(facts), 0.0) | _of(metric, facts)
        return family(metric, counts)

    return make


def _distributed(expected: Callable[[Facts], Iterable[tuple[str, ...]]]) -> Callable[[Metric, Facts], Family]:
    def make(metric: Metric, facts: Facts) -> Family:
        counts = _of(metric, facts)
        return histogram(metric, counts, [*expected(facts), *(key[:-1] for key in counts)])

    return make


def _of(metric: Metric, facts: Facts) -> dict[Key, float]:
    return {key[1:]: value for key, value in facts.tallies.items() if key[0] == metric.name}


def _clouds(facts: Facts) -> list[tuple[str, ...]]:
    return [(each.cloud.name,) for each in _every_cloud(facts)]


_STATE: Mapping[str, Callable[[Metric, Facts], Family]] = {
    "cloudsched_state_index": _index,
    "cloudsched_cloud_enabled": _by_cloud(lambda each: each.cloud.enabled),
    "cloudsched_cloud_stale": _by_cloud(lambda each: each.cloud.stale),
    "cloudsched_cloud_slots": _by_cloud(lambda each: each.cloud.vm_slots),
    "cloudsched_cloud_slots_used": _by_cloud(lambda each: len(each.vms)),
    "cloudsched_vms": _vms,
    "cloudsched_vms_draining": _by_cloud(lambda each: len(each.retired)),
    "cloudsched_vms_released": _by_cloud(lambda each: len(each.released)),
    "cloudsched_jobs": _jobs,
    "cloudsched_machines": _machines,
    "cloudsched_idle_cores": _idle,
    "cloudsched_wishes_waiting": _waiting,
    BOOTS: _tallied(_clouds),
    BOOT_FAILURES: _tallied(lambda facts: [(*cloud, kind) for cloud in _clouds(facts) for kind in FAILURE_CLASSES]),
    "cloudsched_boot_seconds": _distributed(_clouds),
    "cloudsched_job_run_seconds": _distributed(lambda facts: [*_clouds(facts), (UNKNOWN,)]),
    "cloudsched_job_wait_seconds": _distributed(lambda facts: [()]),
    IDLE: _tallied(lambda facts: [(cause,) for cause in IDLE_CAUSES]),
}
