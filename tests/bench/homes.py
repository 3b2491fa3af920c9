"""States that several figures are taken on: made once in a run, copied for who changes them, gone with the run."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.bench import busy, fleet


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cloudsched-bench-")


@cache
def shared(size: fleet.Size | busy.Busy) -> Path:
    """The home of a fleet, to be read only."""
    name = "-".join(str(getattr(size, each)) for each in size.__slots__)
    home = Path(_directory().name) / f"{type(size).__name__}-{name}"
    fleet.loaded(home, busy.lines(size) if isinstance(size, busy.Busy) else fleet.lines(size))
    return home


def copied(size: fleet.Size | busy.Busy, home: Path) -> Path:
    """A home of one's own, to be changed; returns its state directory."""
    return Path(shutil.copytree(shared(size), home)) / "state"
