"""Who asks: a bearer token, a proxy that knows its clients, or the account at the other end of a Unix socket.

Failures are kept in memory and logged; nothing of a token but its public part is ever logged.
"""

from __future__ import annotations

import ipaddress
import logging
import pwd
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import falcon
from falcon import Request, Response

from cloudsched.errors import Forbidden
from cloudsched.model.access import Caller, Role
from cloudsched.web import contract
from cloudsched.web.guard import UID, Pauses
from cloudsched.web.keyring import FIRST, Keyring, Refusal
from cloudsched.web.notes import Notes
from cloudsched.web.routing import raw_path
from cloudsched.web.throttle import Failures, Rate, client_key, plain_address

_log = logging.getLogger("cloudscheduler.http")

HEALTH = frozenset(f"/health/{name}{form}" for name in ("live", "ready") for form in ("", ".json"))
"""What probes may read without a token: it tells ages and names, no sentence of a cloud's."""

OPEN = HEALTH | contract.OPEN

ANYBODY = Caller("anonymous", Role.ADMIN)
"""Whoever asks a daemon that wants no token."""

NOBODY = Caller("anonymous", None)

ROLE_HEADER, USER_HEADER, ADDRESS_HEADER = "X-Cloudsched-Role", "X-Cloudsched-User", "X-Real-IP"
"""What a trusted proxy tells about its client: what it may do, its name, where it is."""

SOCKET = "unix"
"""Stands for whoever comes by the Unix socket, among the proxies that are trusted."""

_UNUSUAL = re.compile(r"[^A-Za-z0-9._+-]")


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe without a token: `proxies` are IP addresses or SOCKET, by what they say of their clients;
    `socket_role` is the role of everybody who may open the Unix socket, None for none."""

    proxies: frozenset[str] = frozenset()
    socket_role: Role | None = None

    def is_proxy(self, peer: str) -> bool:
        """Whether an address is a trusted proxy's."""
        return (SOCKET if peer.startswith(UID) else plain_address(peer)) in self.proxies


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may do in a minute, and how those are slowed down who guess; `clock` is monotonic seconds."""

    rate: Rate = field(default_factory=lambda: Rate(0))
    failures: Failures = field(default_factory=Failures)
    pauses: Pauses = field(default_factory=Pauses)
    clock: Callable[[], float] = time.monotonic


class Auth:
    """Middleware that names who asks, or answers 401, 403 or 429, before the request is routed.

    `mode` is token, none or closed; the keyring and whom to trust are asked only with the first. A right token always
    passes, whatever went wrong before from the same address: neighbours on one host must not lock each other out.
    Without a token a browser may only read: else any page somebody looks at could send verbs to a daemon on the same
    machine, or by the certificate that the browser holds.
    """

    def __init__(
        self,
        mode: str,
        keyring: Keyring | None = None,
        trust: Trust = Trust(),
        limits: Limits | None = None,
        notes: Notes | None = None,
    ) -> None:
        self._mode, self._keyring = mode, keyring
        self._trust, self._limits, self._notes = trust, limits or Limits(), notes
        if mode == "token" and keyring is None:
            raise ValueError("mode token needs a keyring")

    @property
    def pauses(self) -> Pauses:
        """Which connections the server is to leave alone."""
        return self._limits.pauses

    @property
    def asks_readers_nothing(self) -> bool:
        """Whether every GET passes, whoever sends it: then ready answers need not come by here."""
        return self._mode == "none" and not self._limits.rate.limit

    def process_request(self, req: Request, resp: Response) -> None:
        """Set `req.context.caller` and `actor`, or raise the error for who may not ask."""
        peer = str(req.remote_addr)
        proxied = self._trust.is_proxy(peer)
        address = _told_address(req, peer) if proxied else peer
        req.context.address, req.context.actor = address, f"{NOBODY.name}@{address}"
        req.context.caller = caller = self._caller(req, address, proxied=proxied)
        req.context.actor = f"{caller.name}@{address}"
        if caller is not NOBODY:
            self._count(client_key(address) if caller is ANYBODY else caller.name)

    def _count(self, client: str) -> None:
        wait_seconds = self._limits.rate.wait_seconds(client, self._limits.clock())
        if wait_seconds:
            raise _too_many("Too many requests from you: rate_limit has been reached.", wait_seconds)

    def _caller(self, req: Request, address: str, *, proxied: bool) -> Caller:
        reads = req.method in ("GET", "HEAD")
        if self._mode == "closed":
            raise Forbidden("This daemon is closed by its configuration.")
        if reads and raw_path(req.env) in OPEN:
            return NOBODY
        if self._keyring is None or self._mode != "token":
            found: Caller | None = ANYBODY
        else:
            found = self._trusted(req, proxied=proxied)
        if found is None and self._keyring is not None:
            return self._bearer(self._keyring, req, address, proxied=proxied)
        if not reads and req.get_header("Origin"):
            raise Forbidden("Without a token, verbs are not taken from web pages.")
        return found or NOBODY

    def _trusted(self, req: Request, *, proxied: bool) -> Caller | None:
        """Whom a proxy or the socket vouches for; a request that brings a token is held to that instead."""
        if req.auth:
            return None
        told = req.get_header(ROLE_HEADER) or ""
        if proxied and told:
            if told not in tuple(Role):
                raise Forbidden(f"The proxy says the role {told!r}; it must be {', '.join(Role)} or nothing.")
            return Caller(f"proxy:{_plain(req.get_header(USER_HEADER) or 'unnamed')}", Role(told))
        peer = str(req.remote_addr)
        if self._trust.socket_role is not None and peer.startswith(UID):
            return Caller(_account(int(peer.removeprefix(UID))), self._trust.socket_role)
        return None

    def _bearer(self, keyring: Keyring, req: Request, address: str, *, proxied: bool) -> Caller:
        scheme, _, text = (req.auth or "").partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("This needs the header 'Authorization: Bearer TOKEN'.")
        found = keyring.caller(text.strip())
        if isinstance(found, Refusal):
            # A proxy's connections carry everybody's requests.
            raise self._refused(found, address, "" if proxied else str(req.env.get("REMOTE_PORT", "")))
        if self._notes is not None and found.name != FIRST:
            self._notes.used(found.name, address)
        return found

    def _refused(self, refusal: Refusal, address: str, port: str) -> falcon.HTTPError:
        limits = self._limits
        if self._notes is not None:
            self._notes.refused(refusal.word, refusal.token, address)
        wait_seconds = limits.failures.add(client_key(address), limits.clock())
        if port:
            limits.pauses.connection(address, port)
        if wait_seconds:
            if port:
                limits.pauses.address(address, wait_seconds)
            return _too_many("Too many wrong tokens from this address.", wait_seconds)
        _log.warning("%s token from %s%s", refusal.word, address, f" ({refusal.token})" if refusal.token else "")
        return _unauthorized(refusal.sentence)


def _told_address(req: Request, peer: str) -> str:
    """Where a trusted proxy says that its client is; the proxy's own address for what is none."""
    try:
        return str(ipaddress.ip_address((req.get_header(ADDRESS_HEADER) or "").strip()))
    except ValueError:
        return peer


def _plain(name: str) -> str:
    """A name as one word of at most 64 ASCII characters, for the log and the record of who asked."""
    return _UNUSUAL.sub("_", name)[:64]


@cache
def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _unauthorized(problem: str) -> falcon.HTTPError:
    return falcon.HTTPUnauthorized(description=problem, challenges=['Bearer realm="cloudsched"'])


def _too_many(what: str, wait_seconds: float) -> falcon.HTTPError:
    return falcon.HTTPTooManyRequests(description=what, headers={"Retry-After": str(int(wait_seconds) + 1)})
