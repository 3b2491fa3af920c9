"""The real scheduler with local VMs that are bounded and separated: jobs run, kills leave nothing, and it is said."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_bench import Site, a_site, eventually, stopped

from cloudsched.clouds import local_directory, local_limits
from cloudsched.clouds.local_isolation import Isolation, fence

SEPARATED = "[here]\ncloud_type = local\nvm_slots = 2\nenabled = true\nnamespaces = auto\n"
WITHOUT = "[plain]\ncloud_type = local\nvm_slots = 1\nenabled = true\nlimits = no\n"
TARGET = ('+TargetClouds = "here"', '+VMType = "here"')


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_site(tmp_path / "home") as made:
        configure(made, SEPARATED + WITHOUT)
        yield made


def configure(site: Site, text: str) -> None:
    resources = site.home / "cloud_resources.conf"
    resources.write_text(text)
    site.options = {**site.options, "CLOUD_RESOURCE_CONFIG": str(resources)}


def groups(site: Site) -> list[Path]:
    """The control groups of all VMs that have a directory."""
    records = map(local_directory.read, local_directory.directories(site.state / "vms"))
    return [group for record in records if record for group in record.groups]


def killed(site: Site) -> None:
    for pid in site.pids("cloud_scheduler") + site.pids("_server"):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not site.pids("cloud_scheduler") and not site.pids("_server"))


def test_what_is_enforced_is_said_to_operators(site: Site) -> None:
    site.start()
    said = {each["name"]: each["enforced"] for each in site.get("/cloud/health.json")["clouds"]}
    assert said == {
        "here": fence(Isolation("auto", ("auto",))).statement,
        "plain": "limited: nothing (limits = no); namespaces: none",
    }
    text = site.said("cloud_status", "-k")
    assert text.rstrip("\n").endswith(f"\n\nhere: {said['here']}\nplain: {said['plain']}")
    assert f"Cloud here: {said['here']}." in site.log()


def test_jobs_run_in_separated_vms_as_they_do_elsewhere(site: Site) -> None:
    scheduler = site.start()
    script = "readlink /proc/self/ns/pid >> spaces; ls -d /proc/[0-9]* | wc -l >> counts"
    site.submit(script, *TARGET, "output = out.$(Process)", count=2)
    eventually(lambda: {job["job_status"] for job in site.jobs().values()} == {4}, "the jobs finish")
    if "pid" in fence(Isolation(namespaces=("auto",))).statement.split(": ")[-1]:
        assert set(site.read("spaces")) and str(Path("/proc/self/ns/pid").readlink()) not in site.read("spaces")
        assert all(int(count) < 20 for count in site.read("counts"))
    eventually(lambda: not site.vms(), "idle VMs retire")
    assert stopped(scheduler) == 0
    assert site.processes() == {}


def test_nothing_is_left_of_vms_whoever_is_killed(site: Site) -> None:
    """The scheduler is killed while its VMs run, then one VM's first process; the next scheduler ends all."""
    site.start()
    site.submit("echo run >> runs; sleep 1000", *TARGET, count=2)
    eventually(lambda: len(site.read("runs")) == 2 and len(site.vms()) == 2, "both jobs run")
    held = groups(site)
    assert local_limits.survey().refused or all(local_limits.members([group]) for group in held)
    killed(site)
    first, second = (local_directory.read(each) for each in local_directory.directories(site.state / "vms"))
    assert first is not None and first.leader is not None and second is not None
    os.kill(first.leader[0], signal.SIGKILL)
    scheduler = site.start()
    eventually(lambda: not first.directory.exists(), "the dead one is found and cleared away")
    eventually(lambda: second.uid in {vm["uid"] for vm in site.vms()}, "the other one is taken over")
    assert stopped(scheduler) == 0
    assert site.processes() == {}
    assert not [group for group in held if group.exists()]
    assert local_directory.directories(site.state / "vms") == []


def test_what_a_host_refuses_and_what_is_no_value_is_the_clouds_reason(site: Site) -> None:
    configure(site, SEPARATED.replace("auto", "pid, time") + "limits = perhaps\nmemory_overhead = much\n")
    site.start()
    (cloud,) = site.clouds().values()
    assert cloud["unusable"] == (
        "namespaces = 'pid, time' must be none, auto, or some of pid, ipc, net; "
        "limits = 'perhaps' must be auto, yes or no; memory_overhead = 'much' must be a whole number, 0 or more"
    )
