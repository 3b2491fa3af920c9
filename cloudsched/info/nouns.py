"""What can be listed, and by what: a table per noun of the fields, filters and sorting keys that a client may name.

The fields of a noun are those of its documents, taken from the renderer itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from cloudsched.model.clouds import Cloud
from cloudsched.model.failures import VMFailure
from cloudsched.model.jobs import Job, Shape
from cloudsched.model.troubles import OK, STATES, state
from cloudsched.model.vms import VM
from cloudsched.render import documents, jobs, troubles
from cloudsched.render.fleet import CloudVMs
from cloudsched.web import params
from cloudsched.web.listing import Filter, Noun, aged, flag


@dataclass(frozen=True, slots=True)
class Failing:
    """A job that has no VM, and why."""

    job: Job
    reasons: tuple[str, ...]


def _images(image: Any) -> Iterable[object]:
    """The names in an image, which is one or has one for each cloud."""
    return image.values() if isinstance(image, Mapping) else (image,)


def _host(name: str | None) -> str:
    """A host's name without its slot (`slot1@host`), in small letters."""
    return (name or "").rpartition("@")[2].casefold()


def _is_host(names: Iterable[str | None], wanted: str) -> bool:
    return _host(wanted) in {_host(each) for each in names if each}


def _same(name: str, wanted: str) -> bool:
    """Whether both are the name of one cloud, which ignores case (B-09)."""
    return name.casefold() == wanted.casefold()


VMS: Noun[VM] = Noun(
    key="vms",
    fields=tuple(documents.vm(VM("", ""))),
    filters={
        "status": Filter(lambda vm, wanted, _: vm.shown_status == wanted),
        "user": Filter(lambda vm, wanted, _: vm.user == wanted),
        "vmtype": Filter(lambda vm, wanted, _: vm.vmtype == wanted),
        "cloud": Filter(lambda vm, wanted, _: _same(vm.cloud, wanted)),
        "image": Filter(lambda vm, wanted, _: wanted in _images(vm.image)),
        "host": Filter(
            lambda vm, wanted, _: _is_host((vm.hostname, vm.alt_hostname, vm.ipaddress, vm.condorname), wanted)
        ),
        "retired": Filter(lambda vm, wanted, _: vm.retired == wanted, flag),
        "released": Filter(lambda vm, wanted, _: vm.released == wanted, flag, wanted=False),
        **aged(lambda vm: vm.initialize_time),
    },
    sorts={
        "id": lambda vm: vm.id or vm.spot_id or vm.uid,
        "status": lambda vm: vm.shown_status,
        "user": lambda vm: vm.user,
        "vmtype": lambda vm: vm.vmtype,
        "cloud": lambda vm: vm.cloud,
        "host": lambda vm: vm.hostname or vm.ipaddress,
        "age": lambda vm: -vm.initialize_time,
    },
)
"""The VMs that the page without parameters lists, draining ones too; `released` asks for those instead."""

VMS_OF_CLOUD: Noun[VM] = Noun(
    key=VMS.key,
    fields=VMS.fields,
    filters={name: each for name, each in VMS.filters.items() if name != "cloud"},
    sorts={name: each for name, each in VMS.sorts.items() if name != "cloud"},
)

OF_SHAPE: Mapping[str, Callable[[Shape, str], bool]] = {
    "user": lambda shape, wanted: shape.user == wanted,
    "vmtype": lambda shape, wanted: shape.req_vmtype == wanted,
    "image": lambda shape, wanted: wanted in (shape.req_image, *shape.req_ami.values()),
}
"""Filters of jobs that all jobs of a shape pass, or none."""

JOBS: Noun[Job] = Noun(
    key="jobs",
    fields=tuple(documents.job(Job("", Shape("")), {})),
    filters={
        "state": Filter(lambda job, wanted, _: jobs.QUEUES[wanted](job), params.word(*jobs.QUEUES)),
        "user": Filter(lambda job, wanted, _: OF_SHAPE["user"](job.shape, wanted)),
        "vmtype": Filter(lambda job, wanted, _: OF_SHAPE["vmtype"](job.shape, wanted)),
        "cloud": Filter(lambda job, wanted, _: _same(job.running_cloud, wanted)),
        "image": Filter(lambda job, wanted, _: OF_SHAPE["image"](job.shape, wanted)),
        "host": Filter(lambda job, wanted, _: _is_host((job.remote_host,), wanted)),
        "finished": Filter(lambda job, wanted, _: (job.finished_at is not None) == wanted, flag),
        **aged(lambda job: job.submitted_at),
    },
    sorts={
        "id": lambda job: job.id,
        "state": lambda job: job.job_status,
        "user": lambda job: job.shape.user,
        "vmtype": lambda job: job.shape.req_vmtype,
        "cloud": lambda job: job.running_cloud,
        "host": lambda job: job.remote_host or "",
        "priority": lambda job: job.priority,
        "age": lambda job: -job.submitted_at,
    },
)

BOOT_FAILURES: Noun[Failing] = Noun(
    key="jobs",
    fields=tuple(documents.boot_failure(Job("", Shape("")), {})),
    filters={
        "user": Filter(lambda each, wanted, _: OF_SHAPE["user"](each.job.shape, wanted)),
        "vmtype": Filter(lambda each, wanted, _: OF_SHAPE["vmtype"](each.job.shape, wanted)),
        "image": Filter(lambda each, wanted, _: OF_SHAPE["image"](each.job.shape, wanted)),
        "reason": Filter(lambda each, wanted, _: any(wanted.casefold() in why.casefold() for why in each.reasons)),
        **aged(lambda each: each.job.submitted_at),
    },
    sorts={
        "id": lambda each: each.job.id,
        "user": lambda each: each.job.shape.user,
        "vmtype": lambda each: each.job.shape.req_vmtype,
        "age": lambda each: -each.job.submitted_at,
    },
)

_STATE = params.word(OK, *STATES.values())
_ONE_CLOUD = CloudVMs(Cloud("", "OpenStackNative"))

CLOUDS: Noun[CloudVMs] = Noun(
    key="resources",
    fields=tuple(json.loads(documents.cloud(_ONE_CLOUD))),
    filters={
        "cloud": Filter(lambda each, wanted, _: _same(each.cloud.name, wanted)),
        "type": Filter(lambda each, wanted, _: _same(each.cloud.cloud_type, wanted)),
        "state": Filter(lambda each, wanted, _: state(each.cloud.trouble) == wanted, _STATE),
        "enabled": Filter(lambda each, wanted, _: each.cloud.enabled == wanted, flag),
        "removed": Filter(lambda each, wanted, _: each.cloud.removed == wanted, flag),
    },
    sorts={
        "name": lambda each: each.cloud.name,
        "type": lambda each: each.cloud.cloud_type,
        "priority": lambda each: each.cloud.priority,
        "vms": lambda each: len(each.vms),
    },
)

OVERVIEW: Noun[CloudVMs] = Noun(
    key=CLOUDS.key,
    fields=tuple(documents.glance(Cloud("", ""))),
    filters={name: each for name, each in CLOUDS.filters.items() if name != "removed"},
    sorts=CLOUDS.sorts,
)

CLOUD_HEALTH: Noun[Cloud] = Noun(
    key="clouds",
    fields=tuple(troubles.row(Cloud("", ""), {}, {})),
    filters={
        "cloud": Filter(lambda cloud, wanted, _: _same(cloud.name, wanted)),
        "type": Filter(lambda cloud, wanted, _: _same(cloud.cloud_type, wanted)),
        "state": Filter(lambda cloud, wanted, _: state(cloud.trouble) == wanted, _STATE),
        **aged(lambda cloud: cloud.trouble.since if cloud.trouble else None),
    },
    sorts={
        "name": lambda cloud: cloud.name,
        "state": lambda cloud: state(cloud.trouble),
        "failures": lambda cloud: cloud.trouble.failures if cloud.trouble else 0,
    },
)
"""Ages are those of a cloud's trouble: how long it has not answered well."""

IMAGE_FAILURES: Noun[Cloud] = Noun(
    key="clouds",
    fields=("name", "images"),
    filters={
        "cloud": Filter(lambda cloud, wanted, _: _same(cloud.name, wanted)),
        "image": Filter(lambda cloud, wanted, _: wanted in cloud.failed_images),
    },
    sorts={"name": lambda cloud: cloud.name, "images": lambda cloud: len(cloud.failed_images)},
)

VM_FAILURES: Noun[VMFailure] = Noun(
    key="vms",
    fields=tuple(each.name for each in fields(VMFailure)),
    filters={
        "cloud": Filter(lambda each, wanted, _: _same(each.cloud, wanted)),
        "cause": Filter(
            lambda each, wanted, _: each.cause == wanted, params.word("timeout", "unjoined", "error", "lost")
        ),
        "user": Filter(lambda each, wanted, _: each.user == wanted),
        "vmtype": Filter(lambda each, wanted, _: each.vmtype == wanted),
        "image": Filter(lambda each, wanted, _: each.image == wanted),
        **aged(lambda each: each.failed_at),
    },
    sorts={
        "cloud": lambda each: each.cloud,
        "cause": lambda each: each.cause,
        "user": lambda each: each.user,
        "vmtype": lambda each: each.vmtype,
        "age": lambda each: -each.failed_at,
    },
)
