"""What a local VM's directory holds: who the VM is, its first process, its secrets and what it has written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudsched.clouds import local_limits

LARGEST_LOG = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """What a VM's directory says about it: `vm.json`, and `pid` once its process was started.

    `groups` are its control groups; with `forks` the VM is a child of the process that was started.
    """

    directory: Path
    uid: str
    cloud: str
    installation: str
    cpus: tuple[int, ...]
    groups: tuple[Path, ...] = ()
    forks: bool = False
    leader: tuple[int, int] | None = None


def directories(vms: Path) -> list[Path]:
    """The directories of all VMs of a state, whole or not."""
    try:
        return sorted(each for each in vms.iterdir() if not each.name.startswith("."))
    except FileNotFoundError:
        return []


def read(directory: Path) -> Record | None:
    """What a directory says; None where there is no VM in it, or not yet."""
    try:
        content: dict[str, Any] = json.loads((directory / "vm.json").read_text("utf-8"))
        given = content["uid"], content["cloud"], content["installation"], tuple(content["cpus"])
        groups = tuple(map(Path, content.get("groups", ())))
    except (OSError, ValueError, KeyError):
        return None
    leader: tuple[int, int] | None = None
    with contextlib.suppress(OSError, ValueError):
        pid, started = (directory / "pid").read_text("ascii").split()
        leader = int(pid), int(started)
    return Record(directory, *given, groups, bool(content.get("forks")), leader)


def write(record: Record) -> None:
    """Write down who a VM is, before anything of it is made."""
    kept = ("uid", "cloud", "installation", "cpus", "forks")
    content = {name: getattr(record, name) for name in kept} | {"groups": [str(each) for each in record.groups]}
    write_private(record.directory / "vm.json", json.dumps(content))


def clear(record: Record) -> bool:
    """Remove what a VM without processes has left; its directory last, which names the rest."""
    if not local_limits.remove(record.groups):
        return False
    shutil.rmtree(record.directory, ignore_errors=True)
    return True


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only we can read; it appears whole."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    unfinished.replace(path)


def bound_log(path: Path) -> None:
    """Empty a log that has become too large."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > LARGEST_LOG:
            os.truncate(path, 0)


def end(path: Path) -> str:
    """The end of what a log holds."""
    try:
        return path.read_bytes()[-4096:].decode("utf-8", "replace")
    except OSError:
        return ""


def last_line(path: Path) -> str:
    """The last line of a log."""
    lines = end(path).splitlines()
    return lines[-1] if lines else ""
