"""cloud_resources.conf: one section per cloud (PARITY 7.2).

v1 skipped sections with unknown options and stopped at others. Here every section becomes a cloud: an unknown option is
a warning, and what makes a cloud impossible becomes the reason why it is unusable, so that operators see it in every
listing. Only what leaves no sensible listing (a name that cannot be addressed, one name twice, a line that is no INI)
is an error.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

from cloudsched.config import ini
from cloudsched.config.cloud_kinds import CLOUD_KINDS, CLOUD_OPTIONS, UNLIMITED, CloudKind
from cloudsched.config.files import exists
from cloudsched.config.options import Global
from cloudsched.config.secrets import is_secret, masked
from cloudsched.errors import ConfigError
from cloudsched.model.clouds import Cloud

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HostSize:
    """What this host offers a local cloud."""

    cores: int
    memory_mb: int
    storage_gb: int


@dataclass(frozen=True, slots=True)
class CloudSection:
    """One configured cloud.

    `cloud.options` holds the options as written, in file order, without secrets and for showing; `settings` the same
    options for use by the adapter (`%(name)s` replaced), `secrets` the secret ones. `lines` are their line numbers.
    """

    cloud: Cloud
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    section: str = ""
    path: str = ""
    line: int = 0
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def options(self) -> Mapping[str, str]:
        """What `/cloud/config` shows: never a secret (PARITY 2.3, B-45)."""
        return self.cloud.options


def host_size(directory: Path) -> HostSize:
    """Measure this host: its cores for us, its memory, and the free space where `directory` is or will be."""
    place = next(each for each in (directory, *directory.parents) if exists(each))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return HostSize(len(os.sched_getaffinity(0)), memory // 2**20, shutil.disk_usage(place).free // 2**30)


def embedded_clouds(host: HostSize) -> tuple[CloudSection, ...]:
    """The default without any file: one enabled local cloud of the host's size (DESIGN 7)."""
    cloud = Cloud(
        name="local",
        cloud_type="local",
        network_address=CLOUD_KINDS["local"].fixed_address,
        vm_slots=host.cores,
        memory_mb=host.memory_mb,
        storage_gb=host.storage_gb,
        cpu_cores=host.cores,
        enabled=True,
    )
    return (CloudSection(cloud),)


def read_clouds(
    path: Path, settings: Global, host: HostSize, *, simulated: bool = False
) -> tuple[tuple[CloudSection, ...], tuple[str, ...]]:
    """The clouds of a resources file, in file order, and warnings; a reconfig calls this again.

    Where v1 did not start for want of an option, it gets: for a local cloud `vm_slots`, `memory`, `storage` and
    `cpu_cores` of the host, for others `memory` and `storage` UNLIMITED and `cpu_cores` -1, no limit. `simulated` kinds
    need no adapter. Raises ConfigError with file and line.
    """
    file = ini.read(path)
    _check_names(file)
    sections: list[CloudSection] = []
    warnings: list[str] = []
    for section in file.sections.values():
        reader = _SectionReader(file, section)
        cloud = _cloud(reader, settings, host, simulated)
        sections.append(reader.section_of(replace(cloud, position=len(sections))))
        warnings += reader.warnings()
    return tuple(sections), tuple(warnings)


def _check_names(file: ini.IniFile) -> None:
    seen: dict[str, ini.Section] = {}
    for section in file.sections.values():
        name = section.title.lower()
        if not name.strip() or name in (".", ".."):
            raise ConfigError(f"A cloud cannot be called {section.title!r}.", path=file.path, line=section.line)
        if name in seen:
            problem = f"Cloud {section.title!r} is the same as {seen[name].title!r} in line {seen[name].line}: " + (
                "names are compared without regard to case."
            )
            raise ConfigError(problem, path=file.path, line=section.line)
        seen[name] = section


class _SectionReader:
    """Reads typed options of one section and collects what is wrong with it."""

    def __init__(self, file: ini.IniFile, section: ini.Section) -> None:
        self.file, self.section = file, section
        self.entries = file.entries(section.title)
        self._problems: dict[str, str] = {}

    def text(self, option: str) -> str:
        """The option as the adapter gets it; a `%(name)s` that names nothing stays as written (B-45)."""
        try:
            return self.file.value(self.section.title, option)
        except ConfigError:
            return self.entries[option].raw

    def get(self, option: str, default: T) -> T:
        """The option's value, or the default where it is missing or wrong; a wrong one is a problem."""
        if option not in self.entries:
            return default
        kind, text = CLOUD_OPTIONS[option], self.text(option)
        try:
            return cast(T, kind.read(text))
        except ValueError:
            self._problems[option] = f"{option} = {text[:80]!r} must be {kind.accepts}"
            return default

    def problems(self) -> list[str]:
        """What is wrong with the options that we know, also with those that only an adapter reads."""
        for option in self.entries:
            if option in CLOUD_OPTIONS:
                self.get(option, None)
        return [self._problems[option] for option in self.entries if option in self._problems]

    def section_of(self, cloud: Cloud) -> CloudSection:
        secret = {option for option in self.entries if is_secret(option)}
        return CloudSection(
            cloud,
            settings={option: self.text(option) for option in self.entries if option not in secret},
            secrets={option: self.text(option) for option in self.entries if option in secret},
            section=self.section.title,
            path=self.file.path,
            line=self.section.line,
            lines={option: entry.line for option, entry in self.entries.items()},
        )

    def shown(self) -> dict[str, str]:
        return {option: masked(each.raw) for option, each in self.entries.items() if not is_secret(option)}

    def warnings(self) -> list[str]:
        unknown = [option for option in self.section.entries if option not in CLOUD_OPTIONS]
        return [
            f"{self.file.path}:{self.entries[option].line}: [{self.section.title}] {option} is not an option of clouds."
            for option in unknown
        ]


def _cloud(reader: _SectionReader, settings: Global, host: HostSize, simulated: bool) -> Cloud:
    cloud_type = reader.get("cloud_type", "")
    kind = CLOUD_KINDS.get(cloud_type.lower(), CloudKind())
    local = cloud_type.lower() == "local"
    cloud = Cloud(
        name=reader.section.title.lower(),
        cloud_type=cloud_type,
        network_address=masked(kind.fixed_address or reader.get(kind.address or "host", "")),
        vm_slots=reader.get("vm_slots", host.cores if local else 0),
        memory_mb=reader.get("memory", host.memory_mb if local else UNLIMITED),
        storage_gb=reader.get("storage", host.storage_gb if local else UNLIMITED),
        cpu_cores=reader.get("cpu_cores", host.cores if local else -1),
        max_vm_mem=reader.get("max_vm_mem", -1),
        network_pools=reader.get("networks", ()),
        priority=reader.get("priority", 0),
        keep_alive=min(reader.get("vm_keep_alive", 0), settings.max_keepalive),
        boot_timeout=reader.get("boot_timeout", settings.vm_start_running_timeout),
        connection_fail_disable_time=settings.connection_fail_disable_time,
        tenant=reader.get("tenant_name", None) if cloud_type.lower() == "openstacknative" else None,
        options=reader.shown(),
        enabled=reader.get("enabled", False),
    )
    problems = [*_kind_problems(cloud_type, reader, simulated), *reader.problems()]
    return replace(cloud, enabled=False, unusable="; ".join(problems)) if problems else cloud


def _kind_problems(cloud_type: str, reader: _SectionReader, simulated: bool) -> list[str]:
    kind = CLOUD_KINDS.get(cloud_type.lower())
    if kind is None:
        return [f"cloud_type {cloud_type or '(missing)'} is not known; available are {_available()}"]
    problems = []
    if not kind.built and not simulated:
        problems.append(f"cloud_type {cloud_type} has no adapter; available are {_available()}")
    missing = sorted(kind.required - reader.entries.keys())
    if missing:
        problems.append(f"missing: {', '.join(missing)}")
    if kind.alternatives and not any(each <= reader.entries.keys() for each in kind.alternatives):
        sets = (", ".join(sorted(each)) for each in kind.alternatives)
        problems.append(f"incomplete login; accepted are: {'; or '.join(sets)}")
    return problems


def _available() -> str:
    return ", ".join(sorted(name for name, each in CLOUD_KINDS.items() if each.built))
