"""Clouds made by API beside those of the file: as sections for the adapters, and what stands against a name in both."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloudsched.config.clouds import CloudSection, HostSize, read_options
from cloudsched.config.options import Global
from cloudsched.engine.inventory import Asked
from cloudsched.errors import ConfigError, NotFound
from cloudsched.model.clouds import Origin, Request
from cloudsched.policy.requests import SWITCH, leaving
from cloudsched.store import Connection, definitions
from cloudsched.store.definitions import Definition

log = logging.getLogger("cloudscheduler")

Sections = tuple[CloudSection, ...]

_NO_SECRETS = "its credentials were left out of a dump: give them again"


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes sections of definitions, for a scheduler on this `host`."""

    settings: Global
    host: HostSize
    simulated: bool = False

    def sections(self, connection: Connection, after: int) -> Sections:
        """The clouds made by API, in their order behind the `after` sections of the file."""
        found = definitions.all_definitions(connection).values()
        return tuple(self._section(each, position) for position, each in enumerate(found, after))

    def _section(self, definition: Definition, position: int) -> CloudSection:
        draft = definition.draft
        options = {**draft.options, **draft.secrets}
        section, _ = read_options(definition.name, options, self.settings, self.host, simulated=self.simulated)
        return _placed(section, definition, position)


def find(connection: Connection, name: str) -> Definition:
    """The definition of a cloud made by API. Raises NotFound."""
    found = definitions.find(connection, name)
    if found is None:
        raise NotFound("cloud", name)
    return found


def _placed(section: CloudSection, definition: Definition, position: int) -> CloudSection:
    cloud = replace(section.cloud, position=position, origin=Origin.API)
    if definition.leaving is not None:
        cloud = replace(cloud, removed=True, request=leaving(definition.leaving))
    cloud = cloud if definition.whole else replace(cloud, enabled=False, unusable=_NO_SECRETS)
    return replace(section, cloud=cloud)


def asked(definition: Definition) -> Asked:
    """What a definition that was just asked for sets beside itself: whether the cloud is enabled, if it says so."""
    enabled, wish = definition.draft.enabled, definition.wish
    if enabled is None:
        return Asked(definition.name)
    request = Request(SWITCH[enabled], since=wish.made_at, by=wish.actor, reason=wish.reason)
    fields: Mapping[str, Any] = {"enabled": enabled, "request": request, "connection_problem": False}
    return Asked(definition.name, {**fields, "errorconnect": None})


def refuse_doubles(connection: Connection, configured: Iterable[CloudSection]) -> None:
    """Raise ConfigError for a section with the name of a cloud that was made by API."""
    for section in _doubles(connection, configured):
        raise ConfigError(_double(section), path=section.path, line=section.line)


def without_doubles(connection: Connection, configured: Sections) -> Sections:
    """The sections that may be used at a start: VMs may live on a cloud made by API, so it is the one that stays."""
    doubles = _doubles(connection, configured)
    for section in doubles:
        log.error("%s:%d: %s", section.path, section.line, _double(section))
    return tuple(section for section in configured if section not in doubles)


def _doubles(connection: Connection, configured: Iterable[CloudSection]) -> list[CloudSection]:
    made = definitions.all_definitions(connection)
    return [section for section in configured if section.cloud.name in made]


def _double(section: CloudSection) -> str:
    return (
        f"A cloud {section.cloud.name!r} was made by API, so this section is not used: "
        "give it another name, or delete that cloud first."
    )
