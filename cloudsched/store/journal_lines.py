"""The lines of a state document that carry the journal: its entries, and where each chain begins and ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudsched.model.journal import EntryKind


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a chain; `entry` is its kind, a word that the line itself needs."""

    id: int
    index: int
    at: int
    entry: EntryKind
    verb: str
    previous: str
    hash: str
    actor: str = ""
    address: str = ""
    request_id: str = ""
    reason: str = ""
    operation: int | None = None
    wish: int | None = None
    noun: str = ""
    name: str = ""
    label: str = ""
    cloud: str = ""
    user: str = ""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)


def of_chain(name: str) -> Callable[[Mapping[str, Any]], str]:
    """What is wrong with the ends of a chain that must be called `name`; empty for nothing."""

    def problem(values: Mapping[str, Any]) -> str:
        return "" if values["chain"] == name else f"the 'chain' must be {name!r} here, not {values['chain']!r}"

    return problem
