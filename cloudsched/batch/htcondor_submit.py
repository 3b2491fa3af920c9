"""What of a submit description goes to HTCondor's own parser, and what never does.

The whole language is HTCondor's to read. But a description comes from a user and is read by the scheduler's account:
statements that make the reader open files, run programs or submit for somebody else are refused by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cloudsched.batch.description import logical_lines
from cloudsched.errors import SubmitError

ACCEPTED_QUEUE = "'queue', 'queue N', 'queue [N] VARS in (...)' and 'queue [N] VARS from (...)' with the items in place"

_QUEUE = re.compile(r"queue(?![\w.])\s*(?!=)(.*)", re.IGNORECASE)
_COUNT = re.compile(r"\d*|\$\((\w+)\)")
_ITEMS = re.compile(r"(\d+\s+)?([\w,\s]+\s)?(in|from)\s*\(.*", re.IGNORECASE)
_IDENTITY = re.compile(r"((?:\+|my\.)(?:owner|user|osuser|ntdomain|cloudschedorder))\s*=", re.IGNORECASE)
_READS = re.compile(r"(@?include\b|use\s+\w+\s*:)", re.IGNORECASE)
_STATEMENT = re.compile(r"\+?[\w.]+\s*=.*|(if|elif|else|endif|warning|error)\b.*", re.IGNORECASE | re.DOTALL)
_FUNCTION = re.compile(r"\$(\w+)\(")
_SAFE_FUNCTION = re.compile(
    r"int|real|string|substr|choice|random_choice|random_integer|basename|dirname|f[abdnpquwx]*", re.IGNORECASE
)


def sections(text: str) -> list[str]:
    """Split a description at its queue statements: each section holds all settings before it and one of them.

    Raises SubmitError with the line for what is refused, and when there is no queue statement.
    """
    settings: list[str] = []
    found: list[str] = []
    lines = logical_lines(text)
    for number, line in lines:
        queue = _QUEUE.fullmatch(line)
        if queue:
            found.append("\n".join([*settings, *_queue(queue[1], line, number, lines, settings), ""]))
            continue
        _check(line, number)
        settings.append(line)
    if not found:
        raise SubmitError("there is no queue statement; 'queue' or 'queue N' submits the job.")
    return found


def _queue(
    arguments: str, line: str, number: int, lines: Iterator[tuple[int, str]], settings: Sequence[str]
) -> list[str]:
    """The lines of one queue statement; a list of items may go on over the following ones."""
    count = _COUNT.fullmatch(arguments)
    if count and (count[1] is None or _is_number(count[1], settings)):
        return [line]
    if not _ITEMS.fullmatch(arguments):
        raise SubmitError(f"queue {arguments} is not available; accepted are {ACCEPTED_QUEUE}.", line=number)
    items = [line]
    while ")" not in items[-1]:
        following = next(lines, None)
        if following is None:
            raise SubmitError("the list of the queue statement has no closing parenthesis.", line=number)
        items.append(following[1])
    return items


def _check(line: str, number: int) -> None:
    identity, reads = _IDENTITY.match(line), _READS.match(line)
    if identity:
        raise SubmitError(f"{identity[1]} cannot be set: a job belongs to who submits it.", line=number)
    if reads:
        raise SubmitError(f"{reads[1]} is not available: a description is one text.", line=number)
    if not _STATEMENT.fullmatch(line):
        raise SubmitError(f"{line[:80]!r} is neither 'name = value' nor 'queue [N]'.", line=number)
    for function in _FUNCTION.finditer(line):
        if not _SAFE_FUNCTION.fullmatch(function[1]):
            raise SubmitError(f"{function[0]}...) is not available.", line=number)


def _is_number(name: str, settings: Sequence[str]) -> bool:
    pairs = [line.partition("=") for line in settings]
    values = [value.strip() for key, _, value in pairs if key.strip().lower() == name.lower()]
    return bool(values) and values[-1].isdecimal()
