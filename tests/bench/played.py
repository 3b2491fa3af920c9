"""A real engine on a fleet at work whose clouds and batch system are played: in this process, or in one of its own.

`python -m tests.bench.played STATE_DIR` runs until killed, says `running` once it has come to rest, and then has its
clouds show 200 changes of VMs a second.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from cloudsched.batch.fake import FakeBatch
from cloudsched.clouds.fake import FakeCloud, observed
from cloudsched.engine.loop import TICK_SECONDS
from cloudsched.engine.polls import Poll
from cloudsched.model.clouds import ObservedVM
from cloudsched.model.jobs import JobDelta
from cloudsched.store import Store, clouds, jobs, machines, vms
from tests.engine_bench import World

POLL_SECONDS = 5.0
RESTING_SECONDS = 300.0
ANSWERING_SECONDS = 60.0


@dataclass
class Restless:
    """A cloud whose every listing shows other addresses than the last for ten VMs, while `changing` is set."""

    fake: FakeCloud
    changing: threading.Event
    listings: int = 0

    def vms(self) -> list[ObservedVM]:
        """What the cloud lists."""
        listed = self.fake.vms()
        if self.changing.is_set():
            self.listings += 1
            for number in range(5 * self.listings, 5 * self.listings + 5):
                # The five of the last listing show their own addresses again.
                listed[number % len(listed)] = replace(listed[number % len(listed)], ipaddress=f"10.0.0.{number % 256}")
        return listed


@dataclass
class _Quiet(World):
    """A world whose batch system tells nothing that nobody asked for: time stands still in it."""

    changing: threading.Event = field(default_factory=threading.Event)
    answered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__post_init__()
        with self.store.reading() as connection:
            fleet = vms.all_vms(connection)
            self.batch = FakeBatch(jobs.all_jobs(connection), machines.all_machines(connection))
            for cloud in clouds.all_clouds(connection):
                fake = FakeCloud(cloud.name, [observed(vm) for vm in fleet if vm.cloud == cloud.name])
                self.clouds[cloud.name] = fake

    def polls(self) -> list[Poll]:
        """What the engine asks; who has answered is in `answered`."""
        return [replace(poll, call=partial(self._ask, poll)) for poll in self._polls()]

    def _ask(self, poll: Poll) -> Any:
        try:
            return poll.call()
        finally:
            self.answered.add(poll.name)

    def _jobs(self) -> JobDelta:
        return self.batch.jobs()


class Played:
    """An engine, turned by hand."""

    def __init__(self, store: Store) -> None:
        self.world = _Quiet(store, poll_seconds=POLL_SECONDS)
        self.built = self.world.build()
        self.built.stages.polls.replace(self.world.polls())

    def come_to_rest(self) -> None:
        """Turn until the engine has read everything and changes nothing any more."""
        deadline, since, index = time.monotonic() + RESTING_SECONDS, time.monotonic(), 0
        while time.monotonic() < since + 2 * POLL_SECONDS:
            if time.monotonic() > deadline:
                raise RuntimeError("the engine has not come to rest")
            self.built.turn()
            if (now := self.world.store.state().index) != index:
                since, index = time.monotonic(), now

    def round_seconds(self) -> float:
        """The CPU time of the engine's thread from the moment when every poll has brought what it brought before.

        Until all of that is recorded, and planned on: however many turns the engine makes of it.
        """
        self._ask_all()
        engine, wake, began = self.built.engine, self.built.wake, time.thread_time()
        engine.cycle()
        while engine.is_behind:
            wake.wait(TICK_SECONDS)
            wake.clear()
            engine.cycle()
        return time.thread_time() - began

    def _ask_all(self) -> None:
        """Have every poll answered, and no answer taken."""
        polls, answered = self.built.stages.polls, self.world.answered
        self.built.turns(0.5)
        self.built.until(lambda: not self.built.engine.is_behind)
        answered.clear()
        # What had answered before is taken by this turn, for a poll is asked again only once its answer is.
        self.built.turn()
        deadline = time.monotonic() + ANSWERING_SECONDS
        while missing := set(polls.names()) - answered:
            if time.monotonic() > deadline:
                raise RuntimeError(f"these polls have not answered: {', '.join(sorted(missing))}")
            polls.hurry(*missing)
            polls.start_due()
            time.sleep(0.01)
        time.sleep(0.05)

    def close(self) -> None:
        """End the engine."""
        self.built.engine.close()


def main(state_dir: str) -> int:
    """See the module."""
    logging.disable(logging.CRITICAL)
    directory = Path(state_dir)
    played = Played(Store.open(f"sqlite:///{directory / 'state.db'}", directory))
    # What clouds and batch system hold is no part of an engine: its garbage collector has nothing to do with it.
    gc.freeze()
    played.come_to_rest()
    for name, fake in played.world.clouds.items():
        played.world.clouds[name] = Restless(fake, played.world.changing)
    played.built.stages.polls.replace(played.world.polls())
    played.world.changing.set()
    sys.stdout.write("running\n")
    sys.stdout.flush()
    played.built.engine.run(threading.Event())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
