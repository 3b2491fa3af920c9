"""A small world for the planner's tests: builders of values, and what the actions of a plan do to a snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cloudsched.config.options import Global, JobDefaults
from cloudsched.model.actions import (
    Action,
    Boot,
    Destroy,
    Drop,
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
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import JobGroup, JobStatus, Machine, Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy import plan
from cloudsched.policy.request import boot_request, vm_record

NOW = 1_000_000
SETTINGS = Global()
DEFAULTS = JobDefaults()


def a_cloud(name: str = "mouse", slots: int = 4, **fields: Any) -> Cloud:
    sizes = {"memory_mb": 100_000, "storage_gb": 10_000, "cpu_cores": 64, "enabled": True}
    return Cloud(**{"name": name, "cloud_type": "local", "vm_slots": slots, **sizes, **fields})


def a_shape(user: str = "alice", vmtype: str = "x", **fields: Any) -> Shape:
    return Shape(user=user, req_vmtype=vmtype, **fields)


def a_group(shape: Shape, jobs: int, job_status: int = JobStatus.IDLE, priority: int = 0, **fields: Any) -> JobGroup:
    known = {"status": "Unscheduled", "banned": False, "blocked_clouds": ()}
    return JobGroup(shape=shape.key, priority=priority, job_status=job_status, jobs=jobs, **{**known, **fields})


def a_vm(uid: str, cloud: str = "mouse", **fields: Any) -> VM:
    known = {"id": f"id-{uid}", "user": "alice", "vmtype": "x", "status": "Running", "memory": 512}
    return VM(**{"uid": uid, "cloud": cloud, "initialize_time": NOW - 7200, **known, **fields})


def a_slot(vm: VM, busy: bool = False, number: int = 1) -> Machine:
    state, activity = ("Claimed", "Busy") if busy else ("Unclaimed", "Idle")
    host = vm.uid
    return Machine(
        name=f"slot{number}@{host}",
        machine_name=host,
        vm=vm.uid,
        state=state,
        activity=activity,
        vmtype=vm.vmtype,
        remote_owner=vm.user if busy else "",
    )


def a_snapshot(clouds: Iterable[Cloud], shapes: Iterable[Shape] = (), **fields: Any) -> Snapshot:
    known = {"jobs_known": True, "machines_known": True, "now": NOW, "index": 1}
    placed = tuple(replace(each, position=number) for number, each in enumerate(clouds))
    fields["vms"] = tuple(replace(vm, position=number) for number, vm in enumerate(fields.get("vms", ())))
    return Snapshot(clouds=placed, shapes={each.key: each for each in shapes}, **{**known, **fields})


def planned(snapshot: Snapshot, settings: Global = SETTINGS, kinds: tuple[type, ...] = (Boot, Retire, Destroy)) -> Plan:
    """The actions of the given kinds in the snapshot's plan."""
    return tuple(each for each in plan(snapshot, settings, DEFAULTS) if isinstance(each, kinds))


def booted(actions: Iterable[Action], snapshot: Snapshot) -> dict[str, int]:
    """How many VMs the actions boot, by user:vmtype."""
    counts: dict[str, int] = {}
    for each in actions:
        if isinstance(each, Boot):
            name = snapshot.shapes[each.shape].uservmtype
            counts[name] = counts.get(name, 0) + each.vms
    return counts


def apply(snapshot: Snapshot, actions: Iterable[Action]) -> Snapshot:
    """The snapshot after the engine has done the actions and every call has succeeded, before slots are seen again."""
    for action in actions:
        snapshot = _apply(snapshot, action)
    return snapshot


def _apply(snapshot: Snapshot, action: Action) -> Snapshot:
    if isinstance(action, Boot):
        return _boot(snapshot, action)
    if isinstance(action, Schedule):
        return _schedule(snapshot, action)
    if isinstance(action, (Retire, SetVM, Destroy, Drop)):
        return _settle(_vm_action(snapshot, action), getattr(action, "wish", None))
    if isinstance(action, SetCloud):
        changed = (replace(each, **action.fields) if each.name == action.name else each for each in snapshot.clouds)
        return replace(snapshot, clouds=tuple(changed))
    if isinstance(action, (Settle, OrderJobs, Reload, Renew)):
        return _settle(snapshot, action.wish)
    return snapshot


def _settle(snapshot: Snapshot, wish: int | None) -> Snapshot:
    return replace(snapshot, wishes=tuple(each for each in snapshot.wishes if each.id != wish))


def _boot(snapshot: Snapshot, action: Boot) -> Snapshot:
    shape = snapshot.shapes[action.shape]
    cloud = next(each for each in snapshot.clouds if each.name == action.cloud)
    vms = list(snapshot.vms)
    for _ in range(action.vms):
        position = max((vm.position for vm in vms), default=-1) + 1
        request = boot_request(shape, cloud, f"{cloud.name}-{position}", DEFAULTS, snapshot.cloud_aliases)
        record = vm_record(shape, cloud, request, snapshot.now, snapshot.now + 300)
        vms.append(replace(record, position=position))
    return replace(snapshot, vms=tuple(vms))


def _vm_action(snapshot: Snapshot, action: Retire | SetVM | Destroy | Drop) -> Snapshot:
    if isinstance(action, (Destroy, Drop)):
        return replace(
            snapshot,
            vms=tuple(vm for vm in snapshot.vms if vm.uid != action.uid),
            machines=tuple(each for each in snapshot.machines if each.vm != action.uid),
        )
    if isinstance(action, Retire):
        fields: dict[str, Any] = {"override_status": "Retiring", "force_retire": action.forced, "retired": action.drain}
    else:
        fields = dict(action.fields)
    vms = (replace(vm, **fields) if vm.uid == action.uid else vm for vm in snapshot.vms)
    unseen = snapshot.unseen | ({action.uid} if isinstance(action, Retire) else set())
    return replace(snapshot, vms=tuple(vm for vm in vms if not vm.released), unseen=unseen)


def _schedule(snapshot: Snapshot, action: Schedule) -> Snapshot:
    left = action.jobs
    groups: list[JobGroup] = []
    for group in snapshot.groups:
        if (group.shape, group.priority) != (action.shape, action.priority) or group.banned or group.job_status > 1:
            groups.append(group)
            continue
        now = min(left, group.jobs)
        left -= now
        groups.append(replace(group, status="Scheduled", jobs=now))
        groups.append(replace(group, status="Unscheduled", jobs=group.jobs - now))
    return replace(snapshot, groups=tuple(each for each in groups if each.jobs))


def all_join(snapshot: Snapshot) -> Snapshot:
    """Every starting VM has come up and its slots have joined, idle."""
    came_up = tuple(
        replace(vm, status="Running", id=f"id-{vm.uid}", requested_until=None) if vm.status == "Starting" else vm
        for vm in snapshot.vms
    )
    known = {each.vm for each in snapshot.machines}
    slots = tuple(
        a_slot(vm, number=number + 1)
        for vm in came_up
        if vm.uid not in known
        for number in range(vm.cpucores if vm.job_per_core else 1)
    )
    return replace(snapshot, vms=came_up, machines=snapshot.machines + slots)


def start_jobs(snapshot: Snapshot) -> Snapshot:
    """The batch system gives waiting jobs to idle slots that fit and do not retire, highest priority first."""
    vms = {vm.uid: vm for vm in snapshot.vms}
    machines = list(snapshot.machines)
    groups = list(snapshot.groups)
    waiting = [each for each in snapshot.groups if each.job_status == JobStatus.IDLE and not each.banned]
    for group in sorted(waiting, key=lambda each: -each.priority):
        shape = snapshot.shapes[group.shape]
        started = 0
        for index, machine in enumerate(machines):
            vm = vms[machine.vm]
            fits = shape.req_memory <= vm.memory and shape.req_cpucores <= vm.cpucores
            mine = vm.uservmtype == shape.uservmtype and vm.override_status is None
            if started < group.jobs and machine.state == "Unclaimed" and fits and mine:
                machines[index] = replace(machine, state="Claimed", activity="Busy", remote_owner=vm.user)
                started += 1
        groups.remove(group)
        groups.append(replace(group, jobs=group.jobs - started))
        groups.append(replace(group, job_status=JobStatus.RUNNING, status="Scheduled", jobs=started))
    return replace(snapshot, machines=tuple(machines), groups=tuple(each for each in groups if each.jobs))


def end_jobs(snapshot: Snapshot, uids: Iterable[str]) -> Snapshot:
    """The jobs on these VMs complete; a retiring VM's slots leave with them."""
    ending = set(uids)
    machines = []
    groups = list(snapshot.groups)
    vms = {vm.uid: vm for vm in snapshot.vms}
    for machine in snapshot.machines:
        vm = vms[machine.vm]
        if machine.vm in ending and machine.state == "Claimed":
            running = (each for each in groups if each.job_status == JobStatus.RUNNING)
            done = next(each for each in running if snapshot.shapes[each.shape].uservmtype == vm.uservmtype)
            groups[groups.index(done)] = replace(done, jobs=done.jobs - 1)
            groups = [each for each in groups if each.jobs]
            machine = replace(machine, state="Unclaimed", activity="Idle", remote_owner="")
        if machine.state == "Claimed" or vm.override_status != "Retiring":
            machines.append(machine)
    return replace(snapshot, machines=tuple(machines), groups=tuple(groups))


def cycle(snapshot: Snapshot, settings: Global = SETTINGS, seconds: int = 5) -> Snapshot:
    """One cycle of the engine and what batch system and clouds do until the next."""
    snapshot = apply(snapshot, plan(snapshot, settings, DEFAULTS))
    snapshot = start_jobs(all_join(end_jobs(snapshot, ())))
    return replace(snapshot, now=snapshot.now + seconds, unseen=frozenset())
