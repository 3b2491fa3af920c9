"""What must never be shown: which options hold secrets, and how text is masked."""

from __future__ import annotations

import re

MASK = "********"
_NAME = re.compile(r"pass|secret|token|access_?key|api_?key|private_?key|credential|username|login")
_URL_LOGIN = re.compile(r"(://[^/\s:@]*:)[^\s]*(@)")
_URL_PARAMETER = re.compile(r"([?&][^=&\s]*(?:pass|secret|token|key)[^=&\s]*=)[^&\s]*", re.IGNORECASE)


def is_secret(option: str) -> bool:
    """Whether an option's name says that its value is a secret; v1 hid four such names (PARITY 2.3, B-45)."""
    return _NAME.search(option.lower()) is not None


def masked(text: str) -> str:
    """The text with the passwords inside URLs masked."""
    return _URL_PARAMETER.sub(rf"\1{MASK}", _URL_LOGIN.sub(rf"\1{MASK}\2", text))
