"""Wishes about the scheduler itself: re-read files, settings in force.

Each is a function of the wish's value that returns the outcome's detail or raises a CloudschedError, in which case
nothing has changed and the sentence is the outcome (B-24).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudsched.config import limits as files
from cloudsched.config.clouds import CloudSection
from cloudsched.engine import acts
from cloudsched.errors import CloudschedError, ConfigError
from cloudsched.logs import set_level
from cloudsched.model.actions import Reload
from cloudsched.model.wishes import Aspect, Outcome, OutcomeState
from cloudsched.store import Writing, limits, operations

log = logging.getLogger("cloudscheduler")

Detail = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reloads:
    """`reread` gives the configured clouds anew; `install` records them and exchanges the adapters.

    `define` and `delete` do so for one cloud that is made by API.
    """

    user_limit_file: Path | None
    cloud_alias_file: Path | None
    reread: Callable[[], tuple[CloudSection, ...]]
    install: Callable[[Writing, tuple[CloudSection, ...]], list[str]]
    define: Callable[[Writing, str], Detail]
    delete: Callable[[Writing, str], None]

    def apply(self, writing: Writing, action: Reload, now: int) -> None:
        """Do what was asked and settle the wish."""
        try:
            detail, state = self._table()[action.what](writing, action), OutcomeState.DONE
        except CloudschedError as ex:
            log.error("%s failed: %s", action.what, ex)
            detail, state = {"error": str(ex)}, OutcomeState.FAILED
        if action.wish is not None:
            operations.record_outcomes(writing, [Outcome(action.wish, state, detail, now)])

    def _table(self) -> Mapping[str, Callable[[Writing, Reload], Detail]]:
        return {
            Aspect.RECONFIG: self._reconfig,
            Aspect.USER_LIMITS: self._user_limits,
            Aspect.CLOUD_ALIASES: self._cloud_aliases,
            Aspect.LOG_LEVEL: self._log_level,
            Aspect.QUICK_EXIT: self._quick_exit,
            Aspect.DEFINE: self._define,
            Aspect.DELETE: self._delete,
        }

    def _define(self, writing: Writing, action: Reload) -> Detail:
        log.info("Cloud %s is defined by API.", action.value)
        return self.define(writing, action.value)

    def _delete(self, writing: Writing, action: Reload) -> Detail:
        self.delete(writing, action.value)
        log.info("Cloud %s is deleted.", action.value)
        return {}

    def _reconfig(self, writing: Writing, _action: Reload) -> Detail:
        changes = self.install(writing, self.reread())
        log.info("Reconfigured: %s", "; ".join(changes) or "nothing changed")
        return {"changes": changes}

    def _user_limits(self, writing: Writing, action: Reload) -> Detail:
        if self.user_limit_file is None:
            raise ConfigError("No user_limit_file is configured.")
        found = files.read_user_limits(self.user_limit_file)
        _tell(writing, action, limits.read_user_limits(writing.connection), found)
        limits.record_user_limits(writing, found)
        return {"loaded": len(found)}

    def _cloud_aliases(self, writing: Writing, action: Reload) -> Detail:
        if self.cloud_alias_file is None:
            raise ConfigError("No target_cloud_alias_file is configured.")
        found = files.read_cloud_aliases(self.cloud_alias_file)
        _tell(writing, action, limits.read_cloud_aliases(writing.connection), found)
        limits.record_cloud_aliases(writing, found)
        return {"loaded": len(found)}

    def _log_level(self, writing: Writing, action: Reload) -> Detail:
        set_level(str(action.value))
        limits.record_setting(writing, "log_level", action.value)
        return {}

    def _quick_exit(self, writing: Writing, action: Reload) -> Detail:
        value = bool(action.value)
        limits.record_setting(writing, "quick_exit", value)
        log.info("Quick exit is %s.", "on: VMs live on when I stop" if value else "off: I destroy all VMs when I stop")
        return {"quick_exit": value}


def _tell(writing: Writing, action: Reload, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Write down what a file's new content changes, if anything."""
    if before != after:
        acts.record(writing, acts.of_scheduler(str(action.what), wish=action.wish, **acts.changed(before, after)))
