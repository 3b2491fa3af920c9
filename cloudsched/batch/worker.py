"""The process inside a local VM: leases jobs from the engine, runs them, reports how they ended.

Run as `python -m cloudsched.batch.worker`; standard library only. It never opens the database. It lives on when the
engine is away, its jobs too, and reports what it holds when the engine is back. The VM is this process: it ends when
the VM is retired and idle, on SIGTERM, or when the engine refuses it, and its jobs end with it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloudsched import processes
from cloudsched.batch import joblog, running
from cloudsched.batch.results import Results
from cloudsched.batch.running import Place, Running
from cloudsched.batch.wire import Link

ANSWER_SECONDS = 5.0
LONGEST_PAUSE = 2.0
EXIT_GRACE_SECONDS = 1.0
PR_SET_CHILD_SUBREAPER = 36


class Refused(Exception):
    """The engine does not accept this worker."""


class Worker:
    """The loop: reap, enforce, talk, wait. `step` does one round and returns the seconds until the next."""

    def __init__(self, place: Place, slots: int, token: str, socket_path: Path) -> None:
        self._place, self._slots, self._token, self._socket = place, slots, token, socket_path
        self._results = Results(place.directory / "results")
        self._jobs: list[Running] = []
        self._link: Link | None = None
        self._renew_seconds = 1.0
        self._pause = 0.1
        self._due = {"connect": 0.0, "renew": 0.0, "lease": 0.0}
        self._retiring = False

    def step(self, now: float) -> float | None:
        """One round at monotonic `now`; None when the VM is retired and idle. Raises Refused."""
        self._watch(now)
        try:
            self._talk(now)
        except OSError as ex:
            self._lost(now, ex)
        if self._retiring and not self._jobs and not self._results.held():
            return None
        if any(job.stopping or job.ended_at for job in self._jobs):
            return 0.05
        limits: list[tuple[Running, int]] = [(job, job.job["spec"]["wall_seconds"] or 0) for job in self._jobs]
        times = [job.started_at + seconds for job, seconds in limits if seconds]
        due = ("connect",) if self._link is None else ("renew", "lease") if self._free_slots() else ("renew",)
        return max(0.01, min([*times, *(self._due[each] for each in due)]) - now)

    def finish(self, clock: Callable[[], float]) -> None:
        """Kill all jobs and give them back, as when the VM is shut down."""
        for job in self._jobs:
            running.stop(job, "shutdown", clock())
        keys = [job.key for job in self._jobs if job.process.returncode is None]
        while self._jobs:
            self._watch(clock(), EXIT_GRACE_SECONDS)
            select.select([], [], [], 0.02)
        with contextlib.suppress(OSError):
            self._report()
            self._ask(op="evict", jobs=keys)

    def _watch(self, now: float, grace: float = running.GRACE_SECONDS) -> None:
        self._reap()
        for job in list(self._jobs):
            running.enforce(job, now, grace)
            if running.ended(job, now):
                self._jobs.remove(job)
                self._ended(job)
        if not self._jobs and self._reap():
            self._kill_strays()

    def _reap(self) -> bool:
        """Reap what has ended; whether there are children left."""
        mine = {job.process.pid: job for job in self._jobs}
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid in mine:
                    mine[pid].process.returncode = os.waitstatus_to_exitcode(status)
                    mine[pid].usage = (usage.ru_utime, usage.ru_stime)
        return False

    def _kill_strays(self) -> None:
        """With no job running, whatever still descends from us escaped one."""
        there = processes.every()
        for pid in processes.family(there, [os.getpid()]) - {os.getpid()}:
            processes.send(there[pid], signal.SIGKILL)

    def _ended(self, job: Running) -> None:
        proc = (job.job["cluster"], job.job["proc"])
        at = time.time()
        if job.stopping in ("lost", "shutdown"):
            job.channel.close()
            return self._log(job, joblog.evicted(proc, at, job.usage))
        result = running.outcome(job)
        self._keep(job.job, result)
        if result["hold"]:
            return self._log(job, joblog.held(proc, at, result["reason"]))
        return self._log(job, joblog.terminated(proc, at, result, job.usage))

    def _log(self, job: Running, events: str) -> None:
        try:
            running.append_events(job.job["spec"]["log"], job.job["owner"], events)
        except (OSError, KeyError) as ex:
            _say(f"The log of job {job.job['id']} was not written: {ex}")

    def _talk(self, now: float) -> None:
        if self._link is None:
            if now < self._due["connect"]:
                return
            self._connect(now)
        self._report()
        if now >= self._due["renew"]:
            self._renew(now)
        if now >= self._due["lease"] and not self._results.held():
            self._lease(now)

    def _connect(self, now: float) -> None:
        self._link = Link(self._socket, ANSWER_SECONDS)
        hello = {"vm": self._place.vm, "token": self._token, "slots": self._slots}
        answer = self._link.ask(op="hello", host=socket.gethostname(), pid=os.getpid(), **hello)
        if answer.get("refused"):
            raise Refused(answer["error"])
        if "error" in answer:
            raise ConnectionRefusedError(answer["error"])
        self._renew_seconds = float(answer["renew_seconds"])
        self._pause = 0.1
        self._due.update(renew=now, lease=now)

    def _lost(self, now: float, ex: OSError) -> None:
        if self._link is not None:
            _say(f"The engine is away: {ex}")
            self._link.close()
        self._link = None
        self._due["connect"] = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _ask(self, **message: Any) -> dict[str, Any]:
        if self._link is None:
            raise ConnectionResetError("there is no connection")
        answer = self._link.ask(**message)
        if "error" in answer:
            raise ConnectionRefusedError(answer["error"])
        return answer

    def _report(self) -> None:
        for entry in self._results.held():
            self._ask(op="done", **entry)
            self._results.drop(entry["job"], entry["attempt"])

    def _renew(self, now: float) -> None:
        answer = self._ask(op="renew", jobs=[job.key for job in self._jobs if job.stopping != "lost"])
        self._retiring = answer["retire"]
        self._due["renew"] = now + self._renew_seconds
        for job in self._jobs:
            if job.key[0] in answer["stop"]:
                running.stop(job, "lost", now)

    def _free_slots(self) -> list[int]:
        busy = {job.slot for job in self._jobs}
        return [] if self._retiring else [slot for slot in range(1, self._slots + 1) if slot not in busy]

    def _lease(self, now: float) -> None:
        for slot in self._free_slots():
            answer = self._ask(op="lease", slot=slot)
            self._retiring = answer["retire"]
            self._due["lease"] = now + answer["wait_seconds"]
            if not answer["job"]:
                return
            self._start(answer["job"], slot, now)

    def _start(self, job: dict[str, Any], slot: int, now: float) -> None:
        if any(each.key == (job["id"], job["attempt"]) for each in self._jobs):
            return
        taken = [cpu for each in self._jobs for cpu in each.cpus]
        name = f"slot{slot}@{self._place.vm}"
        job = {**job, "vm": self._place.vm, "events": _first_events(job, name)}
        try:
            self._jobs.append(running.start(job, slot, self._place, taken, now))
        except KeyError:
            reason = f"Error from {name}: there is no account {job['owner']!r} on this host"
            self._keep(job, {"hold": True, "reason": reason, "exit_code": None, "signal": None})
        except OSError as ex:
            _say(f"Job {job['id']} could not be started: {ex}")
            self._ask(op="evict", jobs=[(job["id"], job["attempt"])])

    def _keep(self, job: Mapping[str, Any], result: dict[str, Any]) -> None:
        try:
            self._results.save(job["id"], job["attempt"], result)
        except OSError as ex:
            _say(f"The result of job {job['id']} is in memory only: {ex}")
        self._due["lease"] = 0.0


def _first_events(job: dict[str, Any], slot: str) -> str:
    proc = (job["cluster"], job["proc"])
    first = joblog.submitted(proc, job["submitted_at"], socket.gethostname()) if job["attempt"] == 1 else ""
    return first + joblog.executing(proc, time.time(), slot)


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="worker", description="Runs the jobs of one VM of the local cloud.")
    parser.add_argument("--vm", required=True, help="the VM's uid")
    parser.add_argument("--dir", required=True, type=Path, help="the VM's directory, which holds its token")
    parser.add_argument("--socket", required=True, type=Path, help="where the engine listens")
    parser.add_argument("--slots", type=int, default=1, help="how many jobs run at once")
    parser.add_argument("--cpus", default="", help="the VM's cpus, as 0,1,2")
    parser.add_argument("--memory", type=int, default=0, help="the VM's memory in MB")
    return parser.parse_args(argv)


def _take_token(path: Path) -> str:
    token = path.read_text("utf-8").strip()
    path.unlink()
    return token


def _run(worker: Worker, wakeup: socket.socket, stopped: list[int]) -> int:
    while not stopped:
        try:
            pause = worker.step(time.monotonic())
        except Refused as ex:
            _say(f"The engine refuses this VM: {ex}")
            worker.finish(time.monotonic)
            return 1
        if pause is None:
            return 0
        if select.select([wakeup], [], [], pause)[0]:
            wakeup.recv(4096)
    worker.finish(time.monotonic)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run a VM to its end; 0 when it was retired or shut down, 1 with a sentence when it could not run."""
    options = _arguments(argv)
    lock = os.open(options.dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        token = _take_token(options.dir / "token")
    except OSError as ex:
        _say(f"This VM cannot start: {ex}")
        return 1
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, alarm = socket.socketpair()
    wakeup.setblocking(False)
    alarm.setblocking(False)
    stopped: list[int] = []
    signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda signum, frame: None)
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, lambda signum, frame: stopped.append(signum))
    cpus = tuple(int(cpu) for cpu in options.cpus.split(",") if cpu)
    place = Place(options.vm, options.dir.absolute(), cpus, options.memory)
    return _run(Worker(place, options.slots, token, options.socket), wakeup, stopped)


if __name__ == "__main__":
    sys.exit(main())
