"""How the text of one option becomes a value.

A kind knows what it accepts in words, because every complaint must say it. It knows no option names and no files.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_BOOLEANS = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Kind:
    """How to read one option: `read` raises ValueError for a bad text; `accepts` completes "it must be ...".

    `seconds` is how many seconds one unit of the text is, where the value is held in seconds.
    """

    accepts: str
    read: Callable[[str], Any]
    seconds: int = 1


def whole(least: int, most: int = LARGEST, *, unit: str = "", seconds: int = 1, clamp: bool = False) -> Kind:
    """Whole numbers from `least` to `most`, multiplied by `seconds`.

    With `clamp` a number below `least` becomes `least`, where v1 did so (PARITY 7.1).
    """
    bounds = f", {least} or more" if most == LARGEST else f" from {least} to {most}"
    bounds = "" if clamp else bounds

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,16}", text):
            raise ValueError(text)
        number = max(int(text), least) if clamp else int(text)
        if not least <= number <= most:
            raise ValueError(text)
        return number * seconds

    return Kind(f"a whole number{f' of {unit}' if unit else ''}{bounds}", read, seconds)


def or_none(kind: Kind) -> Kind:
    """The kind, or nothing: None for an empty text and for `none`."""
    return Kind(f"{kind.accepts}, or none", lambda text: None if text.lower() in ("", "none") else kind.read(text))


def written(kind: Kind, value: Any) -> str:
    """The value as one would write it in the file."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case int():
            return str(value // kind.seconds)
        case tuple():
            return ", ".join(value)
        case Mapping():
            return ", ".join(each if name == "default" else f"{name}:{each}" for name, each in value.items())
        case _:
            return str(value)


def number(least: float, most: float = math.inf, *, above: bool = False) -> Kind:
    """Finite decimal numbers from `least` (not itself, with `above`) to `most`."""
    start = f"above {least:g}" if above else f"{least:g} or more"
    end = "" if math.isinf(most) else f", at most {most:g}"

    def read(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or value < least or value > most or (above and value == least):
            raise ValueError(text)
        return value

    return Kind(f"a number {start}{end}", read)


def word(*accepted: str, upper: bool = False) -> Kind:
    """One of the words, in any case."""

    def read(text: str) -> str:
        found = text.upper() if upper else text.lower()
        if found not in accepted:
            raise ValueError(text)
        return found

    return Kind(" or ".join((", ".join(accepted[:-1]), accepted[-1])), read)


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _directory(text: str) -> Path:
    if not text:
        raise ValueError(text)
    return Path(text)


def _items(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.strip('"').split(",") if each.strip())


def _pairs(text: str) -> Mapping[str, str]:
    pairs: dict[str, str] = {}
    for item in _items(text):
        name, colon, value = item.partition(":")
        if not name.strip():
            raise ValueError(text)
        pairs |= {name.strip(): value.strip()} if colon else {"default": item}
    return pairs


def _listen(text: str) -> str:
    if text.startswith("unix:"):
        if len(text) == len("unix:"):
            raise ValueError(text)
        return text
    if not _is_address(text) and (not _HOST.fullmatch(text) or re.fullmatch(r"[0-9.]+", text)):
        raise ValueError(text)
    return text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(listen: str) -> bool:
    """Whether only this machine can reach an address to listen on; a Unix socket counts as such."""
    if _is_address(listen):
        return ipaddress.ip_address(listen).is_loopback
    return listen.startswith("unix:") or listen == "localhost"


def _file_mode(text: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(text)
    return text.zfill(4)


def _peers(text: str) -> tuple[str, ...]:
    found = _items(text)
    if not all(each == "unix" or _is_address(each) for each in found):
        raise ValueError(text)
    return found


def _namespaces(text: str) -> tuple[str, ...]:
    found = tuple(each.lower() for each in _items(text))
    if found in ((), ("none",)):
        return ()
    if found != ("auto",) and not set(found) <= {"pid", "ipc", "net"}:
        raise ValueError(text)
    return tuple(dict.fromkeys(found))


def _moment(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _log_format(text: str) -> str:
    logging.Formatter(text)
    return text


TEXT = Kind("any text", str)
BOOLEAN = Kind("yes, true, on, 1, no, false, off or 0", _boolean)
PATH = or_none(Kind("a path", Path))
DIRECTORY = Kind("a path", _directory)
LIST = Kind("a comma-separated list", _items)
PAIRS = Kind("VALUE or CLOUD:VALUE, CLOUD:VALUE, ...", _pairs)
PORT = whole(0, 65535)
COUNT = whole(0)
POSITIVE = whole(1)
SECONDS = whole(0, unit="seconds")
PAUSE = whole(1, unit="seconds")
OFF_OR_SECONDS = whole(-1, unit="seconds")
LISTEN = Kind("an IP address, a host name or unix:PATH (the port has an option of its own)", _listen)
FILE_MODE = Kind("three octal digits such as 0660", _file_mode)
PEERS = Kind("a comma-separated list of IP addresses and the word unix", _peers)
NAMESPACES = Kind("none, auto, or some of pid, ipc, net", _namespaces)
MOMENT = Kind("a time such as 2026-12-24T18:00:00Z", _moment)
LOG_FORMAT = Kind("a format of Python's logging module", _log_format)
