"""From command line, environment and file to one frozen Config (DESIGN 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudsched.config import ini
from cloudsched.config.files import expand
from cloudsched.config.kinds import is_loopback
from cloudsched.config.options import OPTIONS, RAW, SECTIONS, Fate, Global, JobDefaults, Logging, Option
from cloudsched.errors import ConfigError

if TYPE_CHECKING:
    from cloudsched.config.clouds import CloudSection

DEFAULT = "default"
COMMAND_LINE = "command line"
_ENVIRONMENT = "CLOUDSCHED_"


@dataclass(frozen=True)
class Config:
    """Everything configured. `sources` says of each (section, option) where its value came from."""

    global_: Global
    job: JobDefaults = field(default_factory=JobDefaults)
    logging: Logging = field(default_factory=Logging)
    clouds: tuple[CloudSection, ...] = ()
    sources: Mapping[tuple[str, str], str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class _Given:
    """An option's text, and the place that gave it."""

    text: str
    place: str
    line: int = 0

    @property
    def source(self) -> str:
        return f"{self.place}:{self.line}" if self.line else self.place


def load(overrides: Mapping[tuple[str, str], str], env: Mapping[str, str], path: Path | None = None) -> Config:
    """Resolve every option: command line over environment over file over default; `clouds` stay empty.

    `overrides` are the texts of the command line by (section, option). `path` is the file named by `-f` or what
    `files.find` found, None for no file; one that cannot be read is an error (v1's cloud_status takes the defaults
    then: its client passes None). Clients call only this; the scheduler adds `with_clouds`. Raises ConfigError naming
    file, line, option and what is accepted.
    """
    file = ini.read(expand(path, env)) if path else ini.IniFile()
    given = {key: each for key in OPTIONS if (each := _given(key, overrides, env, file))}
    values = {section: _values(section, given, env) for section in SECTIONS}
    sources = {key: given[key].source if key in given else DEFAULT for key in OPTIONS}
    _settle_state_dir(values["global"], sources, env)
    _settle_batch_system(values["global"], sources, file)
    config = Config(
        Global(**values["global"]),
        JobDefaults(**values["job"]),
        Logging(**values["logging"]),
        sources=sources,
        warnings=(*_unknown(env, file), *_ignored(given), *_contradictions(values, sources)),
        path=Path(file.path) if path else None,
    )
    _check_listeners(config, given)
    return config


def _variable(key: tuple[str, str]) -> str:
    return f"{_ENVIRONMENT}{key[0]}_{key[1]}".upper()


def _given(
    key: tuple[str, str], overrides: Mapping[tuple[str, str], str], env: Mapping[str, str], file: ini.IniFile
) -> _Given | None:
    if key in overrides:
        return _Given(overrides[key], COMMAND_LINE)
    if (variable := _variable(key)) in env:
        return _Given(env[variable], variable)
    if entry := file.entries(key[0]).get(key[1]):
        return _Given(entry.raw if key in RAW else file.value(*key), file.path, entry.line)
    return None


def _values(section: str, given: Mapping[tuple[str, str], _Given], env: Mapping[str, str]) -> dict[str, Any]:
    values = {key[1]: _read(OPTIONS[key], each) for key, each in given.items() if key[0] == section}
    return {name: expand(value, env) if isinstance(value, Path) else value for name, value in values.items()}


def _read(option: Option, given: _Given) -> Any:
    try:
        return option.kind.read(given.text)
    except ValueError as ex:
        hint = " (indented lines continue the value above them)" if "\n" in given.text else ""
        problem = f"[{option.section}] {option.name} = {given.text[:80]!r}: it must be {option.kind.accepts}{hint}."
        raise ConfigError(problem, path=given.place, line=given.line) from ex


def _settle_state_dir(values: dict[str, Any], sources: dict[tuple[str, str], str], env: Mapping[str, str]) -> None:
    if "state_dir" in values:
        return
    home = Path(env.get("XDG_STATE_HOME", ""))
    values["state_dir"] = home / "cloudsched" if home.is_absolute() else expand(Global.state_dir, env)
    if home.is_absolute():
        sources["global", "state_dir"] = "XDG_STATE_HOME"


def _settle_batch_system(values: dict[str, Any], sources: dict[tuple[str, str], str], file: ini.IniFile) -> None:
    condor = [(name, entry.line) for name, entry in file.entries("global").items() if name.startswith("condor_")]
    if "batch_system" not in values and condor:
        values["batch_system"] = "htcondor"
        sources["global", "batch_system"] = f"{condor[0][0]} in {file.path}:{condor[0][1]}"


def _unknown(env: Mapping[str, str], file: ini.IniFile) -> list[str]:
    """Warnings about sections, options and variables that nothing reads."""
    warnings = []
    for section in file.sections.values():
        if section.title not in SECTIONS:
            warnings.append(f"{file.path}:{section.line}: [{section.title}] is not one of [global], [job], [logging].")
            continue
        unknown = [name for name in section.entries if (section.title, name) not in OPTIONS]
        warnings += [
            f"{file.path}:{section.entries[name].line}: [{section.title}] {name} is not an option." for name in unknown
        ]
    prefixes = tuple(f"{_ENVIRONMENT}{section}_".upper() for section in SECTIONS)
    strange = {name for name in env if name.startswith(prefixes)} - {_variable(key) for key in OPTIONS}
    return warnings + [f"{name}: there is no such option." for name in sorted(strange)]


def _ignored(given: Mapping[tuple[str, str], _Given]) -> list[str]:
    return [
        f"{each.source}: [{key[0]}] {key[1]} is ignored: {OPTIONS[key].why}"
        for key, each in given.items()
        if OPTIONS[key].fate is Fate.IGNORED
    ]


def _contradictions(values: Mapping[str, Any], sources: Mapping[tuple[str, str], str]) -> list[str]:
    """Warnings about options that are right each and at odds with each other."""
    if values["logging"].get("admin_log_comments") and values["global"].get("admin_auth") == "none":
        return [
            f"{sources['logging', 'admin_log_comments']}: [logging] admin_log_comments demands a reason for every verb,"
            " and v1's own clients, for which admin_auth = none is meant, send none: all their verbs will be refused."
            " Set CLOUDSCHED_LOGGING_ADMIN_LOG_COMMENTS=no for the daemons if they are used."
        ]
    return []


def _check_listeners(config: Config, given: Mapping[tuple[str, str], _Given]) -> None:
    settings = config.global_
    for daemon, listen, auth in (
        ("admin", settings.admin_listen, settings.admin_auth),
        ("info", settings.info_listen, settings.info_auth),
    ):
        if auth == "none" and not is_loopback(listen) and not settings.open_beyond_loopback:
            place = given["global", f"{daemon}_listen"]
            problem = (
                f"[global] {daemon}_listen = {listen} is open to other machines while {daemon}_auth = none: "
                f"set {daemon}_auth = token, or open_beyond_loopback = yes beside it."
            )
            raise ConfigError(problem, path=place.place, line=place.line)
