"""The embedded batch on a real queue and a real socket, with workers as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import databases

from cloudsched.batch.embedded import EmbeddedBatch, Session, Settings
from cloudsched.batch.wire import Service, listen, serve
from cloudsched.config.options import JobDefaults
from cloudsched.model.jobs import Job, JobOrder, JobStatus
from cloudsched.model.vms import VM
from cloudsched.store.queue import SQLQueue
from tests.patience import DEADLINE_SECONDS
from tests.patience import eventually as eventually
from tests.patience import is_gone as is_gone
from tests.patience import pid_in as pid_in

ACCOUNT = "root" if os.geteuid() == 0 else "tester"


@dataclass
class Bench:
    """A queue, the batch system before it, and the records of the VMs that may join."""

    state_dir: Path
    lease_seconds: float = 30.0
    known: dict[str, VM] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        self.store = databases.open_store(self.state_dir)
        self.renew_engine()

    def renew_engine(self) -> None:
        """Forget everything that is only in memory, as a new engine does."""
        settings = Settings(self.state_dir, JobDefaults(), lease_seconds=self.lease_seconds)
        self.batch = EmbeddedBatch(SQLQueue(self.store), settings, self.known.get)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Serve workers as long as the block lasts."""
        stop = threading.Event()
        service = Service(Session, self.batch.handle, self.batch.closed, self.batch.awake)
        thread = threading.Thread(target=serve, args=(listen(self.batch._settings.socket), service, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def vm(self, uid: str = "vm-1", cores: int = 1, memory: int = 4096, **fields: Any) -> VM:
        """Record a VM."""
        found = VM(uid, "local", id=uid, user=ACCOUNT, cpucores=cores, memory=memory, status="Running", **fields)
        self.known[uid] = found
        return found

    def submit(self, text: str, initialdir: Path) -> list[str]:
        """Submit a description; the ids of its jobs."""
        before = set(self.all_jobs())
        payload = {"submit": text, "initialdir": str(initialdir), "owner": ACCOUNT}
        (outcome,) = self.batch.act([JobOrder(f"{initialdir}-{time.monotonic_ns()}", "submit", payload=payload)])
        assert outcome.error == ""
        return [job_id for job_id in self.all_jobs() if job_id not in before]

    def run_shell(self, directory: Path, command: str, *lines: str) -> str:
        """Submit one shell command; its job's id. Output and errors go to `out` and `err`."""
        script = directory / "script.sh"
        script.write_text(f"#!/bin/sh\n{command}\n")
        script.chmod(0o755)
        settings = ["executable = script.sh", "output = out", "error = err", "log = log", *lines, "queue"]
        (job_id,) = self.submit("\n".join(settings), directory)
        return job_id

    def act(self, action: str, job_id: str, reason: str = "") -> str:
        """Hold, release or remove a job; the error."""
        (outcome,) = self.batch.act([JobOrder(f"{action}-{time.monotonic_ns()}", action, (job_id,), reason)])
        return outcome.error

    def all_jobs(self) -> dict[str, Job]:
        """The queue as it is."""
        return {job.id: job for job in SQLQueue(self.store).changes(0)[1]}

    def job(self, job_id: str) -> Job:
        """One job as it is."""
        return self.all_jobs()[job_id]

    def wait_for(self, job_id: str, status: JobStatus) -> Job:
        """Wait until a job has a status."""
        try:
            eventually(lambda: self.job(job_id).job_status == status)
        except AssertionError:
            raise AssertionError(f"never {status!r}: {self.job(job_id)}") from None
        return self.job(job_id)

    def worker(self, vm: VM, token: str | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """Start a worker for a VM as the local cloud would."""
        directory = self.state_dir / "vms" / vm.uid
        directory.mkdir(parents=True, exist_ok=True)
        join = self.batch.join(vm.uid, vm.vmtype, vm.user)
        (directory / "token").write_text(join["token"] if token is None else token)
        given = {"slots": vm.cpucores, "memory": vm.memory, **options}
        command = [sys.executable, "-m", "cloudsched.batch.worker", "--vm", vm.uid, "--dir", str(directory)]
        command += ["--socket", join["socket"], *(f"--{name}={value}" for name, value in given.items())]
        with (directory / "worker.log").open("ab") as output:
            return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)


@contextmanager
def ending(*children: subprocess.Popen[bytes]) -> Iterator[None]:
    """End processes, politely and then not, when the block is left."""
    try:
        yield
    finally:
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def kill(child: subprocess.Popen[bytes]) -> None:
    """kill -9."""
    child.send_signal(signal.SIGKILL)
    child.wait()
