"""When not to plan: nothing has changed since a plan that had nothing to do, and no rule's moment has come."""

from __future__ import annotations

from cloudsched.config.options import Global
from cloudsched.model.actions import Explain, Plan
from cloudsched.model.snapshot import Snapshot
from cloudsched.policy.horizon import horizon

_TOLD = ("jobs_known", "machines_known", "in_flight", "unseen")
"""What the engine tells the reader of snapshots, made anew for each."""

_SAME = tuple(name for name in Snapshot.__dataclass_fields__ if name not in ("index", "now", *_TOLD))
"""What the reader of snapshots keeps as the same object while it stays as it is."""


class Rest:
    """Used by the engine's thread alone."""

    def __init__(self, settings: Global) -> None:
        self._settings = settings
        self._planned: Snapshot | None = None
        self._until: float | None = None

    def planned(self, snapshot: Snapshot, plan: Plan) -> None:
        """A plan has been made and recorded; one that only explains would do so again."""
        idle = all(isinstance(action, Explain) for action in plan)
        self._planned, self._until = snapshot if idle else None, None

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether the last plan is still the plan."""
        if self._planned is None or not _is_same(snapshot, self._planned) or snapshot.now < self._planned.now:
            return False
        if self._until is None:
            self._until = horizon(self._planned, self._settings)
        return snapshot.now < self._until


def _is_same(one: Snapshot, other: Snapshot) -> bool:
    if any(getattr(one, name) != getattr(other, name) for name in _TOLD):
        return False
    return all(getattr(one, name) is getattr(other, name) for name in _SAME)
