"""Large states that several figures are taken on: made once in a run, gone with it."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.bench.busy import Busy, lines
from tests.bench.fleet import loaded


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cloudsched-bench-")


@cache
def shared(size: Busy) -> Path:
    """The home of a fleet at work, to be read only."""
    home = Path(_directory().name) / f"{size.vms}-{size.idle}-{size.shapes}"
    loaded(home, lines(size))
    return home


def copied(size: Busy, place: Path) -> Path:
    """The state of a fleet at work, to be changed."""
    return Path(shutil.copytree(shared(size) / "state", place))
