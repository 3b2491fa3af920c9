"""A promised boot as the call to make and the record to keep (PARITY 3.1, 5.2, 6.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudsched.config.options import JobDefaults
from cloudsched.model.clouds import BootRequest, Cloud
from cloudsched.model.jobs import Shape
from cloudsched.model.vms import VM
from cloudsched.policy.images import flavor_for, image_for

_WHOLE_IMAGE_MAP = frozenset({"openstacknative", "gce", "googlecomputeengine", "azure"})


def boot_request(
    shape: Shape, cloud: Cloud, uid: str, defaults: JobDefaults, aliases: Mapping[str, tuple[str, ...]]
) -> BootRequest:
    """What to ask of the cloud for one VM of this shape, named `uid`; the engine adds what the VM needs to join.

    `aliases` are the snapshot's `cloud_aliases`.
    """
    return BootRequest(
        uid=uid,
        name=shape.req_image,
        user=shape.user,
        vmtype=shape.req_vmtype,
        image=image_for(shape, cloud, defaults, aliases),
        flavor=flavor_for(shape, cloud, defaults, aliases),
        network=shape.req_network,
        memory=shape.req_memory,
        cpucores=shape.req_cpucores,
        storage=shape.req_storage,
        maximum_price=shape.maximum_price,
        key_name=shape.key_name,
        security_groups=tuple(each for each in shape.req_security_group if each),
        location=shape.location,
    )


def vm_record(shape: Shape, cloud: Cloud, request: BootRequest, now: int, deadline: int) -> VM:
    """The VM to record before its cloud is asked; until `deadline` it counts although no listing shows it.

    `image` is the job's whole map where v1 published it so, else the image chosen.
    """
    image: Any = dict(shape.req_ami) if cloud.cloud_type.lower() in _WHOLE_IMAGE_MAP else request.image
    return VM(
        uid=request.uid,
        id=request.uid,
        cloud=cloud.name,
        name=request.name,
        vmtype=request.vmtype,
        user=request.user,
        cloudtype=cloud.cloud_type,
        clusteraddr=cloud.network_address,
        network=request.network,
        image=image,
        flavor=request.flavor,
        memory=request.memory,
        cpucores=request.cpucores,
        storage=request.storage,
        keep_alive=shape.keep_alive or cloud.keep_alive,
        job_per_core=shape.job_per_core,
        initialize_time=now,
        shape=shape.key,
        requested_until=deadline,
    )
