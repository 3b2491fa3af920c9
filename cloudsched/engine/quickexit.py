"""Setting quick exit from the scheduler's own host: for supervisors that stop it, whether or not a daemon runs."""

from __future__ import annotations

import os
import time

from cloudsched.errors import Conflict
from cloudsched.model.wishes import Aspect
from cloudsched.store import Store, operations, place, verbs, wishes

_POLL_SECONDS = 0.05


def ask(store: Store, switch: bool, wait_seconds: float) -> None:
    """Have the running scheduler set the flag, and wait until it has.

    Raises Conflict when none runs or it does not answer in time, StateUnavailable.
    """
    if place.holder(store) is None:
        raise Conflict("No scheduler runs on this state.", code="no-scheduler")
    operation = verbs.wish_setting(store, wishes.By(f"uid {os.getuid()} on this host"), Aspect.QUICK_EXIT, switch)
    deadline = time.monotonic() + wait_seconds
    while operation.state == "running":
        if time.monotonic() > deadline or place.holder(store) is None:
            raise Conflict("The scheduler has not answered: quick exit may not be set.", code="no-answer")
        time.sleep(_POLL_SECONDS)
        operation = operations.read(store, operation.id)
