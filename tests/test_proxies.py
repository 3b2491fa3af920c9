"""X.509 proxies: when they end, and their renewal by the configured commands."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_bench import Built, World, file

from cloudsched.config.options import Global
from cloudsched.engine.proxies import Proxies
from cloudsched.engine.renewal import Renewal
from cloudsched.errors import BadRequirement, CloudschedError, Conflict, Transient
from cloudsched.model.jobs import JobStatus
from cloudsched.model.proxies import Proxy
from cloudsched.model.wishes import Aspect, OutcomeState
from cloudsched.policy import proxies as policy
from cloudsched.store import Store, verbs, wishes

ME = pwd.getpwuid(os.getuid()).pw_name
DAY = 86400
SERVER = '+CSMyProxyServer = "myproxy.example.org"'
_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def proxy_text(directory: Path, days: int) -> str:
    """A certificate that ends in so many days, with its key."""
    key, request = directory / "made.key", directory / "made.request"
    made = ["openssl", "req", *_KEY, "-keyout", key, "-out", request, "-subj", "/CN=alice"]
    subprocess.run(made, check=True, capture_output=True)
    signed = ["openssl", "x509", "-req", "-in", request, "-signkey", key, "-days", str(days)]
    text = subprocess.run(signed, check=True, capture_output=True, text=True).stdout + key.read_text()
    key.unlink()
    request.unlink()
    return text


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    directory = tmp_path_factory.mktemp("proxies")
    return {days: proxy_text(directory, days) for days in (-1, 1, 5)}


@pytest.fixture
def proxy(tmp_path: Path, texts: dict[int, str]) -> Path:
    """A user's proxy that ends in a day."""
    (tmp_path / "home").mkdir()
    path = file(tmp_path / "home" / "proxy", texts[1])
    path.chmod(0o600)
    return path


@pytest.fixture
def myproxy(tmp_path: Path, texts: dict[int, str]) -> str:
    """A command that stands for myproxy-logon: it tells its arguments and gives a proxy for five days."""
    fresh = file(tmp_path / "fresh.pem", texts[5])
    text = f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nwhile [ "$1" != -o ]; do shift; done\ncat {fresh} > "$2"\n'
    command = file(tmp_path / "myproxy", text)
    command.chmod(0o755)
    return str(command)


def asked(tmp_path: Path) -> list[str]:
    path = tmp_path / "asked"
    return path.read_text().splitlines() if path.exists() else []


def days_left(text: str | None) -> int | None:
    end = policy.ends_at(text)
    return None if end is None else round((end - time.time()) / DAY)


# -- decisions ---------------------------------------------------------------------------------------------------------


def test_an_end_is_shown_as_v1_did_and_read_back() -> None:
    assert policy.shown(1480001000) == "2016-11-24 15:23:20"
    assert policy.ends_at("2016-11-24 15:23:20") == 1480001000
    assert (policy.shown(None), policy.ends_at("None"), policy.ends_at(None)) == (None, None, None)


@pytest.mark.parametrize(("end", "due"), [(1901, False), (1900, False), (1899, True), (1001, True), (1000, False)])
def test_a_proxy_is_due_within_the_threshold_and_not_after_its_end(end: int, due: bool) -> None:
    assert policy.is_due(end, 1000, 900) is due


def test_myproxy_is_asked_as_v1_did() -> None:
    given = Proxy("/p", "alice", {}, "s.example.org", None, "creds", "24")
    words = policy.logon(["ssh", "h", "myproxy-logon"], given, "/present", "/fresh")
    assert " ".join(words) == (
        "ssh h myproxy-logon -s s.example.org -p 7512 -k creds -a /present -o /fresh -t 24 -d -v"
    )


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"server": None}, "no MyProxy server is named for it (CSMyProxyServer)"),
        ({"server": "-x"}, "CSMyProxyServer is '-x'; accepted is a host name."),
        ({"port": "7512; ls"}, "CSMyProxyServerPort is '7512; ls'; accepted is a port."),
        ({"name": "-o/etc/passwd"}, "CSMyProxyCredsName is '-o/etc/passwd'; accepted is a name"),
        ({"hours": "0"}, "CSMyProxyRenewalTime is '0'; accepted is whole hours from 1."),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_why(fields: dict[str, Any], why: str) -> None:
    assert why in policy.obstacle(Proxy(**{"path": "/p", "owner": "alice", "server": "s"} | fields))


def test_all_that_is_right_is_no_obstacle() -> None:
    assert policy.obstacle(Proxy("/p", "alice", {}, "s.example.org", "7512", "my creds", "12")) == ""


# -- one file ----------------------------------------------------------------------------------------------------------


def renewal(tmp_path: Path, command: str = "false", **options: Any) -> Renewal:
    return Renewal(Global(state_dir=tmp_path, myproxy_logon_command=command, **options), logon_seconds=2.0)


def named(path: Path) -> Proxy:
    return Proxy(str(path), ME, {}, "s.example.org", "7512", "creds")


def test_a_proxy_ends_with_the_first_of_its_certificates(tmp_path: Path, texts: dict[int, str]) -> None:
    path = file(tmp_path / "p", texts[5] + texts[1])
    assert round((renewal(tmp_path).end(named(path), os.getuid()) - time.time()) / DAY) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nothing", "holds no proxy"),
        ("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", "openssl: "),
    ],
)
def test_a_file_that_is_no_proxy_is_told(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(CloudschedError, match=why):
        renewal(tmp_path).end(named(file(tmp_path / "p", text)), os.getuid())


def test_a_missing_openssl_is_told(tmp_path: Path, proxy: Path) -> None:
    with pytest.raises(Transient, match="/no/openssl cannot be run: No such file or directory"):
        renewal(tmp_path, openssl_path="/no/openssl").end(named(proxy), os.getuid())


def test_a_renewed_proxy_replaces_the_file_with_its_mode(tmp_path: Path, proxy: Path, myproxy: str) -> None:
    proxy.chmod(0o640)
    end = renewal(tmp_path, myproxy).renew(named(proxy), os.getuid())
    assert round((end - time.time()) / DAY) == 5
    assert proxy.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in proxy.parent.iterdir()] == ["proxy"]
    assert not list(tmp_path.glob(".renewal-*"))
    (words,) = asked(tmp_path)
    assert words.startswith("-s s.example.org -p 7512 -k creds -a ")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("sh -c 'echo one; echo no credentials found; exit 3'", "sh: no credentials found."),
        ("sleep 60", "sleep gave no answer within 2 seconds"),
        ("true", "true has made no proxy for"),
        ("/no/myproxy-logon", "/no/myproxy-logon cannot be run"),
    ],
)
def test_a_failed_renewal_leaves_the_file_and_says_why(tmp_path: Path, proxy: Path, command: str, why: str) -> None:
    before = proxy.read_text()
    # The arguments that follow would make `sleep` and the like fail in another way.
    stand_in = file(tmp_path / "stand-in", f"#!/bin/sh\nexec {command}\n")
    stand_in.chmod(0o755)
    words = command if command.startswith("/no") else str(stand_in)
    with pytest.raises(Transient) as raised:
        renewal(tmp_path, words).renew(named(proxy), os.getuid())
    assert why.partition(" ")[2] in str(raised.value)
    assert proxy.read_text() == before


def test_a_link_or_another_accounts_file_is_never_replaced(tmp_path: Path, proxy: Path, myproxy: str) -> None:
    link = proxy.with_name("link")
    link.symlink_to(proxy)
    for path, uid in ((link, os.getuid()), (proxy, os.getuid() + 1)):
        with pytest.raises(BadRequirement):
            renewal(tmp_path, myproxy).renew(named(path), uid)
    assert not asked(tmp_path)


# -- those of jobs and VMs ---------------------------------------------------------------------------------------------


@pytest.fixture
def world(store: Store, myproxy: str) -> Iterator[World]:
    made = World(store, options={"myproxy_logon_command": myproxy})
    made.cloud()
    yield made


def running(world: World, proxy: Path, *lines: str) -> tuple[Built, Proxies]:
    """An engine that runs a job with this proxy."""
    built = world.build()
    world.submit(1, f'+x509userproxy = "{proxy}"', *lines, owner=ME)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 1, "the job runs")
    return built, built.stages.apply.proxies


def looked(world: World, proxies: Proxies, aspect: Aspect) -> None:
    found = proxies.look(aspect)
    with world.store.writing() as writing:
        proxies.record(writing, aspect, found)


def refreshed(world: World, built: Built, aspect: Aspect) -> tuple[OutcomeState, dict[str, Any]]:
    operation = verbs.wish_proxy(world.store, wishes.By("tester"), ME, aspect)
    built.until(lambda: world.done(operation), "the wish is settled")
    outcome = world.done(operation).targets[0].outcome  # type: ignore[union-attr]
    assert outcome is not None
    return outcome.state, dict(outcome.detail)


def test_the_ends_of_proxies_show_in_job_and_vm(world: World, proxy: Path) -> None:
    _, proxies = running(world, proxy)
    looked(world, proxies, Aspect.JOB_PROXY)
    looked(world, proxies, Aspect.VM_PROXY)
    assert days_left(world.jobs()[0].x509userproxy_expiry_time) == 1
    assert days_left(world.vm().x509userproxy_expiry_time) == 1


def test_a_proxy_that_is_gone_has_no_end(world: World, proxy: Path) -> None:
    _, proxies = running(world, proxy)
    looked(world, proxies, Aspect.JOB_PROXY)
    proxy.unlink()
    Path(world.vm().proxy_file or "").unlink()
    looked(world, proxies, Aspect.JOB_PROXY)
    looked(world, proxies, Aspect.VM_PROXY)
    assert world.jobs()[0].x509userproxy_expiry_time is None
    assert world.vm().x509userproxy_expiry_time == "None"


def test_looking_at_what_has_not_changed_changes_nothing(world: World, proxy: Path) -> None:
    _, proxies = running(world, proxy)
    looked(world, proxies, Aspect.JOB_PROXY)
    index = world.store.state().index
    looked(world, proxies, Aspect.JOB_PROXY)
    assert world.store.state().index == index


def test_a_vm_keeps_a_copy_of_its_own(world: World, proxy: Path) -> None:
    running(world, proxy, SERVER, '+CSMyProxyRenewalTime = "24"')
    vm = world.vm()
    copy = Path(vm.proxy_file or "")
    assert copy != proxy
    assert copy.read_bytes() == proxy.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (vm.myproxy_server, vm.myproxy_renew_time) == ("myproxy.example.org", "24")


def test_the_copies_of_vms_that_are_gone_are_deleted(world: World, proxy: Path) -> None:
    built, proxies = running(world, proxy)
    copy = Path(world.vm().proxy_file or "")
    looked(world, proxies, Aspect.VM_PROXY)
    assert copy.exists()
    verbs.wish_vms(world.store, wishes.By("tester"), "mouse", Aspect.SHUTDOWN, None)
    uid = copy.name
    built.until(lambda: uid not in {vm.uid for vm in world.vms()}, "the VM is gone")
    looked(world, proxies, Aspect.VM_PROXY)
    assert not copy.exists()


def test_a_proxy_not_meant_for_vms_or_not_to_be_read_gives_none(world: World, proxy: Path) -> None:
    running(world, proxy, "+VMProxyNonBoot = true")
    assert world.vm().proxy_file is None


def test_a_proxy_that_cannot_be_read_keeps_no_vm_from_booting(world: World, tmp_path: Path) -> None:
    running(world, tmp_path / "absent")
    assert world.vm().proxy_file is None


@pytest.mark.parametrize(
    ("aspect", "options", "renewed"),
    [
        (Aspect.JOB_PROXY, {"job_proxy_refresher_interval": 1, "job_proxy_renewal_threshold": 2 * DAY}, True),
        (Aspect.JOB_PROXY, {"job_proxy_refresher_interval": -1, "job_proxy_renewal_threshold": 2 * DAY}, False),
        (Aspect.JOB_PROXY, {"job_proxy_refresher_interval": 1}, False),
        (Aspect.VM_PROXY, {"vm_proxy_refresher_interval": 1, "vm_proxy_renewal_threshold": 2 * DAY}, True),
        (Aspect.VM_PROXY, {"vm_proxy_refresher_interval": -1, "vm_proxy_renewal_threshold": 2 * DAY}, False),
        (Aspect.VM_PROXY, {"vm_proxy_refresher_interval": 1}, False),
    ],
)
def test_refreshers_renew_what_is_near_its_end(
    store: Store, proxy: Path, myproxy: str, aspect: Aspect, options: dict[str, Any], renewed: bool
) -> None:
    world = World(store, options={"myproxy_logon_command": myproxy, **options})
    world.cloud()
    _, proxies = running(world, proxy, SERVER)
    looked(world, proxies, aspect)
    held = world.vm() if aspect is Aspect.VM_PROXY else world.jobs()[0]
    assert days_left(held.x509userproxy_expiry_time) == (5 if renewed else 1)
    assert proxies.interval(aspect) == (1 if 1 in options.values() else 60)


@pytest.mark.parametrize("aspect", [Aspect.JOB_PROXY, Aspect.VM_PROXY])
def test_the_verb_renews_now(world: World, proxy: Path, aspect: Aspect) -> None:
    built, _ = running(world, proxy, SERVER)
    assert refreshed(world, built, aspect) == (OutcomeState.DONE, {"renewed": 1})
    held = world.vm() if aspect is Aspect.VM_PROXY else world.jobs()[0]
    assert days_left(held.x509userproxy_expiry_time) == 5


def test_jobs_that_share_a_file_have_it_renewed_once(world: World, proxy: Path, tmp_path: Path) -> None:
    built, _ = running(world, proxy, SERVER)
    world.submit(3, f'+x509userproxy = "{proxy}"', SERVER, owner=ME)
    built.until(lambda: len(world.jobs()) == 4, "all jobs are known")
    assert refreshed(world, built, Aspect.JOB_PROXY) == (OutcomeState.DONE, {"renewed": 1})
    assert len(asked(tmp_path)) == 1
    assert {days_left(job.x509userproxy_expiry_time) for job in world.jobs()} == {5}


@pytest.mark.parametrize(("aspect", "word"), [(Aspect.JOB_PROXY, "job"), (Aspect.VM_PROXY, "VM")])
def test_no_proxy_to_renew_is_told(world: World, aspect: Aspect, word: str) -> None:
    built = world.build()
    world.submit(1, owner=ME)
    built.until(lambda: len(world.jobs(JobStatus.RUNNING)) == 1, "the job runs")
    error = f"User {ME} has no proxy to refresh: no {word} of {ME} carries one."
    assert refreshed(world, built, aspect) == (OutcomeState.FAILED, {"renewed": 0, "error": error})


def test_a_proxy_that_cannot_be_renewed_says_why(world: World, proxy: Path, texts: dict[int, str]) -> None:
    built, _ = running(world, proxy)
    state, detail = refreshed(world, built, Aspect.JOB_PROXY)
    assert state is OutcomeState.FAILED
    assert detail["error"] == f"{proxy} cannot be renewed: no MyProxy server is named for it (CSMyProxyServer)."
    proxy.write_text(texts[-1])
    _, detail = refreshed(world, built, Aspect.JOB_PROXY)
    assert f"{proxy} ended at " in detail["error"]


def test_one_of_two_that_fails_is_told_with_how_many_were_renewed(world: World, proxy: Path, tmp_path: Path) -> None:
    built, _ = running(world, proxy, SERVER)
    world.submit(1, f'+x509userproxy = "{tmp_path}/absent"', SERVER, owner=ME)
    built.until(lambda: len(world.jobs()) == 2, "both jobs are known")
    state, detail = refreshed(world, built, Aspect.JOB_PROXY)
    assert (state, detail["renewed"]) == (OutcomeState.FAILED, 1)
    assert detail["error"].startswith(f"1 of 2 proxies were renewed: The file {tmp_path}/absent cannot be read")


def test_a_vm_whose_proxy_is_about_to_end_is_destroyed(store: Store, proxy: Path) -> None:
    world = World(store, options={"vm_proxy_refresher_interval": 60, "vm_proxy_shutdown_threshold": 2 * DAY})
    world.cloud()
    built, proxies = running(world, proxy)
    uid = world.vm().uid
    looked(world, proxies, Aspect.VM_PROXY)
    built.until(lambda: uid not in {vm.uid for vm in world.vms()}, "the VM is destroyed")


def test_nobody_without_an_account_here_has_a_proxy_renewed(world: World, proxy: Path, tmp_path: Path) -> None:
    proxies = world.build().stages.apply.proxies
    with pytest.raises(Conflict):
        proxies.refresh(Aspect.JOB_PROXY, "no-such-user")
    assert not asked(tmp_path)
