"""Times as clients write them: a moment, or how long from now."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from cloudsched.web.params import to_integer

_N = "(?:([0-9]{1,6})"
_FORMS = (
    re.compile(rf"{_N}w)?{_N}d)?{_N}h)?{_N}m)?{_N}s)?", re.IGNORECASE),
    re.compile(rf"P{_N}W)?{_N}D)?(?:T{_N}H)?{_N}M)?{_N}S)?)?"),
)
_SECONDS = (7 * 86400, 86400, 3600, 60, 1)
_MOST_SECONDS = 10 * 366 * 86400


def moment(value: str) -> int:
    """A time: Unix seconds, or as ISO 8601 writes it; UTC where it names no zone."""
    number = to_integer(value)
    if number is not None:
        return number
    try:
        found = datetime.fromisoformat(value)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError(f"must be Unix seconds or a time such as 2026-01-31T12:00:00Z, not {value!r}") from None


def duration(value: str) -> int | None:
    """A length of time in seconds, such as 90m, 1d12h or PT2H; None for what is none."""
    matches = (form.fullmatch(value) for form in _FORMS)
    parts = next((match.groups() for match in matches if match and any(match.groups())), None)
    if parts is None:
        return None
    return sum(int(part) * seconds for part, seconds in zip(parts, _SECONDS, strict=True) if part)


def ahead(now: Callable[[], float]) -> Callable[[str], int]:
    """A parser for the end of something that begins now: a moment, or a length of time; within ten years."""

    def parse(value: str) -> int:
        seconds = duration(value)
        try:
            end = moment(value) if seconds is None else int(now()) + seconds
        except ValueError:
            accepted = "Unix seconds, a time such as 2026-01-31T12:00:00Z or a duration such as 90m"
            raise ValueError(f"must be {accepted}, not {value!r}") from None
        if not now() < end <= now() + _MOST_SECONDS:
            raise ValueError(f"must lie ahead, within ten years, not at {value!r}")
        return end

    return parse
