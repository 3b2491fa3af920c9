"""The whole scheduler with a real Nova: from queued jobs to VMs and back to nothing, also when it is killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from whole_bench import Site, a_site, eventually, stopped

from cloudsched.model.vms import VM
from cloudsched.store import Store, vms
from tests.ec2_cloud import IMAGE, Endpoint, endpoint
from tests.nova import gateway
from tests.nova.gateway import Gateway, Moment
from tests.nova.services import Services
from tests.nova.settings import PROJECT, REGION, USER, USER_PASSWORD

pytestmark = [pytest.mark.openstack, pytest.mark.real]

SECONDS = 600.0
CLOUDS = """[nova]
cloud_type = OpenStackNative
os_cloud = lab
clouds_yaml = {directory}/clouds.yaml
networks = none
vm_slots = 2
enabled = yes
[here]
cloud_type = local
vm_slots = 1
enabled = yes
"""
CLOUDS_YAML = """clouds:
  lab:
    region_name: {region}
    compute_endpoint_override: {compute}
    auth:
      auth_url: {auth_url}
      username: {user}
      password: {password}
      project_name: {project}
      user_domain_name: Default
      project_domain_name: Default
"""
ON_NOVA = (
    '+TargetClouds = "nova"',
    '+VMType = "nova"',
    '+VMAMI = "image"',
    '+VMInstanceType = "small"',
    "+VMMem = 512",
)


ON_EC2 = (
    '+TargetClouds = "amazon"',
    '+VMType = "amazon"',
    f'+VMAMI = "amazon:{IMAGE}"',
    '+VMInstanceType = "t2.micro"',
)


@pytest.fixture
def ec2() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


@pytest.fixture
def front(nova_site: Services) -> Iterator[Gateway]:
    with gateway.before(nova_site.site.ports["nova"]) as made:
        yield made


@pytest.fixture
def site(tmp_path: Path, nova_site: Services, front: Gateway) -> Iterator[Site]:
    with a_site(tmp_path / "home") as made:
        files = {"cloud_resources.conf": CLOUDS.format(directory=made.home), "clouds.yaml": _clouds(nova_site, front)}
        for name, text in files.items():
            (made.home / name).write_text(text)
        made.options = {"CLOUD_RESOURCE_CONFIG": str(made.home / "cloud_resources.conf")}
        yield made
    for server in servers(nova_site):
        nova_site.as_user().compute.delete_server(server.id)


def _clouds(nova_site: Services, front: Gateway) -> str:
    login = {"auth_url": nova_site.site.auth_url, "user": USER, "password": USER_PASSWORD, "project": PROJECT}
    return CLOUDS_YAML.format(region=REGION, compute=front.url, **login)


def servers(nova_site: Services) -> list[Any]:
    """The servers of schedulers at the cloud, also those in the middle of being made, and none that is being ended."""
    listed = nova_site.as_user().compute.servers()
    return [each for each in listed if each.name.startswith("nova-") and each.task_state != "deleting"]


def known(site: Site) -> dict[str, VM]:
    """The VMs on Nova that the state knows, by uid."""
    store = Store.open(f"sqlite:///{site.state / 'state.db'}", site.state, read_only=True)
    try:
        with store.reading() as connection:
            return {vm.uid: vm for vm in vms.all_vms(connection) if vm.cloud == "nova"}
    finally:
        store.close()


def killed(site: Site) -> None:
    """kill -9 of the scheduler and its daemons."""
    for pid in site.pids("cloud_scheduler") + site.pids("_server"):
        os.kill(pid, signal.SIGKILL)


def test_vms_that_never_join_are_ended_with_a_reason_while_jobs_finish_elsewhere(
    site: Site, nova_site: Services, ec2: Endpoint
) -> None:
    """Nova and EC2's API at once, and a local cloud beside them."""
    with (site.home / "cloud_resources.conf").open("a") as file:
        file.write(ec2.section("amazon"))
    site.options = {**site.options, "CONDOR_REGISTER_TIME_LIMIT": "1"}
    scheduler = site.start()
    site.submit("echo done >> runs", *ON_NOVA)
    site.submit("echo done >> runs", *ON_EC2)
    site.submit("echo done >> runs", '+TargetClouds = "here"', count=2)
    eventually(lambda: servers(nova_site) and ec2.instances(), "a server and an instance are made", SECONDS)
    eventually(lambda: len(site.read("runs")) == 2, "the jobs of the other cloud finish", SECONDS)
    first = eventually(lambda: known(site), "the state knows the server")
    instances = {each["id"] for each in ec2.instances()}
    failures = eventually(lambda: failed_on(site, "nova", "amazon"), "both are given up", SECONDS)
    eventually(lambda: not first.keys() & {each.name for each in servers(nova_site)}, "one is ended", SECONDS)
    eventually(lambda: not instances & {each["id"] for each in ec2.instances()}, "and the other", SECONDS)
    assert failures["nova"]["uid"] in first and failures["amazon"]["id"] in instances
    for failure in failures.values():
        assert failure["cause"] == "unjoined"
        assert failure["reason"] == "VM has not joined the batch system within 60 s."
    assert failures["nova"]["console"].startswith("FAKE CONSOLE OUTPUT")
    assert "Linux version" in failures["amazon"]["console"]
    failing = {each["name"]: each["images"] for each in site.get("/failures/image.json")["clouds"]}
    assert failing == {"nova": ["image"], "amazon": [IMAGE]}
    for job in [each for each, document in site.jobs().items() if document["job_status"] != 4]:
        assert site.ask("admin", "DELETE", f"/jobs/{job.replace('#', '%23')}")[0] == 200
    assert stopped(scheduler) == 0
    eventually(lambda: not servers(nova_site), "none is left at the cloud", SECONDS)
    assert ec2.instances() == []


def failed_on(site: Site, *clouds: str) -> dict[str, dict[str, Any]]:
    """The first failure of a VM on each of these clouds, once there is one on each."""
    newest_first = site.get("/failures/vms.json")["vms"]
    found = {each["cloud"]: each for each in newest_first}
    return found if found.keys() == set(clouds) else {}


@pytest.mark.parametrize("moment", list(Moment))
def test_a_scheduler_killed_in_a_boot_leaves_one_server_for_each_vm(
    site: Site, front: Gateway, nova_site: Services, moment: Moment
) -> None:
    front.at(moment, lambda: killed(site))
    site.start()
    site.submit("true", *ON_NOVA, count=2)
    eventually(lambda: not site.pids("cloud_scheduler"), "it is killed", SECONDS)
    recorded = known(site)
    assert len(recorded) == 2
    site.start()

    def matched() -> bool:
        names = Counter(each.name for each in servers(nova_site))
        there = known(site)
        return names.keys() == there.keys() and all(vm.id != vm.uid for vm in there.values()) and len(names) == 2

    eventually(matched, "every VM is known with its server", SECONDS)
    names = [each.name for each in servers(nova_site)]
    assert sorted(names) == sorted(recorded), "the recorded VMs, once each"
    killed(site)


@pytest.mark.parametrize("moment", list(Moment))
def test_a_scheduler_killed_in_a_destroy_leaves_no_server(
    site: Site, front: Gateway, nova_site: Services, moment: Moment
) -> None:
    """What it was about to end, is ending or has ended is gone once the next one has carried out the verb."""
    site.start()
    site.submit("true", *ON_NOVA, count=2)
    eventually(
        lambda: all(vm.status == "Running" for vm in known(site).values()) and len(known(site)) == 2, "up", SECONDS
    )
    before = known(site).keys()
    front.at(moment, lambda: killed(site), method="DELETE")
    with ThreadPoolExecutor(1) as operator:
        operator.submit(site.run, "cloud_admin", "-k", "-c", "nova", "-a")
        eventually(lambda: not site.pids("cloud_scheduler"), "it is killed", SECONDS)
    site.start()
    eventually(lambda: not before & {each.name for each in servers(nova_site)}, "the verb is carried out", SECONDS)
    eventually(lambda: not before & known(site).keys(), "and the state knows it", SECONDS)
    killed(site)
