"""HTCondor's two notations for arguments and for the environment: the old one and the quoted one.

A value within double quotes is the new notation: blanks separate, single quotes group, a doubled quote is a quote.
Anything else is the old one: arguments separated by blanks with `\\"` for a quote, environment `NAME=value;NAME=value`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_TOKEN = re.compile(r"((?:[^\s']|'(?:[^']|'')*')+)\s*")
_PART = re.compile(r"'((?:[^']|'')*)'|([^']+)")
_STRAY_QUOTE = re.compile(r'(?<!\\)"')


def arguments(text: str) -> list[str]:
    """Split the value of `arguments`; raises ValueError with what is wrong."""
    text = text.strip()
    if text.startswith('"'):
        return _quoted(text)
    if _STRAY_QUOTE.search(text):
        raise ValueError('a double quote within the old notation is written \\"')
    return text.replace('\\"', '"').split()


def environment(text: str) -> dict[str, str]:
    """Read the value of `environment`; raises ValueError with what is wrong."""
    text = text.strip()
    entries: Iterable[str] = _quoted(text) if text.startswith('"') else text.split(";")
    found: dict[str, str] = {}
    for entry in entries:
        if not entry.strip():
            continue
        name, equals, value = entry.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{entry!r} is not NAME=value")
        found[name.strip()] = value
    return found


def _quoted(text: str) -> list[str]:
    if len(text) < 2 or not text.endswith('"'):
        raise ValueError("the closing double quote is missing")
    inner = text[1:-1]
    if '"' in inner.replace('""', ""):
        raise ValueError('a double quote within double quotes is written ""')
    return [_ungroup(token) for token in _tokens(inner.replace('""', '"').strip())]


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if not token:
            raise ValueError("a closing single quote is missing")
        yield token[1]
        position = token.end()


def _ungroup(token: str) -> str:
    return "".join(match[2] if match[1] is None else match[1].replace("''", "'") for match in _PART.finditer(token))
