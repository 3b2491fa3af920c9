"""The real things the engine works on: one adapter per cloud, one batch system."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from cloudsched.model.adapters import BatchAdapter, CloudAdapter
from cloudsched.model.clouds import BootRequest


class Places:
    """Adapters by cloud name, and the batch system's. Clouds may be exchanged by a reconfig at any time."""

    def __init__(self, clouds: Mapping[str, CloudAdapter], batch: BatchAdapter) -> None:
        self.batch = batch
        self._clouds = dict(clouds)
        self._lock = threading.Lock()

    def cloud(self, name: str) -> CloudAdapter | None:
        """The adapter of a cloud; None for an unusable one."""
        with self._lock:
            return self._clouds.get(name)

    def clouds(self) -> dict[str, CloudAdapter]:
        """Every adapter by its cloud's name."""
        with self._lock:
            return dict(self._clouds)

    def replace(self, clouds: Mapping[str, CloudAdapter]) -> None:
        """Make these all the clouds there are."""
        with self._lock:
            self._clouds = dict(clouds)

    def joined(self, request: BootRequest) -> BootRequest:
        """The request with what its VM needs to join the batch system: made just before the call, never kept."""
        return replace(request, join=self.batch.join(request.uid, request.vmtype, request.user))
