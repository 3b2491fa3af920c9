"""Ban tracking: an image that keeps failing on a cloud is kept off it (PARITY 6.8, B-05)."""

from __future__ import annotations

import json
import logging
import os
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path

from cloudsched.config.options import Global
from cloudsched.engine import acts
from cloudsched.store import Writing, limits

log = logging.getLogger("cloudscheduler")


class Bans:
    """Remembers the last boots of each image on each cloud and bans where too many of them failed."""

    def __init__(self, settings: Global) -> None:
        self._settings = settings
        self._results: dict[tuple[str, str], deque[bool]] = defaultdict(lambda: deque(maxlen=settings.ban_min_track))

    def record(self, writing: Writing, image: str, cloud: str, *, booted: bool) -> None:
        """Note how a boot ended; ban the image on that cloud when its history is full and bad enough."""
        if not self._settings.ban_tracking or not image:
            return
        results = self._results[(image, cloud)]
        results.append(booted)
        rate = results.count(False) / len(results)
        if len(results) < self._settings.ban_min_track or rate < self._settings.ban_failrate_threshold:
            return
        banned = limits.read_banned_images(writing.connection)
        if cloud not in banned.get(image, ()):
            banned[image] = (*banned.get(image, ()), cloud)
            reason = f"{results.count(False)} of its last {len(results)} boots failed."
            log.warning("Image %s is banned on %s: %s", image, cloud, reason)
            acts.record(writing, acts.of_cloud("ban", cloud, reason, detail={"image": image}))
            limits.record_banned_images(writing, banned)
            self._save(banned)

    def _save(self, banned: Mapping[str, tuple[str, ...]]) -> None:
        """Write v1's ban file, whole or not at all; the state keeps the bans when that fails."""
        path = self._settings.ban_file
        if path is None:
            return
        try:
            _replace(path, json.dumps({image: list(clouds) for image, clouds in banned.items()}, indent=1))
        except OSError as ex:
            log.error("The ban file %s cannot be written: %s", path, ex.strerror)


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
