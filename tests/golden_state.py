"""The recorded state of the original (tests/golden/fixture.json) as this project's values.

`golden()` is what the recorded answers in tests/golden/answers.json describe; times are the recording's Unix seconds.
Keys of the fixture that only steered the recording (`destroy_fails`, `cloud_api_delay`) have no counterpart here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import SHAPE_FIELDS, Job, Machine, Shape
from cloudsched.model.snapshot import HEARTBEATS, Heartbeat
from cloudsched.model.vms import VM
from cloudsched.store import Store, clouds, heartbeats, jobs, limits, machines, vms

DIRECTORY = Path(__file__).parent / "golden"
NOW = 1480001000

_SECRETS = ("username", "password", "access_key_id", "secret_access_key")
_FIXTURE_BEATS = ("scheduler", "cleaner", "vm_poller", "job_poller", "machine_poller")
_VM_FIELDS = {each.name for each in fields(VM)}
# The fixture knows when a job's proxy expires; the original showed null all the same (PARITY 3.4).
_JOB_FIELDS = {each.name for each in fields(Job)} - {"shape", "x509userproxy_expiry_time"}


@dataclass(frozen=True)
class GoldenState:
    """One state, as far as v1 knew it; `sections` are (title, options without secrets) in file order."""

    clouds: tuple[Cloud, ...]
    vms: tuple[VM, ...]
    jobs: tuple[Job, ...]
    machines: tuple[Machine, ...]
    heartbeats: tuple[Heartbeat, ...]
    user_limits: Mapping[str, int]
    cloud_aliases: Mapping[str, tuple[str, ...]]
    sections: tuple[tuple[str, Mapping[str, str]], ...]
    ini: str


@cache
def golden() -> GoldenState:
    """The state the answers were recorded in."""
    fixture = json.loads((DIRECTORY / "fixture.json").read_text())
    sections = fixture["clouds"]
    held = [(cloud["name"], vm) for cloud in sections for vm in cloud["vms"]]
    return GoldenState(
        clouds=tuple(_cloud(cloud, position) for position, cloud in enumerate(sections)),
        vms=tuple(_vm(cloud, vm, position) for position, (cloud, vm) in enumerate(held)),
        jobs=tuple(_job(job) for job in fixture["jobs"]),
        machines=tuple(Machine(**machine) for machine in fixture["missing_machines"]),
        heartbeats=_heartbeats(fixture["options"]["heart_beat_age"]),
        user_limits=fixture["user_limits"],
        cloud_aliases={name: tuple(names) for name, names in fixture["cloud_aliases"].items()},
        sections=tuple((cloud.get("section", cloud["name"]), _shown(cloud["config"])) for cloud in sections),
        ini="\n".join(_section(cloud) for cloud in sections),
    )


@cache
def answers() -> dict[str, dict[str, Any]]:
    """What the original answered, by the recording's name for the request."""
    recorded: dict[str, dict[str, Any]] = json.loads((DIRECTORY / "answers.json").read_text())
    return recorded


def _section(cloud: Mapping[str, Any]) -> str:
    lines = (f"{name} = {value}" for name, value in cloud["config"].items())
    return "\n".join([f"[{cloud.get('section', cloud['name'])}]", *lines, ""])


def _shown(config: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in config.items() if name not in _SECRETS}


def _cloud(cloud: Mapping[str, Any], position: int) -> Cloud:
    config = cloud["config"]
    return Cloud(
        name=cloud["name"],
        cloud_type=config["cloud_type"],
        network_address=config.get("host") or config["auth_url"],
        vm_slots=int(config["vm_slots"]),
        memory_mb=int(config["memory"]),
        storage_gb=int(config["storage"]),
        cpu_cores=int(config["cpu_cores"]),
        max_vm_mem=int(config.get("max_vm_mem", -1)),
        network_pools=tuple(name.strip() for name in config["networks"].split(",")),
        priority=int(config.get("priority", 0)),
        keep_alive=60 * int(config.get("vm_keep_alive", 0)),
        boot_timeout=int(config.get("boot_timeout", -1)),
        tenant=config.get("tenant_name"),
        options=_shown(config),
        position=position,
        enabled=cloud["enabled"],
        connection_problem=cloud.get("connection_problem", False),
        errorconnect=cloud.get("errorconnect"),
        failed_images=tuple(cloud.get("failed_images", ())),
    )


def _vm(cloud: str, vm: Mapping[str, Any], position: int) -> VM:
    known = {name: value for name, value in vm.items() if name in _VM_FIELDS}
    known["job_run_times"] = tuple(vm.get("job_run_times", ()))[-10:]
    return VM(uid=vm["name"], cloud=cloud, position=position, **known)


def _job(job: Mapping[str, Any]) -> Job:
    settled: dict[str, Any] = {"priority": 1} | {
        name: tuple(value) if isinstance(value, list) else value for name, value in job.items()
    }
    shape = Shape(**{name: value for name, value in settled.items() if name in SHAPE_FIELDS})
    return Job(shape=shape, **{name: value for name, value in settled.items() if name in _JOB_FIELDS})


def _heartbeats(ages: Mapping[str, int]) -> tuple[Heartbeat, ...]:
    names = zip(HEARTBEATS, _FIXTURE_BEATS, strict=True)
    return tuple(Heartbeat(name, 5, NOW - ages[recorded]) for name, recorded in names)


def load(store: Store, now: float = NOW) -> None:
    """Record the state in a store as the engine would, in one commit; `now` is when heartbeats have their ages."""
    state = golden()
    with store.writing() as writing:
        clouds.record_clouds(writing, state.clouds)
        vms.record_vms(writing, state.vms)
        jobs.record_jobs(writing, state.jobs)
        machines.record_machines(writing, state.machines)
        limits.record_user_limits(writing, state.user_limits)
        limits.record_cloud_aliases(writing, state.cloud_aliases)
        beats = [replace(beat, beat_at=beat.beat_at - NOW + now) for beat in state.heartbeats]
        heartbeats.record_heartbeats(writing, beats)
