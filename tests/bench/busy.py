"""Fleets at work, for the engine's figures: every VM runs a job, all other jobs wait, in as many shapes as is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.bench import fleet

USERS = 20
LATER = 4_000_000_000
"""When the played jobs began to run: so far ahead that none of them ends by itself."""


@dataclass(frozen=True, slots=True)
class Busy:
    """How much of everything; `idle` jobs wait beside one that runs on each VM, `room` is for so many VMs more."""

    clouds: int
    vms: int
    idle: int
    shapes: int
    room: int = 0


STEADY = Busy(clouds=100, vms=10_000, idle=90_000, shapes=100)
MANY = Busy(clouds=100, vms=10_000, idle=1_000_000, shapes=1_000, room=10_000)
FEW = Busy(clouds=100, vms=10_000, idle=100_000, shapes=1_000, room=10_000)


def lines(size: Busy) -> Iterator[dict[str, Any]]:
    """The objects of the state, header and end left out."""
    of_size = fleet.Size(size.clouds, size.vms, size.vms + size.idle)
    for number in range(size.clouds):
        slots = (size.vms + size.room) // size.clouds
        yield fleet.cloud(number, of_size) | {"vm_slots": slots}
    for number in range(size.vms):
        own = {"status": "Running", "startup_time": 100, "x509userproxy_expiry_time": "None"}
        yield fleet.vm(number, of_size) | own | _owner(number % size.shapes) | _registered(number)
    for number in range(size.vms + size.idle):
        yield _job(number, size)
    for number in range(size.vms):
        yield _machine(number, size)


def _registered(number: int) -> dict[str, str]:
    """What the record of a VM at work has been told by its slot."""
    return {
        "condorname": f"vm-{number:06}",
        "condoraddr": _address(number),
        "condormasteraddr": _address(number),
    }


def _address(number: int) -> str:
    return f"<127.0.0.1:0?vm=vm-{number:06}>"


def _owner(shape: int) -> dict[str, str]:
    return {"user": f"user-{shape % USERS}", "vmtype": f"type-{shape}"}


def _job(number: int, size: Busy) -> dict[str, Any]:
    shape, runs = number % size.shapes, number < size.vms
    found = {
        "kind": "job",
        "id": fleet.job_id(number),
        "cluster_id": number // 100 + 1,
        "proc_id": number % 100,
        "user": f"user-{shape % USERS}",
        "req_vmtype": f"type-{shape}",
        "req_memory": 512 + shape,
        "job_status": 2 if runs else 1,
        "status": "Scheduled" if runs else "Unscheduled",
        "submitted_at": fleet.MADE_AT + number,
    }
    if runs:
        place = {"running_cloud": f"cloud-{number % size.clouds:03}", "remote_host": f"slot1@vm-{number:06}"}
        found |= place | {"jobstarttime": LATER}
    return found


def _machine(number: int, size: Busy) -> dict[str, Any]:
    uid, address = f"vm-{number:06}", _address(number)
    return {
        "kind": "machine",
        "name": f"slot1@{uid}",
        "machine_name": uid,
        "vm": uid,
        "job_id": f"{number // 100 + 1}.{number % 100}",
        "global_job_id": fleet.job_id(number),
        "address_startd": address,
        "address_master": address,
        "state": "Claimed",
        "activity": "Busy",
        "vmtype": f"type-{number % size.shapes}",
        "remote_owner": f"user-{number % size.shapes % USERS}",
        "slot_type": "Static",
    }
