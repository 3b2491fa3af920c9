"""How much one client may do: wrong tokens always have a limit, requests where the option says so."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import lru_cache

_SUBNET_BITS = 64


@lru_cache(1024)
def plain_address(address: str) -> str:
    """An IP address in its one spelling, without a zone; anything else as it is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


@lru_cache(1024)
def client_key(address: str) -> str:
    """What counts as one client: an address, but all of an IPv6 /64, which belongs to one host (RFC 6177)."""
    plain = plain_address(address)
    try:
        return str(ipaddress.IPv6Network((plain, _SUBNET_BITS), strict=False))
    except ValueError:
        return plain


@dataclass
class Failures:
    """Wrong tokens per client in the last `seconds`; the longest silent clients are forgotten beyond `clients`."""

    limit: int = 10
    seconds: float = 60.0
    clients: int = 1000
    _seen: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, client: str, now: float) -> float:
        """Count one more; returns 0, or the seconds for which the client has used up its attempts."""
        with self._lock:
            times = self._seen.setdefault(client, deque(maxlen=self.limit + 1))
            self._seen.move_to_end(client)
            while len(self._seen) > self.clients:
                self._seen.popitem(last=False)
            while times and times[0] <= now - self.seconds:
                times.popleft()
            times.append(now)
            return times[0] + self.seconds - now if len(times) > self.limit else 0.0


@dataclass
class Rate:
    """Requests per client: `limit` a minute, evenly or up to a minute's worth at once (GCRA, ITU-T I.371).

    0 is no limit. One number is kept per client; the longest silent are forgotten beyond `clients`.
    """

    limit: int
    clients: int = 10_000
    _until: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_seconds(self, client: str, now: float) -> float:
        """0 and the request counts, or how long the client has to wait and it does not."""
        if not self.limit:
            return 0.0
        pause = 60.0 / self.limit
        with self._lock:
            due = max(self._until.get(client, now), now) + pause
            if due - now > 60.0 + 1e-6:
                return due - now - 60.0
            self._until[client] = due
            self._until.move_to_end(client)
            while len(self._until) > self.clients:
                self._until.popitem(last=False)
        return 0.0
