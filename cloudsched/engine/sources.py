"""Files and URLs that users name, read with no more rights than theirs.

The scheduler may read what a user may not, and reach what he cannot: a file must belong to the user, and an address
that only this host can reach (link-local: cloud metadata) is not asked.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import pwd
import ssl
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

from cloudsched.errors import BadRequirement, CloudError, Transient

LARGEST = 1024 * 1024
_FETCH_SECONDS = 30.0
_SILENCE_SECONDS = 10.0
_REDIRECTS = 3
_PIECE = 65536


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A user's file: what it holds, and what a copy needs to replace it."""

    path: Path
    content: bytes
    mode: int
    uid: int
    gid: int
    changed: tuple[int, int]
    """`changed` tells one content from the next: its time in nanoseconds and its inode."""


def is_url(source: str) -> bool:
    """Whether a source is an http URL; everything else is a path."""
    return source.lower().startswith(("http://", "https://"))


def account(owner: str) -> int:
    """The number of a user's account on this host. Raises BadRequirement where there is none."""
    try:
        return pwd.getpwnam(owner).pw_uid
    except (KeyError, ValueError):
        raise BadRequirement(f"The files of {owner} are not used: this host has no such account.") from None


def read_own(path: Path, uid: int, directory: int | None = None) -> OwnFile:
    """Read a regular file that belongs to the account `uid`; no symbolic link is followed at its end.

    `directory` is an open directory that `path`'s last part is looked up in. Raises BadRequirement.
    """
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path if directory is None else path.name, flags, dir_fd=directory)
    except (OSError, ValueError) as ex:
        raise BadRequirement(f"The file {path} cannot be read: {_reason(ex)}.") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != uid:
            raise BadRequirement(f"The file {path} is not used: it is no regular file of its user's.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST:
        raise BadRequirement(f"The file {path} is not used: it is larger than {LARGEST} bytes.")
    changed = (found.st_mtime_ns, found.st_ino)
    return OwnFile(path, content, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, changed)


def fetch(url: str) -> bytes:
    """Get what an http URL holds, at most LARGEST bytes. Raises BadRequirement, and Transient for what may pass."""
    until = time.monotonic() + _FETCH_SECONDS
    at = url
    for _ in range(_REDIRECTS + 1):
        try:
            location, content = _get(urlsplit(at), until)
        except CloudError as ex:
            raise type(ex)(f"{url} cannot be used: {ex}") from None
        except (OSError, http.client.HTTPException, ssl.SSLError) as ex:
            raise Transient(f"{url} cannot be fetched: {_reason(ex)}.") from None
        except ValueError as ex:
            raise BadRequirement(f"{url} is no URL: {ex}.") from None
        if not location:
            return content
        at = urljoin(at, location)
    raise BadRequirement(f"{url} cannot be used: it leads on more than {_REDIRECTS} times.")


def _get(url: SplitResult, until: float) -> tuple[str, bytes]:
    """Ask once: where it leads, or what it holds."""
    if url.scheme not in ("http", "https") or not url.hostname:
        raise BadRequirement("accepted are http and https URLs.")
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname, url.port, timeout=_SILENCE_SECONDS)
    try:
        connection.connect()
        check_reached(connection.sock.getpeername()[0])
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("GET", target, headers={"User-Agent": "cloudsched", "Connection": "close"})
        with connection.getresponse() as response:
            return _answer(response, until)
    finally:
        connection.close()


def check_reached(text: str) -> None:
    """Refuse the address that a name led to when only this host can reach it. Raises BadRequirement."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    if mapped.is_link_local or mapped.is_multicast or mapped.is_unspecified:
        raise BadRequirement(f"the address {address} is this host's own affair.")


def _answer(response: http.client.HTTPResponse, until: float) -> tuple[str, bytes]:
    if response.status in (301, 302, 303, 307, 308):
        return response.getheader("Location", ""), b""
    if response.status != 200:
        kind = BadRequirement if 400 <= response.status < 500 else Transient
        raise kind(f"the answer was {response.status} {response.reason}.")
    content = b""
    while piece := response.read1(_PIECE):
        content += piece
        if len(content) > LARGEST:
            raise BadRequirement(f"it is larger than {LARGEST} bytes.")
        if time.monotonic() > until:
            raise Transient(f"it took longer than {_FETCH_SECONDS:g} seconds.")
    return "", content


def _reason(ex: Exception) -> str:
    return (ex.strerror if isinstance(ex, OSError) else None) or str(ex) or type(ex).__name__
