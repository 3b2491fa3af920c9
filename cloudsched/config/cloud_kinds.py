"""The kinds of cloud that cloud_resources.conf may name, and the options of their sections (PARITY 7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudsched.config.kinds import BOOLEAN, COUNT, LIST, MOMENT, NAMESPACES, OFF_OR_SECONDS, TEXT, Kind, whole, word

UNLIMITED = 1_000_000_000


@dataclass(frozen=True, slots=True)
class CloudKind:
    """One kind: the options it cannot do without, and where its network address comes from.

    Of `alternatives` one set must be there as a whole. `address` is the option that holds the address, `fixed_address`
    the address itself where no option does. `built` kinds have an adapter in this release.
    """

    required: frozenset[str] = frozenset()
    alternatives: tuple[frozenset[str], ...] = ()
    address: str = ""
    fixed_address: str = ""
    built: bool = False


_EC2 = CloudKind(
    frozenset({"access_key_id", "host", "memory", "regions", "secret_access_key", "security_group", "vm_slots"}),
    address="host",
    built=True,
)
_GCE = CloudKind(
    frozenset({"networks", "project_id", "secret_file", "security_group", "vm_slots"}), fixed_address="localhost"
)
_OPENSTACK = CloudKind(
    frozenset({"vm_slots"}),
    (
        frozenset({"auth_url", "password", "regions", "tenant_name", "username"}),
        frozenset({"auth_url", "application_credential_id", "application_credential_secret", "regions"}),
        frozenset({"os_cloud"}),
    ),
    address="auth_url",
    built=True,
)
_AZURE = frozenset({"blob_url", "password", "regions", "tenant_name", "username", "vm_slots"})

CLOUD_KINDS: Mapping[str, CloudKind] = {
    "local": CloudKind(fixed_address="localhost", built=True),
    "fake": CloudKind(address="host"),
    "amazonec2": _EC2,
    "eucalyptus": _EC2,
    "openstack": _EC2,
    "opennebula": _EC2,
    "openstacknative": _OPENSTACK,
    "googlecomputeengine": _GCE,
    "gce": _GCE,
    "azure": CloudKind(_AZURE, fixed_address="azure.microsoft.com"),
    "stratuslab": CloudKind(frozenset({"contextualization", "host", "vm_slots"}), address="host"),
}

_LIMIT = whole(-1)
CLOUD_OPTIONS: Mapping[str, Kind] = {
    "vm_slots": COUNT,
    "memory": COUNT,
    "storage": COUNT,
    "cpu_cores": _LIMIT,
    "max_vm_mem": _LIMIT,
    "max_vm_storage": _LIMIT,
    "total_cpu_cores": _LIMIT,
    "priority": whole(-(2**31), 2**31),
    "vm_keep_alive": whole(0, unit="minutes", seconds=60, clamp=True),
    "boot_timeout": OFF_OR_SECONDS,
    "port": whole(1, 65535),
    "networks": LIST,
    "regions": LIST,
    "placement_zone": LIST,
    "request_threads": whole(1, 100),
    "request_timeout": whole(1, 3600, unit="seconds"),
    "limits": word("auto", "yes", "no"),
    "namespaces": NAMESPACES,
    "memory_overhead": COUNT,
    "max_processes": COUNT,
    "security_group": LIST,
    "secure_connection": TEXT,
    "reverse_dns_lookup": TEXT,
    "enabled": BOOLEAN,
    "access_key_id": TEXT,
    "application_credential_id": TEXT,
    "application_credential_secret": TEXT,
    "auth_dat_file": TEXT,
    "auth_url": TEXT,
    "blob_url": TEXT,
    "cacert": TEXT,
    "cloud_type": TEXT,
    "clouds_yaml": TEXT,
    "command": TEXT,
    "contextualization": TEXT,
    "cpu_archs": TEXT,
    "host": TEXT,
    "image_attach_device": TEXT,
    "key_name": TEXT,
    "keycert": TEXT,
    "os_cloud": TEXT,
    "password": TEXT,
    "project_domain_name": TEXT,
    "project_id": TEXT,
    "scratch_attach_device": TEXT,
    "secret_access_key": TEXT,
    "secret_file": TEXT,
    "service_name": TEXT,
    "session_ends": MOMENT,
    "session_token": TEXT,
    "subnet": TEXT,
    "temp_lease_storage": TEXT,
    "tenant_name": TEXT,
    "user_domain_name": TEXT,
    "username": TEXT,
    "vm_lifetime": TEXT,
}


def typed(options: Mapping[str, str]) -> dict[str, Any]:
    """The options of a section that was read without a problem, each as its kind reads it."""
    return {name: CLOUD_OPTIONS.get(name, TEXT).read(text) for name, text in options.items()}
