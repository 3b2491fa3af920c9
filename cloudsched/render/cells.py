"""The one rule for putting somebody's text into a line of ours."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def cell(value: object) -> str:
    """A value as one piece of one line: control characters, line separators and lone surrogates become `?`."""
    return _UNPRINTABLE.sub("?", str(value))
