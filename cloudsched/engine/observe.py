"""Recording what polls brought: each source fails alone, keeps its last observation and says that it is stale."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import eq
from typing import Any

from cloudsched.engine import acts, listing, troubles
from cloudsched.engine.fleet import Fleet, machine_host
from cloudsched.engine.polls import PollResult, failure_sentence
from cloudsched.engine.proxies import Proxies
from cloudsched.model.clouds import Cloud, ObservedVM
from cloudsched.model.metrics import UNKNOWN, Increment, observed
from cloudsched.model.snapshot import Polled
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, Outcome
from cloudsched.store import Writing, clouds, jobs, limits, machines, operations, polls, tallies, vms

log = logging.getLogger("cloudscheduler")

LISTED_LATE_SECONDS = 600
"""How long after its destruction a cloud may still list a VM without our taking it back."""

PROXY_POLLS = {"JobProxyRefresher": Aspect.JOB_PROXY, "VMProxyRefresher": Aspect.VM_PROXY}
"""The polls that look at proxies, under the names of v1's threads."""

CREDENTIALS, CREDENTIALS_SECONDS = "Credentials", 3600.0
"""The polls that ask when a cloud's credentials end, `Credentials:CLOUD`, and their pause."""

JOINING_SECONDS = 60.0
"""The pause of the poll `Credentials`, which asks whether VMs can join the batch system."""

_WARNED_SECONDS = 14 * 86400
_RUN_SAMPLES = 10


@dataclass(slots=True)
class Observer:
    """Records polls; remembers which parts of the world have been seen since the start.

    `later` are outcomes whose effect the next poll of jobs will show, with the time from which it does; `unseen` when
    VMs were retired whose slots have not been asked for since, by uid. `_anew` has when somebody wanted a cloud tried.
    """

    jobs_known: bool = False
    machines_known: bool = False
    problems: dict[str, str] = field(default_factory=dict)
    proxies: Proxies | None = None
    fleet: Fleet = field(default_factory=Fleet)
    later: list[tuple[Outcome, float]] = field(default_factory=list)
    unseen: dict[str, float] = field(default_factory=dict)
    _anew: dict[str, float] = field(default_factory=dict)
    _old: dict[str, tuple[object, list[Any]]] = field(default_factory=dict)

    def settle_later(self, outcome: Outcome, at: float) -> None:
        """Settle a wish together with the jobs as the batch system shows them after `at`."""
        self.later.append((outcome, at))

    def retired(self, uid: str) -> None:
        """A VM takes no jobs from now on; whether one came before, slots asked for later will show."""
        self.unseen[uid] = time.time()

    def tried_anew(self, cloud: str) -> None:
        """Somebody wants a cloud tried now: that a listing from before has failed tells nothing any more."""
        self._anew[cloud] = time.time()

    def recorded(self, results: Iterable[PollResult]) -> None:
        """What these polls brought is in the state for good, so that plans may rely on it."""
        for result in results:
            if result.poll.name == "JobPoller":
                self.jobs_known = self.jobs_known or result.error is None
            elif result.poll.name == "MachinePoller":
                self.machines_known = result.error is None
                if self.machines_known:
                    self.unseen = {uid: at for uid, at in self.unseen.items() if at >= result.started_at}

    def record(self, writing: Writing, result: PollResult, now: int) -> None:
        """Record one poll's result or failure, and that there was one."""
        self.fleet.look(writing)
        kind, _, place = result.poll.name.partition(":")
        if kind == CREDENTIALS:
            if place:
                self._record_expiry(writing, result, place, now)
            else:
                self._record_joining(writing, result)
            return
        polls.record_polls(writing, [_polled(result, now)])
        if not place:
            self._record_problem(writing, kind, failure_sentence(result.error) if result.error else "")
        if result.error is not None:
            self._record_failure(writing, result, place, now)
        elif kind == "VMPoller":
            self._record_listing(writing, place, result, now)
        elif kind == "JobPoller":
            self._record_jobs(writing, result)
            self._settle(writing, result.started_at)
        elif self.proxies is not None and kind in PROXY_POLLS:
            self.proxies.record(writing, PROXY_POLLS[kind], result.value)
            self.fleet.change(None)
        else:
            self._record_slots(writing, result)

    def _record_expiry(self, writing: Writing, result: PollResult, place: str, now: int) -> None:
        """Tell of credentials that end soon. That a cloud does not say when theirs end is no trouble."""
        if result.error is not None:
            log.info("When the credentials of %s end cannot be had: %s", place, failure_sentence(result.error))
            return
        sentence = ""
        if result.value is not None and result.value - now < _WARNED_SECONDS:
            ends = time.strftime("%Y-%m-%d %H:%M", time.gmtime(result.value))
            sentence = f"The credentials of cloud {place} end on {ends} UTC."
        if sentence and self.problems.get(result.poll.name) != sentence:
            log.warning("%s", sentence)
        self._record_problem(writing, result.poll.name, sentence)

    def _record_joining(self, writing: Writing, result: PollResult) -> None:
        """Tell why VMs cannot join. That the batch system does not answer, its other polls tell."""
        if result.error is not None:
            return
        if result.value and self.problems.get(CREDENTIALS) != result.value:
            log.error("%s", result.value)
        self._record_problem(writing, CREDENTIALS, result.value)

    def _record_failure(self, writing: Writing, result: PollResult, place: str, now: int) -> None:
        sentence = failure_sentence(result.error)
        log.warning("%s failed: %s", result.poll.name, sentence)
        if place and result.started_at >= self._anew.get(place, 0.0):
            cloud = clouds.find(writing.connection, place)
            since = cloud.errorconnect if cloud.errorconnect is not None else float(now)
            clouds.record_fields(writing, place, {"stale": True, "last_error": sentence, "errorconnect": since})
            troubles.record_listing(writing, place, result.error, now, result.due_at)

    def _record_problem(self, writing: Writing, stage: str, sentence: str) -> None:
        """Keep what the batch system's polls fail of for the diagnostics; clouds have places of their own for it."""
        if self.problems.get(stage, "") == sentence:
            return
        self.problems = {name: text for name, text in self.problems.items() if name != stage}
        if sentence:
            self.problems[stage] = sentence
        limits.record_setting(writing, limits.PROBLEMS, self.problems)

    def _record_listing(self, writing: Writing, place: str, result: PollResult, now: int) -> None:
        cloud, known = self.fleet.cloud(writing, place), self.fleet.of_cloud(writing, place)
        silent = cloud.errorconnect if cloud.connection_problem else None
        if cloud.stale or cloud.last_error or cloud.errorconnect != silent:
            clouds.record_fields(writing, place, {"stale": False, "last_error": "", "errorconnect": silent})
        if cloud.trouble is not None:
            troubles.record_listing(writing, place, None, now, None)
        if self._is_known(place, known, result.value, listing.telling):
            return
        followed = listing.follow(known, result.value, now)
        if followed == listing.Followed():
            self._old[place] = (known, list(map(listing.telling, result.value)))
            return
        self.fleet.change([place])
        before = {vm.uid: vm for vm in known} if followed.vms else {}
        vms.record_changed(writing, ((before[vm.uid], vm) for vm in followed.vms))
        tallies.add_tallies(writing, _boot_tallies(known, followed.vms))
        if followed.gone:
            vms.record_departed(writing, followed.gone, now, LISTED_LATE_SECONDS)
        gone = [vm for vm in followed.gone if vm.released]
        acts.record(writing, *(acts.of_vm("gone", vm, "The cloud no longer lists this released VM.") for vm in gone))
        if followed.strangers:
            self._adopt(writing, cloud, followed.strangers, now)

    def _adopt(self, writing: Writing, cloud: Cloud, strangers: Iterable[ObservedVM], now: int) -> None:
        departed = vms.departed(writing.connection, cloud.name, now - LISTED_LATE_SECONDS)
        unknown = [seen for seen in strangers if seen.uid not in departed]
        if not unknown:
            return
        position = vms.next_position(writing.connection)
        found = [listing.adopted(cloud, seen, position + n, now) for n, seen in enumerate(unknown)]
        log.warning("Adopting %d VM(s) on %s that the state did not know.", len(found), cloud.name)
        vms.record_vms(writing, found)
        acts.record(writing, *(acts.of_vm("adopt", vm, vm.reason) for vm in found))

    def _settle(self, writing: Writing, asked_at: float) -> None:
        due = [(outcome, at) for outcome, at in self.later if at <= asked_at]
        operations.record_outcomes(writing, [outcome for outcome, _ in due])
        self.later = [each for each in self.later if each not in due]

    def _record_slots(self, writing: Writing, result: PollResult) -> None:
        present, slots = self.fleet.slots(writing), result.value
        if self._is_known("", present, slots, machines.telling):
            return
        if not machines.record_machines(writing, slots, present):
            self._old[""] = (present, list(map(machines.telling, slots)))

    def _is_known(self, place: str, present: object, told: Sequence[Any], telling: Callable[[Any], Any]) -> bool:
        """Whether the same was told last of the same records, and changed nothing: most polls bring nothing else."""
        of, before = self._old.get(place, (None, []))
        # Row by row, each gone before the next: ten thousand at once are memory that no cache holds.
        return of is present and len(before) == len(told) and all(map(eq, before, map(telling, told)))

    def _record_jobs(self, writing: Writing, result: PollResult) -> None:
        by_host = self.fleet.hosts(writing) if result.value.changed else {}
        cloud_of = _cloud_of(by_host)
        happened = jobs.record_delta(writing, result.value, cloud_of)
        tallies.add_tallies(writing, _job_tallies(happened, cloud_of))
        samples: dict[str, list[int]] = {}
        clouds_of: set[str] = set()
        for run in happened.ended:
            vm = by_host.get(machine_host(run.remote_host))
            if vm is not None:
                samples.setdefault(vm.uid, list(vm.job_run_times)).append(run.seconds)
                clouds_of.add(vm.cloud)
        changed = ({"uid": uid, "job_run_times": tuple(times[-_RUN_SAMPLES:])} for uid, times in samples.items())
        vms.record_fields(writing, list(changed))
        self.fleet.change(clouds_of)


def _boot_tallies(before: Iterable[VM], after: Iterable[VM]) -> Iterator[Increment]:
    """The boot times of VMs that have just come up."""
    booting = {vm.uid for vm in before if vm.startup_time is None}
    for vm in after:
        if vm.uid in booting and vm.startup_time is not None:
            yield from observed("cloudsched_boot_seconds", vm.startup_time, vm.cloud)


def _job_tallies(happened: jobs.Happened, cloud_of: Callable[[str], str]) -> Iterator[Increment]:
    """How long jobs ran, by cloud, and waited."""
    for run in happened.ended:
        yield from observed("cloudsched_job_run_seconds", run.seconds, cloud_of(run.remote_host) or UNKNOWN)
    for seconds in happened.waited:
        yield from observed("cloudsched_job_wait_seconds", seconds)


def _polled(result: PollResult, now: int) -> Polled:
    attempt = Polled(result.poll.name, result.poll.interval_seconds, seconds=result.seconds)
    if result.error is None:
        return replace(attempt, ok_at=float(now))
    return replace(attempt, failed_at=float(now), error=failure_sentence(result.error))


def _cloud_of(by_host: Mapping[str, VM]) -> Callable[[str], str]:
    def cloud_of(remote_host: str) -> str:
        vm = by_host.get(machine_host(remote_host))
        return vm.cloud if vm is not None else ""

    return cloud_of
