"""What is in contrib/ against the code: every metric that a rule, a dashboard or a plugin names exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cloudsched.model.metrics import PROCESS, STATE, Kind

CONTRIB = Path(__file__).parent.parent / "contrib"
NAMING = sorted(path for path in CONTRIB.rglob("*") if path.suffix in (".yml", ".json") or path.parent.name == "munin")


def known() -> set[str]:
    names = set()
    for metric in (*STATE.values(), *PROCESS.values()):
        parts = ("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        names |= {metric.name, *(metric.name + part for part in parts)}
    return names


@pytest.mark.parametrize("path", NAMING, ids=lambda path: str(path.relative_to(CONTRIB)))
def test_named_metrics_exist(path: Path) -> None:
    named = set(re.findall(r"(?<![\w:./-])cloudsched_[a-z_]+", path.read_text("utf-8")))
    assert named - known() - {"cloudsched_pool"} == set()


def test_dashboard_shows_every_metric_of_the_state_but_the_details() -> None:
    text = (CONTRIB / "grafana" / "cloudsched.json").read_text("utf-8")
    details = {"cloudsched_state_index", "cloudsched_cloud_enabled", "cloudsched_cloud_stale", "cloudsched_machines"}
    details |= {"cloudsched_vms_draining", "cloudsched_vms_released", "cloudsched_idle_cores"}
    assert {name for name in STATE if name not in text} == details


def test_dashboard_panels_have_a_place_of_their_own() -> None:
    panels = json.loads((CONTRIB / "grafana" / "cloudsched.json").read_text("utf-8"))["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
