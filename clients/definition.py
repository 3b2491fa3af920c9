"""The JSON document that defines a cloud, as `cloud_admin` is given it: in a file, for arguments can be seen."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cloudsched.errors import DocumentError


def read(path: str) -> dict[str, Any]:
    """The object in a file, or on the standard input for `-`. Raises DocumentError."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except OSError as ex:
        raise DocumentError(f"cannot be read: {ex.strerror}", path=path) from ex
    except UnicodeDecodeError as ex:
        raise DocumentError("this is not UTF-8 text", path=path) from ex
    try:
        found = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as ex:
        raise DocumentError(f"this is not JSON: {ex.msg}", path=path, line=ex.lineno) from None
    except (ValueError, RecursionError):
        raise DocumentError("this is not JSON that can be sent", path=path) from None
    if not isinstance(found, dict):
        raise DocumentError("this must be a JSON object of a cloud's options", path=path)
    return found


def name(document: dict[str, Any], given: str | None, path: str) -> str:
    """The cloud that it is for: the one that was named beside it, else its `name`. Raises DocumentError."""
    found = given or document.get("name")
    if not isinstance(found, str):
        raise DocumentError('it does not say which cloud: give it a "name", or say -c NAME', path=path)
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
