"""X.509 proxies: short-lived credentials that users' jobs carry, and that VMs keep for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy file of the user `owner`, and where MyProxy renews it (PARITY 8.1; `hours` is how long for).

    `holders` are the ids of the jobs, or the uids of the VMs, that use the file, each with the end recorded for it.
    """

    path: str
    owner: str
    holders: Mapping[str, str | None] = field(default_factory=dict)
    server: str | None = None
    port: str | None = None
    name: str | None = None
    hours: str = "12"
