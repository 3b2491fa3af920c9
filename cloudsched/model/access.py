"""Who may ask for what: roles, tokens, and whoever stands behind a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do, weakest first; each may do what those before it may."""

    READER = "reader"  # look at everything
    OPERATOR = "operator"  # steer clouds, VMs, jobs, users' proxies
    ADMIN = "admin"  # the scheduler itself: settings, files, tokens

    def covers(self, needed: Role) -> bool:
        """Whether who has this role may do what takes the `needed` one."""
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER = tuple(Role)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request: a token's id, `admin` for the first token, a proxy's user, or `anonymous`.

    `role` is None for who may see only what is open to all. Limits hold where they are not empty: names of clouds, in
    lower case, and users.
    """

    name: str
    role: Role | None
    clouds: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    @property
    def is_limited(self) -> bool:
        """Whether this caller may see and do less than its role says."""
        return bool(self.clouds or self.users)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token as it is kept: `digest` is SHA-256 of its whole text, in hexadecimal; times are Unix seconds.

    Without a digest, as after loading a dump without secrets, no text fits it.
    """

    id: str
    digest: str | None
    role: Role
    clouds: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    description: str = ""
    created_by: str = ""
    created_at: int = 0
    expires_at: int | None = None
    revoked_at: int | None = None

    def state(self, now: float) -> str:
        """`active`, or why it lets nobody in: `revoked`, `expired` or `unusable`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active" if self.digest else "unusable"


@dataclass(frozen=True, slots=True)
class TokenUse:
    """The last use of a token that is known: to the minute, in Unix seconds, and from which address."""

    token: str
    used_at: int
    address: str
