"""What operators and users asked for, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Aspect(StrEnum):
    """What a wish is about. The lasting ones hold until a newer wish for the same thing."""

    ENABLED = "enabled"  # cloud; value: bool, or {"enabled": bool, "until": Unix s, "then": bool}; lasting
    VM_SLOTS = "vm_slots"  # cloud; value {"slots": int, "file": int}; lasting while the file still says `file`
    DEFINE = "define"  # cloud made by API; value {"options": ..., "secrets": ..., ...}, secret; lasting
    DELETE = "delete"  # cloud made by API: let it drain, then forget it; lasting
    SHUTDOWN = "shutdown"  # vm
    RETIRE = "retire"  # vm
    RESET = "reset"  # vm: back to automatic control
    RELEASED = "released"  # vm: forget it, it keeps running; lasting
    HOLD = "hold"  # job
    RELEASE = "release"  # job
    REMOVE = "remove"  # job
    SUBMIT = "submit"  # jobs; name is the owner, value {"submit": text, "initialdir": path, "owner": account}
    LOG_LEVEL = "log_level"  # scheduler; value: str; until the engine's next start
    QUICK_EXIT = "quick_exit"  # scheduler; value: bool; until the engine's next start
    RECONFIG = "reconfig"  # scheduler: re-read cloud_resources.conf
    USER_LIMITS = "user_limits"  # scheduler: re-read the file
    CLOUD_ALIASES = "cloud_aliases"  # scheduler: re-read the file
    JOB_PROXY = "job_proxy"  # user
    VM_PROXY = "vm_proxy"  # user


LASTING = frozenset({Aspect.ENABLED, Aspect.VM_SLOTS, Aspect.DEFINE, Aspect.DELETE, Aspect.RELEASED})


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing asked for one target: `kind` is cloud, vm, job, user or scheduler; `name` its name, uid or id.

    `actor` asked for it. A `value` may hold what must not be shown.
    """

    id: int
    operation: int
    kind: str
    name: str
    aspect: Aspect
    value: Any = field(default=None, repr=False)
    made_at: int = 0
    reason: str = ""
    actor: str = ""


class OutcomeState(StrEnum):
    """How a wish ended."""

    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one wish ended; `detail` holds what the answer needs (`error`, `changes`, `cluster`, ...)."""

    wish: int
    state: OutcomeState
    detail: Mapping[str, Any] = field(default_factory=dict)
    settled_at: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """One line of an operation: what was asked of whom, and its outcome once there is one."""

    wish: Wish
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Operation:
    """A verb as it was asked, with all its targets; `state` is derived."""

    id: int
    verb: str
    actor: str
    made_at: int
    targets: tuple[Target, ...]
    reason: str = ""
    request_id: str = ""

    @property
    def state(self) -> str:
        """`running` until every target has an outcome, then `done`, or `failed` if any failed."""
        outcomes = [target.outcome for target in self.targets]
        if any(outcome is None for outcome in outcomes):
            return "running"
        failed = any(outcome is not None and outcome.state is OutcomeState.FAILED for outcome in outcomes)
        return "failed" if failed else "done"
