"""What the values of wishes are in a state document, by aspect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudsched.model.wishes import Aspect
from cloudsched.store.fitting import fits, words


@dataclass(frozen=True, slots=True)
class _ForATime:
    enabled: bool
    until: int
    then: bool


@dataclass(frozen=True, slots=True)
class _Slots:
    slots: int
    file: int


@dataclass(frozen=True, slots=True)
class _Definition:
    options: dict[str, str]
    secrets: dict[str, str] | None
    enabled: bool | None
    warnings: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Submit:
    submit: str | None
    initialdir: str
    owner: str


_VALUES: Mapping[str, Any] = {
    Aspect.ENABLED: bool | _ForATime,
    Aspect.VM_SLOTS: _Slots,
    Aspect.DEFINE: _Definition,
    Aspect.SUBMIT: _Submit,
    Aspect.LOG_LEVEL: str,
    Aspect.QUICK_EXIT: bool,
}


def problem(line: Mapping[str, Any]) -> str:
    """Why the value of a wish's line is not one of its aspect; empty where it is."""
    hint = _VALUES.get(line["aspect"], Any)
    return "" if fits(line.get("value"), hint) else f"the 'value' of {line['aspect']!r} must be {words(hint)}"
