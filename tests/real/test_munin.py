"""The munin plugin under a real munin-node: munin-run, and a conversation over its port."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from golden_state import load
from info_app import open_store
from scheduler_process import SECONDS, daemon, wait_for

from cloudsched.model.metrics import BOOTS, IDLE, observed
from cloudsched.store import tallies, verbs, wishes

SBIN = "/usr/sbin"
PATH = f"{os.environ['PATH']}{os.pathsep}{SBIN}"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not shutil.which("munin-node", path=PATH), reason="needs Debian's package munin-node"),
]
PLUGIN = Path(__file__).parent.parent.parent / "contrib" / "munin" / "cloudsched_"
GRAPHS = 16


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An info daemon over a state at a fixed index."""
    home = tmp_path_factory.mktemp("munin")
    store = open_store(home / "state")
    load(store, time.time())
    with store.writing() as writing:
        added = [*observed("cloudsched_boot_seconds", 30, "mouse"), *observed("cloudsched_boot_seconds", 45, "mouse")]
        added += [*observed("cloudsched_job_run_seconds", 60, "cheetah"), *observed("cloudsched_job_wait_seconds", 9)]
        tallies.add_tallies(writing, [((BOOTS, "mouse"), 7.0), ((IDLE, "unjoined"), 90.0), *added])
    verbs.wish_enabled(store, wishes.By("root"), "mouse", False)
    store.close()
    with daemon(home, "info_server") as url:
        yield url


def node_config(home: Path, url: str, port: int) -> Path:
    """A munin-node of our own: its directories, its port, our plugin linked as its description says."""
    for name in ("plugins", "plugin-conf.d", "state"):
        (home / name).mkdir()
    (home / "plugins" / "cloudsched_pool").symlink_to(PLUGIN)
    user = Path("/etc/passwd").owner() if os.geteuid() == 0 else os.environ.get("USER", "nobody")
    (home / "plugin-conf.d" / "cloudsched").write_text(f"[cloudsched_*]\nuser {user}\nenv.url {url}\n")
    config = home / "munin-node.conf"
    config.write_text(
        f"log_level 4\nlog_file {home}/log\npid_file {home}/pid\nbackground 0\nsetsid 0\nuser {user}\ngroup {user}\n"
        f"host_name node.example.org\nallow ^127\\.0\\.0\\.1$\nhost 127.0.0.1\nport {port}\n"
    )
    return config


def munin_run(home: Path, url: str, *command: str) -> subprocess.CompletedProcess[str]:
    config = home / "munin-node.conf"
    if not config.exists():
        node_config(home, url, 0)
    directories = ["--servicedir", str(home / "plugins"), "--sconfdir", str(home / "plugin-conf.d")]
    return subprocess.run(
        [f"{SBIN}/munin-run", "--config", str(config), *directories, "cloudsched_pool", *command],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "MUNIN_PLUGSTATE": str(home / "state")},
    )


def values(text: str) -> dict[tuple[str, str], str]:
    """{(graph, field): value} of a fetch."""
    found, graph = {}, ""
    for line in text.splitlines():
        if line.startswith("multigraph "):
            graph = line.split()[1]
        elif match := re.fullmatch(r"(\w+)\.value (\S+)", line):
            found[graph, match[1]] = match[2]
    return found


def labels(text: str) -> dict[tuple[str, str], str]:
    """{(graph, field): label} of a config."""
    found, graph = {}, ""
    for line in text.splitlines():
        if line.startswith("multigraph "):
            graph = line.split()[1]
        elif match := re.fullmatch(r"(\w+)\.label (.+)", line):
            found[graph, match[1]] = match[2]
    return found


def figures(url: str, name: str, label: str) -> dict[str, float]:
    """What our JSON tells of a metric, summed up by one label."""
    document = requests.get(f"{url}/metrics.json", timeout=SECONDS).json()
    (metric,) = [each for each in document["metrics"] if each["name"] == name]
    found: dict[str, float] = {}
    for sample in metric["samples"]:
        found[sample["labels"][label]] = found.get(sample["labels"][label], 0.0) + sample["value"]
    return found


COMPARED = [
    ("cloudsched_vms_state", "cloudsched_vms", "state"),
    ("cloudsched_vms_cloud", "cloudsched_vms", "cloud"),
    ("cloudsched_vms_user", "cloudsched_vms", "user"),
    ("cloudsched_vms_type", "cloudsched_vms", "vmtype"),
    ("cloudsched_slots", "cloudsched_cloud_slots", "cloud"),
    ("cloudsched_slots_used", "cloudsched_cloud_slots_used", "cloud"),
    ("cloudsched_jobs_state", "cloudsched_jobs", "state"),
    ("cloudsched_jobs_user", "cloudsched_jobs", "user"),
    ("cloudsched_idle_cores", "cloudsched_idle_cores", "cause"),
    ("cloudsched_wishes", "cloudsched_wishes_waiting", "aspect"),
    ("cloudsched_boots", "cloudsched_boots_total", "cloud"),
    ("cloudsched_boot_failures", "cloudsched_boot_failures_total", "class"),
    ("cloudsched_idle_seconds", "cloudsched_idle_core_seconds_total", "cause"),
]


def test_munin_run_tells_the_figures_of_the_json(tmp_path: Path, info: str) -> None:
    config, fetch = munin_run(tmp_path, info, "config"), munin_run(tmp_path, info)
    assert (config.returncode, config.stderr) == (0, "")
    assert (fetch.returncode, fetch.stderr) == (0, "")
    named, told = labels(config.stdout), values(fetch.stdout)
    assert named.keys() == told.keys()
    assert len({graph for graph, _ in named}) == GRAPHS
    for graph, metric, label in COMPARED:
        ours = {re.sub(r"[#\\\s]+", " ", name): value for name, value in figures(info, metric, label).items()}
        assert {named[key]: float(value) for key, value in told.items() if key[0] == graph} == ours, graph
    means = {named[key]: value for key, value in told.items() if key[0] == "cloudsched_boot_seconds"}
    assert means == {"mouse": "37.5", "cheetah": "U", "test/name?x y": "U"}
    runs = {named[key]: value for key, value in told.items() if key[0] == "cloudsched_run_seconds"}
    assert runs == {"mouse": "U", "cheetah": "60", "test/name?x y": "U", "unknown": "U"}
    assert told["cloudsched_wait_seconds", "all"] == "9"


def test_munin_run_config_is_what_munin_wants(tmp_path: Path, info: str) -> None:
    config = munin_run(tmp_path, info, "config").stdout
    for block in config.strip().split("\n\n"):
        lines = block.splitlines()
        assert lines[0].startswith("multigraph cloudsched_")
        assert {line.split()[0] for line in lines} >= {"graph_title", "graph_vlabel", "graph_category", "graph_args"}
        names = [line.partition(".")[0] for line in lines if ".label " in line]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in names)
    assert config.count("boots / ${graph_period}") == config.count("graph_period hour") == 2


def test_munin_run_knows_whether_it_can_work(tmp_path: Path, info: str) -> None:
    assert munin_run(tmp_path, info, "autoconf").stdout == "yes\n"
    assert munin_run(tmp_path, info, "suggest").stdout == "pool\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        run = plugin(nowhere, "autoconf")
        assert run.returncode == 0
        assert run.stdout.startswith(f"no (no info daemon at {nowhere}: ")
        fetch = plugin(nowhere)
    assert (fetch.returncode, fetch.stdout) == (1, "")
    assert fetch.stderr.startswith("cloudsched_: ")
    assert fetch.stderr.count("\n") == 1


def plugin(url: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The plugin without munin, by an interpreter that sees none of our packages."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(PLUGIN), *command],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={"url": url, **variables},
    )


def test_plugin_takes_a_token_and_a_dirty_config(tmp_path: Path, info: str) -> None:
    store = open_store(tmp_path / "state")
    load(store, time.time())
    store.close()
    with daemon(tmp_path, "info_server", info_auth="token") as url:
        assert plugin(url).returncode == 1
        token = str(tmp_path / "state" / "admin.token")
        assert plugin(url, token_file=token).returncode == 0
        dirty = plugin(url, "config", token_file=token, MUNIN_CAP_DIRTYCONFIG="1")
        assert values(dirty.stdout) == values(plugin(url, token_file=token).stdout)


class Node:
    """A conversation with munin-node in its own words."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._lines = self._socket.makefile("rw", encoding="utf-8", newline="\n")
        self.greeting = self._lines.readline().strip()

    def ask(self, command: str) -> str:
        """One line of answer."""
        self._lines.write(command + "\n")
        self._lines.flush()
        return self._lines.readline().strip()

    def ask_all(self, command: str) -> str:
        """Every line of answer up to the dot."""
        lines = [self.ask(command)]
        while lines[-1] != ".":
            lines.append(self._lines.readline().rstrip("\n"))
        return "\n".join(lines[:-1])

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@contextmanager
def munin_node(home: Path, url: str) -> Iterator[Node]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = node_config(home, url, port)
    # munin-node, unlike munin-run, takes its directories from a variable of its library only.
    (home / "Here.pm").write_text(
        f"package Here; use Munin::Common::Defaults; $Munin::Common::Defaults::MUNIN_CONFDIR = '{home}'; 1;\n"
    )
    command = ["perl", "-T", f"-I{home}", "-MHere", f"{SBIN}/munin-node", "--config", str(config)]
    with (home / "output").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    node: list[Node] = []

    def connected() -> bool:
        assert process.poll() is None, (home / "output").read_text()
        try:
            node.append(Node(port))
        except ConnectionRefusedError:
            return False
        return True

    try:
        wait_for(connected)
        yield node[0]
    finally:
        for each in node:
            each.close()
        process.terminate()
        process.wait(SECONDS)


def test_conversation_with_munin_node(tmp_path: Path, info: str) -> None:
    with munin_node(tmp_path, info) as node:
        assert node.greeting.startswith("# munin node at ")
        assert "multigraph" in node.ask("cap multigraph dirtyconfig")
        assert "cloudsched_pool" in node.ask("list").split()
        config, fetch = node.ask_all("config cloudsched_pool"), node.ask_all("fetch cloudsched_pool")
        direct: Any = plugin(info)
        assert values(fetch) == values(direct.stdout)
        assert labels(config).keys() == values(fetch).keys()
        assert values(config) == values(fetch)
