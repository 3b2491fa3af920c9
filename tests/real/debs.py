"""Debian packages unpacked into a directory of their own: no root, nothing installed, dpkg's database untouched."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def absent(reason: str) -> None:
    """Skip with the reason; under CI a peer that cannot be had is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def unpacked(directory: Path, packages: Sequence[str]) -> Path:
    """The packages' files below `directory`, fetched by the host's apt sources; made once, also for parallel tests."""
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        absent("apt-get and dpkg-deb are not there: this is no Debian")
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = directory / "root"
        if not (directory / "ready").exists():
            try:
                _fetch(directory, packages)
            except subprocess.CalledProcessError as ex:
                lines = (ex.stderr or ex.stdout or b"").decode(errors="replace").strip().splitlines()
                absent(f"{', '.join(packages)}: {lines[-1] if lines else ex}")
            for deb in sorted(directory.glob("*.deb")):
                subprocess.run(["dpkg-deb", "-x", deb, root], check=True, capture_output=True)
            (directory / "ready").touch()
    return root


def _fetch(directory: Path, packages: Sequence[str]) -> None:
    """Download into the directory with apt's own state there, so that an empty one is as good as the host's."""
    state = directory / "apt"
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    settings = {
        "Dir::State::Lists": state / "lists",
        "Dir::State::Status": state / "status",
        "Dir::Cache": state,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    for command in (["update"], ["download", *packages]):
        subprocess.run(["apt-get", "-qq", *options, *command], cwd=directory, check=True, capture_output=True)
