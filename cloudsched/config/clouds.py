"""cloud_resources.conf: one section per cloud (PARITY 7.2).

v1 skipped sections with unknown options and stopped at others. Here every section becomes a cloud: an unknown option is
a warning, and what makes a cloud impossible becomes the reason why it is unusable, so that operators see it in every
listing. Only what leaves no sensible listing (a name that cannot be addressed, one name twice, a line that is no INI)
is an error.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

from cloudsched.config import ini
from cloudsched.config.cloud_kinds import CLOUD_KINDS, CLOUD_OPTIONS, UNLIMITED, CloudKind
from cloudsched.config.complaints import Complaint, error, errors, warning
from cloudsched.config.files import exists
from cloudsched.config.kinds import TEXT
from cloudsched.config.load import Config
from cloudsched.config.options import Global
from cloudsched.config.secrets import is_secret, masked
from cloudsched.errors import ConfigError
from cloudsched.model.clouds import Cloud

T = TypeVar("T")


class NoCloudSource(ConfigError):
    """A configuration file names no clouds; the text is v1's, which help follows (PARITY 4.4)."""

    def __init__(self) -> None:
        super().__init__("ERROR - main - No cloud or cluster information sources provided")


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


def with_clouds(config: Config, host: HostSize | None = None, *, simulated: bool = False) -> Config:
    """The configuration with its clouds, read from `cloud_resource_config`; `host` is measured unless given.

    Without any file it is the embedded default. Raises NoCloudSource where a file names no clouds, and ConfigError.
    """
    host = host or host_size(config.global_.state_dir)
    if config.global_.cloud_resource_config:
        clouds, warnings = read_clouds(config.global_.cloud_resource_config, config.global_, host, simulated=simulated)
        return replace(config, clouds=clouds, warnings=(*config.warnings, *warnings))
    if config.path:
        raise NoCloudSource
    return replace(config, clouds=embedded_clouds(host))


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
        reader = _of_file(file, section)
        cloud = _cloud(reader, settings, host, simulated)
        lines = {option: entry.line for option, entry in file.entries(section.title).items()}
        found = reader.section_of(replace(cloud, position=len(sections)))
        sections.append(replace(found, section=section.title, path=file.path, line=section.line, lines=lines))
        warnings += [
            f"{file.path}:{lines[option]}: [{section.title}] {option} is not an option of clouds."
            for option in section.entries
            if option not in CLOUD_OPTIONS
        ]
    return tuple(sections), tuple(warnings)


def read_options(
    name: str, options: Mapping[str, str], settings: Global, host: HostSize, *, simulated: bool = False
) -> tuple[CloudSection, tuple[Complaint, ...]]:
    """A cloud of options that come from no file, and all that is wrong with it; with an error it is unusable."""
    reader = _Reader(name, options, options.__getitem__)
    cloud = _cloud(reader, settings, host, simulated)
    strange = [
        error("unknown-option", option, f"{option} is not an option of clouds.")
        for option in options
        if option not in CLOUD_OPTIONS
    ]
    sentences = (replace(each, problem=f"{each.problem.rstrip('.')}.") for each in reader.complaints)
    return replace(reader.section_of(cloud), section=name), (*sentences, *strange)


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


def _of_file(file: ini.IniFile, section: ini.Section) -> _Reader:
    raw = {option: entry.raw for option, entry in file.entries(section.title).items()}

    def text(option: str) -> str:
        """The option as the adapter gets it; a `%(name)s` that names nothing stays as written (B-45)."""
        try:
            return file.value(section.title, option)
        except ConfigError:
            return raw[option]

    return _Reader(section.title, raw, text)


class _Reader:
    """Reads typed options of one cloud and collects what is wrong with it.

    `raw` holds the options as written, `text` gives one as the adapter gets it.
    """

    def __init__(self, title: str, raw: Mapping[str, str], text: Callable[[str], str]) -> None:
        self.title, self.raw, self.text = title, raw, text
        self.complaints: list[Complaint] = []

    def check(self) -> None:
        """Complain of every option whose text is wrong, also of those that only an adapter reads."""
        for option in self.raw:
            kind, text = CLOUD_OPTIONS.get(option, TEXT), self.text(option)
            try:
                kind.read(text)
            except ValueError:
                problem = f"{option} = {masked(text[:80])!r} must be {kind.accepts}"
                self.complaints.append(error("bad-value", option, problem))

    def get(self, option: str, default: T) -> T:
        """The option's value, or the default where it is missing or wrong."""
        if option not in self.raw:
            return default
        try:
            return cast(T, CLOUD_OPTIONS[option].read(self.text(option)))
        except ValueError:
            return default

    def section_of(self, cloud: Cloud) -> CloudSection:
        return CloudSection(
            cloud,
            settings={option: self.text(option) for option in self.raw if not is_secret(option)},
            secrets={option: self.text(option) for option in self.raw if is_secret(option)},
        )

    def shown(self) -> dict[str, str]:
        return {option: masked(text) for option, text in self.raw.items() if not is_secret(option)}


def _cloud(reader: _Reader, settings: Global, host: HostSize, simulated: bool) -> Cloud:
    reader.check()
    cloud_type = reader.get("cloud_type", "")
    kind = CLOUD_KINDS.get(cloud_type.lower(), CloudKind())
    local = cloud_type.lower() == "local"
    cloud = Cloud(
        name=reader.title.lower(),
        cloud_type=cloud_type,
        network_address=masked(kind.fixed_address or reader.get(kind.address or "host", "")),
        vm_slots=reader.get("vm_slots", host.cores if local else 0),
        memory_mb=reader.get("memory", host.memory_mb if local else UNLIMITED),
        storage_gb=reader.get("storage", host.storage_gb if local else UNLIMITED),
        cpu_cores=reader.get("cpu_cores", host.cores if local else -1),
        max_vm_mem=reader.get("max_vm_mem", -1),
        network_pools=reader.get("networks", ()),
        priority=reader.get("priority", 0),
        keep_alive=_keep_alive(reader, settings),
        boot_timeout=reader.get("boot_timeout", settings.vm_start_running_timeout),
        connection_fail_disable_time=settings.connection_fail_disable_time,
        tenant=reader.get("tenant_name", None) if cloud_type.lower() == "openstacknative" else None,
        options=reader.shown(),
        enabled=reader.get("enabled", False),
    )
    reader.complaints[:0] = _kind_complaints(cloud_type, reader.raw, simulated)
    problem = _summary(errors(reader.complaints))
    return replace(cloud, enabled=False, unusable=problem) if problem else cloud


def _keep_alive(reader: _Reader, settings: Global) -> int:
    seconds: int = reader.get("vm_keep_alive", 0)
    if seconds > settings.max_keepalive:
        problem = f"vm_keep_alive is longer than max_keepalive and counts as {settings.max_keepalive // 60} minutes."
        reader.complaints.append(warning("reduced", "vm_keep_alive", problem))
    return min(seconds, settings.max_keepalive)


def _kind_complaints(cloud_type: str, given: Mapping[str, str], simulated: bool) -> list[Complaint]:
    kind = CLOUD_KINDS.get(cloud_type.lower())
    if kind is None:
        problem = f"cloud_type {cloud_type or '(missing)'} is not known; available are {_available()}"
        return [error("unknown-kind", "cloud_type", problem)]
    found = []
    if not kind.built and not simulated:
        problem = f"cloud_type {cloud_type} has no adapter; available are {_available()}"
        found.append(error("no-adapter", "cloud_type", problem))
    found += [error(_MISSING, option, f"{option} is missing") for option in sorted(kind.required - given.keys())]
    if kind.alternatives and not any(each <= given.keys() for each in kind.alternatives):
        sets = (", ".join(sorted(each)) for each in kind.alternatives)
        problem = f"incomplete login; accepted are: {'; or '.join(sets)}"
        found.append(error("incomplete-login", _lacking(kind, given), problem))
    return found


_MISSING = "missing-option"


def _lacking(kind: CloudKind, given: Mapping[str, str]) -> str:
    """The first option that the login lacks of which most is there."""
    nearest = max(kind.alternatives, key=lambda each: (len(each & given.keys()), -len(each)))
    return min(nearest - given.keys())


def _summary(found: Sequence[Complaint]) -> str:
    """Why a cloud cannot be used, in one line; empty where nothing stands against it."""
    missing = ", ".join(each.field for each in found if each.code == _MISSING)
    texts = (f"missing: {missing}" if each.code == _MISSING else each.problem for each in found)
    return "; ".join(dict.fromkeys(texts))


def _available() -> str:
    return ", ".join(sorted(name for name, each in CLOUD_KINDS.items() if each.built))
