"""The registry: every metric's name, kind, help and labels, once for Prometheus, munin and JSON alike.

`STATE` are functions of the state index. `PROCESS` move without it and belong to the daemon that tells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Key = tuple[str, ...]
"""A counter's key: the metric's name, the values of its labels, for a distribution the bucket's bound or `sum`."""

UNKNOWN = "unknown"
"""The cloud of a run that nobody saw on a VM of ours."""

Increment = tuple[Key, float]
BOOTS, BOOT_FAILURES = "cloudsched_boots_total", "cloudsched_boot_failures_total"
IDLE = "cloudsched_idle_core_seconds_total"
SUM = "sum"
INFINITE = "+Inf"


class Kind(StrEnum):
    """Prometheus's names."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `bounds` are the upper bounds of a histogram's buckets, the infinite one left out."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


FAILURE_CLASSES = {
    "quota": "the cloud had no room",
    "requirement": "it can never work there",
    "credential": "the cloud refused our credentials",
    "outage": "nothing answered",
    "transient": "it might work another time",
    "unknown": "another error",
    "timeout": "it did not come up in time",
    "unjoined": "it came up and never joined the batch system",
    "error": "the cloud showed it in an error state before it ran",
    "lost": "no listing ever showed it",
}
"""The classes of boot failures."""

IDLE_CAUSES = {
    "starting": "not running yet",
    "failed": "in an error or unknown state",
    "retiring": "on its way out",
    "unjoined": "not joined the batch system yet",
    "keep_alive": "kept for the next job",
    "unclaimed": "no job took it",
}
"""Why a core that we hold runs no job."""

_BOOT = (10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 3600.0)
_RUN = (1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 259200.0)
_WAIT = (0.0, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 14400.0, 43200.0, 86400.0)
_ANSWER = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)

_STATE = (
    Metric("cloudsched_state_index", Kind.GAUGE, "The state index that these figures show."),
    Metric("cloudsched_cloud_enabled", Kind.GAUGE, "1 while the cloud may boot new VMs.", ("cloud",)),
    Metric("cloudsched_cloud_stale", Kind.GAUGE, "1 while the cloud's last poll has failed.", ("cloud",)),
    Metric("cloudsched_cloud_slots", Kind.GAUGE, "VMs the cloud may have: its quota.", ("cloud",)),
    Metric("cloudsched_cloud_slots_used", Kind.GAUGE, "VMs that count against the cloud's quota.", ("cloud",)),
    Metric(
        "cloudsched_vms",
        Kind.GAUGE,
        "VMs that we steer; a state that was overridden is the override.",
        ("cloud", "state", "user", "vmtype"),
    ),
    Metric("cloudsched_vms_draining", Kind.GAUGE, "VMs outside their cloud's allowance that finish.", ("cloud",)),
    Metric("cloudsched_vms_released", Kind.GAUGE, "VMs an operator took out of our hands.", ("cloud",)),
    Metric("cloudsched_jobs", Kind.GAUGE, "Jobs, finished ones for as long as they are kept.", ("state", "user")),
    Metric("cloudsched_machines", Kind.GAUGE, "Batch slots that have joined.", ("state",)),
    Metric("cloudsched_idle_cores", Kind.GAUGE, "Cores of our VMs that run no job, by cause.", ("cause",)),
    Metric("cloudsched_wishes_waiting", Kind.GAUGE, "Verbs' targets that have no outcome yet.", ("aspect",)),
    Metric(BOOTS, Kind.COUNTER, "VMs asked of the cloud.", ("cloud",)),
    Metric(BOOT_FAILURES, Kind.COUNTER, "Boots that gave no working VM, by class.", ("cloud", "class")),
    Metric("cloudsched_boot_seconds", Kind.HISTOGRAM, "From asking for a VM to Running.", ("cloud",), _BOOT),
    Metric("cloudsched_job_run_seconds", Kind.HISTOGRAM, "From a job's start to its end.", ("cloud",), _RUN),
    Metric("cloudsched_job_wait_seconds", Kind.HISTOGRAM, "From a job's submission to its start.", (), _WAIT),
    Metric(IDLE, Kind.COUNTER, "Core-seconds that ran no job, by cause.", ("cause",)),
)
STATE: Mapping[str, Metric] = {metric.name: metric for metric in _STATE}

_PROCESS = (
    Metric("cloudsched_build_info", Kind.GAUGE, "Always 1.", ("version", "daemon")),
    Metric("cloudsched_http_requests_total", Kind.COUNTER, "Requests answered by this daemon.", ("method", "status")),
    Metric("cloudsched_http_request_seconds", Kind.HISTOGRAM, "How long answers took, waiting included.", (), _ANSWER),
    Metric("cloudsched_heartbeat_age_seconds", Kind.GAUGE, "Since the stage last ended a cycle.", ("stage",)),
    Metric("cloudsched_poll_age_seconds", Kind.GAUGE, "Since the source was last read with success.", ("poll",)),
    Metric("cloudsched_poll_failed", Kind.GAUGE, "1 when the last attempt to read the source failed.", ("poll",)),
    Metric("cloudsched_poll_seconds", Kind.GAUGE, "How long the last attempt took.", ("poll",)),
    Metric("cloudsched_cycle_seconds", Kind.GAUGE, "How long the last planning cycle took."),
    Metric("cloudsched_engine_up", Kind.GAUGE, "1 while a scheduler holds the state."),
)
PROCESS: Mapping[str, Metric] = {metric.name: metric for metric in _PROCESS}


def observed(name: str, seconds: float, *labels: str) -> tuple[Increment, Increment]:
    """What one observation adds to a distribution of the state's."""
    bound = next((each for each in STATE[name].bounds if seconds <= each), None)
    bucket = INFINITE if bound is None else f"{bound:g}"
    return ((name, *labels, bucket), 1.0), ((name, *labels, SUM), float(seconds))
