"""IDTOKENS: what a VM joins a pool with, and what we prove ourselves with to a VM.

A VM gets a token of its own, short-lived and good for advertising itself only, and a signing key of its own: with a
token signed by that key, and with nothing else, the scheduler may drain that one VM's startd. Both come from the
pool's signing key, which never leaves this host. Tokens are JSON Web Tokens (RFC 7519) signed with HS256; the key is
derived by HKDF (RFC 5869) as HTCondor's condor_token_create does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudsched.errors import BatchError

POOL = "POOL"
VM_KEY = "cloudsched"
"""The name of a VM's own key: the file's name in its SEC_PASSWORD_DIRECTORY."""

ADVERTISE = ("ADVERTISE_STARTD", "ADVERTISE_MASTER", "READ")

_SCRAMBLE = b"\xde\xad\xbe\xef"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key as its file holds it; `name` is the file's name, which tokens carry as `kid`."""

    name: str
    content: bytes

    def derived(self, purpose: str) -> SigningKey:
        """A VM's own key, the same each time for one purpose; its content is ASCII."""
        digest = hmac.new(self._password(), purpose.encode("utf-8", "surrogateescape"), hashlib.sha256)
        return SigningKey(VM_KEY, digest.hexdigest().encode())

    def token(self, subject: str, now: int, seconds: int, authorizations: Sequence[str] = ()) -> str:
        """Make a token for `NAME@DOMAIN`, valid from `now` (Unix seconds); without authorizations it has no limits."""
        claims: dict[str, Any] = {
            "sub": subject,
            "iss": subject.rpartition("@")[2],
            "iat": now,
            "exp": now + seconds,
            "jti": uuid.uuid4().hex,
        }
        if authorizations:
            claims["scope"] = " ".join(f"condor:/{each}" for each in authorizations)
        signed = f"{_part({'alg': 'HS256', 'kid': self.name})}.{_part(claims)}"
        return f"{signed}.{_encoded(hmac.new(self._derived(), signed.encode(), hashlib.sha256).digest())}"

    def _password(self) -> bytes:
        """The password the file hides; HTCondor ends it at the first NUL, and doubles the pool's."""
        plain = bytes(each ^ _SCRAMBLE[place % 4] for place, each in enumerate(self.content)).split(b"\0")[0]
        return plain * 2 if self.name == POOL else plain

    def _derived(self) -> bytes:
        extracted = hmac.new(b"htcondor", self._password(), hashlib.sha256).digest()
        return hmac.new(extracted, b"master jwt\1", hashlib.sha256).digest()


def read_key(path: Path) -> SigningKey:
    """Read a signing key. Raises BatchError when that cannot be done."""
    try:
        content = path.read_bytes()
    except OSError as ex:
        raise BatchError(f"The signing key {path} (condor_signing_key) cannot be read: {ex.strerror}.") from ex
    if not content:
        raise BatchError(f"The signing key {path} (condor_signing_key) is empty.")
    return SigningKey(path.name, content)


def _part(values: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(values, separators=(",", ":")).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
