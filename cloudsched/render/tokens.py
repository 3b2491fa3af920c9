"""Tokens as a table and as documents; neither shows anything of a token's text but its public part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cloudsched.model.access import Token, TokenUse
from cloudsched.render.cells import cell

_HEADING = ("ID", "ROLE", "STATE", "CLOUDS", "USERS", "EXPIRES", "LAST USE", "DESCRIPTION")


def table(tokens: Iterable[Token], uses: Mapping[str, TokenUse], now: float) -> str:
    """One line a token under a heading, columns as wide as they must be; times are UTC."""
    rows = [_HEADING, *(_row(each, uses.get(each.id), now) for each in tokens)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADING))]
    return "\n".join(_line(row, widths) for row in rows)


def document(token: Token, use: TokenUse | None, now: float) -> dict[str, Any]:
    """A token without its digest; times are Unix seconds, empty limits mean that there are none."""
    return {
        "id": token.id,
        "role": token.role.value,
        "state": token.state(now),
        "clouds": list(token.clouds),
        "users": list(token.users),
        "description": token.description,
        "created_by": token.created_by,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "used_at": use.used_at if use else None,
        "used_from": use.address if use else None,
    }


def _row(token: Token, use: TokenUse | None, now: float) -> Sequence[str]:
    limits = (",".join(names) or "all" for names in (token.clouds, token.users))
    times = (_time(token.expires_at), _time(use.used_at if use else None))
    cells = (token.id, token.role, token.state(now), *limits, *times, token.description)
    return [cell(each) for each in cells]


def _time(at: int | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(each.ljust(width) for each, width in zip(row, widths, strict=True)).rstrip()
