"""What `cloud_scheduler config` prints: every resolved value with its source, secrets masked (DESIGN 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudsched.config.cloud_kinds import CLOUD_OPTIONS
from cloudsched.config.clouds import CloudSection
from cloudsched.config.kinds import TEXT, written
from cloudsched.config.load import DEFAULT, Config
from cloudsched.config.options import OPTIONS, SECTIONS
from cloudsched.config.secrets import MASK, masked
from cloudsched.model.clouds import Cloud

_RESOLVED: Mapping[str, Callable[[Cloud], Any]] = {
    "cloud_type": lambda cloud: cloud.cloud_type,
    "enabled": lambda cloud: cloud.enabled,
    "vm_slots": lambda cloud: cloud.vm_slots,
    "memory": lambda cloud: cloud.memory_mb,
    "storage": lambda cloud: cloud.storage_gb,
    "cpu_cores": lambda cloud: cloud.cpu_cores,
    "max_vm_mem": lambda cloud: cloud.max_vm_mem,
    "networks": lambda cloud: cloud.network_pools,
    "priority": lambda cloud: cloud.priority,
    "vm_keep_alive": lambda cloud: cloud.keep_alive,
    "boot_timeout": lambda cloud: cloud.boot_timeout,
}


@dataclass(frozen=True, slots=True)
class _Row:
    section: str
    option: str
    value: Any
    text: str
    source: str


def show(config: Config) -> str:
    """One line per value, `[section] option = value    (source)`, the sources aligned."""
    lines = [(f"[{row.section}] {row.option} = {_printable(row.text)}", row.source) for row in _rows(config)]
    width = min(max(len(line) for line, _ in lines), 60)
    return "".join(f"{line:{width}}    ({source})\n" for line, source in lines)


def document(config: Config) -> dict[str, Any]:
    """The same as a JSON document: section to option to `value` and `source`; clouds under `clouds` by name.

    Values are in the units of the options.
    """
    sections: dict[str, Any] = {section: {} for section in SECTIONS}
    for row in _settings(config):
        sections[row.section][row.option] = {"value": row.value, "source": row.source}
    clouds: dict[str, Any] = {}
    for each in config.clouds:
        rows = {row.option: {"value": row.value, "source": row.source} for row in _cloud(each)}
        clouds[each.cloud.name] = rows
    return {**sections, "clouds": clouds, "warnings": list(config.warnings)}


def _rows(config: Config) -> Iterator[_Row]:
    yield from _settings(config)
    for section in config.clouds:
        yield from _cloud(section)


def _settings(config: Config) -> Iterator[_Row]:
    held = {"global": config.global_, "job": config.job, "logging": config.logging}
    for (section, name), option in OPTIONS.items():
        value = getattr(held[section], name)
        source = config.sources.get((section, name), DEFAULT)
        text = masked(written(option.kind, value))
        yield _Row(section, name, _plain(value, text, option.kind.seconds), text, source)


def _cloud(section: CloudSection) -> Iterator[_Row]:
    title = f"cloud {section.cloud.name}"
    for name in dict.fromkeys((*section.lines, *_RESOLVED)):
        source = f"{section.path}:{section.lines[name]}" if name in section.lines else DEFAULT
        kind = CLOUD_OPTIONS.get(name, TEXT)
        if name in section.secrets:
            yield _Row(title, name, MASK, MASK, source)
        elif name in _RESOLVED:
            value = _RESOLVED[name](section.cloud)
            text = written(kind, value)
            yield _Row(title, name, _plain(value, text, kind.seconds), text, source)
        else:
            text = section.options[name]
            yield _Row(title, name, text, text, source)
    if section.cloud.unusable:
        place = f"{section.path}:{section.line}"
        yield _Row(title, "unusable", section.cloud.unusable, section.cloud.unusable, place)


def _plain(value: Any, text: str, seconds: int) -> Any:
    """The value in JSON's types."""
    match value:
        case str() | Path():
            return text
        case tuple():
            return list(value)
        case Mapping():
            return dict(value)
        case bool() | None | float():
            return value
        case _:
            return value // seconds


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text) or '""'
