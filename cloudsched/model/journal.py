"""What the journal holds: who asked for what and why, what became of it, and what the engine did by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

ENGINE = "engine"
"""The actor of everything that nobody asked for at that moment."""


class EntryKind(StrEnum):
    """What an entry tells of."""

    ASKED = "asked"  # a verb, for one of its targets; written by the admin daemon with the wish
    OUTCOME = "outcome"  # how a wish ended
    ACT = "act"  # what the engine did by itself


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to be written into the journal, for one target; `at` in Unix seconds.

    `noun` is cloud, vm, job, jobs, user, image or scheduler; `name` tells which one, `label` is what operators call it
    where that differs (a VM's id for its uid). `cloud` and `user` are whose it is. `before` and `after` hold what is
    changed, by field; `detail` whatever else there is to know. None of them may hold a secret.
    """

    kind: EntryKind
    verb: str
    at: int
    actor: str = ENGINE
    address: str = ""
    request_id: str = ""
    reason: str = ""
    operation: int | None = None
    wish: int | None = None
    noun: str = "scheduler"
    name: str = ""
    label: str = ""
    cloud: str = ""
    user: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry as the journal holds it: the `id`th of its chain, of the commit `index`.

    `hash` covers everything else here, `previous` is the hash of the entry before it (docs/journal.md).
    """

    chain: str
    id: int
    index: int
    previous: str
    hash: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Noted:
    """The end of a chain as somebody wrote it down earlier: even who rewrites all that follows cannot match it."""

    id: int
    hash: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A chain: entries `first` to `last` are whole, `hash` is that of `last`; `problem` says what is wrong after it.

    `last` is `first` - 1 where not a single entry is whole, or there.
    """

    chain: str
    first: int
    last: int
    hash: str
    problem: str = ""
