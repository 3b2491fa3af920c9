"""Batch systems: one file per kind, and the table that finds an adapter by its kind."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cloudsched.errors import MissingExtra

if TYPE_CHECKING:
    from cloudsched.model.adapters import BatchAdapter  # the worker starts without it

ADAPTERS: Mapping[str, str] = {
    "embedded": "cloudsched.batch.embedded:EmbeddedBatch",
    "fake": "cloudsched.batch.fake:FakeBatch",
    "htcondor": "cloudsched.batch.htcondor:HTCondorBatch",
}


def load(kind: str) -> Callable[..., BatchAdapter]:
    """Find the class for a kind of batch system; raises KeyError, or MissingExtra when its library is absent."""
    module, name = ADAPTERS[kind].split(":")
    try:
        adapter: Callable[..., BatchAdapter] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as ex:
        raise MissingExtra(f"The batch system {kind!r} ({ex.name} is not installed)", kind) from ex
    return adapter
