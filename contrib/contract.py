"""The contract as JSON, made from the YAML that is kept by hand: part of every build and of `make install`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def build() -> None:
    """Write the JSON of both documents into the package, where it is not there yet as it should be."""
    # A build runs this without the project on its path.
    sys.path.insert(0, str(ROOT))
    from cloudsched import openapi

    for daemon in openapi.DAEMONS:
        _write(ROOT / "cloudsched" / "openapi" / f"{daemon}.json", json.dumps(yaml.safe_load(openapi.as_yaml(daemon))))


def _write(path: Path, text: str) -> None:
    """All or nothing, as somebody may be reading."""
    if path.exists() and path.read_text("utf-8") == text:
        return
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)


if __name__ == "__main__":
    build()
