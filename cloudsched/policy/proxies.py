"""Which X.509 proxies are renewed, how MyProxy is asked, and why one cannot be (PARITY 8.1, 8.4)."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Sequence

from cloudsched.model.proxies import Proxy

NONE = "None"
"""v1's text for a VM whose proxy's end is not known (PARITY 3.1)."""

DEFAULT_PORT = "7512"

_FORMAT = "%Y-%m-%d %H:%M:%S"
_HOST = re.compile(r"[A-Za-z0-9:]([A-Za-z0-9._:-]*)")
_PORT = re.compile(r"[0-9]{1,5}")
_HOURS = re.compile(r"[1-9][0-9]{0,4}")
_NAME = re.compile(r"[^-\0-\x1f][^\0-\x1f]*")


def shown(expires_at: int | None) -> str | None:
    """When a proxy ends, as documents show it, in UTC."""
    return None if expires_at is None else time.strftime(_FORMAT, time.gmtime(expires_at))


def ends_at(text: str | None) -> int | None:
    """The Unix seconds of what `shown` made; None for a proxy whose end is not known."""
    if not text or text == NONE:
        return None
    try:
        return calendar.timegm(time.strptime(text, _FORMAT))
    except ValueError:
        return None


def is_due(expires_at: int, now: int, threshold_seconds: int) -> bool:
    """Whether a proxy is so near its end that it is renewed; one that has ended cannot be."""
    return now < expires_at < now + threshold_seconds


def obstacle(proxy: Proxy) -> str:
    """Why MyProxy cannot be asked for it, as a sentence, or empty."""
    if not proxy.server:
        return f"{proxy.path} cannot be renewed: no MyProxy server is named for it (CSMyProxyServer)."
    given = (
        ("CSMyProxyServer", proxy.server, _HOST, "a host name"),
        ("CSMyProxyServerPort", proxy.port or DEFAULT_PORT, _PORT, "a port"),
        ("CSMyProxyCredsName", proxy.name or "x", _NAME, "a name that does not begin with '-'"),
        ("CSMyProxyRenewalTime", proxy.hours, _HOURS, "whole hours from 1"),
    )
    for attribute, value, accepted, words in given:
        if not accepted.fullmatch(value):
            return f"{proxy.path} cannot be renewed: {attribute} is {value!r}; accepted is {words}."
    return ""


def logon(command: Sequence[str], proxy: Proxy, present: str, fresh: str) -> list[str]:
    """The command line that renews the proxy in the file `present` into the file `fresh` (PARITY 8.4)."""
    name = ["-k", proxy.name] if proxy.name else []
    return [
        *command,
        *("-s", proxy.server or ""),
        *("-p", proxy.port or DEFAULT_PORT),
        *name,
        *("-a", present),
        *("-o", fresh),
        *("-t", proxy.hours),
        *("-d", "-v"),
    ]
