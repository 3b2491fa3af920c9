"""A job's requirements: a conjunction of its VM type and of least memory, cpus and disk.

The subset of the ClassAd language that says which VM a job needs (PARITY 8.1). It reads what v1's pattern could not:
any spacing, `==`, one-character types, one-digit numbers, parentheses, either order of the operands (PARITY B-36).
"""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass, replace

ACCEPTED = 'VMType =?= "NAME", Memory >= MB, Cpus >= N and Disk >= KB, joined by &&'

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\d.]+|[a-z_][\w.]*|=\?=|=!=|[=!<>]=|&&|\|\||\S)', re.IGNORECASE)
_FLIPPED = {">=": "<=", ">": "<", "<=": ">=", "<": ">", "==": "==", "=?=": "=?=", "is": "is"}
_SAME = frozenset({"==", "=?=", "is"})
_LIMITS = {"memory": "memory", "cpus": "cpus", "disk": "disk_kb"}
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Needs:
    """What requirements ask of a VM: memory in MB, disk in KB; nothing asked is empty or 0."""

    vmtype: str = ""
    memory: int = 0
    cpus: int = 0
    disk_kb: int = 0


def needs(text: str) -> Needs:
    """Read a requirements expression; raises ValueError with what is wrong."""
    tokens = [match[1] for match in _TOKEN.finditer(text)]
    found = _conjunction(tokens, Needs())
    if tokens:
        raise ValueError(f"{tokens[0]!r} is not expected there")
    return found


def hints(text: str) -> Needs:
    """Find the first VM type and the largest limits in any ClassAd expression; what else it says is passed over.

    For the expressions of a real queue, which HTCondor and their owners extend at will (PARITY 8.1).
    """
    tokens = [match[1] for match in _TOKEN.finditer(text)]
    found = Needs()
    for left, operator, right in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if _is_literal(left):
            left, operator, right = right, _FLIPPED.get(operator.lower(), operator), left
        with contextlib.suppress(ValueError):
            found = _compared(left, operator.lower(), right, found)
    return found


def _conjunction(tokens: list[str], found: Needs) -> Needs:
    found = _term(tokens, found)
    while tokens and tokens[0] == "&&":
        tokens.pop(0)
        found = _term(tokens, found)
    return found


def _term(tokens: list[str], found: Needs) -> Needs:
    if tokens and tokens[0] == "(":
        tokens.pop(0)
        found = _conjunction(tokens, found)
        if not tokens or tokens.pop(0) != ")":
            raise ValueError("a closing parenthesis is missing")
        return found
    if len(tokens) < 3:
        raise ValueError(f"{' '.join(tokens)!r} is not a comparison")
    left, operator, right = tokens.pop(0), tokens.pop(0).lower(), tokens.pop(0)
    if _is_literal(left):
        left, operator, right = right, _FLIPPED.get(operator, operator), left
    return _compared(left, operator, right, found)


def _is_literal(token: str) -> bool:
    return token.startswith('"') or bool(_NUMBER.fullmatch(token))


def _compared(attribute: str, operator: str, literal: str, found: Needs) -> Needs:
    name = attribute.lower().removeprefix("target.")
    shown = f"{attribute} {operator} {literal}"
    if name == "vmtype" and operator in _SAME and literal.startswith('"'):
        return _of_type(re.sub(r"\\(.)", r"\1", literal[1:-1]), found)
    if name in _LIMITS and operator in (">=", ">") and _NUMBER.fullmatch(literal):
        least = math.ceil(float(literal)) if operator == ">=" else math.floor(float(literal)) + 1
        field = _LIMITS[name]
        return replace(found, **{field: max(least, getattr(found, field))})
    raise ValueError(f"{shown} is not available")


def _of_type(vmtype: str, found: Needs) -> Needs:
    if not vmtype:
        raise ValueError("the VMType is empty")
    if found.vmtype not in ("", vmtype):
        raise ValueError(f"no VM is of both types {found.vmtype!r} and {vmtype!r}")
    return replace(found, vmtype=vmtype)
