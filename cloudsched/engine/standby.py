"""Standing by: waiting, on this host or another, until the place of the state's engine is free.

The lock says when; what is looked after says who may. Local VMs and the embedded batch are processes, a socket and
files of one host and state directory: an engine elsewhere would take them for lost and run their jobs again.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing

from cloudsched.config.load import Config
from cloudsched.errors import ConfigError, StateHeld, StateUnavailable
from cloudsched.store import Store, place

log = logging.getLogger("cloudscheduler")

LOOK_SECONDS = 0.5


def take_over(
    store: Store, config: Config, stop: threading.Event, start: Callable[[place.Place], None], *, simulated: bool
) -> place.Place | None:
    """Wait for the engine's place, take it and `start` with it; None when `stop` was set first.

    A state that is busy or away in that moment is no reason to end: who else would take over? Raises ConfigError when
    the engine that has the place looks after what only its own host can, and what else `start` raises.
    """
    bound = not simulated and _is_bound(config)
    said = ""
    while not stop.is_set():
        try:
            with ExitStack() as taking:
                taken = taking.enter_context(closing(place.hold(store)))
                start(taken)
                taking.pop_all()
            log.info("The place was free: this scheduler is at work now.")
            return taken
        except StateHeld as ex:
            if bound:
                _refuse_another_home(store)
            said = _say(said, str(ex))
        except StateUnavailable as ex:
            said = _say(said, str(ex))
        stop.wait(LOOK_SECONDS)
    return None


def _say(said: str, sentence: str) -> str:
    if sentence != said:
        log.info("Standing by: %s", sentence)
    return sentence


def _is_bound(config: Config) -> bool:
    return config.global_.batch_system == "embedded" or any(each.cloud.cloud_type == "local" for each in config.clouds)


def _refuse_another_home(store: Store) -> None:
    home = place.home(store)
    if home not in (None, (socket.gethostname(), str(store.directory.absolute()))):
        host, directory = home or ("", "")
        raise ConfigError(
            f"--standby: local VMs and the embedded batch live in {directory} on {host}, and only one with that "
            "state_dir there takes them over; else use batch_system = htcondor and clouds that every host reaches."
        )
