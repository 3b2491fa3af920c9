"""How much one client may do: wrong tokens always have a limit."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field


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
