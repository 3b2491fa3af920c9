"""The real commands on an installation of this test's own: started, asked, stopped, and cleaned up however it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import databases

from cloudsched import processes
from cloudsched.clouds import local_directory, local_limits
from tests.patience import DEADLINE_SECONDS
from tests.patience import eventually as eventually

COMMANDS = Path(sys.executable).parent
_QUICK = {f"{name}_POLLER_INTERVAL": "1" for name in ("VM", "JOB", "MACHINE")}


@dataclass
class Site:
    """One installation: `home` holds its state, its configuration and its users' files."""

    home: Path
    options: Mapping[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def token(self) -> str:
        return (self.state / "admin.token").read_text().strip()

    def environment(self) -> dict[str, str]:
        """What its commands find: the daemons' ports once they are known, any before."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSCHED_", "XDG_"))}
        ports = {f"{name}_SERVER_PORT": str(self.ports.get(name.lower(), 0)) for name in ("ADMIN", "INFO")}
        database = {name.upper(): each for name, each in databases.options(self.state).items()}
        given = {"STATE_DIR": str(self.state), **_QUICK, **ports, **database, **self.options}
        return {**kept, "HOME": str(self.home), **{f"CLOUDSCHED_GLOBAL_{name}": each for name, each in given.items()}}

    def spawn(self, *argv: str) -> subprocess.Popen[str]:
        """`cloud_scheduler` in a process group of its own, as a terminal would have it."""
        with (self.home / "log").open("a") as log:
            scheduler = subprocess.Popen(
                [COMMANDS / "cloud_scheduler", *argv],
                cwd=self.home,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._started.append(scheduler)
        return scheduler

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """`cloud_scheduler`, once it has said where it listens."""
        scheduler = self.spawn(*argv)
        assert scheduler.stdout
        for line in scheduler.stdout:
            name, _, rest = line.strip().partition("  ")
            if name in ("admin", "info"):
                self.ports[name] = int(rest.split()[0].rpartition(":")[2])
            if line.startswith("Ctrl-C"):
                return scheduler
        raise AssertionError(f"it did not start: {self.log()}")

    def run(self, command: str, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run one of the commands to its end."""
        known = {"cwd": self.home, "env": self.environment(), "capture_output": True, "text": True}
        return subprocess.run([COMMANDS / command, *argv], timeout=DEADLINE_SECONDS, **{**known, **options})

    def said(self, command: str, *argv: str) -> str:
        """What a command prints that must succeed."""
        done = self.run(command, *argv)
        assert (done.returncode, done.stderr) == (0, ""), (done.stdout, self.log())
        return done.stdout

    def ask(self, daemon: str, method: str, target: str, body: Any = None) -> tuple[int, str]:
        """One request to a daemon, with the token: status and body. Raises OSError when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[daemon], timeout=DEADLINE_SECONDS)
        headers = {"Authorization": f"Bearer {self.token}"} if daemon == "admin" else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def get(self, target: str) -> Any:
        """A JSON document of the info daemon."""
        status, body = self.ask("info", "GET", target)
        assert status == 200, body
        return json.loads(body)

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Every job by its id."""
        states = ("idle", "running", "held", "complete")
        return {job["id"]: job for state in states for job in self.get(f"/jobs.json?state={state}")["jobs"]}

    def clouds(self) -> dict[str, dict[str, Any]]:
        """Every cloud by its name."""
        return {cloud["name"]: cloud for cloud in self.get("/clusters.json")["resources"]}

    def vms(self) -> list[dict[str, Any]]:
        """Every VM of every cloud."""
        return [vm for cloud in self.clouds().values() for vm in cloud["vms"]]

    def submit(self, script: str, *lines: str, count: int = 1) -> None:
        """Submit a shell script as a job."""
        path = self.home / f"job-{time.monotonic_ns()}.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        text = "\n".join([f"executable = {path.name}", *lines, f"queue {count}"])
        status, body = self.ask("admin", "POST", "/jobs", {"submit": text, "initialdir": str(self.home)})
        assert status == 201, body

    def read(self, name: str) -> list[str]:
        """The lines of a file of the user's; none while it is not there."""
        path = self.home / name
        return path.read_text().splitlines() if path.exists() else []

    def log(self) -> str:
        """What the scheduler and its daemons have written to standard error."""
        return (self.home / "log").read_text()

    def processes(self) -> dict[int, str]:
        """All processes of this installation, its VMs' and jobs' included: what each is."""
        state, vms = f"CLOUDSCHED_GLOBAL_STATE_DIR={self.state}", f"CLOUDSCHED_VM_DIR={self.state}/vms/"
        found: dict[int, str] = {}
        for pid in processes.every():
            marks = [os.fsdecode(mark) for mark in processes.marks(pid)]
            if any(mark == state or mark.startswith(vms) for mark in marks):
                found[pid] = _what(pid)
        return found

    def pids(self, what: str) -> list[int]:
        """The processes whose command line names this."""
        return [pid for pid, command in self.processes().items() if what in command]

    def clean_up(self) -> None:
        """Leave no process behind, and no control group of VMs that nobody has destroyed."""
        while found := self.processes():
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        vms = self.state / "vms"
        directories = local_directory.directories(vms) if vms.is_dir() else []
        for record in filter(None, map(local_directory.read, directories)):
            local_limits.remove(record.groups)
        for scheduler in self._started:
            scheduler.communicate()


def _what(pid: int) -> str:
    with suppress(OSError):
        return (processes.PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


@contextmanager
def a_site(home: Path, **options: str) -> Iterator[Site]:
    """An installation that is gone with all its processes when the block ends."""
    (home / ".cloudscheduler").mkdir(parents=True)
    (home / ".cloudscheduler" / "cloud_scheduler_status.conf").write_text("[global]\n")
    (home / "log").touch()
    site = Site(home, options)
    try:
        yield site
    finally:
        site.clean_up()


def stopped(scheduler: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """Signal the scheduler's process group, as a terminal does for Ctrl-C; its exit status."""
    os.killpg(scheduler.pid, number)
    return scheduler.wait(DEADLINE_SECONDS)


def segment(name: str) -> str:
    """A name as one segment of a URL's path."""
    return quote(name, safe="")
