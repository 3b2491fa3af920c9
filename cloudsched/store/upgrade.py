"""Bringing a state that an older release made to this program's schema, in place (docs/upgrade.md)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, text, update

from cloudsched.errors import MissingExtra
from cloudsched.store import place, tables
from cloudsched.store.connect import Store

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(store: Store) -> int:
    """Bring a state to `SCHEMA_VERSION` in one transaction; returns the version that it had.

    `store` is an unchecked one. A `kill -9` leaves the old state or the new one. Raises StateMismatch for a newer
    schema, StateHeld while an engine runs, MissingExtra without Alembic, StateUnavailable.
    """
    if store.upgradable() == tables.SCHEMA_VERSION:
        return tables.SCHEMA_VERSION
    with closing(place.hold(store)):
        # Only now nobody else can upgrade it any more.
        found = store.upgradable()
        if found != tables.SCHEMA_VERSION:
            with store.writing() as writing:
                _migrate(writing.connection, found)
                writing.connection.execute(update(tables.state).values(schema_version=tables.SCHEMA_VERSION))
                writing.touch(*tables.TOPICS)
    return found


def _migrate(connection: Connection, found: int) -> None:
    """Run the revisions after `found`, inside the caller's transaction; Alembic's version table ends with it."""
    try:
        from alembic import command
        from alembic.config import Config
    except ImportError as ex:
        raise MissingExtra("The upgrade of a state", "migrate") from ex
    config = Config(attributes={"connection": connection})
    # Alembic reads its options by configparser, to which % is special.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    command.stamp(config, str(found))
    command.upgrade(config, str(tables.SCHEMA_VERSION))
    connection.execute(text("DROP TABLE alembic_version"))
