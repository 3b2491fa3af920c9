"""The information daemon's application over a real store with the golden state in it."""

from __future__ import annotations

import time
from pathlib import Path

from databases import open_store
from golden_state import golden, load
from wsgi import Client

from cloudsched.config import Config
from cloudsched.config.options import Global
from cloudsched.info import create_app
from cloudsched.store import Store


def golden_client(directory: Path, **options: object) -> tuple[Client, Store]:
    """A client of the application, which reads only, and the engine's store behind it."""
    store = open_store(directory)
    load(store, time.time())
    resources = directory / "cloud_resources.conf"
    resources.write_text(golden().ini)
    settings = Global(**{"state_dir": directory, "cloud_resource_config": resources} | options)  # type: ignore[arg-type]
    return Client(create_app(open_store(directory, read_only=True), Config(global_=settings))), store
