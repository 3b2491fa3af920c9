"""Clouds: one file per kind, and the table that finds an adapter by its kind."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from cloudsched.errors import MissingExtra
from cloudsched.model.adapters import CloudAdapter

ADAPTERS: Mapping[str, str] = {
    "local": "cloudsched.clouds.local:LocalCloud",
    "openstack": "cloudsched.clouds.openstack:OpenStackCloud",
    "fake": "cloudsched.clouds.fake:FakeCloud",
    "ec2": "cloudsched.clouds.ec2:EC2Cloud",
}


def load(kind: str) -> Callable[..., CloudAdapter]:
    """Find the class for a kind of cloud; raises KeyError, or MissingExtra when its library is absent."""
    module, name = ADAPTERS[kind].split(":")
    try:
        adapter: Callable[..., CloudAdapter] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as ex:
        raise MissingExtra(f"The cloud kind {kind!r} ({ex.name} is not installed)", kind) from ex
    return adapter
