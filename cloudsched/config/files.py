"""Which file is read, and its text; every failure is a ConfigError that names it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cloudsched.errors import ConfigError

MAIN = "cloud_scheduler.conf"
STATUS = "cloud_scheduler_status.conf"
_DIRECTORIES = (Path("~/.cloudscheduler"), Path("/etc/cloudscheduler"), Path("/usr/local/share/cloud-scheduler"))


def expand(path: Path, env: Mapping[str, str]) -> Path:
    """The path made absolute, with `~` replaced by HOME. Raises ConfigError for an unknown `~user`."""
    try:
        if path.parts[:1] == ("~",):
            path = Path(env.get("HOME") or Path.home()).joinpath(*path.parts[1:])
        return path.expanduser().absolute()
    except RuntimeError as ex:
        raise ConfigError(f"The path {path} has no home directory: there is no such user, or HOME is not set.") from ex


def find(env: Mapping[str, str], name: str = MAIN) -> Path | None:
    """The first of v1's places that has the file, or None (PARITY 4.2, 4.3)."""
    places = (expand(directory / name, env) for directory in _DIRECTORIES)
    return next((place for place in places if exists(place)), None)


def exists(path: Path) -> bool:
    """Whether the path is there, as far as we may know."""
    try:
        return path.exists()
    except OSError:
        return False


def read_text(path: Path, *, errors: str = "strict") -> str:
    """The text of a UTF-8 file, without a byte order mark. Raises ConfigError."""
    try:
        return path.read_bytes().decode("utf-8-sig", errors)
    except OSError as ex:
        raise ConfigError(f"This file cannot be read: {ex.strerror}.", path=str(path)) from ex
    except UnicodeDecodeError as ex:
        line = ex.object.count(b"\n", 0, ex.start) + 1
        raise ConfigError("This is not UTF-8 text.", path=str(path), line=line) from ex
