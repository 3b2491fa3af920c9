"""What is wrong with a cloud's definition, for files and requests alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How grave a complaint is: with an error a definition is not taken, with a warning it is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong: `code` is stable, `field` the option it is about, `problem` a sentence."""

    level: Level
    code: str
    field: str
    problem: str

    @property
    def document(self) -> dict[str, str]:
        """The complaint as JSON has it."""
        return asdict(self)


def error(code: str, field: str, problem: str) -> Complaint:
    """A complaint that stands against the definition."""
    return Complaint(Level.ERROR, code, field, problem)


def warning(code: str, field: str, problem: str) -> Complaint:
    """A complaint that does not."""
    return Complaint(Level.WARNING, code, field, problem)


def errors(complaints: Iterable[Complaint]) -> list[Complaint]:
    """Those that stand against the definition."""
    return [each for each in complaints if each.level is Level.ERROR]
