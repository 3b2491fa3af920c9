"""What stands between a local VM and its host: the words before its command, and a plain statement of what holds.

Limits are control groups (local_limits.py), namespaces those that util-linux's `unshare` makes. Both are tried out on
this host before they are promised: `auto` takes what works and says what does not; what is asked for by name and does
not work makes the cloud unusable.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudsched.clouds import local_limits
from cloudsched.clouds.local_limits import WORDS, Bounds, Found, Ground
from cloudsched.errors import ConfigError
from cloudsched.model.clouds import BootRequest

AUTO = "auto"
NAMESPACES: Mapping[str, tuple[str, ...]] = {
    "pid": ("--pid", "--fork", "--kill-child", "--mount-proc"),
    "ipc": ("--ipc",),
    "net": ("--net",),
}
"""What each namespace asks of `unshare`. Its --fork makes the VM's first process a child of the one that we started."""

OVERHEAD, PROCESSES = 64, 8192
_BY_THEMSELVES = ("pid", "ipc")
_TRIAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a cloud's configuration asks for: `limits` is auto, yes or no, `namespaces` are names or auto.

    `overhead` (MB) is what a VM may use beside the memory that it offers to jobs, `processes` the most that it may
    have, 0 for any number.
    """

    limits: str = "no"
    namespaces: tuple[str, ...] = ()
    overhead: int = OVERHEAD
    processes: int = PROCESSES


@dataclass(frozen=True, slots=True)
class Fence:
    """What holds on this host: `statement` says it in words."""

    statement: str
    grounds: tuple[Ground, ...] = ()
    unshare: tuple[str, ...] = ()
    asked: Isolation = field(default_factory=Isolation)

    @property
    def forks(self) -> bool:
        """Whether the VM's first process is a child of the one that is started."""
        return "--fork" in self.unshare

    def groups(self, directory: Path) -> tuple[Path, ...]:
        """The control groups of the VM that has this directory."""
        return local_limits.groups_of(self.grounds, directory)

    def raise_around(self, groups: Sequence[Path], request: BootRequest) -> None:
        """Make a VM's control groups. Raises OSError."""
        memory = request.memory + self.asked.overhead if request.memory else 0
        local_limits.make(self.grounds, groups, Bounds(memory, request.cpucores, self.asked.processes))

    def words(self, groups: Sequence[Path], command: Sequence[str]) -> list[str]:
        """The whole command of a VM."""
        return [*local_limits.entering(groups), *self.unshare, *command]


def fence(asked: Isolation) -> Fence:
    """Try out what is asked for. Raises ConfigError where something that was asked for by name cannot be had."""
    found = Found() if asked.limits == "no" else local_limits.survey()
    if asked.limits == "yes" and found.refused:
        raise ConfigError(f"limits = yes, and {_refused(found.refused)}.")
    unshare, without = _unshare(asked.namespaces)
    return Fence(_statement(asked, found, unshare, without), found.grounds, unshare, asked)


def _unshare(names: tuple[str, ...]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The words that make the namespaces, and what `auto` goes without and why. Raises ConfigError."""
    if names != (AUTO,):
        problem = _tried(names) if names else ""
        if problem:
            raise ConfigError(f"namespaces = {', '.join(names)}, and this host refuses them: {problem}.")
        return _command(names), {}
    without = {name: problem for name in _BY_THEMSELVES if (problem := _tried((name,)))}
    return _command([name for name in _BY_THEMSELVES if name not in without]), without


def _command(names: Sequence[str]) -> tuple[str, ...]:
    """Who is not root becomes so for the moment of making them, in a user namespace, and stays who he is."""
    if not names:
        return ()
    own = ("--user", "--map-current-user") if os.geteuid() else ()
    return ("unshare", *own, *(word for name in names for word in NAMESPACES[name]), "--")


def _tried(names: Sequence[str]) -> str:
    """Why these namespaces cannot be made here; empty where they can."""
    try:
        done = subprocess.run(
            [*_command(names), "/bin/true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRIAL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as ex:
        return str(ex)
    said = done.stderr.decode("utf-8", "replace").strip().split("\n")[0]
    return "" if done.returncode == 0 else said[:200] or "unshare failed"


def _statement(asked: Isolation, found: Found, unshare: Sequence[str], without: Mapping[str, str]) -> str:
    held = [word for name, word in WORDS.items() if any(name in each.controllers for each in found.grounds)]
    versions = sorted({each.version for each in found.grounds})
    by = f" (control groups {' and '.join(f'v{each}' for each in versions)})" if held else ""
    parts = [f"limited: {', '.join(held) or 'nothing'}{by}"]
    if asked.limits == "no":
        parts = ["limited: nothing (limits = no)"]
    elif found.refused:
        parts.append(f"not limited: {_refused(found.refused)}")
    own = [name for name, words in NAMESPACES.items() if words[0] in unshare]
    parts.append(f"namespaces: {', '.join(own) or 'none'}")
    parts += [f"no {name} namespace: {problem}" for name, problem in without.items()]
    return "; ".join(parts)


def _refused(refused: Mapping[str, str]) -> str:
    """What cannot be limited and why, each reason once."""
    reasons: dict[str, list[str]] = {}
    for name, word in WORDS.items():
        if name in refused:
            reasons.setdefault(refused[name], []).append(word)
    return "; ".join(f"{', '.join(words)} ({reason})" for reason, words in reasons.items())
