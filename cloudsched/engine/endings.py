"""Ending VMs: destroying them and letting them retire."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudsched.engine import acts, postmortem
from cloudsched.engine.bans import Bans
from cloudsched.engine.boots import resolved_image
from cloudsched.engine.calls import Call
from cloudsched.engine.observe import LISTED_LATE_SECONDS
from cloudsched.engine.places import Places
from cloudsched.engine.polls import failure_sentence
from cloudsched.model.actions import Destroy, Retire
from cloudsched.model.clouds import DestroyOutcome
from cloudsched.model.jobs import RetireOutcome
from cloudsched.model.metrics import BOOT_FAILURES
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Outcome, OutcomeState
from cloudsched.store import Writing, clouds, operations, tallies, vms

log = logging.getLogger("cloudscheduler")

RETRY_SECONDS = 30
"""How long a VM whose destruction failed is left alone."""


@dataclass(frozen=True, slots=True)
class Endings:
    """Turns Destroy and Retire actions into records and calls.

    A call destroys `at_once` VMs at most within `call_seconds`; `hold_off` keeps the planner off a VM for a while;
    `retired` is told of each VM that retires from now on.
    """

    places: Places
    bans: Bans
    at_once: int
    call_seconds: float
    hold_off: Callable[[str, int], None]
    retired: Callable[[str], None]
    now: Callable[[], int]

    def record(self, writing: Writing, snapshot: Snapshot, actions: Sequence[Destroy | Retire]) -> None:
        """Record that VMs are being destroyed or leave their cloud's allowance."""
        known = _concerned(snapshot, actions)
        changes: list[dict[str, Any]] = []
        for action in actions:
            if isinstance(action, Destroy):
                changes.append({"uid": action.uid, "destroying": True, "reason": action.reason})
                if action.failed_image:
                    self._image_failed(writing, known[action.uid])
            elif action.drain:
                changes.append({"uid": action.uid, "retired": True, "reason": action.reason})
        vms.record_fields(writing, changes)
        ends = [each for each in actions if isinstance(each, Destroy) and each.wish is None]
        acts.record(writing, *(acts.of_vm("destroy", known[each.uid], each.reason) for each in ends))

    def drop(self, writing: Writing, uid: str, reason: str) -> None:
        """Forget a VM that no cloud knows; one whose boot has failed in so many words is counted already."""
        vm = vms.by_uid(writing.connection, uid)
        if vm is not None:
            acts.record(writing, acts.of_vm("drop", vm, reason))
        if vm is not None and not vm.reason:
            self._failed(writing, vm, {"cause": "lost", "reason": reason})
        vms.forget(writing, [uid])

    def destroy_calls(self, snapshot: Snapshot, actions: Sequence[Destroy]) -> list[Call]:
        """The calls that destroy VMs: per cloud, at most `at_once` VMs in each."""
        known = _concerned(snapshot, actions)
        by_cloud: dict[str, list[tuple[VM, Destroy]]] = {}
        for action in actions:
            by_cloud.setdefault(known[action.uid].cloud, []).append((known[action.uid], action))
        parts = [
            (name, group[start : start + self.at_once])
            for name, group in by_cloud.items()
            for start in range(0, len(group), self.at_once)
        ]
        return [self._destroy_call(name, part) for name, part in parts]

    def retire_calls(self, snapshot: Snapshot, actions: Sequence[Retire]) -> list[Call]:
        """The call that asks the batch system to retire VMs, if there are any."""
        known = _concerned(snapshot, actions)
        pairs = [(known[action.uid], action) for action in actions]
        return [self._retire_call(pairs)] if pairs else []

    def _destroy_call(self, cloud: str, part: Sequence[tuple[VM, Destroy]]) -> Call:
        adapter = self.places.cloud(cloud)
        failed = {vm.uid: kind for vm, action in part if (kind := _boot_failure(vm, action))}
        said: dict[str, str] = {}

        def work() -> list[DestroyOutcome]:
            if adapter is None:
                raise LookupError(f"Cloud {cloud} is not usable.")
            said.update(postmortem.consoles(adapter, [vm for vm, _ in part if vm.uid in failed]))
            outcomes = adapter.destroy([vm.id for vm, _ in part])
            self.places.batch.lost([vm.uid for (vm, _), end in zip(part, outcomes, strict=True) if end.error is None])
            return outcomes

        def finish(writing: Writing, result: list[DestroyOutcome] | Exception) -> None:
            outcomes = [DestroyOutcome(vm.id, result) for vm, _ in part] if isinstance(result, Exception) else result
            for (vm, action), outcome in zip(part, outcomes, strict=True):
                self._destroyed(writing, vm, action, outcome.error)
                if outcome.error is None and vm.uid in failed:
                    why = {"cause": failed[vm.uid], "reason": action.reason, "console": said.get(vm.uid, "")}
                    self._failed(writing, vm, why)

        return Call(cloud, tuple(vm.uid for vm, _ in part), work, finish, self.call_seconds)

    def _destroyed(self, writing: Writing, vm: VM, action: Destroy, error: Exception | None) -> None:
        if error is None:
            log.info("Destroyed %s on %s: %s", vm.id, vm.cloud, action.reason)
            vms.record_departed(writing, [vm], self.now(), LISTED_LATE_SECONDS)
            entry = acts.of_vm("destroyed", vm, action.reason)
        else:
            sentence = failure_sentence(error)
            log.warning("Destroying %s on %s failed: %s", vm.id, vm.cloud, sentence)
            vms.record_fields(writing, [{"uid": vm.uid, "destroying": False, "reason": sentence}])
            self.hold_off(vm.uid, RETRY_SECONDS)
            entry = acts.of_vm("destroy_failed", vm, sentence)
        if action.wish is None:
            acts.record(writing, entry)
        self._settle(writing, action.wish, vm, "" if error is None else failure_sentence(error))

    def _failed(self, writing: Writing, vm: VM, why: Mapping[str, str]) -> None:
        tallies.add_tallies(writing, [((BOOT_FAILURES, vm.cloud, why["cause"]), 1.0)])
        postmortem.record(writing, vm, postmortem.failure_of(vm, resolved_image(vm), why, self.now()))

    def _retire_call(self, pairs: Sequence[tuple[VM, Retire]]) -> Call:
        def work() -> list[RetireOutcome]:
            return self.places.batch.retire([vm for vm, _ in pairs])

        def finish(writing: Writing, result: list[RetireOutcome] | Exception) -> None:
            if isinstance(result, Exception):
                result = [RetireOutcome(vm.uid, failure_sentence(result)) for vm, _ in pairs]
            for (vm, action), outcome in zip(pairs, result, strict=True):
                self._retired(writing, vm, action, outcome.error)

        return Call("batch", tuple(vm.uid for vm, _ in pairs), work, finish)

    def _retired(self, writing: Writing, vm: VM, action: Retire, error: str) -> None:
        if error:
            log.warning("Retiring %s on %s failed: %s", vm.id, vm.cloud, error)
            self.hold_off(vm.uid, RETRY_SECONDS)
        else:
            log.info("Retiring %s on %s: %s", vm.id, vm.cloud, action.reason)
            fields = {"override_status": "Retiring", "force_retire": action.forced, "reason": action.reason}
            vms.record_fields(writing, [{"uid": vm.uid, **fields}])
            self.retired(vm.uid)
        entry = acts.of_vm("retire_failed" if error else "retire", vm, error or action.reason)
        if action.wish is None:
            acts.record(writing, entry)
        self._settle(writing, action.wish, vm, error)

    def _image_failed(self, writing: Writing, vm: VM) -> None:
        """Remember the image that a VM of this cloud failed with (PARITY 6.5)."""
        image, cloud = resolved_image(vm), clouds.find(writing.connection, vm.cloud)
        self.bans.record(writing, image, vm.cloud, booted=False)
        if image and image not in cloud.failed_images:
            clouds.record_fields(writing, vm.cloud, {"failed_images": (*cloud.failed_images, image)})
            acts.record(writing, acts.of_cloud("image_failed", vm.cloud, detail={"image": image, "vm": vm.uid}))

    def _settle(self, writing: Writing, wish: int | None, vm: VM, error: str) -> None:
        if wish is not None:
            detail = {"vm": vm.id} | ({"error": error} if error else {})
            state = OutcomeState.FAILED if error else OutcomeState.DONE
            operations.record_outcomes(writing, [Outcome(wish, state, detail, self.now())])


def _concerned(snapshot: Snapshot, actions: Sequence[Destroy | Retire]) -> Mapping[str, VM]:
    """The VMs that actions are about, by uid; most applies end none."""
    uids = {action.uid for action in actions}
    return {vm.uid: vm for vm in snapshot.vms if vm.uid in uids} if uids else {}


def _boot_failure(vm: VM, action: Destroy) -> str:
    """The class of boot failure that a VM's end is, empty when it had come up or somebody asked for its end."""
    if action.wish is not None:
        return ""
    if action.failed_image:
        return "unjoined" if vm.status == "Running" else "timeout"
    if vm.startup_time is not None or vm.status == "Running":
        return ""
    if vm.requested_until is not None:
        return "" if vm.reason else "lost"
    return "error" if vm.errorcount else ""
