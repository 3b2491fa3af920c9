"""What operators and users asked for, turned into actions (DESIGN 2, PARITY 1.2 and 1.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cloudsched.model.actions import Action, Destroy, OrderJobs, Plan, Reload, Renew, Retire, SetCloud, Settle, SetVM
from cloudsched.model.clouds import Cloud, Request, Requested
from cloudsched.model.jobs import JobOrder
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM, is_retiring
from cloudsched.model.wishes import Aspect, OutcomeState, Wish
from cloudsched.policy.foresight import foresee
from cloudsched.policy.requests import request_of


def wishes(snapshot: Snapshot) -> Plan:
    """The actions that settle each wish of the snapshot, in the order they were made.

    A wish for a VM that a call is running for, or that is being destroyed, waits for that to end.
    """
    actions: list[Action] = []
    for wish in sorted(snapshot.wishes, key=lambda each: each.id):
        answer = _ANSWERS[wish.aspect](snapshot, wish)
        snapshot = foresee(snapshot, answer)
        actions += answer
    return tuple(actions)


def _failed(wish: Wish, error: str) -> Plan:
    return (Settle(wish.id, OutcomeState.FAILED, {"error": error}),)


def _about_cloud(answer: Callable[[Cloud, Wish], Plan]) -> Callable[[Snapshot, Wish], Plan]:
    def find(snapshot: Snapshot, wish: Wish) -> Plan:
        cloud = next((each for each in snapshot.clouds if each.name.lower() == wish.name.lower()), None)
        if cloud is None or cloud.removed:
            return _failed(wish, f"There is no cloud {wish.name!r}.")
        return answer(cloud, wish)

    return find


def _enabled(cloud: Cloud, wish: Wish) -> Plan:
    request = request_of(wish)
    enabled = request.requested is Requested.ENABLED
    if enabled and cloud.unusable is not None:
        return _failed(wish, f"Cloud {cloud.name!r} cannot be used: {cloud.unusable}")
    fields: dict[str, Any] = {"enabled": enabled, "connection_problem": False, "errorconnect": None, "request": request}
    if enabled:
        # Whoever enables a cloud in trouble wants it tried now.
        fields["trouble"] = None
    return SetCloud(cloud.name, fields), Settle(wish.id)


def _vm_slots(cloud: Cloud, wish: Wish) -> Plan:
    slots = wish.value["slots"]
    if slots < 0:
        return _failed(wish, f"A cloud's VM slots must be 0 or more, not {slots}.")
    return SetCloud(cloud.name, {"vm_slots": slots}), Settle(wish.id)


def _define(snapshot: Snapshot, wish: Wish) -> Plan:
    return (Reload(wish.aspect.value, wish.name, wish=wish.id),)


def _delete(snapshot: Snapshot, wish: Wish) -> Plan:
    """A cloud drains, keeps its place until nothing is left on it, and goes.

    VMs that were released keep it too, as nobody would know them again; but not one that cannot be listed any more.
    """
    cloud = next((each for each in snapshot.clouds if each.name == wish.name), None)
    if cloud is None:
        return (Reload(wish.aspect.value, wish.name, wish=wish.id),)
    is_listed = cloud.unusable is None and not cloud.stale and not cloud.connection_problem
    is_empty = all(vm.cloud != cloud.name for vm in snapshot.vms)
    if is_empty and not (is_listed and cloud.name in snapshot.released_on):
        return (Reload(wish.aspect.value, wish.name, wish=wish.id),)
    if cloud.removed:
        return ()
    request = Request(Requested.DRAINED, since=wish.made_at, by=wish.actor, reason=wish.reason)
    return (SetCloud(cloud.name, {"removed": True, "enabled": False, "request": request}),)


def _about_vm(answer: Callable[[VM, Wish], Plan]) -> Callable[[Snapshot, Wish], Plan]:
    def find(snapshot: Snapshot, wish: Wish) -> Plan:
        vm = next((each for each in snapshot.vms if each.uid == wish.name), None)
        if vm is None:
            return (Settle(wish.id),)
        if vm.destroying or vm.uid in snapshot.in_flight:
            return ()
        return answer(vm, wish)

    return find


def _shutdown(vm: VM, wish: Wish) -> Plan:
    return (Destroy(vm.uid, wish.reason or "An operator asked for it.", wish=wish.id),)


def _retire(vm: VM, wish: Wish) -> Plan:
    if is_retiring(vm):
        return SetVM(vm.uid, {"force_retire": True}), Settle(wish.id)
    return (Retire(vm.uid, wish.reason or "An operator asked for it.", wish=wish.id),)


def _reset(vm: VM, wish: Wish) -> Plan:
    return SetVM(vm.uid, {"override_status": None, "force_retire": False, "retired": False}), Settle(wish.id)


def _released(snapshot: Snapshot, wish: Wish) -> Plan:
    if (wish.value or {}).get("released", True):
        return _about_vm(_forgotten)(snapshot, wish)
    # Taken back: no snapshot has it, and where its cloud no longer lists it either there is no record to change.
    return SetVM(wish.name, {"released": False}), Settle(wish.id)


def _forgotten(vm: VM, wish: Wish) -> Plan:
    return SetVM(vm.uid, {"released": True}), Settle(wish.id)


def _order(snapshot: Snapshot, wish: Wish) -> Plan:
    submit = wish.aspect is Aspect.SUBMIT
    order = JobOrder(
        token=f"wish-{wish.id}",
        action=wish.aspect.value,
        jobs=() if submit else (wish.name,),
        reason=wish.reason,
        payload=wish.value if submit else {},
    )
    return (OrderJobs(order, wish=wish.id),)


def _reload(snapshot: Snapshot, wish: Wish) -> Plan:
    return (Reload(wish.aspect.value, wish.value, wish=wish.id),)


def _renew(snapshot: Snapshot, wish: Wish) -> Plan:
    return (Renew(wish.aspect, wish.name, wish.id),)


_ANSWERS: Mapping[Aspect, Callable[[Snapshot, Wish], Plan]] = {
    Aspect.ENABLED: _about_cloud(_enabled),
    Aspect.VM_SLOTS: _about_cloud(_vm_slots),
    Aspect.DEFINE: _define,
    Aspect.DELETE: _delete,
    Aspect.SHUTDOWN: _about_vm(_shutdown),
    Aspect.RETIRE: _about_vm(_retire),
    Aspect.RESET: _about_vm(_reset),
    Aspect.RELEASED: _released,
    Aspect.HOLD: _order,
    Aspect.RELEASE: _order,
    Aspect.REMOVE: _order,
    Aspect.SUBMIT: _order,
    Aspect.LOG_LEVEL: _reload,
    Aspect.QUICK_EXIT: _reload,
    Aspect.RECONFIG: _reload,
    Aspect.USER_LIMITS: _reload,
    Aspect.CLOUD_ALIASES: _reload,
    Aspect.JOB_PROXY: _renew,
    Aspect.VM_PROXY: _renew,
}
