"""The processes of this host as /proc shows them: who descends from whom, who carries a mark, and sending signals.

Linux only, standard library only: the worker inside a local VM uses it too. A process is named by its id *and* its
start time, because ids are used again.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_DEAD = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class Process:
    """One live process; `started` is in clock ticks since boot (proc(5), field 22 of stat)."""

    pid: int
    parent: int
    group: int
    session: int
    started: int


def read(pid: int) -> Process | None:
    """Read one process; None when it is gone or a zombie, which is only waiting to be reaped."""
    state, process = _stat(pid)
    return None if state in _DEAD else process


def started(pid: int) -> int:
    """The start time of a process or zombie, 0 when there is none."""
    _, process = _stat(pid)
    return process.started if process else 0


def reap(pid: int, start: int) -> None:
    """Reap this very process if it is our child and has ended."""
    if start and started(pid) == start:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _stat(pid: int) -> tuple[str, Process | None]:
    try:
        text = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return "", None
    # The name stands in parentheses and may hold anything, parentheses included.
    after_name = text[text.rfind(b")") + 2 :].decode("ascii", "replace").split()
    parent, group, session = (int(each) for each in after_name[1:4])
    return after_name[0], Process(pid, parent, group, session, started=int(after_name[19]))


def every() -> dict[int, Process]:
    """Read all live processes, by id."""
    pids = (int(entry.name) for entry in os.scandir(PROC) if entry.name.isdigit())
    found = (read(pid) for pid in pids)
    return {process.pid: process for process in found if process}


def family(processes: Mapping[int, Process], roots: Iterable[int]) -> set[int]:
    """The roots, everything in their sessions and groups, and everything that descends from any of these."""
    found = set(roots)
    size = -1
    while size != len(found):
        size = len(found)
        found |= {
            process.pid
            for process in processes.values()
            if not found.isdisjoint((process.parent, process.session, process.group))
        }
    return found & processes.keys()


def marks(pid: int) -> frozenset[bytes]:
    """The environment a process was started with, as `NAME=value`; empty when it may not be read or is gone."""
    try:
        return frozenset((PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except OSError:
        return frozenset()


def send(process: Process, signum: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone, True also when it is there and not ours to signal."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        now = read(process.pid)
        if now is None or now.started != process.started:
            return False
        with contextlib.suppress(PermissionError):
            signal.pidfd_send_signal(descriptor, signum)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
