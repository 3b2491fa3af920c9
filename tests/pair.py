"""Both daemons over one state, on real sockets in this process, for tests of clients.

No engine runs: a thread settles each wish as an engine would that always succeeds (no proxy is ever renewed).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import databases
import golden_state
from waitress import wasyncore
from waitress.server import create_server

import cloudsched.admin.app
import cloudsched.info.app
from cloudsched.config import Config
from cloudsched.config.clouds import with_clouds
from cloudsched.config.load import load
from cloudsched.model.wishes import Aspect, OutcomeState, Wish
from cloudsched.store import Store, limits, operations, place
from cloudsched.web.app import WSGIApp


@dataclass(frozen=True)
class Pair:
    """Where the two daemons listen on 127.0.0.1, and the state they share."""

    info_port: str
    admin_port: str
    config: Config
    store: Store


@contextmanager
def serving(directory: Path, options: Mapping[str, str], *, settles: bool = True) -> Iterator[Pair]:
    """Serve the recorded state of the original until the block ends; `options` are of `[global]`.

    Unless it `settles` wishes, the engine's place is held by somebody who does nothing.
    """
    resources = directory / "cloud_resources.conf"
    resources.write_text(golden_state.golden().ini)
    overrides = {"state_dir": str(directory / "state"), "cloud_resource_config": str(resources), **options}
    overrides |= databases.options(directory / "state")
    config = with_clouds(load({("global", name): value for name, value in overrides.items()}, {}), simulated=True)
    with ExitStack() as stack:
        store = stack.enter_context(closing(Store.open(config.global_.database_url, config.global_.state_dir)))
        golden_state.load(store, int(time.time()))
        stack.enter_context(closing(place.hold(store)))
        if settles:
            stack.enter_context(_settling(store))
        waiting = stack.enter_context(closing(cloudsched.admin.app.waiting_room(store, config)))
        admin = stack.enter_context(_served(cloudsched.admin.app.create_app(store, config, waiting)))
        info = stack.enter_context(_served(cloudsched.info.app.create_app(store, config)))
        yield Pair(info, admin, config, store)


@contextmanager
def _served(app: WSGIApp) -> Iterator[str]:
    channels: dict[int, Any] = {}
    server = create_server(app, map=channels, host="127.0.0.1", port=0)
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            wasyncore.loop(timeout=0.1, map=channels, count=1)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield str(server.effective_port)
    finally:
        stop.set()
        thread.join()
        server.task_dispatcher.shutdown()
        wasyncore.close_all(channels)


@contextmanager
def _settling(store: Store) -> Iterator[None]:
    stop = threading.Event()

    def settle() -> None:
        while not stop.wait(0.02):
            with store.reading() as connection:
                wishes = operations.unsettled(connection)
            if wishes:
                operations.settle(store, [_end(store, wish) for wish in wishes])

    thread = threading.Thread(target=settle)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _end(store: Store, wish: Wish) -> tuple[int, OutcomeState, dict[str, Any]]:
    if wish.aspect in (Aspect.JOB_PROXY, Aspect.VM_PROXY):
        return wish.id, OutcomeState.FAILED, {"error": "There is no proxy to refresh."}
    loaded = {Aspect.USER_LIMITS: limits.user_limits, Aspect.CLOUD_ALIASES: limits.cloud_aliases}.get(wish.aspect)
    return wish.id, OutcomeState.DONE, {"loaded": len(loaded(store))} if loaded else {}
