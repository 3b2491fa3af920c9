"""What the engine has read from the limits, alias and ban files, and the settings in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from cloudsched.store import rows, tables
from cloudsched.store.connect import Store, Writing


def user_limits(store: Store) -> dict[str, int]:
    """VMs each user may have."""
    with store.reading() as connection:
        return read_user_limits(connection)


def cloud_aliases(store: Store) -> dict[str, tuple[str, ...]]:
    """Clouds behind each alias."""
    with store.reading() as connection:
        return read_cloud_aliases(connection)


PROBLEMS = "problems"
"""The setting that holds what the batch system's polls fail of, by stage."""


ENFORCED = "enforced"
"""The setting that holds what clouds on the engine's own host enforce, by cloud, in words."""


def setting(store: Store, name: str) -> Any:
    """A setting in force (`log_level`, `quick_exit`), None before the engine's first start."""
    with store.reading() as connection:
        return read_settings(connection).get(name)


def read_user_limits(connection: Connection) -> dict[str, int]:
    table = tables.user_limits
    return {user: vms for user, vms in connection.execute(select(table.c.user, table.c.vms).order_by(table.c.user))}


def read_cloud_aliases(connection: Connection) -> dict[str, tuple[str, ...]]:
    table = tables.cloud_aliases
    found = connection.execute(select(table.c.alias, table.c.clouds).order_by(table.c.alias))
    return {alias: tuple(clouds) for alias, clouds in found}


def read_banned_images(connection: Connection) -> dict[str, tuple[str, ...]]:
    table = tables.banned_images
    found = connection.execute(select(table.c.image, table.c.clouds).order_by(table.c.image))
    return {image: tuple(clouds) for image, clouds in found}


def enforced(connection: Connection) -> dict[str, str]:
    """What each cloud on the engine's own host enforces."""
    return dict(read_settings(connection).get(ENFORCED) or {})


def read_settings(connection: Connection) -> dict[str, Any]:
    table = tables.settings
    return {name: value for name, value in connection.execute(select(table.c.name, table.c.value))}


def record_user_limits(writing: Writing, limits: Mapping[str, int]) -> None:
    """Make these all the limits there are."""
    found = [{"user": user, "vms": vms} for user, vms in limits.items()]
    rows.replace(writing, tables.user_limits, found, topic="limits")


def record_cloud_aliases(writing: Writing, aliases: Mapping[str, Sequence[str]]) -> None:
    """Make these all the aliases there are."""
    found = [{"alias": alias, "clouds": list(clouds)} for alias, clouds in aliases.items()]
    rows.replace(writing, tables.cloud_aliases, found, topic="limits")


def record_banned_images(writing: Writing, banned: Mapping[str, Sequence[str]]) -> None:
    """Make these all the banned images there are."""
    found = [{"image": image, "clouds": list(clouds)} for image, clouds in banned.items()]
    rows.replace(writing, tables.banned_images, found, topic="limits")


def record_setting(writing: Writing, name: str, value: Any) -> None:
    """Record a setting as in force."""
    rows.save(writing, tables.settings, [{"name": name, "value": value}], topic="limits")
