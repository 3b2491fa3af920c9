"""An installation whose jobs tell what ran, users who go on asking, what kills processes, and what holds afterwards.

Jobs write a line when they start and one when they end, naming themselves and the attempt, so that every run counts.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import databases
from whole_bench import Site, a_site, eventually

from cloudsched import processes
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Job, JobStatus
from cloudsched.model.vms import VM
from cloudsched.store import Store, clouds, jobs, operations, vms

SETTLE_SECONDS = 600.0
TARGETS = ("cloud_scheduler", "admin_server", "info_server", "cloudsched.batch.worker")
ENDED = (JobStatus.COMPLETE, JobStatus.HELD, JobStatus.REMOVED)
RESOURCES = """[mouse]
cloud_type: local
vm_slots: 3
enabled: true
[cheetah]
cloud_type: local
vm_slots: 2
"""
SCRIPT = """
echo start $CLOUDSCHED_ATTEMPT $CLOUDSCHED_VM >> runs
sleep $1 && echo end $CLOUDSCHED_ATTEMPT $CLOUDSCHED_VM >> runs
"""


@contextmanager
def a_killed_site(tmp_path: Path) -> Iterator[Site]:
    """An installation with the clouds of RESOURCES, whose `job.sh` is SCRIPT.

    Its lease is short and bad polls are few: a killed worker's jobs are to run again within the test's time.
    """
    with a_site(tmp_path / "home", LEASE_SECONDS="5", POLLING_ERROR_THRESHOLD="2") as made:
        resources = made.home / "cloud_resources.conf"
        resources.write_text(RESOURCES)
        made.options = {**made.options, "CLOUD_RESOURCE_CONFIG": str(resources)}
        script = made.home / "job.sh"
        script.write_text(f"#!/bin/sh{SCRIPT}")
        script.chmod(0o755)
        yield made


@contextmanager
def opened(site: Site) -> Iterator[Store]:
    store = databases.open_store(site.state, read_only=True)
    try:
        yield store
    finally:
        store.close()


@dataclass(frozen=True)
class Seen:
    """What the state holds."""

    jobs: dict[tuple[int, int], Job]
    vms: list[VM]
    clouds: dict[str, Cloud]
    open_wishes: list[int]


def seen(site: Site) -> Seen:
    with opened(site) as store, store.reading() as connection:
        return Seen(
            {(job.cluster_id, job.proc_id): job for job in jobs.all_jobs(connection)},
            vms.all_vms(connection),
            {cloud.name: cloud for cloud in clouds.all_clouds(connection)},
            [wish.id for wish in operations.unsettled(connection)],
        )


@dataclass
class Load:
    """Users and operators who go on asking, and remember every answer."""

    site: Site
    chance: random.Random
    stop: threading.Event = field(default_factory=threading.Event)
    submitted: dict[int, int] = field(default_factory=dict)
    possible: dict[str, list[Any]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)

    def run(self) -> None:
        turn = 0
        while not self.stop.is_set():
            turn += 1
            try:
                (self.submit, self.steer, self.hold_or_remove)[turn % 3]()
            except (OSError, ValueError):
                self.stop.wait(0.05)
            except Exception as ex:  # seen by the test, which a thread's exception is not
                self.unexpected.append(repr(ex))
            self.stop.wait(0.1)

    def _ask(self, method: str, target: str, body: Any = None, also: int = 200) -> tuple[int, str]:
        try:
            status, text = self.site.ask("admin", method, target, body)
        except Exception as ex:
            raise OSError(f"no answer: {ex!r}") from ex
        if status not in (200, 201, 202, 503, also) or "Traceback" in text:
            self.unexpected.append(f"{method} {target}: {status} {text}")
        return status, text

    def _submit(self, seconds: str, count: int) -> int | None:
        text = f"executable = job.sh\narguments = {seconds}\nlog = events\nqueue {count}"
        document = {"submit": text, "initialdir": str(self.site.home)}
        status, answer = self._ask("POST", "/jobs", document)
        if status != 201:
            return None
        found = re.fullmatch(r"(\d+) job\(s\) submitted to cluster (\d+)\.", answer)
        assert found, answer
        self.submitted[int(found[2])] = int(found[1])
        return int(found[2])

    def submit(self) -> None:
        self._submit(f"{self.chance.uniform(0.1, 0.8):.1f}", self.chance.randint(1, 3))

    def steer(self) -> None:
        """Change what lasts: whether the second cloud may boot, and how many VMs it may have."""
        enabled, slots = self.chance.random() < 0.7, self.chance.randint(1, 3)
        self._change("enabled", enabled, f"/clouds/cheetah?action={'enable' if enabled else 'disable'}")
        self._change("vm_slots", slots, f"/clouds/cheetah?allocations={slots}")

    def _change(self, what: str, value: Any, target: str) -> None:
        """Until an answer comes, both the old and the new value are right."""
        self.possible.setdefault(what, []).append(value)
        status, _ = self._ask("PUT", target)
        if status == 200:
            self.possible[what] = [value]

    def hold_or_remove(self) -> None:
        cluster = self._submit("1000", 1)
        if cluster is None:
            return
        hold = self.chance.random() < 0.5
        method, target = ("PUT", "?action=hold") if hold else ("DELETE", "")
        goal = JobStatus.HELD if hold else JobStatus.REMOVED
        self.possible[f"{cluster}.0"] = [JobStatus.IDLE, JobStatus.RUNNING, goal]
        status, _ = self._ask(method, f"/jobs/{cluster}.0{target}")
        if status == 200:
            self.possible[f"{cluster}.0"] = [goal]

    def finish(self) -> None:
        """Remove the endless jobs that nobody's answered verb has ended, also those nobody was told of."""
        for name, states in self.possible.items():
            if "." in name and len(states) > 1:
                self._remove(name)
                states[:] = [JobStatus.HELD, JobStatus.REMOVED]
        for cluster, proc in seen(self.site).jobs:
            if cluster not in self.submitted:
                self._remove(f"{cluster}.{proc}")

    def _remove(self, name: str) -> None:
        eventually(lambda: self._ask("DELETE", f"/jobs/{name}", also=409)[0] in (200, 409), f"{name} is removed")


@dataclass
class Killer:
    """Kills processes of an installation, and starts its scheduler again as an operator would."""

    site: Site
    chance: random.Random
    scheduler: subprocess.Popen[str]
    vms: set[str] = field(default_factory=set)
    kills: Counter[str] = field(default_factory=Counter)

    def kill_one(self) -> None:
        what = self.chance.choice(TARGETS)
        victims = self.site.pids(what)
        if victims:
            self.kill(what, self.chance.choice(victims))

    def kill(self, what: str, pid: int) -> None:
        mark = next((each for each in processes.marks(pid) if each.startswith(b"CLOUDSCHED_VM=")), None)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.kills[what] += 1
        if mark is not None:
            self.vms.add(os.fsdecode(mark).removeprefix("CLOUDSCHED_VM="))
        if what == "cloud_scheduler":
            self.scheduler.wait()
            eventually(lambda: not self.site.pids("_server"), "the daemons have left their ports")
            self.scheduler = self.site.start()


def workers(site: Site) -> Counter[str]:
    """How many workers there are of each VM."""
    found: Counter[str] = Counter()
    for command in site.processes().values():
        if "cloudsched.batch.worker" in command:
            found[command.split("--vm ")[1].split()[0]] += 1
    return found


def runs(site: Site) -> dict[str, dict[str, dict[int, str]]]:
    """By `start` and `end`: of each job its attempts, each with the VM it was on; a line that is there twice fails."""
    found: dict[str, dict[str, dict[int, str]]] = {"start": {}, "end": {}}
    for line in site.read("runs"):
        what, name, vm = line.split()
        job, _, attempt = name.rpartition("/")
        attempts = found[what].setdefault(job, {})
        assert int(attempt) not in attempts, f"{line} is there twice"
        attempts[int(attempt)] = vm
    return found


def unsettled(site: Site) -> list[str]:
    """What is still to come."""
    found = seen(site)
    waiting = [f"{job.id} {job.job_status} {job.status}" for job in found.jobs.values() if job.job_status not in ENDED]
    machines = [f"{vm.uid} {vm.shown_status} {vm.reason}" for vm in found.vms]
    return waiting + machines + [f"wish {number}" for number in found.open_wishes] + list(workers(site))


def settle(site: Site) -> None:
    """Wait until all jobs have ended, all wishes are settled and all VMs have retired."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while left := unsettled(site):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def check_acknowledged(load: Load, found: Seen) -> None:
    for cluster, count in load.submitted.items():
        assert {(cluster, proc) for proc in range(count)} <= found.jobs.keys(), f"cluster {cluster} is lost"
    cheetah = found.clouds["cheetah"]
    assert cheetah.enabled in load.possible.get("enabled", [False])
    assert cheetah.vm_slots in load.possible.get("vm_slots", [2])
    for name, states in load.possible.items():
        if "." in name:
            assert found.jobs[int(name[:-2]), 0].job_status in states, name


def check_runs(load: Load, killer: Killer, found: Seen) -> None:
    ran = runs(load.site)
    for job in found.jobs.values():
        ends = ran["end"].get(job.id, {})
        if job.job_status == JobStatus.COMPLETE:
            assert (job.exit_code, bool(ends)) == (0, True), f"{job.id} is complete and never ended"
            # To its end it runs again only where its worker was killed before it could report.
            again = {vm for attempt, vm in ends.items() if attempt != max(ends)}
            assert again <= killer.vms, f"{job.id} ran again although its worker lived: {ends}"
        elif job.cluster_id in load.submitted:
            assert not ends, f"{job.id} has ended and is not complete"
