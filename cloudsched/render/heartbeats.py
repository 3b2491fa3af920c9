"""How long ago each stage of the engine last ended a cycle, as text (PARITY 2.12)."""

from __future__ import annotations

from collections.abc import Iterable

from cloudsched.model.snapshot import HEARTBEATS, Heartbeat


def in_order(beats: Iterable[Heartbeat]) -> list[Heartbeat]:
    """v1's five stages in v1's order, then any other by name."""
    known = {name: position for position, name in enumerate(HEARTBEATS)}
    return sorted(beats, key=lambda beat: (known.get(beat.name, len(known)), beat.name))


def age_seconds(beat: Heartbeat, now: float) -> int:
    """Whole seconds since the beat, never negative."""
    return max(0, int(now - beat.beat_at))


def heartbeats(beats: Iterable[Heartbeat], now: float) -> str:
    """One line a stage with its pause and its age in seconds, `GET /thread-heart-beats` (PARITY 2.12)."""
    lines = (f"   {beat.name} Thread({beat.interval_seconds}): {age_seconds(beat, now)}\n" for beat in in_order(beats))
    return "Thread Heart beat times:\n" + "".join(lines)
