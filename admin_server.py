"""The admin daemon as a command: configuration, state, application, service."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cloudsched import __version__, logs
from cloudsched.admin import create_app, waiting_room
from cloudsched.config import find, load
from cloudsched.errors import CloudschedError
from cloudsched.store import Store
from cloudsched.web.serve import Endpoint, serve


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit status."""
    options = _parser().parse_args(argv)
    given = {"admin_server_port": options.port, "admin_listen": options.listen}
    overrides = {("global", name): text for name, text in given.items() if text is not None}
    try:
        config = load(overrides, os.environ, options.config_file or find(os.environ))
        logs.set_up(config.logging, stderr=True)
        settings = config.global_
        store = Store.open(settings.database_url, settings.state_dir)
        waiting = waiting_room(store, config)
        endpoint = Endpoint(
            settings.admin_listen, settings.admin_server_port, settings.threads, with_parent=options.exit_with_parent
        )
        serve(create_app(store, config, waiting), endpoint, ready=_say_ready, stopping=waiting.close)
        store.close()
    except CloudschedError as ex:
        sys.stderr.write(f"admin_server: {ex}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("admin_server", description="Take operators' verbs for the scheduler over HTTP.")
    parser.add_argument("-f", "--config-file", type=Path, metavar="FILE", help="the main configuration file")
    parser.add_argument("--port", help="the port, instead of admin_server_port (8112); 0 for any free one")
    parser.add_argument("--listen", metavar="ADDRESS", help="an address or unix:PATH, instead of admin_listen")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    parser.add_argument("--version", action="version", version=f"Cloud Scheduler {__version__}")
    return parser


def _say_ready(url: str) -> None:
    sys.stdout.write(f"Listening on {url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
