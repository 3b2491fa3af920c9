"""Remembering what the collector does not know yet, or has not yet forgotten.

A collector starts with nothing and hears of a startd when that next advertises. Until then the machines we knew are
still there: a VM must not be taken for retired, or its job for lost, because nobody has told the collector yet.

Of a startd that died without a farewell the collector goes on telling until its ads expire, beside those of the startd
that the master has started in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from cloudsched.batch.htcondor_ads import Ad
from cloudsched.model.jobs import Machine

_EMPTY_ANSWERS = 3
_JITTER_SECONDS = 2


def whole(machines: Sequence[Machine]) -> list[Machine]:
    """The machines, none of them seeming idle because its child slot has not advertised itself yet.

    A partitionable parent is told of its children at once, the collector of each child a moment later: until then the
    parent stands for them.
    """
    counts = Counter(each.machine_name for each in machines)
    return [
        replace(each, state="Claimed", activity="Busy", total_slots=1)
        if each.slot_type == "Partitionable" and each.total_slots > 1 and counts[each.machine_name] == 1
        else each
        for each in machines
    ]


class Startds:
    """Which startd of each machine was heard last. When is the collector's word: machines' clocks may jump."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}

    def speaking(self, slots: Sequence[Ad]) -> list[Ad]:
        """The slots' ads without those of startds that others have taken the place of."""
        last: dict[str, tuple[int, int]] = {}
        for ad in slots:
            name = _machine_of(ad)
            last[name] = max(last.get(name, (0, 0)), self._last.get(name, (0, 0)), (_heard(ad), _started(ad)))
        self._last = last
        return [ad for ad in slots if _started(ad) == last[_machine_of(ad)][1]]


def _machine_of(ad: Ad) -> str:
    return str(ad.get("machine", ""))


def _heard(ad: Ad) -> int:
    return int(ad.get("lastheardfrom", 0))


def _started(ad: Ad) -> int:
    return int(ad.get("daemonstarttime", 0))


class Memory:
    """The machines of the last answer. `seconds` is how long startds take to advertise again."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._clock = seconds, clock
        self._started_at: int | None = None
        self._known: list[Machine] = []
        self._held: list[Machine] = []
        self._held_until = 0.0
        self._empty = 0

    def completed(self, machines: Sequence[Machine], started_at: int | None) -> list[Machine]:
        """The machines told, with those that were known before the collector started and have not come back yet.

        Where the start of the collector is not known, an empty answer after another is not believed three times
        (PARITY 6.3).
        """
        if started_at is None and self._started_at is None:
            self._empty = self._empty + 1 if not machines and self._known else 0
            if 0 < self._empty <= _EMPTY_ANSWERS:
                return list(self._known)
        elif self._started_at is None or abs((started_at or 0) - self._started_at) > _JITTER_SECONDS:
            # A collector that has only just started may not even know itself.
            if self._started_at is not None:
                self._held, self._held_until = self._known, self._clock() + self._seconds
            self._started_at = started_at or 0
        back = {machine.machine_name for machine in machines}
        waiting = self._clock() < self._held_until
        self._held = [each for each in self._held if waiting and each.machine_name not in back]
        self._known = [*machines, *self._held]
        return list(self._known)

    def forget(self, vms: Sequence[str]) -> None:
        """These VMs are known to be gone."""
        self._known = [each for each in self._known if each.vm not in vms]
        self._held = [each for each in self._held if each.vm not in vms]
