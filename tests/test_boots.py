"""What a cloud is handed with a boot, and what happens when that cannot be had."""

from __future__ import annotations

import base64
import gzip
import os
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml
from engine_bench import Built, World

from cloudsched import cloudinit
from cloudsched.clouds.fake import FakeCloud
from cloudsched.engine.contexts import Contexts
from cloudsched.model.clouds import BootOutcome, BootRequest, DestroyOutcome, ObservedVM
from cloudsched.model.jobs import JobStatus
from cloudsched.store import Store, jobs

ME = pwd.getpwuid(os.getuid()).pw_name


@dataclass
class Keeping:
    """A cloud that keeps the requests it gets."""

    fake: FakeCloud
    requests: list[BootRequest] = field(default_factory=list)

    def vms(self) -> list[ObservedVM]:
        return self.fake.vms()

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        self.requests += requests
        return self.fake.boot(requests)

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        return self.fake.destroy(vm_ids)


@pytest.fixture
def cloud() -> Keeping:
    return Keeping(FakeCloud("mouse"))


@pytest.fixture
def world(store: Store, cloud: Keeping) -> Iterator[World]:
    made = World(store)
    made.cloud(adapter=cloud)
    yield made


def engine(world: World) -> Built:
    """An engine whose VMs are given user data, as with HTCondor."""
    built = world.build()
    apply = built.stages.apply
    built.stages.apply = replace(apply, boots=replace(apply.boots, contexts=Contexts(world.config)))
    return built


def test_each_vm_is_given_user_data_of_its_own(world: World, cloud: Keeping) -> None:
    built = engine(world)
    world.submit(2, '+VMType = "atlas"', owner=ME)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 2, "both jobs run")
    assert len(cloud.requests) == 2
    for request in cloud.requests:
        config = written(request, cloudinit.CONFIG)
        assert f'CloudschedVM = "{request.uid}"' in config
        assert 'VMType = "atlas"' in config


def written(request: BootRequest, path: str) -> list[str]:
    """The lines of a file that the VM's cloud-init writes."""
    files = yaml.safe_load(gzip.decompress(request.user_data))["write_files"]
    (content,) = [each["content"] for each in files if each["path"] == path]
    return base64.b64decode(content).decode().splitlines()


def test_embedded_workers_are_given_none(world: World, cloud: Keeping) -> None:
    built = world.build()
    world.submit(1, owner=ME)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 1, "the job runs")
    assert [request.user_data for request in cloud.requests] == [b""]


def test_what_cannot_be_had_bars_its_own_jobs_only(world: World, cloud: Keeping, tmp_path: Path) -> None:
    built = engine(world)
    world.submit(1, f'+VMAMIConfig = "{tmp_path}/absent.yaml"', '+VMType = "bad"', owner=ME)
    world.submit(1, '+VMType = "good"', owner=ME)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 1, "the good job runs")
    built.until(lambda: reasons(world), "the other job says why it does not")
    assert [request.vmtype for request in cloud.requests] == ["good"]
    assert [vm.vmtype for vm in world.vms()] == ["good"]
    assert any(f"The file {tmp_path}/absent.yaml cannot be read: No such file" in each for each in reasons(world))


def reasons(world: World) -> list[str]:
    with world.store.reading() as connection:
        return [text for texts in jobs.reasons(connection).values() for text in texts if "absent" in text]


def test_user_data_is_not_in_the_state(world: World, cloud: Keeping, tmp_path: Path) -> None:
    (tmp_path / "part").write_text("#cloud-config\n# the-secret-of-the-part\n")
    built = engine(world)
    world.submit(1, f'+VMAMIConfig = "{tmp_path}/part"', owner=ME)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 1, "the job runs")
    (request,) = cloud.requests
    assert b"cloudscheduler" in gzip.decompress(request.user_data)
    for path in world.store.directory.rglob("*"):
        assert not path.is_file() or b"the-secret" not in path.read_bytes()
