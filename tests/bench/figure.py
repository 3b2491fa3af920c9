"""What a bench prints: a figure beside its limit."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: interleaved rounds, and seconds of load in each."""

    rounds: int = 9
    seconds: float = 0.5


QUICK = Effort(3, 0.3)
"""For orientation, not for a table."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; `at_least` says on which side of the limit it should lie, None for a limit means none."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = False

    @property
    def is_ok(self) -> bool:
        """Whether the limit is kept."""
        return self.limit is None or (self.value >= self.limit if self.at_least else self.value <= self.limit)

    def __str__(self) -> str:
        bar = "-" if self.limit is None else f"{'>=' if self.at_least else '<='}{self.limit:g}"
        return f"{self.name} {self.value:.4g} {self.unit} {bar} {'ok' if self.is_ok else 'short'}"

    def document(self) -> dict[str, object]:
        """The same for programs."""
        side = "at_least" if self.at_least else "at_most"
        return {"name": self.name, "value": self.value, "unit": self.unit, side: self.limit, "ok": self.is_ok}


def machine() -> dict[str, object]:
    """Where and when it was measured, and what else ran."""
    return {
        "at": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": [round(each, 2) for each in os.getloadavg()],
    }


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def encoded(figures: Sequence[Figure], failed: Mapping[str, str]) -> str:
    """A whole run as JSON; `failed` are the themes that could not be measured, and why."""
    shown = {"machine": machine(), "figures": [each.document() for each in figures], "failed": dict(failed)}
    return json.dumps(shown, indent=1)


def interleaved(rounds: int, *measure: Callable[[], float]) -> list[list[float]]:
    """What each of the measurements gave, taken in turns, so that what else the machine does hits all of them."""
    found: list[list[float]] = [[] for _ in measure]
    for _ in range(rounds):
        for values, each in zip(found, measure, strict=True):
            values.append(each())
    return found


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of one series over the median of another."""
    return statistics.median(over) / statistics.median(under)


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def cpu_seconds(call: Callable[[], object]) -> float:
    """How much time of a processor a call takes in this process, whatever else runs."""
    began = time.process_time()
    call()
    return time.process_time() - began
