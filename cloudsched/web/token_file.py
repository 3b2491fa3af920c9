"""The first token: a file that only its owner can read, so that a new installation needs no setting up."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from pathlib import Path

from cloudsched.errors import ConfigError

_log = logging.getLogger("cloudscheduler.http")

SHORTEST_TOKEN = 16


def read_token(path: Path) -> str:
    """The token in a file, which is created with a new one, mode 0600, where there is none.

    Raises ConfigError for a file that cannot be read or written, is open to others, or holds no usable token.
    """
    try:
        if not path.exists():
            _create(path, secrets.token_urlsafe(32))
        mode = path.stat().st_mode
        token = path.read_text("ascii").strip()
    except OSError as ex:
        raise ConfigError(f"the token file cannot be used: {ex.strerror}", path=str(path)) from ex
    except UnicodeError:
        raise ConfigError("the token must be ASCII text", path=str(path)) from None
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError("others may read the token file; make it mode 0600", path=str(path))
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the token must be one word of at least {SHORTEST_TOKEN} characters; delete the file for a new one",
            path=str(path),
        )
    return token


def _create(path: Path, token: str) -> None:
    """Write the whole file under another name, then link it: whoever loses the race reads the winner's."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        if not path.exists():
            _link(draft, path)
    finally:
        draft.unlink()


def _link(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        _log.info("another process has just created %s", path)
