"""A real promtool checks what we say, and a real Prometheus reads it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from golden_state import load
from info_app import golden_client, open_store
from scheduler_process import SECONDS, daemon, scheduler, wait_for

from cloudsched.store import tallies

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (shutil.which("promtool") and shutil.which("prometheus")), reason="needs Debian's package prometheus"
    ),
]
CONTRIB = Path(__file__).parent.parent.parent / "contrib"
RULES = CONTRIB / "prometheus"


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    finished = subprocess.run(
        ["promtool", *map(str, arguments)], input=text, capture_output=True, text=True, timeout=SECONDS
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr


@pytest.mark.parametrize("url", ["/metrics", "/metrics/process"])
def test_promtool_accepts_both_pages(tmp_path: Path, url: str) -> None:
    client, store = golden_client(tmp_path)
    with store.writing() as writing:
        odd = 'a "quoted" \\ name\nof ☃'
        tallies.add_tallies(writing, [(("cloudsched_boots_total", odd), 1.0)])
    page = client.get(url).text
    store.close()
    assert promtool("check", "metrics", text=page) == ""


def test_promtool_accepts_rules_alerts_and_configuration(tmp_path: Path) -> None:
    promtool("check", "rules", RULES / "cloudsched.rules.yml")
    promtool("test", "rules", RULES / "cloudsched.rules.test.yml")
    token = tmp_path / "token"
    token.write_text("x")
    shutil.copy(RULES / "cloudsched.rules.yml", tmp_path)
    text = (RULES / "prometheus.yml").read_text().replace("/etc/prometheus/cloudsched.token", str(token))
    (tmp_path / "prometheus.yml").write_text(text)
    promtool("check", "config", tmp_path / "prometheus.yml")


@contextmanager
def prometheus(home: Path, config: str) -> Iterator[str]:
    """A Prometheus of its own on a free port; yields its URL."""
    home.mkdir()
    (home / "prometheus.yml").write_text(config)
    shutil.copy(RULES / "cloudsched.rules.yml", home)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["prometheus", f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=home, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: process.poll() is None and answers(f"{url}/-/ready"))
        yield url
    finally:
        process.terminate()
        process.wait(SECONDS)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def ask(url: str, query: str) -> list[Any]:
    document = requests.get(f"{url}/api/v1/query", {"query": query}, timeout=SECONDS).json()
    assert document["status"] == "success", document
    found: list[Any] = document["data"]["result"]
    return found


def configured(info: str, admin: str, token: Path) -> str:
    """Our sample, pointed at these daemons and in a hurry."""
    text = (RULES / "prometheus.yml").read_text()
    text = text.replace("127.0.0.1:8111", info.removeprefix("http://"))
    text = text.replace("127.0.0.1:8112", admin.removeprefix("http://"))
    text = text.replace("/etc/prometheus/cloudsched.token", str(token))
    return text.replace("scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s")


def test_prometheus_reads_both_daemons_and_evaluates_every_rule_and_panel(tmp_path: Path) -> None:
    with (
        scheduler(tmp_path) as running,
        prometheus(tmp_path / "p", configured(running.info, running.admin, tmp_path / "state" / "admin.token")) as url,
    ):
        wait_for(lambda: {r["metric"]["job"]: r["value"][1] for r in ask(url, "up")} == dict.fromkeys(JOBS, "1"))
        wait_for(lambda: ask(url, 'cloudsched_poll_age_seconds{poll="JobPoller"}'))
        wait_for(lambda: ask(url, "cloudsched_cloud_slots"))
        wait_for(lambda: ask(url, "cloudsched_cycle_seconds"))
        groups = requests.get(f"{url}/api/v1/rules", timeout=SECONDS).json()["data"]["groups"]
        wait_for(lambda: all(rule["health"] == "ok" for rule in rules(url)))
        assert groups
        assert [alert for alert in rules(url) if alert.get("state") == "firing"] == []
        panels = json.loads((CONTRIB / "grafana" / "cloudsched.json").read_text())["panels"]
        for expression in (target["expr"] for panel in panels for target in panel["targets"]):
            ask(url, re.sub(r"\$(instance|cloud)\b", ".*", expression).replace("$__rate_interval", "1m"))


JOBS = ("cloudsched", "cloudsched-info", "cloudsched-admin")


def rules(url: str) -> list[Any]:
    groups = requests.get(f"{url}/api/v1/rules", timeout=SECONDS).json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_prometheus_has_the_figures_of_the_page(tmp_path: Path) -> None:
    """Every figure at a fixed state index, as Prometheus tells it after a scrape and as our JSON does."""
    store = open_store(tmp_path / "state")
    load(store, time.time())
    store.close()
    config = 'global: {scrape_interval: 1s}\nscrape_configs: [{job_name: x, static_configs: [{targets: ["%s"]}]}]\n'
    with (
        daemon(tmp_path, "info_server") as info,
        prometheus(tmp_path / "p", config % info.removeprefix("http://")) as url,
    ):
        wait_for(lambda: ask(url, "cloudsched_state_index"))
        document = requests.get(f"{info}/metrics.json", timeout=SECONDS).json()
        ours = {
            (sample["name"], *sorted(sample["labels"].items())): float(sample["value"])
            for metric in document["metrics"]
            for sample in metric["samples"]
        }
        found = {}
        for result in ask(url, '{__name__=~"cloudsched_.*"}'):
            labels = {name: each for name, each in result["metric"].items() if name not in ("instance", "job")}
            found[labels.pop("__name__"), *sorted(labels.items())] = float(result["value"][1])
        assert found == ours
        assert len(found) > 100
