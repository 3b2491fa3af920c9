"""Who may ask: a bearer token that only the owner of a file can read, or everybody, or nobody (DESIGN 6).

Failures are kept in memory and logged; nothing of a token is ever logged, and none of it touches the database.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import stat
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import falcon
from falcon import Request, Response

from cloudsched.errors import ConfigError
from cloudsched.web.routing import raw_path

_log = logging.getLogger("cloudscheduler.http")

SHORTEST_TOKEN = 16

OPEN = frozenset(f"/health/{name}{form}" for name in ("live", "ready") for form in ("", ".json"))
"""What probes may read without a token: it tells ages and names, no sentence of a cloud's."""


def read_token(path: Path) -> str:
    """The token in a file, which is created with a new one, mode 0600, where there is none.

    Raises ConfigError for a file that cannot be read or written, is open to others, or holds no usable token.
    """
    try:
        if not path.exists():
            _create(path, secrets.token_urlsafe(32))
        mode = path.stat().st_mode
        token = path.read_text("ascii").strip()
    except OSError as ex:
        raise ConfigError(f"the token file cannot be used: {ex.strerror}", path=str(path)) from ex
    except UnicodeError:
        raise ConfigError("the token must be ASCII text", path=str(path)) from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError("others may read the token file; make it mode 0600", path=str(path))
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the token must be one word of at least {SHORTEST_TOKEN} characters; delete the file for a new one",
            path=str(path),
        )
    return token


def _create(path: Path, token: str) -> None:
    """Write the whole file under another name, then link it: whoever loses the race reads the winner's."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        if not path.exists():
            _link(draft, path)
    finally:
        draft.unlink()


def _link(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        _log.info("another process has just created %s", path)


@dataclass
class Failures:
    """Wrong tokens per address in the last `seconds`; the longest silent addresses are forgotten beyond `addresses`."""

    limit: int = 10
    seconds: float = 60.0
    addresses: int = 1000
    _seen: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, address: str, now: float) -> float:
        """Count one more; returns 0, or the seconds for which the address has used up its attempts."""
        with self._lock:
            times = self._seen.setdefault(address, deque(maxlen=self.limit + 1))
            self._seen.move_to_end(address)
            while len(self._seen) > self.addresses:
                self._seen.popitem(last=False)
            while times and times[0] <= now - self.seconds:
                times.popleft()
            times.append(now)
            return times[0] + self.seconds - now if len(times) > self.limit else 0.0


class Auth:
    """Middleware that lets a request pass, or answers 401, 403 or 429, before it is routed.

    `mode` is token, none or closed; `token` counts only with the first. A right token always passes, whatever went
    wrong before from the same address: neighbours on one host must not lock each other out. Without a token a browser
    may only read: else any page somebody looks at could send verbs to a daemon on the same machine.
    """

    def __init__(self, mode: str, token: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._mode, self._token, self._clock = mode, token.encode("ascii"), clock
        self._failures = Failures()
        if mode == "token" and not token:
            raise ValueError("mode token needs a token")

    @property
    def asks_readers_nothing(self) -> bool:
        """Whether every GET passes, whoever sends it: then ready answers need not come by here."""
        return self._mode == "none"

    def process_request(self, req: Request, resp: Response) -> None:
        """Set `req.context.actor`, or raise falcon's error for who may not ask."""
        address = str(req.remote_addr)
        req.context.actor = f"anonymous@{address}"
        if self._mode == "closed":
            raise falcon.HTTPForbidden(description="This daemon is closed by its configuration.")
        if self._mode == "token" and not (req.method in ("GET", "HEAD") and raw_path(req.env) in OPEN):
            self._check(req.auth or "", address)
            req.context.actor = f"admin@{address}"
        elif self._mode == "none" and req.method not in ("GET", "HEAD") and req.get_header("Origin"):
            raise falcon.HTTPForbidden(description="Without a token, verbs are not taken from web pages.")

    def _check(self, header: str, address: str) -> None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("This needs the header 'Authorization: Bearer TOKEN'.")
        if hmac.compare_digest(token.strip().encode("latin-1", "replace"), self._token):
            return
        wait_seconds = self._failures.add(address, self._clock())
        if wait_seconds:
            raise falcon.HTTPTooManyRequests(
                description="Too many wrong tokens from this address.",
                headers={"Retry-After": str(int(wait_seconds) + 1)},
            )
        _log.warning("wrong token from %s", address)
        raise _unauthorized("The token is wrong.")


def _unauthorized(problem: str) -> falcon.HTTPError:
    return falcon.HTTPUnauthorized(description=problem, challenges=['Bearer realm="cloudsched"'])
