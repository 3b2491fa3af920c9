"""Turns itself into a job: takes on its account, directory, files and limits, then executes it.

Run by the worker as `python -I -S launch.py FD`, in a session of its own; standard library only. The order comes as one
JSON object over the socket FD. Nothing but an error is ever written back: execution closes the socket. Everything in
the file system is touched as the job's owner, so a link planted there reaches nothing the owner could not reach.
An order without `executable` only appends its `events` to the job's log.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
_STREAMS = (("input", 0, os.O_RDONLY), ("output", 1, os.O_WRONLY), ("error", 2, os.O_WRONLY))
_CREATE = os.O_CREAT | os.O_TRUNC


class _Failed(Exception):
    """The job cannot run as ordered; the text says why, as its hold reason."""


def main(descriptor: int) -> int:
    """Read the order, become the job; returns only when that failed or there was nothing to execute."""
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    order = json.loads(b"".join(iter(lambda: channel.recv(65536), b"")))
    try:
        _become(order.get("account"))
        _append_events(order)
        if "executable" in order:
            _execute(order)
    except Exception as ex:
        why = str(ex) if isinstance(ex, _Failed) else f"Failed to start the job: {ex!r}"
        channel.sendall(why.encode("utf-8", "replace"))
        return 1
    return 0


def _execute(order: dict[str, Any]) -> None:
    try:
        os.chdir(order["initialdir"])
    except OSError as ex:
        raise _failure("use the initial directory", order["initialdir"], ex) from None
    _redirect(order)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    _die_with(order["worker"])
    try:
        if order["cpus"]:
            os.sched_setaffinity(0, order["cpus"])
        _limit(order["limits"])
        os.execve(order["executable"], [order["executable"], *order["arguments"]], order["environment"])
    except OSError as ex:
        raise _failure("execute", order["executable"], ex) from None


def _become(account: dict[str, Any] | None) -> None:
    os.umask(0o022)
    if account is None:
        return
    os.setgroups(account["groups"])
    os.setresgid(account["gid"], account["gid"], account["gid"])
    os.setresuid(account["uid"], account["uid"], account["uid"])


def _append_events(order: dict[str, Any]) -> None:
    if not order.get("log"):
        return
    try:
        descriptor = _open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with os.fdopen(descriptor, "ab") as log:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                fcntl.lockf(log, fcntl.LOCK_EX)
            log.write(order["events"].encode())
    except OSError as ex:
        raise _failure("write the log", order["log"], ex) from None


def _redirect(order: dict[str, Any]) -> None:
    opened: dict[str, int] = {}
    for name, descriptor, flags in _STREAMS:
        path = order[name] or os.devnull
        if descriptor == 2 and path in opened:
            os.dup2(opened[path], descriptor)
            continue
        try:
            source = _open(path, flags if descriptor == 0 else flags | _CREATE)
        except OSError as ex:
            raise _failure(f"open the job's {name}", path, ex) from None
        os.dup2(source, descriptor)
        opened[path] = descriptor


def _open(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe; the job then sees an ordinary descriptor."""
    descriptor = os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    os.set_blocking(descriptor, True)
    return descriptor


def _limit(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (most, most))


def _die_with(worker: int) -> None:
    """Have the kernel kill this process when the worker dies; changing the account would have undone it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != worker:
        raise _Failed("the worker has died")


def _failure(doing: str, path: str, ex: OSError) -> _Failed:
    return _Failed(f"Failed to {doing} {path!r}: {ex.strerror} (errno {ex.errno})")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
