"""Renewal through a real `myproxy-server` and Debian's `myproxy-logon`, with a certificate authority of our own."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engine_bench import World

from cloudsched.model.jobs import JobStatus
from cloudsched.model.wishes import Aspect, OutcomeState
from cloudsched.policy.proxies import ends_at
from cloudsched.store import Store, verbs, wishes
from tests.real.debs import unpacked
from tests.whole_bench import Site, a_site, eventually

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("myproxy")]

ME = pwd.getpwuid(os.getuid()).pw_name
_DEBS = (
    *("globus-proxy-utils", "libexpat1", "libglobus-callout0", "libglobus-common0", "libglobus-gsi-callback0"),
    *("libglobus-gsi-cert-utils0", "libglobus-gsi-credential1", "libglobus-gsi-openssl-error0"),
    *("libglobus-gsi-proxy-core0", "libglobus-gsi-proxy-ssl1", "libglobus-gsi-sysconfig1", "libglobus-gss-assist3"),
    *("libglobus-gssapi-gsi4", "libglobus-openssl-module0", "libldap-2.5-0", "libltdl7", "libmyproxy6"),
    *("libsasl2-2", "libssl3", "libvomsapi1v5", "myproxy", "myproxy-server", "voms-clients"),
)
_POLICY = """access_id_CA X509 '/O=Lab/CN=CA'
pos_rights globus CA:sign
cond_subjects globus '"/O=Lab/*"'
"""
_CONFIG = """accepted_credentials "/O=Lab/*"
authorized_renewers "/O=Lab/CN=scheduler"
default_renewers "/O=Lab/CN=scheduler"
authorized_retrievers "/O=Lab/*"
default_retrievers "/O=Lab/*"
"""


@dataclass(frozen=True)
class MyProxy:
    """A server that holds alice's credential; `port` is where it listens."""

    place: Path
    environment: Mapping[str, str]
    port: int

    def run(self, who: str, *words: str) -> None:
        """Run a program with the certificate of `who`."""
        known = {"X509_USER_CERT": f"{self.place}/{who}.cert", "X509_USER_KEY": f"{self.place}/{who}.key"}
        subprocess.run(words, env={**self.environment, **known}, check=True, capture_output=True)

    def proxy(self, path: Path, minutes: int) -> Path:
        """A proxy of alice's that ends so many minutes from now."""
        self.run("alice", "grid-proxy-init", "-q", "-valid", f"0:{minutes}", "-out", str(path))
        return path

    def logon(self, who: str) -> str:
        """The command line with which `who` renews."""
        words = [f"{name}={value}" for name, value in self.environment.items()]
        certificate = [f"X509_USER_CERT={self.place}/{who}.cert", f"X509_USER_KEY={self.place}/{who}.key"]
        return " ".join(["env", "-i", *words, *certificate, "myproxy-logon"])


def _issue(place: Path, name: str, subject: str) -> None:
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", place / f"{name}.key"]
    if name == "ca":
        subprocess.run([*new, "-x509", "-days", "9", "-out", place / "ca.cert"], check=True, capture_output=True)
        return
    request = subprocess.run(new, check=True, capture_output=True).stdout
    sign = ["openssl", "x509", "-req", "-CA", place / "ca.cert", "-CAkey", place / "ca.key", "-CAcreateserial"]
    sign += ["-days", "8", "-out", place / f"{name}.cert"]
    subprocess.run(sign, input=request, check=True, capture_output=True)
    (place / f"{name}.key").chmod(0o600)


def _environment(root: Path, certificates: Path) -> dict[str, str]:
    libraries = {path.parent for path in root.rglob("*.so.*")}
    return {
        "PATH": f"{root}/usr/bin:{root}/usr/sbin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": ":".join(map(str, sorted(libraries))),
        "X509_CERT_DIR": str(certificates),
        "HOME": str(certificates.parent),
    }


def _trusted(place: Path) -> Path:
    """The directory of trusted authorities as Globus wants it: by the hash of their names, with what they may sign."""
    shown = ["openssl", "x509", "-in", place / "ca.cert", "-noout", "-subject_hash"]
    digest = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip()
    certificates = place / "certificates"
    certificates.mkdir()
    (certificates / f"{digest}.0").write_bytes((place / "ca.cert").read_bytes())
    (certificates / f"{digest}.signing_policy").write_text(_POLICY)
    return certificates


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MyProxy]:
    place = tmp_path_factory.mktemp("myproxy")
    root = unpacked(Path(tempfile.gettempdir(), f"cloudsched-real-{os.geteuid()}", "myproxy"), _DEBS)
    for name, subject in (("ca", "CA"), ("server", "localhost"), ("scheduler", "scheduler"), ("alice", "Alice")):
        _issue(place, name, f"/O=Lab/CN={subject}")
    made = MyProxy(place, _environment(root, _trusted(place)), _free_port())
    store, config, pid = place / "store", place / "config", place / "pid"
    store.mkdir(mode=0o700)
    config.write_text(_CONFIG)
    config.chmod(0o600)
    where = ("-l", "127.0.0.1", "-p", str(made.port), "-c", str(config), "-s", str(store), "-P", str(pid))
    made.run("server", "myproxy-server", *where)
    try:
        _wait_for(made.port)
        deposit = ("-s", "localhost", "-p", str(made.port), "-d", "-n", "-c", "100", "-t", "12", "-k", "creds")
        made.run("alice", "myproxy-init", *deposit)
        yield made
    finally:
        os.kill(int(pid.read_text()), signal.SIGTERM)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("myproxy-server does not listen")


def world(store: Store, server: MyProxy, who: str = "scheduler", **options: Any) -> World:
    made = World(store, options={"myproxy_logon_command": server.logon(who), **options})
    made.cloud()
    return made


def submitted(made: World, server: MyProxy, proxy: Path, **changes: str) -> Any:
    """An engine that runs a job with the proxy."""
    built = made.build()
    given = {"Server": "localhost", "ServerPort": str(server.port), "CredsName": "creds", "RenewalTime": "5"} | changes
    lines = [f'+CSMyProxy{name} = "{value}"' for name, value in given.items()]
    made.submit(1, f'+x509userproxy = "{proxy}"', *lines, owner=ME)
    built.until(lambda: len(made.jobs(JobStatus.RUNNING)) == 1, "the job runs")
    return built


def refreshed(made: World, built: Any, aspect: Aspect) -> tuple[OutcomeState, dict[str, Any]]:
    operation = verbs.wish_proxy(made.store, wishes.By("tester"), ME, aspect)
    done = built.until(lambda: made.done(operation), "the wish is settled")
    return done.targets[0].outcome.state, dict(done.targets[0].outcome.detail)


def hours_left(text: str | None) -> int:
    end = ends_at(text)
    assert end is not None
    return round((end - time.time()) / 3600)


@pytest.mark.parametrize("aspect", [Aspect.JOB_PROXY, Aspect.VM_PROXY])
def test_the_verb_renews_through_a_real_server(store: Store, server: MyProxy, tmp_path: Path, aspect: Aspect) -> None:
    proxy = server.proxy(tmp_path / "proxy", 20)
    made = world(store, server)
    built = submitted(made, server, proxy)
    assert refreshed(made, built, aspect) == (OutcomeState.DONE, {"renewed": 1})
    held = made.vm() if aspect is Aspect.VM_PROXY else made.jobs()[0]
    assert hours_left(held.x509userproxy_expiry_time) == 5
    subject = ["openssl", "x509", "-noout", "-issuer", "-in", proxy if aspect is Aspect.JOB_PROXY else held.proxy_file]
    assert "Alice" in subprocess.run(subject, check=True, capture_output=True, text=True).stdout


def test_a_refresher_renews_what_is_near_its_end(store: Store, server: MyProxy, tmp_path: Path) -> None:
    made = world(store, server, job_proxy_refresher_interval=1, job_proxy_renewal_threshold=1800)
    proxies = submitted(made, server, server.proxy(tmp_path / "proxy", 20)).stages.apply.proxies
    (found,) = proxies.look(Aspect.JOB_PROXY)
    assert (found.renewed, found.problem) == (True, "")
    (again,) = proxies.look(Aspect.JOB_PROXY)
    assert (again.renewed, again.expires_at) == (False, found.expires_at)


def test_what_the_server_refuses_is_told_and_nothing_is_changed(store: Store, server: MyProxy, tmp_path: Path) -> None:
    proxy = server.proxy(tmp_path / "proxy", 20)
    before = proxy.read_bytes()
    made = world(store, server)
    state, detail = refreshed(made, submitted(made, server, proxy, CredsName="other"), Aspect.JOB_PROXY)
    assert state is OutcomeState.FAILED
    assert detail["error"].startswith("myproxy-logon: ")
    assert proxy.read_bytes() == before


def test_a_renewer_whom_the_server_does_not_know_is_refused(store: Store, server: MyProxy, tmp_path: Path) -> None:
    made = world(store, server, who="server")
    built = submitted(made, server, server.proxy(tmp_path / "proxy", 20))
    state, detail = refreshed(made, built, Aspect.JOB_PROXY)
    assert (state, detail["renewed"]) == (OutcomeState.FAILED, 0)


@pytest.fixture
def site(tmp_path: Path, server: MyProxy) -> Iterator[Site]:
    """An installation that renews at the server."""
    with a_site(tmp_path / "home", MYPROXY_LOGON_COMMAND=server.logon("scheduler")) as made:
        made.start()
        yield made


@pytest.mark.parametrize("asked", ["job_proxy", "vm_proxy"])
def test_the_verb_over_http(site: Site, server: MyProxy, tmp_path: Path, asked: str) -> None:
    target = f"/users/{ME}?refresh={asked}"
    site.submit("true")
    eventually(lambda: site.get("/jobs.json?state=complete")["jobs"] and not site.vms(), "its VM is gone")
    status, body = site.ask("admin", "POST", target)
    word, said = {"job_proxy": ("job", "Job"), "vm_proxy": ("VM", "VM")}[asked]
    assert status == 409
    assert body.strip() == f"User {ME} has no proxy to refresh: no {word} of {ME} carries one."
    proxy = server.proxy(tmp_path / "proxy", 20)
    values = {"Server": "localhost", "ServerPort": server.port, "CredsName": "creds", "RenewalTime": 5}
    lines = [f'+CSMyProxy{name} = "{value}"' for name, value in values.items()]
    site.submit("sleep 300", f'+x509userproxy = "{proxy}"', *lines)
    eventually(lambda: site.get("/jobs.json?state=running")["jobs"], "the job runs")
    status, body = site.ask("admin", "POST", target)
    assert (status, body.strip()) == (200, f"Refreshed the {word} proxies of user {ME}.")
    eventually(lambda: [hours_left(end) for end in _ends(site, asked)] == [5], "its end is shown")
    done = site.run("cloud_admin", "-u", ME, "-p", asked.removesuffix("_proxy"))
    assert (done.returncode, done.stdout.strip()) == (0, f"Refreshing {said} proxies for user {ME}.")


def _ends(site: Site, asked: str) -> list[str]:
    """When the proxies end that are carried by jobs or by VMs, as shown."""
    holders = site.vms() if asked == "vm_proxy" else site.get("/jobs.json?state=running")["jobs"]
    return [end for each in holders if (end := each["x509userproxy_expiry_time"]) not in (None, "None")]
