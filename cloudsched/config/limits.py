"""The small JSON files beside the configuration: user limits, cloud aliases, banned images (PARITY 7.1).

A reader returns the whole file or raises ConfigError and changes nothing: a failed reload keeps the old values (B-24).
Names are kept as written; they are compared without regard to case where they are used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloudsched.config.files import read_text
from cloudsched.config.kinds import LARGEST
from cloudsched.errors import ConfigError

_USER_LIMITS = 'accepted is {"USER": VMS, ...} with whole numbers, 0 or more'
_ALIASES = 'accepted is {"ALIAS": ["CLOUD", ...], ...}'
_BANNED = 'accepted is {"IMAGE": ["CLOUD", ...], ...}'


def read_user_limits(path: Path) -> dict[str, int]:
    """How many VMs each user may have at once, from `user_limit_file`. Raises ConfigError."""
    return dict(_read(path, _is_limit, _USER_LIMITS))


def read_cloud_aliases(path: Path) -> dict[str, tuple[str, ...]]:
    """Which clouds each alias stands for, from `target_cloud_alias_file`. Raises ConfigError."""
    return {alias: tuple(clouds) for alias, clouds in _read(path, _is_names, _ALIASES).items()}


def read_banned_images(path: Path) -> dict[str, tuple[str, ...]]:
    """On which clouds each image is banned, from `ban_file`; empty where there is none yet. Raises ConfigError."""
    try:
        return {image: tuple(clouds) for image, clouds in _read(path, _is_names, _BANNED).items()}
    except ConfigError as ex:
        if isinstance(ex.__cause__, FileNotFoundError):
            return {}
        raise


def _read(path: Path, accepts: Callable[[Any], bool], accepted: str) -> Mapping[str, Any]:
    text = read_text(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as ex:
        problem = f"This is not JSON ({ex.msg}, column {ex.colno}); {accepted}."
        raise ConfigError(problem, path=str(path), line=ex.lineno) from ex
    except (ValueError, RecursionError) as ex:
        raise ConfigError(f"This JSON is too big to be read; {accepted}.", path=str(path), line=1) from ex
    if not isinstance(document, dict):
        raise ConfigError(f"This is not a JSON object; {accepted}.", path=str(path), line=1)
    for name, value in document.items():
        if not (_is_name(name) and accepts(value)):
            shown = json.dumps({name: value})[1:-1][:120]
            raise ConfigError(f"{shown} is wrong; {accepted}.", path=str(path), line=_line(text, name))
    return document


def _line(text: str, name: str) -> int:
    written = (json.dumps(name), json.dumps(name, ensure_ascii=False))
    lines = enumerate(text.split("\n"), 1)
    return next((number for number, line in lines if any(each in line for each in written)), 1)


def _is_name(value: Any) -> bool:
    if not isinstance(value, str) or value.strip() in ("", ".", ".."):
        return False
    return not any(each == "\0" or "\ud800" <= each <= "\udfff" for each in value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(_is_name(each) for each in value)


def _is_limit(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
