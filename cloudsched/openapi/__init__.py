"""The contract: one OpenAPI 3.1 document per daemon, kept by hand as YAML beside this file.

A document is its daemon's file and after it the PARTS, as text, so that what both daemons share is written once and
what is served refers to nothing outside itself. The build makes the JSON (contrib/contract.py); nothing here reads
YAML.
"""

from __future__ import annotations

from importlib.resources import files

DAEMONS = ("admin", "info")
PARTS = ("paths.yaml", "components.yaml", "schemas.yaml")


def as_yaml(daemon: str) -> str:
    """The document of `admin` or `info`, as it is kept."""
    here = files(__name__)
    return "".join(here.joinpath(name).read_text("utf-8") for name in (f"{daemon}.yaml", *PARTS))


def as_json(daemon: str) -> bytes:
    """The same as JSON, as the build has made it."""
    return files(__name__).joinpath(f"{daemon}.json").read_bytes()
