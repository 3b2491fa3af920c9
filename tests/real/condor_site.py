"""A whole installation on a real pool: its jobs, whoever watches its daemons, and everything that may fail in turn."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cloudsched import processes
from tests.real.condor import DOMAIN, CondorPool, eventually, site_options, startd_of, vm_environment
from tests.whole_bench import COMMANDS, Site, a_site

JOBS = (("alice", "x", 8), ("alice", "y", 7), ("bob", "y", 7), ("bob", "z", 8))
TOTAL = sum(count for *_, count in JOBS)
CENTRAL = f"central@127-0-0-1.{DOMAIN}"


@contextmanager
def condor_site(pool: CondorPool, place: Path, **options: str) -> Iterator[Site]:
    """An installation whose VMs join the pool; no jobs are there."""
    pool.clear()
    jobs = pool.directory / "jobs"
    jobs.mkdir(mode=0o777, exist_ok=True)
    jobs.chmod(0o777)
    for each in jobs.iterdir():
        each.unlink()
    clouds = place / "cloud_resources.conf"
    clouds.write_text("[here]\ncloud_type = local\nvm_slots = 6\ncpu_cores = 4\nmemory = 8000\nenabled = true\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in vm_environment(pool).items():
            patch.setenv(name, value)
        with a_site(place / "home", **site_options(pool, clouds) | options) as made:
            yield made
    pool.forget_vms()


def settled(site: Site, pool: CondorPool, condition: Callable[[], Any], what: str) -> None:
    """Wait; when it never comes, tell how everything stands."""
    try:
        eventually(condition, what)
    except AssertionError:
        unfinished = [job for job in site.jobs().values() if job["job_status"] != 4]
        shown = [(job["id"], job["job_status"], job["status"], job["remote_host"]) for job in unfinished]
        vms = [(vm["id"], vm["status"], vm["override_status"], vm["user"], vm["vmtype"]) for vm in site.vms()]
        queue = pool.run("condor_q", "-allusers", "-af", "GlobalJobId", "JobStatus", "RemoteHost", check=False).stdout
        slots = pool.run("condor_status", "-af", "Name", "State", "Activity", "Draining", check=False).stdout
        raise AssertionError(f"{what}: {shown}\n{vms}\n{queue}\n{slots}\n{site.log()[-4000:]}") from None


def submit(site: Site, pool: CondorPool, user: str, vmtype: str, count: int, **changes: Any) -> None:
    """Jobs that write a line each after `seconds`, behind a `gate` not before it opens.

    `lease` is for how long HTCondor waits for a VM that is gone.
    """
    seconds, lease, gate = (changes.get(name, usual) for name, usual in (("seconds", 1), ("lease", 40), ("gate", "")))
    wait = f"until test -e {gate}.gate; do sleep 0.2; done; " if gate else ""
    text = (
        f"executable = /bin/sh\narguments = \"-c '{wait}sleep {seconds}; echo $(Process) >> {user}.{vmtype}'\"\n"
        f'requirements = VMType =?= "{vmtype}"\n+VMMem = 256\nrequest_memory = 100\njob_lease_duration = {lease}\n'
        f"queue {count}\n"
    )
    body = {"submit": text, "initialdir": str(pool.directory / "jobs"), "owner": user}
    status, answer = site.ask("admin", "POST", "/jobs", body)
    assert status in (201, 202), answer
    if status == 202:
        # A busy machine took longer than a verb waits for.
        operation = answer.removeprefix("Accepted, see ").rstrip(".")
        eventually(lambda: site.get(f"{operation}.json")["state"] == "done", f"{operation}: the jobs are submitted")


def open_gate(pool: CondorPool, gate: str) -> None:
    """Let the jobs behind it go on."""
    (pool.directory / "jobs" / f"{gate}.gate").touch()


def complete(site: Site, count: int) -> bool:
    """Whether all jobs have completed."""
    return len(site.get("/jobs.json?state=complete")["jobs"]) == count


def running(site: Site) -> list[dict[str, Any]]:
    """The jobs that run."""
    found: list[dict[str, Any]] = site.get("/jobs.json?state=running")["jobs"]
    return found


def lines(pool: CondorPool, user: str, vmtype: str) -> list[str]:
    """What the jobs wrote."""
    path = pool.directory / "jobs" / f"{user}.{vmtype}"
    return sorted(path.read_text().split()) if path.exists() else []


def nothing_left(site: Site, pool: CondorPool) -> None:
    """The VMs retire, and the collector knows nothing of them."""
    settled(site, pool, lambda: site.vms() == [], "the VMs retire to zero")
    eventually(lambda: pool.startds() == [], "no slot is left in the collector")
    eventually(lambda: pool.status("-master") == [CENTRAL], "no master is left in the collector")
    assert not [pid for pid in site.pids("condor_") if processes.read(pid)]


@dataclass
class Watcher:
    """Asks both daemons again and again; keeps how long they took and what was to be seen."""

    site: Site
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"admin": [], "info": []})
    failures: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(0.05):
            for daemon, target in (
                ("info", "/clusters.json"),
                ("admin", "/operations/1"),
                ("info", "/jobs.json?state=running"),
            ):
                self._ask(daemon, target)

    def _ask(self, daemon: str, target: str) -> None:
        started = time.monotonic()
        try:
            status, body = self.site.ask(daemon, "GET", target)
        except OSError as ex:
            self.failures.append(f"{daemon} {target}: {ex}")
            return
        self.seconds[daemon].append(time.monotonic() - started)
        if status != 200:
            self.failures.append(f"{daemon} {target}: {status} {body[:200]}")


def p99(seconds: Sequence[float]) -> float:
    """The slowest of a hundred."""
    return sorted(seconds)[int(len(seconds) * 0.99)]


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


def daemon(site: Site, name: str) -> subprocess.Popen[str]:
    """One of the two daemons by itself, so that it outlives the scheduler; its port is noted."""
    process = subprocess.Popen(
        [COMMANDS / f"{name}_server"],
        env=site.environment(),
        cwd=site.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        if "Listening on" in line:
            site.ports[name] = int(line.strip().rstrip(".").rpartition(":")[2])
            return process
    raise AssertionError(f"{name}_server did not start")


def started_apart(site: Site) -> tuple[subprocess.Popen[str], list[subprocess.Popen[str]]]:
    """A scheduler, and both daemons by themselves."""
    scheduler = site.spawn("--no-servers")
    eventually((site.state / "state.db").exists, "there is a state")
    return scheduler, [daemon(site, name) for name in ("admin", "info")]


def host(job: dict[str, Any]) -> str:
    """The VM on which a job runs."""
    name: str = job["remote_host"]
    return name.rpartition("@")[2].removesuffix(f".{DOMAIN}")


def problems(site: Site) -> dict[str, str]:
    """What the diagnostics say is wrong."""
    found: dict[str, str] = site.get("/developer-info.json")["problems"]
    return found


def work(site: Site, pool: CondorPool) -> None:
    """Submit all JOBS, and wait until some run."""
    for user, vmtype, count in JOBS:
        submit(site, pool, user, vmtype, count, seconds=4)
    eventually(lambda: running(site), "jobs run")


def fail_in_turn(site: Site, pool: CondorPool, scheduler: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Let everything fail while the JOBS run, and hold what must be so at once; returns the scheduler's successor."""
    pool.signal("schedd", signal.SIGSTOP)
    time.sleep(30)
    assert "gave no answer" in problems(site)["JobPoller"]
    assert len(site.jobs()) == TOTAL
    pool.signal("schedd", signal.SIGCONT)
    eventually(lambda: "JobPoller" not in problems(site), "the schedd answers", 120)

    pool.signal("collector", signal.SIGKILL)
    eventually(lambda: pool.status("-schedd"), "the collector is back")

    submit(site, pool, "erin", "v", 1, seconds=12, lease=10)
    erins = eventually(lambda: [job for job in running(site) if job["user"] == "erin" and job["remote_host"]])
    for process in eventually(lambda: startd_of(host(erins[0])), "the startd is found"):
        processes.send(process, signal.SIGKILL)

    return kill_mid_boot(site, pool, scheduler)


def kill_mid_boot(site: Site, pool: CondorPool, scheduler: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """kill -9 while `cloud_status` shows a VM as Starting; the scheduler's successor runs that VM, not another."""
    for vmtype in (f"w{attempt}" for attempt in range(10)):
        submit(site, pool, "carol", vmtype, 1)
        # Without a pause: a boot on this host is over within milliseconds.
        while not (asked := vms_of(site, vmtype)):
            pass
        os.killpg(scheduler.pid, signal.SIGKILL)
        scheduler.wait()
        shown = site.run("cloud_status", "-m").stdout
        time.sleep(2)
        scheduler = site.spawn("--no-servers")
        settled(site, pool, partial(lines, pool, "carol", vmtype), "carol's job ends")
        assert vms_of(site, vmtype) in (asked, [])
        if "Starting" in shown:
            return scheduler
    raise AssertionError(f"the scheduler was never killed between a boot's record and its outcome: {shown}")


def vms_of(site: Site, vmtype: str) -> list[str]:
    """The ids of the VMs of a type."""
    return [vm["id"] for vm in site.vms() if vm["vmtype"] == vmtype]


def survived(site: Site, pool: CondorPool) -> None:
    """All JOBS, erin's and carol's have completed, though some may have run twice, and nothing is left over."""
    settled(site, pool, lambda: all(job["job_status"] == 4 for job in site.jobs().values()), "all jobs complete")
    assert len(site.jobs()) > TOTAL + 1
    for user, vmtype, count in (*JOBS, ("erin", "v", 1)):
        wrote = set(lines(pool, user, vmtype))
        assert wrote == {str(number) for number in range(count)}, (user, vmtype, wrote, site.jobs())
    nothing_left(site, pool)
