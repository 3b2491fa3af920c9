"""Undoing a verb: a new one that carries what the journal says of before, refused when the thing has changed since.

What cannot be undone says why. Nothing here acts: an undo is an operation like any other, and can be undone itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloudsched.errors import CloudschedError, Conflict, NotFound
from cloudsched.model.jobs import JobStatus
from cloudsched.model.journal import Entry
from cloudsched.model.vms import VM, is_retiring
from cloudsched.model.wishes import Aspect, Operation, OutcomeState, Target
from cloudsched.store import clouds, jobs, journal, operations, vms, wants, wishes
from cloudsched.store.connect import Store, Writing
from cloudsched.store.wishes import By, Want

CHANGED_NOTHING = "it changed nothing"
_FINAL: Mapping[Aspect, str] = {
    Aspect.DEFINE: "credentials are never told again: define the cloud anew",
    Aspect.DELETE: "define the cloud anew when it is gone",
    Aspect.SHUTDOWN: "a VM that was shut down does not come back",
    Aspect.REMOVE: "a job that was removed does not come back: submit it again",
    Aspect.SUBMIT: "jobs that were submitted are removed one by one",
    Aspect.RECONFIG: "what a file says is changed in the file",
    Aspect.USER_LIMITS: "what a file says is changed in the file",
    Aspect.CLOUD_ALIASES: "what a file says is changed in the file",
    Aspect.JOB_PROXY: "a proxy that was renewed stays so",
    Aspect.VM_PROXY: "a proxy that was renewed stays so",
}


@dataclass(frozen=True, slots=True)
class _Done:
    """What was asked of one target, and the values before and after it."""

    target: Target
    entry: Entry

    @property
    def name(self) -> str:
        """The target's name, uid or id."""
        return self.target.wish.name

    def before(self, field: str) -> Any:
        """The value that was there. Raises Conflict where the verb left it as it was."""
        found = self.entry.before.get(field)
        if found == self.entry.after.get(field):
            raise Conflict(CHANGED_NOTHING)
        return found

    def hold(self, field: str, now: Any) -> None:
        """Raise Conflict unless the value is still the one that the verb gave it."""
        if now != self.entry.after.get(field):
            raise Conflict(f"it has changed since: {field} is {now} now")


def wish_undone(store: Store, by: By, operation: int, *, partial: bool) -> Operation:
    """Ask for what an operation changed to be as it was before; with `partial` as much of it as can be.

    Raises NotFound, and Conflict `cannot-undo` with the reason of each target that cannot be undone.
    """
    with store.writing() as writing:
        found = operations.find(writing.connection, operation)
        asked = journal.asked(writing.connection, [each.wish.id for each in found.targets])
        back, left = list[Want](), list[str]()
        for target in found.targets:
            try:
                back.append(_back(writing, _Done(target, asked[target.wish.id])))
            except CloudschedError as ex:
                left.append(f"{_name(target, asked[target.wish.id])}: {str(ex).rstrip('.')}")
        if not back or (left and not partial):
            raise Conflict(_refusal(operation, back, left), code="cannot-undo")
        told = {"undoes": operation}
        return wishes.record(writing, by, "undo", [replace(want, detail=told) for want in back])


def _refusal(operation: int, back: list[Want], left: list[str]) -> str:
    more = f" With partial=true the other {len(back)} are undone." if back else ""
    return f"Operation {operation} cannot be undone: {'; '.join(left) or 'it had no target'}.{more}"


def _name(target: Target, entry: Entry) -> str:
    return " ".join(filter(None, (target.wish.kind, entry.label or target.wish.name)))


def _back(writing: Writing, done: _Done) -> Want:
    """What asks for one target to be as before. Raises Conflict or NotFound with the reason why not."""
    wish, outcome = done.target.wish, done.target.outcome
    if outcome is not None and outcome.state is not OutcomeState.DONE:
        raise Conflict({OutcomeState.FAILED: "it failed"}.get(outcome.state, "a later verb took its place"))
    undo = _UNDO.get(wish.aspect)
    if undo is None:
        raise Conflict(_FINAL.get(wish.aspect, f"{wish.aspect.value} cannot be undone"))
    if not done.entry.after:
        raise Conflict("the journal does not hold any more what was before")
    return undo(writing, done)


def _enabled(writing: Writing, done: _Done) -> Want:
    cloud = clouds.find(writing.connection, done.name)
    if cloud.removed:
        raise NotFound("cloud", done.name)
    before = done.before("enabled")
    done.hold("enabled", wants.is_enabled(writing, cloud))
    return wants.of_enabled(writing, cloud, bool(before))


def _vm_slots(writing: Writing, done: _Done) -> Want:
    cloud = clouds.find(writing.connection, done.name)
    before = done.before("vm_slots")
    done.hold("vm_slots", wants.slots_of(writing, cloud))
    return wants.of_slots(writing, cloud, int(before))


def _vm(writing: Writing, done: _Done, *, released: bool = False) -> VM:
    vm = vms.by_uid(writing.connection, done.name)
    if vm is None:
        raise Conflict("it is gone")
    if vm.destroying:
        raise Conflict("it is being destroyed")
    if vm.released is not released:
        raise Conflict("it has been forgotten since" if vm.released else "it is not forgotten any more")
    return vm


def _retired(writing: Writing, done: _Done) -> Want:
    vm = _vm(writing, done)
    done.before("status")
    if not is_retiring(vm) and not wishes.pending(writing, "vm", vm.uid, Aspect.RETIRE):
        raise Conflict(f"it has changed since: status is {vm.shown_status} now")
    return wants.of_vm(vm, Aspect.RESET)


def _reset(writing: Writing, done: _Done) -> Want:
    vm = _vm(writing, done)
    before = done.before("status")
    if wants.of_vm(vm, Aspect.RETIRE).after["status"] != before:
        raise Conflict(f"it was {before}, which nobody can ask for")
    if is_retiring(vm) and not wishes.pending(writing, "vm", vm.uid, Aspect.RESET):
        raise Conflict(f"it has changed since: status is {vm.shown_status} now")
    return wants.of_vm(vm, Aspect.RETIRE)


def _released(writing: Writing, done: _Done) -> Want:
    before, after = bool(done.before("released")), bool(done.entry.after["released"])
    # Before the engine has got to it the record does not say so yet.
    pending = wishes.pending(writing, "vm", done.name, Aspect.RELEASED)
    vm = _vm(writing, done, released=after is not bool(pending))
    back = wants.of_vm(vm, Aspect.RELEASED)
    return (
        back if before else replace(back, value={"id": vm.id, "released": False}, before=back.after, after=back.before)
    )


def _held(writing: Writing, done: _Done) -> Want:
    job = jobs.find(writing.connection, done.name)
    done.before("job_status")
    if not wishes.pending(writing, "job", job.id, Aspect.HOLD):
        done.hold("job_status", int(job.job_status))
    return wants.of_job(job, Aspect.RELEASE)


def _let_go(writing: Writing, done: _Done) -> Want:
    job = jobs.find(writing.connection, done.name)
    if done.before("job_status") != JobStatus.HELD:
        raise Conflict("it was not held")
    waits = job.job_status in (JobStatus.NEW, JobStatus.IDLE, JobStatus.RUNNING)
    if not waits and not wishes.pending(writing, "job", job.id, Aspect.RELEASE):
        raise Conflict(f"it has changed since: job_status is {int(job.job_status)} now")
    return wants.of_job(job, Aspect.HOLD)


def _setting(writing: Writing, done: _Done) -> Want:
    aspect = done.target.wish.aspect
    before = done.before(aspect.value)
    done.hold(aspect.value, wants.setting(writing, aspect))
    if before is None:
        raise Conflict("what was before is not known")
    return wants.of_setting(writing, aspect, before)


_UNDO: Mapping[Aspect, Callable[[Writing, _Done], Want]] = {
    Aspect.ENABLED: _enabled,
    Aspect.VM_SLOTS: _vm_slots,
    Aspect.RETIRE: _retired,
    Aspect.RESET: _reset,
    Aspect.RELEASED: _released,
    Aspect.HOLD: _held,
    Aspect.RELEASE: _let_go,
    Aspect.LOG_LEVEL: _setting,
    Aspect.QUICK_EXIT: _setting,
}
