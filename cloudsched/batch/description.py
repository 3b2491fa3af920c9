"""The lines of a submit description: comments, continuation, `name = value`, `queue`, and macros.

HTCondor's reading of them: names ignore case, a macro is expanded when a `queue` statement is reached and not before,
and a value that refers to its own name takes the earlier value. Unlike HTCondor, an undefined macro is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cloudsched.errors import SubmitError

QUEUE = "queue"
LONGEST_VALUE = 64 * 1024

_QUEUE = re.compile(r"queue(?![\w.])\s*(?!=)(.*)", re.IGNORECASE | re.DOTALL)
_ASSIGNMENT = re.compile(r"(\+?[a-z_][\w.]*)\s*=(?![=?])\s*(.*)", re.IGNORECASE | re.DOTALL)
_MACRO = re.compile(r"\$\(\s*([\w.]+)\s*(?::([^()]*))?\)")
_FUNCTION = re.compile(r"\$(\$|[a-z_]\w*)\(", re.IGNORECASE)
BROKEN = re.compile("[\0\ud800-\udfff]")
# Stand for text that must not be expanded again; a description holds no NUL, so nothing else looks like them.
_CLUSTER, _DOLLAR = "\0C\0", "\0D\0"
_KEPT = {"cluster": _CLUSTER, "clusterid": _CLUSTER, "dollar": _DOLLAR}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and the line it starts on; `name` is lower-case, `+Attr` and `MY.Attr` are both `my.attr`."""

    line: int
    name: str
    value: str
    spelled: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A value in force, as written, with the line that set it."""

    value: str
    line: int
    spelled: str


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of a description in order; raises SubmitError for a line that is none."""
    for line, logical in logical_lines(text):
        queued = _QUEUE.fullmatch(logical)
        if queued:
            yield Statement(line, QUEUE, queued[1], logical.split()[0])
            continue
        assigned = _ASSIGNMENT.fullmatch(logical)
        if not assigned:
            raise SubmitError(f"{logical[:80]!r} is neither 'name = value' nor 'queue [N]'.", line=line)
        yield Statement(line, _canonical(assigned[1]), assigned[2], assigned[1])


def referenced(text: str) -> frozenset[str]:
    """Every name that occurs as a macro `$(name)`, lower-case."""
    return frozenset(match[1].lower() for match in _MACRO.finditer(text))


def refers_to_itself(name: str, value: str) -> bool:
    """Whether a value mentions the name it is assigned to."""
    return any(match[1].lower() == name for match in _MACRO.finditer(value))


def substitute_self(name: str, value: str, earlier: str) -> str:
    """Put the earlier value where a value mentions its own name."""
    return _MACRO.sub(lambda match: (earlier or match[2] or "") if match[1].lower() == name else match[0], value)


def expand(setting: Setting, settings: Mapping[str, Setting], builtins: Mapping[str, str]) -> str:
    """Expand the macros of one value; `$(Cluster)` stays for the queue, which alone knows the number.

    Raises SubmitError for an undefined macro, one that leads back to itself, and HTCondor's macro functions.
    """
    text = setting.value

    def value(match: re.Match[str]) -> str:
        name = match[1].lower()
        if name in _KEPT:
            return _KEPT[name]
        if name in builtins:
            return builtins[name]
        if name in settings:
            return settings[name].value
        if match[2] is not None:
            return match[2]
        raise SubmitError(
            f"{setting.spelled} uses $({match[1]}), which nothing defines; $({match[1]}:default) gives a default.",
            line=setting.line,
        )

    for _ in range(100):
        _refuse_functions(text, setting)
        expanded = _MACRO.sub(value, text)
        if expanded == text:
            return _finished(text, setting)
        if len(expanded) > LONGEST_VALUE:
            raise SubmitError(f"{setting.spelled} expands to more than {LONGEST_VALUE} characters.", line=setting.line)
        text = expanded
    raise SubmitError(f"{setting.spelled} uses a macro that leads back to itself.", line=setting.line)


def _finished(text: str, setting: Setting) -> str:
    if "$(" in text:
        raise SubmitError(
            f"{setting.spelled} holds a malformed macro; accepted are $(name) and $(name:default).", line=setting.line
        )
    return text.replace(_CLUSTER, "$(Cluster)").replace(_DOLLAR, "$")


def _refuse_functions(text: str, setting: Setting) -> None:
    found = _FUNCTION.search(text)
    if found:
        raise SubmitError(
            f"{setting.spelled} uses {found[0]}...), which is not available; accepted are $(name) and $(name:default).",
            line=setting.line,
        )


def _canonical(name: str) -> str:
    lower = name.lower()
    return f"my.{lower[1:]}" if lower.startswith("+") else lower


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with the number they start at: comments and empty ones left out, continued ones joined, stripped.

    Raises SubmitError for characters that no description holds.
    """
    broken = BROKEN.search(text)
    if broken:
        raise SubmitError(f"the character {broken[0]!r} is not accepted.", line=text.count("\n", 0, broken.start()) + 1)
    pieces: list[str] = []
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            continue
        start = start if pieces else number
        pieces.append(stripped.removesuffix("\\"))
        if not stripped.endswith("\\"):
            yield from _whole(start, pieces)
            pieces = []
    yield from _whole(start, pieces)


def _whole(start: int, pieces: list[str]) -> Iterator[tuple[int, str]]:
    logical = "".join(pieces).strip()
    if logical:
        yield start, logical
