"""The engine's loop: record what came in, plan on a snapshot, carry the plan out, say it in one sentence.

One thread runs all of it, and is the only one that writes observations. It looks for wishes between any two things that
take time, so one committed by another process is acted on at once; every stage is supervised, so a mistake in one costs
that stage's cycle only.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from cloudsched.config.load import Config
from cloudsched.engine import notes
from cloudsched.engine.apply import Apply
from cloudsched.engine.calls import Calls
from cloudsched.engine.intake import Intake
from cloudsched.engine.inventory import forget_drained, forget_tallies
from cloudsched.engine.minutes import Minutes
from cloudsched.engine.observe import Observer
from cloudsched.engine.orders import WISH
from cloudsched.engine.polls import Polls
from cloudsched.engine.rest import Rest
from cloudsched.engine.troubles import suspended
from cloudsched.errors import StateError, StateTakenOver
from cloudsched.model.actions import (
    Action,
    Boot,
    Destroy,
    Drop,
    Explain,
    OrderJobs,
    Plan,
    Reload,
    Renew,
    Retire,
    Schedule,
    SetCloud,
    Settle,
    SetVM,
)
from cloudsched.model.jobs import JobStatus
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy.foresight import foresee
from cloudsched.policy.outlook import stages
from cloudsched.policy.overtaken import remaining
from cloudsched.policy.wishes import wishes
from cloudsched.store import Store, retention
from cloudsched.store.snapshot import Seen, SnapshotReader
from cloudsched.store.watch import Watch

log = logging.getLogger("cloudscheduler")

TICK_SECONDS = 0.02
_LOOK_SECONDS = 0.004
"""How often a resting engine looks for wishes where that takes microseconds: in a file."""

_PRUNE_SECONDS = 60.0
_RETRY_SECONDS = 1.0
_NOTES_SECONDS = 10.0
_REST_OF_PLANS = 4.0
"""How many times as long as a plan took no other is made for mere observations: wishes find the engine free."""

_REST_AFTER_WISHES = 1.0
"""The same for what wishes have changed: who asks all the time is answered, and others find the engine free as well."""

GARBAGE = (100_000, 20, 100)
"""When Python looks for garbage: it would look through the whole fleet in memory, in vain, about once a second."""

_QUIET = (Explain, Schedule, SetVM)


@dataclass(slots=True)
class Stages:
    """The parts of the loop, made by `engine.start`."""

    store: Store
    config: Config
    polls: Polls
    calls: Calls
    observer: Observer
    apply: Apply
    forget_jobs: Callable[[list[str]], None]
    keep_place: Callable[[], bool] = lambda: True


class Engine:
    """Runs cycles until told to stop. `learn` gets the VMs by uid with each snapshot, for the workers' questions."""

    def __init__(self, stages: Stages, wake: threading.Event, learn: Callable[[Mapping[str, VM]], None]) -> None:
        self._stages, self._wake, self._learn = stages, wake, learn
        self._watch = Watch(stages.store)
        self._reader = SnapshotReader(stages.store, stages.observer.fleet.known)
        self._minutes = Minutes()
        self._intake = Intake(stages.store, stages.polls, stages.calls, stages.observer, self._minutes)
        self._rest = Rest(stages.config.global_)
        self._look_seconds = TICK_SECONDS if stages.store.path is None else _LOOK_SECONDS
        self._learnt: tuple[VM, ...] | None = None
        self._held_off: dict[str, int] = {}
        self._seen_wishes = 0
        self._resumed = False
        self._next_plan = 0.0
        self._next_observed = 0.0
        self._next_wished = 0.0
        self._next_prune = 0.0
        self._next_notes = 0.0
        self._troubles: dict[str, str] = {}

    def hold_off(self, uid: str, seconds: int) -> None:
        """Keep the planner off a VM for a while."""
        self._held_off[uid] = int(time.time()) + seconds

    def run(self, stop: threading.Event) -> None:
        """Cycle until `stop` is set. Raises StateTakenOver when another engine has taken over."""
        gc.set_threshold(*GARBAGE)
        while not stop.is_set():
            self.cycle()
            self._pause()

    def close(self) -> None:
        """Let go of the state; no cycle follows."""
        self._watch.close()

    def cycle(self) -> None:
        """One turn: cheap when nothing is due and nothing came in. Without its place the engine does nothing."""
        if not self._stage("place", self._stages.keep_place):
            return
        # Before and after all that takes its time: who asked waits for this.
        wished = self._stage("wishes", self._answer_wishes)
        self._stage("polls", self._intake.start_polls)
        changed = self._stage("record", self._record)
        wished = self._stage("wishes", self._answer_wishes) or wished
        if changed:
            self._next_plan = min(self._next_plan, self._next_observed)
        if wished:
            self._next_plan = min(self._next_plan, self._next_wished)
        if time.time() >= self._next_plan:
            self._stage("plan", self._plan_and_apply)
        if self._minutes.is_due(time.time()):
            self._stage("minute", self._record_minute)
        if time.time() >= self._next_notes:
            self._stage("notes", self._take_notes)
        if time.time() >= self._next_prune:
            self._stage("prune", self._prune)

    @property
    def is_behind(self) -> bool:
        """Whether results of polls wait to be recorded."""
        return self._intake.is_behind

    @property
    def idle(self) -> bool:
        """No call is under way and no end waits to be recorded."""
        return self._stages.calls.idle

    def record_ends(self) -> None:
        """Record what came in, without planning (while stopping)."""
        self._stage("record", self._record)

    def snapshot(self) -> Snapshot:
        """What the planner would see now. Raises StateUnavailable."""
        now = int(time.time())
        self._held_off = {uid: until for uid, until in self._held_off.items() if until > now}
        busy = self._stages.calls.in_flight
        seen = Seen(
            now=now,
            jobs_known=self._stages.observer.jobs_known,
            machines_known=self._stages.observer.machines_known,
            in_flight=busy | self._held_off.keys(),
            unseen=frozenset(self._stages.observer.unseen),
        )
        snapshot = self._reader.snapshot(seen)
        if snapshot.vms is not self._learnt:
            self._learn({vm.uid: vm for vm in snapshot.vms})
            self._learnt = snapshot.vms
        ordered = busy | {f"{WISH}{outcome.wish}" for outcome, _ in self._stages.observer.later}
        waiting = tuple(wish for wish in snapshot.wishes if f"{WISH}{wish.id}" not in ordered)
        return snapshot if len(waiting) == len(snapshot.wishes) else replace(snapshot, wishes=waiting)

    def _pause(self) -> None:
        """Until the next turn is due, somebody wakes us or a wish has come."""
        until = time.monotonic() + TICK_SECONDS
        with suppress(StateError):  # the next turn meets it too, and says so
            while not self._wake.wait(self._look_seconds) and time.monotonic() < until and not self._has_wishes():
                pass
        self._wake.clear()

    def _stage(self, name: str, work: Callable[[], bool | None]) -> bool:
        """Run a stage; its failure costs only this turn, and is said once until it is over."""
        try:
            result = bool(work())
        except StateTakenOver:
            raise
        except StateError as ex:
            self._failed(name, str(ex))
            time.sleep(TICK_SECONDS)
            return False
        except Exception as ex:  # a mistake in one stage must not end the daemon (B-39)
            if name not in self._troubles:
                log.exception("The stage %s failed.", name)
            self._failed(name, f"{type(ex).__name__}: {ex}")
            return False
        trouble = self._troubles.pop(name, None)
        if trouble is not None and trouble not in self._troubles.values():
            log.warning("The stage %s works again.", name)
        return result

    def _failed(self, name: str, sentence: str) -> None:
        self._next_plan = time.time() + _RETRY_SECONDS
        if sentence not in self._troubles.values():
            log.error("The stage %s failed and is tried again: %s", name, sentence)
        self._troubles[name] = sentence

    def _record(self) -> bool:
        """Record what came in; true when there was any."""
        results, ends = self._intake.record(time.time())
        if ends:
            # Its effect should be seen at once, by who polls what has been learnt as well.
            self.snapshot()
            self._stages.polls.hurry(*self._stages.polls.names())
        return bool(results or ends)

    def _plan_and_apply(self) -> None:
        settings = self._stages.config.global_
        began = time.time()
        if not self._resumed:
            self._resume(self.snapshot())
        snapshot = self.snapshot()
        self._minutes.see(snapshot, began)
        overtaken = False if self._rest.holds(snapshot) else self._carry_out(snapshot)
        now = time.time()
        self._next_observed = now + _REST_OF_PLANS * (now - began)
        self._next_wished = now + _REST_AFTER_WISHES * (now - began)
        self._next_plan = self._next_wished if overtaken else now + settings.scheduler_interval
        self._intake.beat("Scheduler", settings.scheduler_interval, now)
        self._intake.cycled(settings.scheduler_interval, began, now)
        self._intake.beat("Cleanup", settings.cleanup_interval, now)

    def _carry_out(self, snapshot: Snapshot) -> bool:
        """Plan and carry it out; true when wishes came meanwhile.

        They are answered between two stages, and the plan leaves what that has changed to the next one.
        """
        found: list[Action] = []
        overtaken = False
        for stage in stages(snapshot, self._stages.config.global_, self._stages.config.job):
            found += stage
            overtaken = self._answer_wishes() or overtaken
        made_on, made = snapshot, tuple(found)
        plan = made
        if overtaken:
            snapshot = self.snapshot()
            plan = remaining(made, made_on, snapshot)
        self._apply(snapshot, plan)
        self._rest.planned(made_on, made)
        self._stages.polls.suspend(suspended(foresee(snapshot, plan)))
        log.log(_level(plan), "%s", sentence(snapshot, plan))
        return overtaken

    def _has_wishes(self) -> bool:
        """Whether any have come that are not answered yet."""
        return self._watch.wishes() > self._seen_wishes

    def _answer_wishes(self) -> bool:
        """Carry out the first stage of a plan by itself, for one may be cut off anywhere; true when wishes came."""
        seen = self._watch.wishes()
        came, self._seen_wishes = seen > self._seen_wishes, seen
        if came and self._resumed:
            snapshot = self.snapshot()
            self._apply(snapshot, wishes(snapshot))
        return came

    def _apply(self, snapshot: Snapshot, plan: Plan) -> None:
        if plan:
            self._stages.calls.start(self._stages.apply.plan(snapshot, plan))
        for action in plan:
            # Whoever enables a cloud has its trouble forgotten as well (policy/wishes.py).
            if isinstance(action, SetCloud) and action.fields.get("enabled") and "trouble" in action.fields:
                self._stages.observer.tried_anew(action.name)
        if any(isinstance(action, SetVM) for action in plan):
            # The workers are answered by what was learnt last, and may ask long before the next plan.
            self.snapshot()

    def _resume(self, snapshot: Snapshot) -> None:
        """Make the calls that a killed engine had recorded and perhaps not made: names and ids make it harmless.

        Before the first plan, which leaves VMs alone that a call is under way for.
        """
        asked = [vm for vm in snapshot.vms if vm.requested_until is not None and not vm.destroying]
        ends = [Destroy(vm.uid, vm.reason) for vm in snapshot.vms if vm.destroying]
        apply = self._stages.apply
        with self._stages.store.writing() as writing:
            apply.boots.extend(writing, snapshot, asked)
        self._stages.calls.start(
            [*apply.boots.calls(snapshot, asked, again=True), *apply.endings.destroy_calls(snapshot, ends)]
        )
        self._resumed = True

    def _record_minute(self) -> None:
        now = time.time()
        with self._stages.store.writing() as writing:
            self._minutes.record(writing, now)
        self._minutes.recorded(now)

    def _take_notes(self) -> None:
        self._next_notes = time.time() + _NOTES_SECONDS
        notes.take(self._stages.store)

    def _prune(self) -> None:
        self._next_prune = time.time() + _PRUNE_SECONDS
        with self._stages.store.writing() as writing:
            forget_drained(writing)
            forget_tallies(writing)
            gone = retention.prune_engine(writing, int(time.time()), self._stages.config.global_.history_days)
        if gone:
            self._stages.forget_jobs(gone)


def _level(plan: Plan) -> int:
    return logging.INFO if any(not isinstance(action, _QUIET) for action in plan) else logging.DEBUG


def sentence(snapshot: Snapshot, plan: Plan) -> str:
    """A cycle in one sentence."""
    counts: Counter[str] = Counter()
    for action in plan:
        if not isinstance(action, _QUIET):
            counts[_WORDS[type(action)]] += action.vms if isinstance(action, Boot) else 1
    done = ", ".join(f"{word} {count}" for word, count in counts.items()) or "nothing to do"
    waiting = sum(group.jobs for group in snapshot.groups if group.job_status <= JobStatus.IDLE)
    return f"At index {snapshot.index}: {len(snapshot.vms)} VMs, {waiting} jobs waiting; {done}."


_WORDS: Mapping[type, str] = {
    Boot: "boot",
    Retire: "retire",
    Destroy: "destroy",
    Drop: "drop",
    SetCloud: "set clouds",
    OrderJobs: "pass on orders",
    Reload: "settings",
    Renew: "renew proxies",
    Settle: "settle",
}
