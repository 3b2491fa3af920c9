"""The admin daemon's real application on a real state, with something in the engine's place that settles wishes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import databases
import golden_state
from wsgi import Client

from cloudsched.admin import create_app
from cloudsched.config import Config, Global
from cloudsched.model.wishes import Aspect, OutcomeState, Wish
from cloudsched.store import Store, limits, operations, place
from cloudsched.store.watch import Watch
from cloudsched.web.token_file import read_token

Ending = tuple[OutcomeState, dict[str, Any]]
Decide = Callable[[Wish], Ending]

DONE: Ending = (OutcomeState.DONE, {})
JSON = {"Accept": "application/json"}
TIMEOUT_SECONDS = 300.0


def failed(error: str) -> Ending:
    """An ending of the sort the engine records for a failure."""
    return OutcomeState.FAILED, {"error": error}


@dataclass
class Bench:
    """`client` speaks to the daemon; `endings` decide by aspect what becomes of wishes, `seen` keeps them."""

    store: Store
    client: Client
    endings: dict[str, Ending] = field(default_factory=dict)
    seen: list[Wish] = field(default_factory=list)

    def settle(self) -> None:
        with self.store.reading() as connection:
            wishes = operations.unsettled(connection)
        self.seen += wishes
        with self.store.writing() as writing:
            for wish in wishes:
                if wish.aspect is Aspect.QUICK_EXIT:
                    limits.record_setting(writing, wish.aspect, wish.value)
        operations.settle(self.store, [(wish.id, *self.endings.get(wish.aspect, DONE)) for wish in wishes])

    def asked(self) -> list[tuple[str, str, str, Any]]:
        """What the engine was asked: kind, name, aspect, value."""
        return [(wish.kind, wish.name, wish.aspect.value, wish.value) for wish in self.seen]


def make_store(tmp_path: Path) -> Store:
    """A store holding the golden state."""
    store = databases.open_store(tmp_path)
    golden_state.load(store)
    return store


def make_config(tmp_path: Path, **options: Any) -> Config:
    """A configuration without a token and with room to wait."""
    return Config(Global(state_dir=tmp_path, **{"admin_auth": "none", "verb_wait_seconds": TIMEOUT_SECONDS, **options}))


@contextmanager
def bench(tmp_path: Path, **options: Any) -> Iterator[Bench]:
    """A daemon beside a settling engine."""
    store = make_store(tmp_path)
    config = make_config(tmp_path, **options)
    made = Bench(store, Client(create_app(store, config)))
    if config.global_.admin_auth == "token":
        made.client.authorization = ("Bearer", read_token(config.global_.admin_token_file))
    with settling(made):
        yield made
    store.close()


@contextmanager
def settling(made: Bench) -> Iterator[None]:
    """Hold the engine's place and settle every wish as it comes."""
    watch, stop, last = Watch(made.store), threading.Event(), [0]

    def run() -> None:
        while not stop.wait(0.005):
            wishes = watch.wishes()
            if wishes != last[0]:
                last[0] = wishes
                made.settle()

    with closing(place.hold(made.store)):
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            watch.close()


def put(client: Any, url: str, key: str = "", **given: str) -> Any:
    """PUT a verb, under a key if one is given, and have the answer in JSON."""
    headers = {**JSON, **({"Idempotency-Key": key} if key else {})}
    return client.put(url, given, headers=headers)


def settle(store: Store, operation: int, ending: Any) -> None:
    """Have every target of an operation end in the same way."""
    found = operations.read(store, operation)
    operations.settle(store, [(each.wish.id, *ending) for each in found.targets])
