"""One job as the worker runs it: started through `launch`, watched, stopped with everything it started.

A job ends when its first process ends; what that leaves behind is killed. Time comes in as monotonic seconds.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cloudsched import processes

GRACE_SECONDS = 10.0
LONGEST_DYING = 5.0
ATTEMPT = "CLOUDSCHED_ATTEMPT"

_LAUNCH = str(Path(__file__).with_name("launch.py"))
_MEGABYTE = 1024 * 1024
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where jobs run: the VM's uid and directory, its cpus and its memory in MB (0 is no limit)."""

    vm: str
    directory: Path
    cpus: tuple[int, ...]
    memory: int


@dataclass(slots=True)
class Running:
    """A job that was started; `stopping` says why it is being stopped: lost, wall or shutdown."""

    job: Mapping[str, Any]
    slot: int
    cpus: tuple[int, ...]
    process: subprocess.Popen[bytes]
    channel: socket.socket
    started_at: float
    stopping: str = ""
    stopped_at: float = 0.0
    ended_at: float | None = None
    usage: tuple[float, float] = (0.0, 0.0)

    @property
    def key(self) -> tuple[str, int]:
        """Job id and attempt."""
        return self.job["id"], self.job["attempt"]

    @property
    def mark(self) -> bytes:
        """What the environment of the job's processes holds."""
        return f"{ATTEMPT}={_attempt(self.job)}".encode()


def _attempt(job: Mapping[str, Any]) -> str:
    return f"{job['id']}/{job['attempt']}"


def account(owner: str) -> pwd.struct_passwd | None:
    """The account a job must run as: its owner's when we are root, else None for our own. Raises KeyError."""
    return pwd.getpwnam(owner) if os.geteuid() == 0 else None


def start(job: Mapping[str, Any], slot: int, place: Place, taken: Sequence[int], now: float) -> Running:
    """Start a leased job. `taken` are the cpus of the VM's other jobs, once for each. Raises KeyError, OSError."""
    spec = job["spec"]
    owner = account(job["owner"])
    cpus = _least_used(place.cpus, taken, spec["request_cpus"])
    order = {
        **_as_account(owner),
        **{name: spec[name] for name in ("executable", "arguments", "initialdir", "input", "output", "error", "log")},
        "environment": environment(job, slot, place, owner, len(cpus)),
        "cpus": cpus,
        "limits": _limits(spec, place),
        "events": job["events"],
        "worker": os.getpid(),
    }
    process, channel = _launched(order)
    return Running(job, slot, cpus, process, channel, now)


def append_events(path: str | None, owner: str, events: str) -> None:
    """Write to a job's log as its owner; a log that cannot be written does not change the job's fate."""
    if not path:
        return
    process, channel = _launched({**_as_account(account(owner)), "log": path, "events": events})
    with channel:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _launched(order: Mapping[str, Any]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", _LAUNCH, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env={key: value for key, value in order.get("environment", {}).items() if key.startswith("CLOUDSCHED_")},
        )
    ours.sendall(json.dumps(order).encode())
    ours.shutdown(socket.SHUT_WR)
    return process, ours


def _as_account(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    if owner is None:
        return {}
    groups = os.getgrouplist(owner.pw_name, owner.pw_gid)
    return {"account": {"uid": owner.pw_uid, "gid": owner.pw_gid, "groups": groups}}


def _least_used(cpus: Sequence[int], taken: Sequence[int], wanted: int) -> tuple[int, ...]:
    return tuple(sorted(sorted(cpus, key=lambda cpu: (taken.count(cpu), cpu))[:wanted]))


def _limits(spec: Mapping[str, Any], place: Place) -> dict[str, int]:
    """A stated request bounds the address space; without one the VM's memory bounds the data."""
    limits = {"RLIMIT_CORE": 0}
    if spec["request_memory_mb"]:
        limits["RLIMIT_AS"] = spec["request_memory_mb"] * _MEGABYTE
    elif place.memory:
        limits["RLIMIT_DATA"] = place.memory * _MEGABYTE
    return limits


def environment(
    job: Mapping[str, Any], slot: int, place: Place, owner: pwd.struct_passwd | None, cpus: int
) -> dict[str, str]:
    """A job's whole environment: login names, what `getenv` lets in, its own settings, then our marks.

    `getenv` takes from the worker's environment, and from nothing when the job runs as somebody else.
    """
    spec = job["spec"]
    ours = dict(os.environ) if owner is None or owner.pw_uid == os.getuid() else {}
    return {
        **_login(owner),
        **{name: value for name, value in ours.items() if _let_in(name, spec["getenv"])},
        "OMP_NUM_THREADS": str(max(cpus, 1)),
        **spec["environment"],
        "_CONDOR_SLOT": f"slot{slot}",
        "CLOUDSCHED_VM": place.vm,
        "CLOUDSCHED_VM_DIR": str(place.directory),
        "CLOUDSCHED_JOB": job["id"],
        ATTEMPT: _attempt(job),
    }


def _login(owner: pwd.struct_passwd | None) -> dict[str, str]:
    try:
        person = owner or pwd.getpwuid(os.getuid())
    except KeyError:
        # A container may run us under a number that has no account.
        return {"HOME": os.environ.get("HOME", "/"), "SHELL": "/bin/sh", "PATH": _PATH}
    name, shell = person.pw_name, person.pw_shell or "/bin/sh"
    return {"HOME": person.pw_dir, "USER": name, "LOGNAME": name, "SHELL": shell, "PATH": _PATH}


def _let_in(name: str, getenv: bool | Sequence[str]) -> bool:
    if name.startswith("CLOUDSCHED_"):
        return False
    if isinstance(getenv, bool):
        return getenv
    excluded = any(fnmatchcase(name, pattern[1:]) for pattern in getenv if pattern.startswith("!"))
    return not excluded and any(fnmatchcase(name, pattern) for pattern in getenv)


def stop(running: Running, why: str, now: float) -> None:
    """Ask a job and all its processes to end; `enforce` kills them after the grace period."""
    if not running.stopping and running.process.returncode is None:
        running.stopping, running.stopped_at = why, now
        _signal(running, signal.SIGTERM)


def enforce(running: Running, now: float, grace: float) -> None:
    """Stop a job that is over its wall time, and kill one that did not end when it was asked to."""
    wall = running.job["spec"]["wall_seconds"]
    if wall and not running.stopping and now - running.started_at >= wall:
        stop(running, "wall", now)
    if running.stopping and now - running.stopped_at >= grace:
        _signal(running, signal.SIGKILL)


def ended(running: Running, now: float) -> bool:
    """Whether a job is over: its first process was reaped and nothing that it started lives on."""
    if running.process.returncode is None:
        return False
    running.ended_at = now if running.ended_at is None else running.ended_at
    left = _signal(running, signal.SIGKILL)
    return not left or now - running.ended_at > LONGEST_DYING


def outcome(running: Running) -> dict[str, Any]:
    """The result of an ended job as the queue records it; `hold` with a `reason` when HTCondor would hold it."""
    failure = running.channel.recv(65536).decode()
    running.channel.close()
    code = running.process.returncode
    result = {"exit_code": code if code >= 0 else None, "signal": -code if code < 0 else None}
    if failure:
        return {"hold": True, "reason": f"Error from {slot_name(running)}: {failure}", **_NO_EXIT}
    if running.stopping == "wall":
        limit = _duration(running.job["spec"]["wall_seconds"])
        return {"hold": True, "reason": f"The job exceeded allowed execute duration of {limit}", **_NO_EXIT}
    return {"hold": False, "reason": "", **result}


_NO_EXIT: Mapping[str, None] = {"exit_code": None, "signal": None}


def slot_name(running: Running) -> str:
    """The slot's name, `slotN@VM`."""
    return f"slot{running.slot}@{running.job['vm']}"


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    return f"{days}+{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


def _signal(running: Running, signum: signal.Signals) -> bool:
    """Signal every live process of a job; False when there is none.

    They are those of its session and their descendants, and every descendant of the worker that carries its mark: a
    daemon that left the session falls back to the worker, which is the subreaper.
    """
    there = processes.every()
    mine = processes.family(there, [running.process.pid])
    ours = processes.family(there, [os.getpid()]) - {os.getpid()}
    mine |= {pid for pid in ours - mine if running.mark in processes.marks(pid)}
    return any([processes.send(there[pid], signum) for pid in mine])
