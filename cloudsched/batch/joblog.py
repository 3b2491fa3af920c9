"""The events that HTCondor writes to a job's log, as text: what condor_wait and people read.

Codes and layout are HTCondor's (Job Event Log Codes): three-digit code, `(cluster.proc.subproc)`, local time, lines
indented by tabs, and `...` after each event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def submitted(job: tuple[int, int], at: float, host: str) -> str:
    """Event 000. `at` is in Unix seconds, here and below; `job` is (cluster, proc)."""
    return _event(0, job, at, [f"Job submitted from host: <{host}>"])


def executing(job: tuple[int, int], at: float, slot: str) -> str:
    """Event 001: the job starts in a slot `slotN@VM`."""
    return _event(1, job, at, [f"Job executing on host: <{slot.partition('@')[2]}>", f"\tSlotName: {slot}"])


def evicted(job: tuple[int, int], at: float, usage: tuple[float, float]) -> str:
    """Event 004: the job was stopped before its end. `usage` is (user, system) CPU seconds."""
    return _event(4, job, at, ["Job was evicted.", "\t(0) CPU times", *_usage(usage, "Run")])


def terminated(job: tuple[int, int], at: float, result: Mapping[str, Any], usage: tuple[float, float]) -> str:
    """Event 005: the job ended by itself, with `exit_code` or `signal` of the result."""
    if result.get("signal") is None:
        how = [f"\t(1) Normal termination (return value {result['exit_code']})"]
    else:
        how = [f"\t(0) Abnormal termination (signal {result['signal']})", "\t(0) No core file"]
    return _event(5, job, at, ["Job terminated.", *how, *_usage(usage, "Run"), *_usage(usage, "Total")])


def held(job: tuple[int, int], at: float, reason: str) -> str:
    """Event 012: the job is held for `reason`."""
    return _event(12, job, at, ["Job was held.", f"\t{_line(reason)}", "\tCode 0 Subcode 0"])


def _event(code: int, job: tuple[int, int], at: float, lines: list[str]) -> str:
    stamp = datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")
    head = f"{code:03d} ({job[0]:03d}.{job[1]:03d}.000) {stamp} {lines[0]}"
    return "\n".join([head, *lines[1:], "...", ""])


def _usage(usage: tuple[float, float], what: str) -> list[str]:
    used = f"\t\tUsr {_duration(usage[0])}, Sys {_duration(usage[1])}"
    none = "\t\tUsr 0 00:00:00, Sys 0 00:00:00"
    return [f"{used}  -  {what} Remote Usage", f"{none}  -  {what} Local Usage"]


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days} {hour:02d}:{minute:02d}:{second:02d}"


def _line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", " ", text)
