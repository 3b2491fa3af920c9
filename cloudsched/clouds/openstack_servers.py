"""How our VMs and Nova's servers name each other: pure functions from values to values.

A server of ours carries three tags, by which Nova finds it, and metadata with the same in full. Tags are short (60
characters, no `,` and no `/`) and some databases compare them without regard to case, so what a tag finds is believed
only when the metadata agrees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudsched.clouds.openstack_errors import fault_sentence
from cloudsched.model.clouds import BootRequest, ObservedVM, VMStatus
from cloudsched.model.vms import VM

LONGEST_TAG = 60
LONGEST_VALUE = 255
_PREFIX = "cloudsched_"

STATUSES: Mapping[str, str] = {
    "BUILD": VMStatus.STARTING,
    "BUILDING": VMStatus.STARTING,
    "ACTIVE": VMStatus.RUNNING,
    "SHUTOFF": VMStatus.SHUTDOWN,
    "ERROR": VMStatus.ERROR,
    "VERIFY_RESIZE": VMStatus.ERROR,
    "SUSPENDED": "Suspended",
    "STOPPED": "Stopped",
    "PAUSED": "Paused",
}
"""Nova's states as ours (PARITY 5.2); others pass through as they are."""

GONE = frozenset({"DELETED", "SOFT_DELETED"})


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose servers they are: one cloud of one installation."""

    cloud: str
    installation: str

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that every server of ours carries."""
        return _tag("installation", self.installation), _tag("cloud", self.cloud)

    def has(self, server: Any) -> bool:
        """Whether a server's metadata says that it is ours."""
        given = server.metadata or {}
        ours = (self.installation[:LONGEST_VALUE], self.cloud[:LONGEST_VALUE])
        return (given.get(f"{_PREFIX}installation"), given.get(f"{_PREFIX}cloud")) == ours

    def may_have(self, server: Any) -> bool:
        """Whether a server is nobody's, as far as its metadata says."""
        return f"{_PREFIX}installation" not in (server.metadata or {})

    def marks(self, request: BootRequest | VM) -> dict[str, str]:
        """The metadata of a new server, from which a lost state can be made again."""
        values = {
            "installation": self.installation,
            "cloud": self.cloud,
            "uid": request.uid,
            "user": request.user,
            "vmtype": request.vmtype,
            "memory": str(request.memory),
            "cpucores": str(request.cpucores),
            "storage": str(request.storage),
        }
        return {f"{_PREFIX}{name}": value[:LONGEST_VALUE] for name, value in values.items()}


def uid_tag(uid: str) -> str:
    """The tag that a server made for this uid carries."""
    return _tag("uid", uid)


def uid_of(server: Any) -> str:
    """The uid that a server of ours was made for."""
    return str((server.metadata or {}).get(f"{_PREFIX}uid", ""))


def first_made(servers: Iterable[Any]) -> dict[str, list[Any]]:
    """Servers by uid, the one to keep first: Nova has no request token, so a lost answer may have made two."""
    found: dict[str, list[Any]] = {}
    for server in servers:
        found.setdefault(uid_of(server), []).append(server)
    return {uid: sorted(each, key=lambda one: (str(one.created_at), one.id)) for uid, each in found.items()}


def observed(server: Any) -> ObservedVM:
    """One of our servers as the engine wants it."""
    marks = {name.removeprefix(_PREFIX): value for name, value in (server.metadata or {}).items()}
    return ObservedVM(
        uid=uid_of(server),
        id=server.id,
        status=STATUSES.get(server.status, server.status or "Unknown"),
        hostname=server.name or "",
        ipaddress=address(server.addresses or {}),
        fault=fault_sentence(server.fault) if server.status == "ERROR" else "",
        tags=marks,
    )


def address(networks: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """The address to reach a server by: a floating one before a fixed one, IPv4 before IPv6."""
    given = [each for addresses in networks.values() for each in addresses if each.get("addr")]
    given.sort(key=lambda each: (each.get("OS-EXT-IPS:type") != "floating", each.get("version") != 4))
    return str(given[0]["addr"]) if given else ""


def _tag(name: str, value: str) -> str:
    """`NAME=VALUE` where a tag may hold that, else with the value's digest."""
    plain = f"{name}={value}"
    fits = len(plain) <= LONGEST_TAG and plain.isascii() and plain.isprintable() and not set(plain) & {",", "/"}
    return plain if fits else f"{name}~{hashlib.sha256(value.encode()).hexdigest()[:40]}"
