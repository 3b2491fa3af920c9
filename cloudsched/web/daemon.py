"""A daemon as a command, the same for both: options, configuration, log, service, exit status."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudsched import __version__, logs
from cloudsched.config import Config, find, load
from cloudsched.errors import CloudschedError, StateError
from cloudsched.store import Store, limits
from cloudsched.web.app import WSGIApp
from cloudsched.web.listening import Rights
from cloudsched.web.serve import Endpoint, serve

LEVEL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """`kind` is admin or info, as in its options; `make` builds what it serves. May raise our errors."""

    kind: str
    description: str
    make: Callable[[Config], Service]


@dataclass(frozen=True, slots=True)
class Service:
    """An application, the state it serves, and what to do when its service begins to stop."""

    app: WSGIApp
    store: Store
    stopping: Callable[[], None] = lambda: None


def run(daemon: Daemon, argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit status: 0, or 1 with a sentence on standard error."""
    options = parser(daemon).parse_args(argv)
    given = {f"{daemon.kind}_server_port": options.port, f"{daemon.kind}_listen": options.listen}
    overrides = {("global", name): text for name, text in given.items() if text is not None}
    try:
        config = load(overrides, os.environ, options.config_file or find(os.environ))
        logs.set_up(config.logging, config.global_.log_dir, f"{daemon.kind}_server")
        service = daemon.make(config)
        threading.Thread(target=follow_level, args=(service.store,), name="log-level", daemon=True).start()
        serve(service.app, _endpoint(daemon, config, options.exit_with_parent), _say_ready, service.stopping)
    except CloudschedError as ex:
        sys.stderr.write(f"{daemon.kind}_server: {ex}\n")
        return 1
    return 0


def follow_level(store: Store, stop: threading.Event | None = None) -> None:
    """Keep this process's log level the one in force in the state, until `stop` is set.

    So a level asked for by a verb reaches all three processes, this one within LEVEL_SECONDS.
    """
    stop, seen = stop or threading.Event(), None
    while True:
        with contextlib.suppress(StateError):
            level = limits.setting(store, "log_level")
            if level and level != seen:
                logs.set_level(str(level))
                seen = level
        if stop.wait(LEVEL_SECONDS):
            return


def _endpoint(daemon: Daemon, config: Config, with_parent: bool) -> Endpoint:
    settings = config.global_
    listen, port = getattr(settings, f"{daemon.kind}_listen"), getattr(settings, f"{daemon.kind}_server_port")
    rights = Rights(*(getattr(settings, f"{daemon.kind}_socket_{each}") for each in ("mode", "owner", "group")))
    return Endpoint(listen, port, settings.threads, settings.waitress_tuning, with_parent, rights)


def parser(daemon: Daemon) -> argparse.ArgumentParser:
    """The command line of a daemon."""
    kind = daemon.kind
    found = argparse.ArgumentParser(f"{kind}_server", description=daemon.description)
    found.add_argument("-f", "--config-file", type=Path, metavar="FILE", help="the main configuration file")
    found.add_argument("--port", help=f"the port, instead of {kind}_server_port; 0 for any free one")
    found.add_argument("--listen", metavar="ADDRESS", help=f"an address or unix:PATH, instead of {kind}_listen")
    found.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    found.add_argument("--version", action="version", version=f"Cloud Scheduler {__version__}")
    return found


def _say_ready(url: str) -> None:
    # Whoever started us may have been killed meanwhile; not through sys.stdout, which would try again at our end.
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), f"Listening on {url}\n".encode())
