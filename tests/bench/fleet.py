"""Invented fleets of any size, as state documents (docs/state-format.md), and stores that were made by loading them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMANDS = Path(sys.executable).parent
MADE_AT = 1_700_000_000
SHAPES = 100
USERS = 20
RUNNING_PART = 0.4


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything; part of the jobs run (RUNNING_PART), the others are idle."""

    clouds: int
    vms: int
    jobs: int


SMALL, MIDDLE, LARGE = Size(10, 100, 1_000), Size(100, 10_000, 100_000), Size(100, 100_000, 100_000)


def lines(size: Size) -> Iterator[dict[str, Any]]:
    """The objects of the state, header and end left out."""
    yield {"kind": "user_limit", "user": "user-0", "vms": size.vms}
    for number in range(size.clouds):
        yield cloud(number, size)
    for number in range(size.vms):
        yield vm(number, size)
    for number in range(size.jobs):
        yield job(number, size)


def cloud(number: int, size: Size) -> dict[str, Any]:
    """One cloud."""
    name = f"cloud-{number:03}"
    sizes = {"vm_slots": size.vms, "memory_mb": 10**8, "storage_gb": 10**8, "cpu_cores": 10**6}
    return {"kind": "cloud", "name": name, "cloud_type": "OpenStackNative", "enabled": True, "position": number} | sizes


def vm(number: int, size: Size) -> dict[str, Any]:
    """One VM; every cloud has as many as the others."""
    place = number % size.clouds
    return {
        "kind": "vm",
        "uid": f"vm-{number:06}",
        "cloud": f"cloud-{place:03}",
        "id": f"{number:08x}-5f1c-4b0e-9d7a-3c2b1a000000",
        "name": f"worker-{number:06}",
        "user": f"user-{number % USERS}",
        "vmtype": f"type-{number % 7}",
        "hostname": f"worker-{number:06}.cloud-{place:03}.example.org",
        "ipaddress": f"206.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
        "status": ("Running", "Running", "Running", "Starting")[number % 4],
        "cloudtype": "OpenStackNative",
        "clusteraddr": f"cloud-{place:03}.example.org",
        "network": "private",
        "image": "worker-image-7.qcow2",
        "flavor": "m1.small",
        "memory": 2048,
        "cpucores": 1,
        "storage": 20,
        "initialize_time": MADE_AT + number,
        "startup_time": 100 + number % 97,
        "last_state_change": MADE_AT + number + 100,
        "condorname": f"slot1@worker-{number:06}",
        "job_run_times": [60, 120, 3600],
        "position": number + 1,
    }


def job(number: int, size: Size) -> dict[str, Any]:
    """One job."""
    shape, runs = number % SHAPES, number < size.jobs * RUNNING_PART
    found = {
        "kind": "job",
        "id": job_id(number),
        "cluster_id": number // 100 + 1,
        "proc_id": number % 100,
        "user": f"user-{shape % USERS}",
        "req_vmtype": f"type-{shape}",
        "req_memory": 512 + shape,
        "job_status": 2 if runs else 1,
        "status": "Scheduled" if runs else "Unscheduled",
        "submitted_at": MADE_AT + number,
    }
    if runs:
        place = {"running_cloud": f"cloud-{number % size.clouds:03}", "remote_host": f"slot1@worker-{number:06}"}
        found |= place | {"jobstarttime": MADE_AT + number + 60}
    return found


def job_id(number: int) -> str:
    """A job's id, as HTCondor makes them."""
    return f"schedd.example.org#{number // 100 + 1}.{number % 100}#{MADE_AT + number}"


def write(path: Path, content: Iterable[dict[str, Any]]) -> None:
    """Write a state document of these objects."""
    count = 0
    with path.open("w", encoding="ascii") as file:
        header = {"cloudsched_state": 1, "version": "2.0.0", "made_at": MADE_AT, "index": 1, "secrets": False}
        file.write(json.dumps(header) + "\n")
        for line in content:
            file.write(json.dumps(line) + "\n")
            count += 1
        file.write(json.dumps({"kind": "end", "lines": count}) + "\n")


def environment(home: Path) -> dict[str, str]:
    """What a command finds that works on the state in `home`, and on nothing else of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSCHED_", "XDG_"))}
    return {**kept, "HOME": str(home), "CLOUDSCHED_GLOBAL_STATE_DIR": str(home / "state")}


def made(home: Path, size: Size) -> Path:
    """A state directory with a fleet in it, loaded by the real command."""
    return loaded(home, lines(size))


def loaded(home: Path, content: Iterable[dict[str, Any]]) -> Path:
    """A state directory with these objects in it, loaded by the real command."""
    home.mkdir(parents=True)
    (home / ".cloudscheduler").mkdir()
    (home / ".cloudscheduler" / "cloud_scheduler_status.conf").write_text("[global]\n")
    document = home / "fleet.jsonl"
    write(document, content)
    subprocess.run(
        [COMMANDS / "cloud_scheduler", "state", "load", str(document)],
        env=environment(home),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    document.unlink()
    return home / "state"
