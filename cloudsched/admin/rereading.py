"""What reading a file again would change, for previews and the guard: the file is read as the scheduler would.

The scheduler's own recording of a configuration is run on the state and taken back, so that both agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloudsched.config import Config
from cloudsched.config import limits as files
from cloudsched.config.clouds import host_size, read_clouds
from cloudsched.engine import acts, definitions, inventory
from cloudsched.errors import CloudschedError, ConfigError
from cloudsched.model.allowance import beyond
from cloudsched.model.clouds import Cloud, Origin
from cloudsched.model.wishes import Aspect
from cloudsched.store import Writing, clouds, limits, vms
from cloudsched.store.wishes import Foresight


def foresights(config: Config) -> Mapping[Aspect, Foresight]:
    """By the wish to read a file again: what that would change, as the fields of a Want that say so."""
    settings = config.global_
    return {
        Aspect.RECONFIG: _told(lambda writing: _clouds(writing, config)),
        Aspect.USER_LIMITS: _told(
            lambda writing: acts.changed(
                limits.read_user_limits(writing.connection),
                files.read_user_limits(_named(settings.user_limit_file, "user_limit_file")),
            )
        ),
        Aspect.CLOUD_ALIASES: _told(
            lambda writing: acts.changed(
                limits.read_cloud_aliases(writing.connection),
                files.read_cloud_aliases(_named(settings.target_cloud_alias_file, "target_cloud_alias_file")),
            )
        ),
    }


def _told(foresight: Foresight) -> Foresight:
    """The same, with the problem of a file that cannot be used."""

    def tell(writing: Writing) -> Mapping[str, Any]:
        try:
            return foresight(writing)
        except CloudschedError as ex:
            return {"problem": str(ex)}

    return tell


def _named(path: Path | None, option: str) -> Path:
    if path is None:
        raise ConfigError(f"No {option} is configured.")
    return path


def _clouds(writing: Writing, config: Config) -> Mapping[str, Any]:
    settings = config.global_
    if settings.cloud_resource_config is None:
        return {}
    sections, _ = read_clouds(settings.cloud_resource_config, settings, host_size(settings.state_dir))
    definitions.refuse_doubles(writing.connection, sections)
    before = clouds.all_clouds(writing.connection)
    by_api = [cloud for cloud in before if cloud.origin is Origin.API]
    present = {cloud.name: cloud for cloud in before}
    with _on_trial(writing) as trial:
        of_file = [_usable(each.cloud, present.get(each.cloud.name)) for each in sections]
        inventory.record_inventory(trial, [*of_file, *by_api])
        after = clouds.all_clouds(trial.connection)
        there = vms.all_vms(trial.connection)
    going = [vm for cloud in after for vm in beyond(cloud, [vm for vm in there if vm.cloud == cloud.name])]
    return {**acts.changed(_flat(before), _flat(after)), "drains": tuple(vm.uid for vm in going if not vm.released)}


def _usable(cloud: Cloud, present: Cloud | None) -> Cloud:
    """A cloud with the problem that only the scheduler knows of, which tries what the file names."""
    if present is None or cloud.unusable is not None or dict(cloud.options) != dict(present.options):
        return cloud
    return replace(cloud, unusable=present.unusable)


@contextmanager
def _on_trial(writing: Writing) -> Iterator[Writing]:
    """A transaction within the transaction, of which nothing stays."""
    nested = writing.connection.begin_nested()
    try:
        yield Writing(writing.connection, writing.index)
    finally:
        nested.rollback()


def _flat(found: Sequence[Cloud]) -> dict[str, Any]:
    return {f"{cloud.name} {name}": getattr(cloud, name) for cloud in found for name in inventory.COMPARED}
