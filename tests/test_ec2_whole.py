"""The real scheduler with an EC2 cloud beside a local one: killed at every point of the exchange; what users see."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from whole_bench import Site, a_site, eventually, stopped

from tests.ec2_cloud import IMAGE, Endpoint, endpoint

AWAY = (
    *('requirements = VMType =?= "away"', '+TargetClouds = "amazon"'),
    *(f'+VMAMI = "amazon:{IMAGE}"', '+VMInstanceType = "t2.micro"'),
)
HERE = ('requirements = VMType =?= "here"', '+TargetClouds = "here"')
LOCAL = "[here]\ncloud_type = local\nvm_slots = 2\nenabled = true\n"
QUIET_SECONDS = 3.0


@pytest.fixture
def ec2() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


def configure(site: Site, ec2: Endpoint, *lines: str) -> None:
    """Write the clouds' file: one on the endpoint, one here."""
    resources = site.home / "cloud_resources.conf"
    resources.write_text(ec2.section("amazon", *lines) + LOCAL)
    site.options = {**site.options, "CLOUD_RESOURCE_CONFIG": str(resources)}


@pytest.fixture
def site(tmp_path: Path, ec2: Endpoint) -> Iterator[Site]:
    with a_site(tmp_path / "home", POLLING_ERROR_THRESHOLD="2") as made:
        configure(made, ec2)
        yield made


def killed(site: Site, scheduler: subprocess.Popen[str]) -> None:
    """kill -9, and its daemons gone."""
    os.kill(scheduler.pid, signal.SIGKILL)
    scheduler.wait()
    eventually(lambda: not site.pids("_server"), "the daemons have left their ports")


def away(site: Site) -> dict[str, str]:
    """The status of each VM that the state has on the EC2 cloud, by instance."""
    return {vm["id"]: vm["status"] for vm in site.clouds()["amazon"]["vms"]}


def live(ec2: Endpoint) -> set[str]:
    return {each["id"] for each in ec2.instances()}


def health(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.clouds()["amazon"]["health"]
    return found


def settled(site: Site, ec2: Endpoint) -> bool:
    """Whether there are three VMs, all of them up and known."""
    return live(ec2) == away(site).keys() and list(away(site).values()) == ["Running"] * 3


HELD_SECONDS = 4.0
POINTS: dict[str, tuple[dict[str, Any], bool]] = {
    # what the endpoint does with the request, and whether the kill waits for the instances
    "it never takes effect": ({"before": HELD_SECONDS, "error": "ServiceUnavailable", "status": 503}, False),
    "it takes effect after the kill": ({"before": HELD_SECONDS}, False),
    "it has taken effect": ({"after": HELD_SECONDS}, True),
    "its answer is lost": ({"after": 1.0, "lost": True}, True),
}


@pytest.mark.parametrize("tokens", [True, False], ids=["tokens", "no tokens"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_in_mid_boot_there_is_one_vm_for_each_request_and_every_one_is_known(
    site: Site, ec2: Endpoint, point: str, tokens: bool
) -> None:
    rule, made = POINTS[point]
    ec2.script({"action": "RunInstances", "times": 1, **rule}, tokens=tokens)
    scheduler = site.start()
    site.submit("true", *AWAY, count=3)
    eventually(lambda: ec2.instances() if made else ec2.asked("RunInstances"), "the request is under way")
    killed(site, scheduler)
    scheduler = site.start()
    eventually(lambda: settled(site, ec2), "three VMs, all known")
    time.sleep(max(QUIET_SECONDS, HELD_SECONDS if not made else 0.0))
    eventually(lambda: settled(site, ec2), "what came late is ended")
    asked = len(ec2.asked("RunInstances"))
    time.sleep(QUIET_SECONDS)
    assert settled(site, ec2)
    assert len(ec2.asked("RunInstances")) == asked, "nothing is asked for any more"
    assert stopped(scheduler) == 0
    assert ec2.instances() == []
    assert "Traceback" not in site.log()


@pytest.mark.parametrize(
    ("rule", "tokens"),
    [({"after": 3 * HELD_SECONDS}, True), ({"twice": True}, False)],
    ids=["after it was given up", "twice"],
)
def test_what_is_answered_too_late_or_done_twice_leaves_one_vm_for_each_request(
    site: Site, ec2: Endpoint, rule: dict[str, Any], tokens: bool
) -> None:
    site.options = {**site.options, "CALL_TIMEOUT_SECONDS": "2"}
    ec2.script({"action": "RunInstances", "times": 1, **rule}, tokens=tokens)
    site.start()
    site.submit("true", *AWAY, count=3)
    eventually(lambda: len(ec2.instances()) >= 3, "it has taken effect")
    eventually(lambda: settled(site, ec2), "three VMs, all known")
    time.sleep(QUIET_SECONDS)
    eventually(lambda: settled(site, ec2), "and no more")


@pytest.mark.parametrize(
    ("rule", "effective"),
    [({"before": HELD_SECONDS, "error": "InternalError", "status": 500}, False), ({"after": HELD_SECONDS}, True)],
    ids=["it never takes effect", "it has taken effect"],
)
def test_killed_in_mid_destroy_nothing_lives_on(
    site: Site, ec2: Endpoint, rule: dict[str, Any], effective: bool
) -> None:
    scheduler = site.start()
    site.submit("true", *AWAY, count=2)
    eventually(lambda: list(away(site).values()) == ["Running"] * 2)
    before = live(ec2)
    ec2.script({"action": "TerminateInstances", **rule})
    with ThreadPoolExecutor(1) as operator:
        operator.submit(site.run, "cloud_admin", "-k", "-c", "amazon", "-a")
        eventually(lambda: ec2.asked("TerminateInstances"), "it is being asked")
        eventually(lambda: not effective or not live(ec2) & before, "it has been done")
        killed(site, scheduler)
    assert effective or live(ec2) >= before
    ec2.script()
    site.start()
    eventually(lambda: not live(ec2) & before, "the verb is carried out")


def test_vms_that_never_come_up_are_given_up_while_jobs_finish_elsewhere(site: Site, ec2: Endpoint) -> None:
    configure(site, ec2, "boot_timeout = 3")
    ec2.script(boot_seconds=600.0)
    scheduler = site.start()
    site.submit("true", *AWAY)
    site.submit("echo done > done", *HERE)
    eventually(lambda: site.read("done"), "the job beside it finishes")
    eventually(lambda: live(ec2), "a VM is made")
    first = live(ec2)
    eventually(lambda: IMAGE in site.said("cloud_status", "-w"), "the image is listed as failing")
    eventually(lambda: "VM has not booted within 3 s." in site.ask("info", "GET", "/failures/vms")[1], "and why")
    eventually(lambda: not live(ec2) & first, "the VM is gone")
    assert 'cloudsched_boot_failures_total{class="timeout",cloud="amazon"}' in site.ask("info", "GET", "/metrics")[1]
    site.said("cloud_admin", "-d", "amazon")
    eventually(lambda: not live(ec2) and not away(site), "none is left")
    eventually(lambda: "amazon is disabled" in site.said("cloud_status", "-z"), "the job is told")
    assert stopped(scheduler) == 0


def test_vms_that_come_up_and_never_join_are_given_up(site: Site, ec2: Endpoint) -> None:
    # v1's option counts in minutes.
    site.options = {**site.options, "CONDOR_REGISTER_TIME_LIMIT": "1"}
    site.start()
    site.submit("true", *AWAY)
    eventually(lambda: list(away(site).values()) == ["Running"])
    first = live(ec2)
    eventually(lambda: not live(ec2) & first, "it is given up", seconds=240)
    eventually(lambda: "not joined the batch system within 60 s." in site.ask("info", "GET", "/failures/vms")[1])
    assert IMAGE in site.said("cloud_status", "-w")
    assert "Linux version" in site.get("/failures/vms.json")["vms"][-1]["console"], "what it wrote until then"


def test_a_cloud_that_answers_with_500_or_not_at_all_costs_no_vm_and_nobody_else(site: Site, ec2: Endpoint) -> None:
    site.options = {**site.options, "POLL_TIMEOUT_SECONDS": "2"}
    scheduler = site.start()
    site.submit("true", *AWAY, count=2)
    eventually(lambda: list(away(site).values()) == ["Running"] * 2)
    for rule, state in (({"error": "InternalError", "status": 500}, "backing-off"), ({"before": 600.0}, "out")):
        ec2.script({"action": "DescribeInstances", **rule})
        eventually(lambda state=state: health(site)["state"] == state, state)
        time.sleep(QUIET_SECONDS)
        assert list(away(site).values()) == ["Running"] * 2
        done = len(site.read("done"))
        site.submit("echo done >> done", *HERE)
        eventually(lambda done=done: len(site.read("done")) > done, "the job beside it finishes")
        assert f"amazon          {state}" in site.said("cloud_status", "-k")
        ec2.script()
    shown = health(site)
    assert shown["cause"] and shown["since"] and shown["next_try"] and shown["last_good"] < shown["since"]
    os.killpg(scheduler.pid, signal.SIGKILL)


def test_credentials_that_end_soon_are_told_while_they_work(site: Site, ec2: Endpoint) -> None:
    ends = time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(time.time() + 3 * 86400))
    configure(site, ec2, "session_token = temporary", f"session_ends = {ends}")
    site.start()
    sentence = f"The credentials of cloud amazon end on {ends[:10]} {ends[11:16]} UTC."
    eventually(lambda: sentence in site.said("cloud_status", "-d"), "it is among the problems")
    assert sentence in site.log()
    (shown,) = [each for each in site.get("/cloud/health.json")["clouds"] if each["name"] == "amazon"]
    assert (shown["state"], shown["cause"]) == ("ok", "")


def test_refused_credentials_are_reported_once_and_tried_when_somebody_enables(site: Site, ec2: Endpoint) -> None:
    ec2.script({"action": "DescribeInstances", "error": "AuthFailure", "status": 401})
    site.start()
    eventually(lambda: health(site)["state"] == "refused")
    eventually(lambda: not site.clouds()["amazon"]["enabled"])
    asked = len(ec2.asked("DescribeInstances"))
    time.sleep(QUIET_SECONDS)
    assert len(ec2.asked("DescribeInstances")) == asked
    assert "amazon: AuthFailure: The script says AuthFailure." in site.said("cloud_status", "-k")
    ec2.script()
    site.said("cloud_admin", "-e", "amazon")
    eventually(lambda: health(site)["state"] == "ok" and site.clouds()["amazon"]["enabled"])
    site.submit("true", *AWAY)
    eventually(lambda: list(away(site).values()) == ["Running"])
