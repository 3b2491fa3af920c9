"""Who asks: a bearer token decides, or the daemon is open to everybody, or to nobody (DESIGN 6).

Failures are kept in memory and logged; nothing of a token but its public part is ever logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import falcon
from falcon import Request, Response

from cloudsched.errors import Forbidden
from cloudsched.model.access import Caller, Role
from cloudsched.web.keyring import Keyring, Refusal
from cloudsched.web.routing import raw_path
from cloudsched.web.throttle import Failures

_log = logging.getLogger("cloudscheduler.http")

OPEN = frozenset(f"/health/{name}{form}" for name in ("live", "ready") for form in ("", ".json"))
"""What probes may read without a token: it tells ages and names, no sentence of a cloud's."""

ANYBODY = Caller("anonymous", Role.ADMIN)
"""Whoever asks a daemon that wants no token."""

NOBODY = Caller("anonymous", None)


class Auth:
    """Middleware that names who asks, or answers 401, 403 or 429, before the request is routed.

    `mode` is token, none or closed; the keyring is used only with the first. A right token always passes, whatever
    went wrong before from the same address: neighbours on one host must not lock each other out. Without a token a
    browser may only read: else any page somebody looks at could send verbs to a daemon on the same machine.
    """

    def __init__(self, mode: str, keyring: Keyring | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._mode, self._keyring, self._clock = mode, keyring, clock
        self._failures = Failures()
        if mode == "token" and keyring is None:
            raise ValueError("mode token needs a keyring")

    @property
    def asks_readers_nothing(self) -> bool:
        """Whether every GET passes, whoever sends it: then ready answers need not come by here."""
        return self._mode == "none"

    def process_request(self, req: Request, resp: Response) -> None:
        """Set `req.context.caller` and `actor`, or raise the error for who may not ask."""
        address = str(req.remote_addr)
        req.context.actor = f"{NOBODY.name}@{address}"
        req.context.caller = caller = self._caller(req, address)
        req.context.actor = f"{caller.name}@{address}"

    def _caller(self, req: Request, address: str) -> Caller:
        reads = req.method in ("GET", "HEAD")
        if self._mode == "closed":
            raise Forbidden("This daemon is closed by its configuration.")
        if reads and raw_path(req.env) in OPEN:
            return NOBODY
        if self._keyring is not None and self._mode == "token":
            return self._bearer(self._keyring, req.auth or "", address)
        if not reads and req.get_header("Origin"):
            raise Forbidden("Without a token, verbs are not taken from web pages.")
        return ANYBODY

    def _bearer(self, keyring: Keyring, header: str, address: str) -> Caller:
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("This needs the header 'Authorization: Bearer TOKEN'.")
        found = keyring.caller(text.strip())
        if isinstance(found, Refusal):
            raise self._refused(found, address)
        return found

    def _refused(self, refusal: Refusal, address: str) -> falcon.HTTPError:
        wait_seconds = self._failures.add(address, self._clock())
        if wait_seconds:
            return falcon.HTTPTooManyRequests(
                description="Too many wrong tokens from this address.",
                headers={"Retry-After": str(int(wait_seconds) + 1)},
            )
        _log.warning("%s token from %s%s", refusal.word, address, f" ({refusal.token})" if refusal.token else "")
        return _unauthorized(refusal.sentence)


def _unauthorized(problem: str) -> falcon.HTTPError:
    return falcon.HTTPUnauthorized(description=problem, challenges=['Bearer realm="cloudsched"'])
