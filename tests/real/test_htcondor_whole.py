"""The whole on a real pool: jobs of two users on three kinds of VM, quietly and while everything fails in turn."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudsched import processes
from tests.real.condor import DOMAIN, CondorPool, eventually, local_command, vm_environment
from tests.whole_bench import Site, a_site, stopped

pytest.importorskip("htcondor2")
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("htcondor")]

JOBS = (("alice", "x", 8), ("alice", "y", 7), ("bob", "y", 7), ("bob", "z", 8))
_PAUSES = ("SCHEDULER_INTERVAL", "CLEANUP_INTERVAL")


@dataclass
class Watcher:
    """Asks both daemons again and again; keeps how long they took and what was to be seen."""

    site: Site
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"admin": [], "info": []})
    failures: list[str] = field(default_factory=list)
    job_states: set[str] = field(default_factory=set)
    vm_states: set[str] = field(default_factory=set)
    vms: set[str] = field(default_factory=set)
    paused: bool = False

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(0.05):
            for daemon, target in (("info", "/clusters.json"), ("admin", "/healthz"), ("info", "/jobs.json")):
                if not self.paused:
                    self._ask(daemon, target)

    def _ask(self, daemon: str, target: str) -> None:
        started = time.monotonic()
        try:
            status, body = self.site.ask(daemon, "GET", target)
        except OSError as ex:
            if not self.paused:
                self.failures.append(f"{daemon} {target}: {ex}")
            return
        self.seconds[daemon].append(time.monotonic() - started)
        if status != 200:
            self.failures.append(f"{daemon} {target}: {status} {body[:200]}")

    def p99(self, daemon: str) -> float:
        """The longest of a hundred answers, in seconds."""
        found = sorted(self.seconds[daemon])
        return found[int(len(found) * 0.99)]


@contextmanager
def watching(site: Site) -> Iterator[Watcher]:
    """Watch as long as the block lasts."""
    watcher, stop = Watcher(site), threading.Event()
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    try:
        yield watcher
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def site(pool: CondorPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An installation whose VMs join the pool."""
    pool.clear()
    (pool.directory / "jobs").mkdir(mode=0o777, exist_ok=True)
    (pool.directory / "jobs").chmod(0o777)
    for name, value in vm_environment(pool).items():
        monkeypatch.setenv(name, value)
    clouds = tmp_path / "cloud_resources.conf"
    clouds.write_text("[here]\ncloud_type = local\nvm_slots = 6\ncpu_cores = 4\nmemory = 8000\nenabled = true\n")
    options = {
        "BATCH_SYSTEM": "htcondor",
        "CLOUD_RESOURCE_CONFIG": str(clouds),
        "LOCAL_COMMAND": local_command(),
        "CONDOR_CONFIG": str(pool.client_config),
        "CONDOR_COLLECTOR": pool.collector,
        "CONDOR_TRUST_DOMAIN": DOMAIN,
        "CONDOR_SIGNING_KEY": str(pool.key_file),
        "CONDOR_UPDATE_SECONDS": "6",
        "CONDOR_TIMEOUT_SECONDS": "5",
        "CLEANUP_MISSING_VMS": "yes",
        "POLL_TIMEOUT_SECONDS": "20",
        "USE_CLOUD_INIT": "no",
        **dict.fromkeys(_PAUSES, "1"),
    }
    with a_site(tmp_path / "home", **options) as made:
        yield made


def submit(site: Site, pool: CondorPool, user: str, vmtype: str, count: int, seconds: float = 1) -> None:
    """Jobs that write a line each when they end."""
    text = (
        f"executable = /bin/sh\narguments = \"-c 'sleep {seconds}; echo $(Process) >> {user}.{vmtype}'\"\n"
        f'requirements = VMType =?= "{vmtype}"\n+VMMem = 256\nrequest_memory = 100\nqueue {count}\n'
    )
    body = {"submit": text, "initialdir": str(pool.directory / "jobs"), "owner": user}
    status, answer = site.ask("admin", "POST", "/jobs", body)
    assert status == 201, answer


def complete(site: Site, count: int) -> bool:
    """Whether all jobs have completed."""
    return len(site.get("/jobs.json?state=complete")["jobs"]) == count


def lines(pool: CondorPool, user: str, vmtype: str) -> list[str]:
    """What the jobs wrote."""
    path = pool.directory / "jobs" / f"{user}.{vmtype}"
    return sorted(path.read_text().split()) if path.exists() else []


def all_done(site: Site, pool: CondorPool, again: bool = False) -> None:
    """Every job has completed and written its line; once, unless something was killed."""
    total = sum(count for *_, count in JOBS)
    eventually(lambda: complete(site, total), f"{total} jobs complete", 240)
    for user, vmtype, count in JOBS:
        written = lines(pool, user, vmtype)
        assert set(written) == {str(number) for number in range(count)}
        assert again or len(written) == count
    eventually(lambda: site.vms() == [], "the VMs retire to zero", 120)
    eventually(lambda: pool.startds() == [], "no slot is left in the collector")
    eventually(lambda: pool.status("-master") == ["central@127-0-0-1.lab.test"], "no master is left in the collector")
    assert not [pid for pid in site.pids("condor_") if processes.read(pid)]


def seen_states(site: Site, stop: threading.Event, seen: set[str]) -> None:
    """Every state of jobs and VMs as `cloud_status` shows it."""
    while not stop.wait(0.2):
        with suppress(OSError, subprocess.SubprocessError):
            for state in ("new", "sched", "idle", "running", "complete"):
                if len(site.run("cloud_status", "-q", state).stdout.splitlines()) > 1:
                    seen.add(state)
            text = site.run("cloud_status", "-m").stdout
            seen.update(word for word in ("Starting", "Running", "Retiring") if word in text)


def test_thirty_jobs_of_two_users_on_three_kinds_of_vm(site: Site, pool: CondorPool) -> None:
    scheduler = site.start()
    stop, seen = threading.Event(), set[str]()
    follower = threading.Thread(target=seen_states, args=(site, stop, seen))
    follower.start()
    try:
        for user, vmtype, count in JOBS:
            submit(site, pool, user, vmtype, count)
        all_done(site, pool)
    finally:
        stop.set()
        follower.join()
    assert {"new", "idle", "running", "complete", "Running", "Retiring"} <= seen
    assert site.get("/developer-info.json")["problems"] == {}
    assert stopped(scheduler) == 0
