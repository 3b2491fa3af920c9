"""What operators and users asked for, turned into actions (DESIGN 2, PARITY 1.2 and 1.4)."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from cloudsched.model.actions import Action, Destroy, OrderJobs, Plan, Reload, Renew, Retire, SetCloud, Settle, SetVM
from cloudsched.model.clouds import Cloud, Requested
from cloudsched.model.jobs import JobOrder
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM, is_retiring
from cloudsched.model.wishes import Aspect, OutcomeState, Wish
from cloudsched.policy.foresight import Ahead
from cloudsched.policy.requests import leaving, request_of

_Answer = Callable[[Ahead, Container[str], Wish], Plan]
"""What a wish comes to, ahead of which others have been answered; the VMs that calls are under way for are busy."""


def wishes(snapshot: Snapshot) -> Plan:
    """The actions that settle each wish of the snapshot, in the order they were made.

    A wish for a VM that a call is running for, or that is being destroyed, waits for that to end.
    """
    actions: list[Action] = []
    ahead = Ahead(snapshot)
    for wish in sorted(snapshot.wishes, key=lambda each: each.id):
        answer = _ANSWERS[wish.aspect](ahead, snapshot.in_flight, wish)
        ahead.do(answer)
        actions += answer
    return tuple(actions)


def _failed(wish: Wish, error: str) -> Plan:
    return (Settle(wish.id, OutcomeState.FAILED, {"error": error}),)


def _about_cloud(answer: Callable[[Cloud, Wish], Plan]) -> _Answer:
    def find(ahead: Ahead, busy: Container[str], wish: Wish) -> Plan:
        cloud = next((each for each in ahead.clouds.values() if each.name.lower() == wish.name.lower()), None)
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


def _define(ahead: Ahead, busy: Container[str], wish: Wish) -> Plan:
    return (Reload(wish.aspect.value, wish.name, wish=wish.id),)


def _delete(ahead: Ahead, busy: Container[str], wish: Wish) -> Plan:
    """A cloud drains, keeps its place until nothing is left on it, and goes.

    VMs that were released keep it too, as nobody would know them again; but not one that cannot be listed any more.
    """
    cloud = ahead.clouds.get(wish.name)
    if cloud is None:
        return (Reload(wish.aspect.value, wish.name, wish=wish.id),)
    is_listed = cloud.unusable is None and not cloud.stale and not cloud.connection_problem
    if ahead.is_empty(cloud.name) and not (is_listed and ahead.has_released(cloud.name)):
        return (Reload(wish.aspect.value, wish.name, wish=wish.id),)
    if cloud.removed:
        return ()
    return (SetCloud(cloud.name, {"removed": True, "enabled": False, "request": leaving(wish)}),)


def _about_vm(answer: Callable[[VM, Wish], Plan]) -> _Answer:
    def find(ahead: Ahead, busy: Container[str], wish: Wish) -> Plan:
        vm = ahead.vms.get(wish.name)
        if vm is None or vm.released:
            return (Settle(wish.id),)
        if vm.destroying or vm.uid in busy:
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


def _released(ahead: Ahead, busy: Container[str], wish: Wish) -> Plan:
    if (wish.value or {}).get("released", True):
        return _about_vm(_forgotten)(ahead, busy, wish)
    # Taken back: no snapshot has it, and where its cloud no longer lists it either there is no record to change.
    return SetVM(wish.name, {"released": False}), Settle(wish.id)


def _forgotten(vm: VM, wish: Wish) -> Plan:
    return SetVM(vm.uid, {"released": True}), Settle(wish.id)


def _order(ahead: Ahead, busy: Container[str], wish: Wish) -> Plan:
    submit = wish.aspect is Aspect.SUBMIT
    order = JobOrder(
        token=f"wish-{wish.id}",
        action=wish.aspect.value,
        jobs=() if submit else (wish.name,),
        reason=wish.reason,
        payload=wish.value if submit else {},
    )
    return (OrderJobs(order, wish=wish.id),)


def _reload(ahead: Ahead, busy: Container[str], wish: Wish) -> Plan:
    return (Reload(wish.aspect.value, wish.value, wish=wish.id),)


def _renew(ahead: Ahead, busy: Container[str], wish: Wish) -> Plan:
    return (Renew(wish.aspect, wish.name, wish.id),)


_ANSWERS: Mapping[Aspect, _Answer] = {
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
