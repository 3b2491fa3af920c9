"""The JSON documents: v1's keys, types and units first, ours after them (PARITY 3).

Most are plain objects for `encode`. Those that hold many VMs are composed from encoded pieces, so that a caller may
keep the pieces of what has not changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter

from cloudsched.model.clouds import Cloud
from cloudsched.model.failures import VMFailure
from cloudsched.model.jobs import SHAPE_FIELDS, Job, Machine
from cloudsched.model.snapshot import Heartbeat
from cloudsched.model.vms import VM
from cloudsched.render import failures, heartbeats, jobs, requests, troubles, vms
from cloudsched.render.failures import Reasons
from cloudsched.render.fleet import CloudVMs, Fleet, remaining
from cloudsched.render.shares import Shares

Document = dict[str, object]
EncodeVM = Callable[[VM], str]

_VM_KEYS = (
    *("name", "id", "spot_id", "vmtype", "user", "uservmtype", "hostname", "alt_hostname", "ipaddress", "ssh_port"),
    *("status", "override_status", "cloudtype", "clusteraddr", "clusterport", "network", "image", "flavor"),
    *("memory", "cpucores", "storage", "keep_alive", "job_per_core", "initialize_time", "last_state_change"),
    *("startup_time", "lastpoll", "idle_start", "errorcount", "errorconnect"),
    *("condorname", "condoraddr", "condormasteraddr", "proxy_file", "myproxy_creds_name", "myproxy_server"),
    *("myproxy_server_port", "myproxy_renew_time", "x509userproxy_expiry_time", "force_retire", "failed_retire"),
)
_OUR_VM_KEYS = ("uid", "cloud", "retired", "released", "destroying", "reason", "requested_until")
_VM_VALUES, _OUR_VM_VALUES = attrgetter(*_VM_KEYS), attrgetter(*_OUR_VM_KEYS)

_CLOUD_KEYS = (
    *("name", "network_address", "cloud_type", "cpu_cores", "max_vm_mem", "enabled", "boot_timeout"),
    *("connection_fail_disable_time", "connection_problem", "errorconnect", "network_pools"),
)
_OUR_CLOUD_KEYS = ("priority", "keep_alive", "unusable", "removed", "failed_images", "stale", "last_error", "origin")

_JOB_KEYS = (
    *("id", "cluster_id", "proc_id", "priority", "job_status", "status", "override_status", "block_time", "banned"),
    *("ban_time", "remote_host", "running_cloud", "servertime", "jobstarttime", "machine_reserved", "spool_dir"),
    *("x509userproxy", "x509userproxysubject", "original_x509userproxy", "proxy_renew_time", "myproxy_server"),
    *("myproxy_server_port", "myproxy_creds_name", "x509userproxy_expiry_time", "blocked_clouds"),
)
_OUR_JOB_KEYS = ("problem", "hold_reason", "exit_code", "submitted_at", "finished_at")
_JOB_VALUES, _OUR_JOB_VALUES = attrgetter(*_JOB_KEYS), attrgetter(*_OUR_JOB_KEYS)
_SHAPE_VALUES = attrgetter(*SHAPE_FIELDS)
_ALWAYS_IN_JOBS: Document = {"req_imageloc": "", "running_vm": None}


encode = json.JSONEncoder(default=dict).encode
"""JSON as v1 wrote it: default separators, everything beyond ASCII escaped."""


def joined(**lists: Iterable[str]) -> str:
    """An object of lists whose elements are encoded already."""
    parts: list[str] = []
    for name, texts in lists.items():
        parts += (", " if parts else "", f'"{name}": [')
        for number, text in enumerate(texts):
            parts += (", ", text) if number else (text,)
        parts.append("]")
    # In one go, for what is joined may be large, and copying it is most of the work.
    return "".join(("{", *parts, "}"))


def vm(each: VM) -> Document:
    """One VM: v1's 42 keys and ours (PARITY 3.1)."""
    document: Document = dict(zip(_VM_KEYS, _VM_VALUES(each), strict=True))
    document["job_run_times"] = each.job_run_times[-10:]
    document.update(zip(_OUR_VM_KEYS, _OUR_VM_VALUES(each), strict=True))
    return document


def encode_vm(each: VM) -> str:
    """One VM's document, encoded."""
    return encode(vm(each))


def cloud(each: CloudVMs, vm_text: EncodeVM = encode_vm) -> bytes:
    """One cloud with its VMs, as UTF-8: v1's 18 keys, `tenant` where v1 had it, and ours (PARITY 3.2, B-31).

    `retired_vms` drain, `released_vms` were taken out of our hands by an operator and run on.
    """
    lists = {"vms": each.vms, "retired_vms": each.retired, "released_vms": each.released}
    vms_text = ", ".join(f'"{key}": [{", ".join(map(vm_text, listed))}]' for key, listed in lists.items())
    return f"{encode(_cloud(each))[:-1]}, {vms_text}}}".encode()


def _cloud(each: CloudVMs) -> Document:
    configured, left = each.cloud, remaining(each)
    document: Document = {key: getattr(configured, key) for key in _CLOUD_KEYS}
    document |= {
        "memory": left.memory,
        "max_mem": configured.memory_mb,
        "storageGB": left.storage,
        "max_storageGB": configured.storage_gb,
        "vm_slots": left.vm_slots,
        "max_slots": configured.vm_slots,
    }
    if configured.cloud_type.lower() == "openstacknative":
        document["tenant"] = configured.tenant
    document |= {key: getattr(configured, key) for key in _OUR_CLOUD_KEYS}
    return document | {"health": troubles.health(configured.trouble), "fleet": requests.fleet(each)}


def pool(fleet: Fleet, cloud_body: Callable[[CloudVMs], bytes] = cloud) -> bytes:
    """All active clouds, as UTF-8; removed ones that still drain under a key of their own (PARITY 3.3, B-31).

    Joined in one go, for copying them is most of the work at 10,000 VMs.
    """
    active, removed = (_listed(map(cloud_body, each)) for each in (fleet.active, fleet.removed))
    return b"".join((b'{"resources": [', *active, b'], "retired_resources": [', *removed, b"]}"))


def _listed(bodies: Iterable[bytes]) -> Iterator[bytes]:
    for number, body in enumerate(bodies):
        yield from (b", ", body) if number else (body,)


def vm_list(fleet: Fleet, vm_text: EncodeVM = encode_vm) -> str:
    """The VM table's content, encoded."""
    active, retired = list(map(vm_text, fleet.vms)), list(map(vm_text, fleet.retired))
    totals = f'"total_vms": {len(active)}, "total_clouds": {len(fleet.active)}'
    return f'{{"vms": [{", ".join(active)}], "retired_vms": [{", ".join(retired)}], {totals}}}'


def overview(fleet: Fleet) -> Document:
    """The pool at a glance."""
    return {"resources": [glance(each.cloud) for each in fleet.active]}


def glance(cloud: Cloud) -> Document:
    """One cloud of it."""
    keys = ("name", "cloud_type", "network_address", "enabled", "unusable")
    return {key: getattr(cloud, key) for key in keys}


def configuration(sections: Iterable[tuple[str, Mapping[str, str]]]) -> Document:
    """The clouds' configuration without secrets."""
    return {"sections": [{"name": title, "options": dict(options)} for title, options in sections]}


def states(fleet: Fleet) -> Document:
    """How many VMs show each status."""
    return {"states": vms.states(fleet.vms)}


def missing(machines: Iterable[Machine]) -> Document:
    """Batch machines that belong to no VM of ours."""
    keys = ("name", "machine_name", "address_startd", "address_master", "state", "activity")
    return {"machines": [{key: getattr(machine, key) for key in keys} for machine in machines]}


def startup_times(fleet: Fleet) -> Document:
    """Seconds from request to Running by cloud."""
    timed = [(each.cloud.name, *vms.startup_seconds(each)) for each in fleet.active]
    return {"clusters": [{"name": name, "startup_times": times, "average": average} for name, times, average in timed]}


def job_run_times(fleet: Fleet) -> Document:
    """The average run time of jobs by VM, in seconds."""
    return {"vms": [{"id": vm.id, "hostname": vm.hostname, "average": vms.run_seconds(vm)} for vm in fleet.vms]}


def hosts(fleet: Fleet) -> Document:
    """The VMs that can be reached from outside."""
    return {"hosts": [{"host": host, "address": address} for host, address in vms.public_hosts(fleet.vms)]}


def job(each: Job, of_shape: Reasons) -> Document:
    """One job: v1's 49 keys and ours, with every reason why it has no VM (PARITY 3.4)."""
    document: Document = dict(zip(_JOB_KEYS, _JOB_VALUES(each), strict=True))
    document.update(zip(SHAPE_FIELDS, _SHAPE_VALUES(each.shape), strict=True))
    document["uservmtype"] = each.shape.uservmtype
    document.update(_ALWAYS_IN_JOBS)
    document.update(zip(_OUR_JOB_KEYS, _OUR_JOB_VALUES(each), strict=True))
    document["failed_boot_reason"] = failures.reasons(each, of_shape)
    return document


def job_list(listed: Iterable[Job], of_shape: Reasons) -> Document:
    """Some jobs."""
    return {"jobs": [job(each, of_shape) for each in listed]}


def job_pool(listed: Sequence[Job], of_shape: Reasons) -> Document:
    """Jobs by v1's two queues, encoded once (PARITY 3.5, B-13)."""
    return {
        f"{word}_jobs": [job(each, of_shape) for each in listed if jobs.QUEUES[word](each)] for word in ("new", "sched")
    }


def job_pool_encoded_twice(listed: Sequence[Job], of_shape: Reasons) -> Document:
    """The same as v1 wrote it: each job is a string that holds JSON (PARITY 3.5)."""
    return {
        f"{word}_jobs": [encode(job(each, of_shape)) for each in listed if jobs.QUEUES[word](each)]
        for word in ("new", "sched")
    }


def boot_failures(listed: Iterable[Job], of_shape: Reasons) -> Document:
    """Why jobs have no VM."""
    failing = (boot_failure(each, of_shape) for each in listed)
    return {"jobs": [each for each in failing if each["reasons"]]}


def boot_failure(each: Job, of_shape: Reasons) -> Document:
    """Why one job has no VM."""
    return {"id": each.id, "reasons": failures.reasons(each, of_shape)}


def image_failures(clouds: Iterable[Cloud]) -> Document:
    """Which images fail where."""
    return {"clouds": [failing_images(each) for each in clouds if each.failed_images]}


def failing_images(cloud: Cloud) -> Document:
    """The same of one cloud."""
    return {"name": cloud.name, "images": cloud.failed_images}


def vm_failures(found: Iterable[VMFailure]) -> Document:
    """What became of VMs that were of no use."""
    return {"vms": [vm_failure(each) for each in found]}


def vm_failure(each: VMFailure) -> Document:
    """One of them."""
    return asdict(each)


def shares(diff: Shares, current: Shares, desired: Shares) -> Document:
    """The three fair-share distributions."""
    return {"diff": dict(diff), "current": dict(current), "desired": dict(desired)}


def beats(listed: Iterable[Heartbeat], now: float) -> Document:
    """The engine's stages, with how many seconds ago each last ended a cycle."""
    return {
        "threads": [
            {"name": beat.name, "interval": beat.interval_seconds, "age": heartbeats.age_seconds(beat, now)}
            for beat in heartbeats.in_order(listed)
        ]
    }
