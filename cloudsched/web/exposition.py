"""Metrics as Prometheus reads them: the only home of prometheus_client.

Names, kinds and figures are the caller's; the library writes the format (text, version 0.0.4) and tells about this
process.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from cloudsched.render.metrics import Family, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Ready(Collector):
    """Families that are there already, as the library wants to be handed them."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return map(_metric, self._families)


def text(families: Iterable[Family]) -> str:
    """The families in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ready(families))
    return generate_latest(registry).decode()


def process_families() -> list[Family]:
    """What the library tells about this process: CPU, memory, descriptors, start time, the interpreter."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return [_family(metric) for metric in registry.collect()]


def _metric(family: Family) -> Metric:
    # The library appends `_total` to a counter's name and wants it without.
    metric = Metric(family.name.removesuffix("_total"), family.help, family.kind)
    for sample in family.samples:
        metric.add_sample(sample.name, dict(sample.labels), sample.value)
    return metric


def _family(metric: Metric) -> Family:
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    samples = (Sample(each.name, each.labels, each.value) for each in metric.samples)
    return Family(name, metric.type, metric.documentation, tuple(samples))
