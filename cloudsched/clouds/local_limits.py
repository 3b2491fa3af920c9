"""What bounds a local VM as a whole: the kernel's control groups, version 1 or 2, as plain files.

A VM's groups are made below the group that the scheduler is in itself, so that what bounds the scheduler bounds its
VMs, and nobody else's groups are touched. Their paths are written down before they are made: whoever is killed
whenever, they are found again. The kernel's list of their processes knows what has left the VM's session, shed its
environment and been orphaned.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudsched import processes

SELF = Path("/proc/self")
SYSTEMD = Path("/run/systemd/system")
LEAF = "scheduler"
WORDS: Mapping[str, str] = {"memory": "memory", "cpu": "cores", "pids": "processes"}
"""The controllers that we use, and what each bounds."""

_MEGABYTE = 1024 * 1024
_PERIOD = 100_000
_REMOVE_SECONDS = 2.0
_ENTER = 'while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'


class Refused(Exception):
    """The host does not let us make groups; the text says why."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a VM may have: memory in MB, cores, processes and threads; 0 is no bound."""

    memory: int
    cores: int
    processes: int


@dataclass(frozen=True, slots=True)
class Ground:
    """A group of version `version` in which we may make groups that have `controllers`."""

    base: Path
    version: int
    controllers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """Where groups can be made, and why which controllers cannot be had."""

    grounds: tuple[Ground, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _File:
    """A group's file and what is written there; an `optional` one is missing on some kernels."""

    name: str
    value: Callable[[Bounds], str]
    optional: bool = False


def _bytes(bounds: Bounds) -> str:
    return str(bounds.memory * _MEGABYTE) if bounds.memory else ""


_PIDS = (_File("pids.max", lambda bounds: str(bounds.processes) if bounds.processes else ""),)
# No swap beside the memory: it would only move the damage to the host's disk.
_FILES: Mapping[int, Mapping[str, tuple[_File, ...]]] = {
    1: {
        "memory": (_File("memory.limit_in_bytes", _bytes), _File("memory.memsw.limit_in_bytes", _bytes, optional=True)),
        "cpu": (_File("cpu.cfs_quota_us", lambda bounds: str(bounds.cores * _PERIOD) if bounds.cores else ""),),
        "pids": _PIDS,
    },
    2: {
        "memory": (
            _File("memory.max", _bytes),
            _File("memory.swap.max", lambda bounds: "0" if bounds.memory else "", optional=True),
        ),
        "cpu": (_File("cpu.max", lambda bounds: f"{bounds.cores * _PERIOD} {_PERIOD}" if bounds.cores else ""),),
        "pids": _PIDS,
    },
}
_STARVED = ("memory.oom_control", "memory.events")


@dataclass(frozen=True, slots=True)
class _Mount:
    """A hierarchy of groups: its version, its controllers (version 1), and the group that we are in."""

    version: int
    controllers: frozenset[str]
    own: Path


def survey(proc: Path = SELF) -> Found:
    """Find out, by trying, where groups can be made for each controller."""
    mounts = list(_mounts(proc))
    wanted: dict[tuple[Path, int], set[str]] = {}
    refused: dict[str, str] = {}
    for controller in WORDS:
        of_version_1 = [each for each in mounts if controller in each.controllers]
        chosen = next(iter(of_version_1), None) or next((each for each in mounts if each.version == 2), None)
        if chosen is None:
            refused[controller] = "this host shows no control groups"
        else:
            wanted.setdefault((chosen.own, chosen.version), set()).add(controller)
    grounds = []
    for (own, version), controllers in wanted.items():
        try:
            ground = _ground(own, version, frozenset(controllers))
        except (OSError, Refused) as ex:
            reason = f"{own}: {ex.strerror}" if isinstance(ex, OSError) else str(ex)
            refused |= dict.fromkeys(controllers, reason)
            continue
        grounds.append(ground)
        refused |= dict.fromkeys(controllers - ground.controllers, f"{ground.base} does not have it")
    return Found(tuple(grounds), refused)


def groups_of(grounds: Iterable[Ground], directory: Path) -> tuple[Path, ...]:
    """The groups of the VM that has this directory."""
    name = f"cloudsched-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:32]}"
    return tuple(ground.base / name for ground in grounds)


def make(grounds: Sequence[Ground], groups: Sequence[Path], bounds: Bounds) -> None:
    """Make a VM's groups, or bound them again. Raises OSError."""
    for ground, group in zip(grounds, groups, strict=True):
        group.mkdir(exist_ok=True)
        for each in (file for name in sorted(ground.controllers) for file in _FILES[ground.version][name]):
            value = each.value(bounds)
            if value and (not each.optional or (group / each.name).exists()):
                (group / each.name).write_text(value)


def entering(groups: Sequence[Path]) -> list[str]:
    """The words before a command that have it start in these groups, as the very same process."""
    return ["/bin/sh", "-c", _ENTER, "sh", *map(str, groups), "--"] if groups else []


def members(groups: Iterable[Path]) -> set[int]:
    """The processes in these groups, by the kernel's own list."""
    found: set[int] = set()
    for group in (each for top in groups for each in _below(top)):
        with contextlib.suppress(OSError):
            found |= {int(line) for line in (group / "cgroup.procs").read_text().split()}
    return found - {0}


def stop_forks(groups: Iterable[Path]) -> None:
    """Let nothing in these groups start another process, so that killing what is listed is killing all."""
    for group in groups:
        with contextlib.suppress(OSError):
            (group / "pids.max").write_text("0")


def starved(groups: Iterable[Path]) -> bool:
    """Whether the kernel has killed a process of these groups for want of memory."""
    for path in (group / name for group in groups for name in _STARVED):
        with contextlib.suppress(OSError):
            counts = dict(line.split(maxsplit=1) for line in path.read_text().splitlines())
            return int(counts.get("oom_kill", 0)) > 0
    return False


def remove(groups: Iterable[Path]) -> bool:
    """Remove groups that have no process any more, and what was made in them; whether none is left."""
    until = time.monotonic() + _REMOVE_SECONDS
    left = list(groups)
    while left:
        left = [group for group in left if not _removed(group)]
        if not left or time.monotonic() > until:
            break
        time.sleep(0.01)
    return not left


def _removed(top: Path) -> bool:
    try:
        for group in reversed(list(_below(top))):
            group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _below(top: Path) -> Iterator[Path]:
    """A group and the groups in it, each before those in it."""
    for path, _, _ in os.walk(top):
        yield Path(path)


def _mounts(proc: Path) -> Iterator[_Mount]:
    """The hierarchies of this host (proc(5), mountinfo; cgroups(7))."""
    own = {names: path for _, names, path in (line.split(":", 2) for line in _lines(proc / "cgroup"))}
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        root, mountpoint = before.split()[3:5]
        kind, _, options = after.split(maxsplit=2)
        if kind == "cgroup2" and "" in own:
            yield _Mount(2, frozenset(), _place(Path(mountpoint), root, own[""]))
        elif kind == "cgroup":
            known = set(options.split(",")) & WORDS.keys()
            for names, path in own.items():
                if known & set(names.split(",")):
                    yield _Mount(1, frozenset(known), _place(Path(mountpoint), root, path))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _place(mountpoint: Path, root: str, own: str) -> Path:
    """Where a group is seen: a container may see a part of the hierarchy only, or itself as the whole."""
    if root != "/" and own.startswith(root):
        own = own[len(root) :]
    place = mountpoint / own.lstrip("/")
    return place if place.is_dir() else mountpoint


def _ground(own: Path, version: int, controllers: frozenset[str]) -> Ground:
    """The ground that our own group is, once a group could be made there. Raises Refused, OSError."""
    base = own.parent if version == 2 and own.name == LEAF else own
    if version == 2:
        _check_delegated(base)
    _try(base)
    if version == 2:
        controllers &= frozenset((base / "cgroup.controllers").read_text().split())
        _enable(base, controllers)
    return Ground(base, version, controllers)


def _check_delegated(base: Path) -> None:
    """What systemd runs is systemd's to divide, unless it has given it away; users other than root then own it."""
    if os.geteuid() or not SYSTEMD.exists():
        return
    for name in ("trusted.delegate", "user.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(base, name) == b"1":
                return
    raise Refused(f"{base} is systemd's: run the scheduler with Delegate=yes")


def _try(base: Path) -> None:
    trial = base / f"cloudsched-trial-{os.getpid()}"
    trial.mkdir(exist_ok=True)
    trial.rmdir()


def _enable(base: Path, controllers: frozenset[str]) -> None:
    """Have the groups below `base` get these controllers; in version 2 it may then have no processes of its own."""
    control = base / "cgroup.subtree_control"
    missing = controllers - frozenset(control.read_text().split())
    if not missing:
        return
    text = " ".join(f"+{name}" for name in sorted(missing))
    try:
        control.write_text(text)
    except OSError as ex:
        if ex.errno != errno.EBUSY:
            raise
        _step_aside(base)
        control.write_text(text)


def _step_aside(base: Path) -> None:
    """Move the scheduler and what it has started into a group of their own. Raises Refused where others are there."""
    leaf = base / LEAF
    leaf.mkdir(exist_ok=True)
    while there := {int(line) for line in (base / "cgroup.procs").read_text().split()}:
        others = there - processes.family(processes.every(), [os.getpid()])
        if others & processes.every().keys():
            raise Refused(f"{base} holds processes of others")
        for pid in there - others:
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(str(pid))
