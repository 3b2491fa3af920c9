"""Another process on the same state: `python store_process.py COMMAND STATE_DIR [ARGUMENT]`, for the store's tests."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cloudsched.model.wishes import Aspect
from cloudsched.store import Store, dump, limits, locks, verbs, vms, wishes


def opened(directory: str) -> Store:
    return Store.open(f"sqlite:///{directory}/state.db", Path(directory))


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def count(directory: str, times: str) -> None:
    """Add one to the limit of `n`, so often. Lock files of its own: only SQLite keeps the counters apart."""
    own = Path(directory) / f"locks-{times}"
    own.mkdir()
    store = Store.open(f"sqlite:///{directory}/state.db", own)
    for _ in range(int(times)):
        with store.writing(wait_seconds=30) as writing:
            present = limits.read_user_limits(writing.connection)
            limits.record_user_limits(writing, {**present, "n": present.get("n", 0) + 1})


def write(directory: str, key: str) -> None:
    """Commit 1, 2, 3, ... in two tables for ever, and print each number once it is committed."""
    store = opened(directory)
    number = limits.user_limits(store).get(key, 0)
    while True:
        number += 1
        with store.writing(wait_seconds=30) as writing:
            present = limits.read_user_limits(writing.connection)
            limits.record_user_limits(writing, {**present, key: number})
            aliases = limits.read_cloud_aliases(writing.connection)
            limits.record_cloud_aliases(writing, {**aliases, key: [str(number)] * 50})
        say(number)


def limit(directory: str, vms_: str) -> None:
    """Set the limit of `n` once."""
    with opened(directory).writing() as writing:
        limits.record_user_limits(writing, {"n": int(vms_)})


def wish(directory: str, _argument: str) -> None:
    """Record one wish."""
    verbs.wish_setting(opened(directory), wishes.By("other"), Aspect.RECONFIG)


def load(directory: str, path: str) -> None:
    """Load a dump over the state."""
    with dump.open_document(path) as lines:
        dump.load(opened(directory), lines, path=path, replace=True)


def hold(directory: str, _argument: str) -> None:
    """Be the engine until killed."""
    held = locks.hold_engine(Path(directory))
    say("held")
    time.sleep(600)
    held.close()


def lock(directory: str, _argument: str) -> None:
    """Stay in the middle of writing until killed."""
    with opened(directory).writing() as writing:
        vms.forget(writing, ["nobody"])
        limits.record_user_limits(writing, {"half": 1})
        say("locked")
        time.sleep(600)


COMMANDS = {"count": count, "write": write, "limit": limit, "wish": wish, "load": load, "hold": hold, "lock": lock}

if __name__ == "__main__":
    command, directory, *rest = sys.argv[1:]
    COMMANDS[command](directory, "".join(rest))
