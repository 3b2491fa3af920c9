"""A complete OpenStack on loopback for tests: real Keystone, Placement, Glance and Nova with its fake hypervisor.

`install.sh` installs it; `running` starts it in a scratch directory and leaves nothing behind: every process dies with
the one that started it, whatever happened to that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import openstack
from openstack.connection import Connection

from tests import patience
from tests.nova import settings
from tests.nova.settings import DATABASES, PASSWORD, PROJECT, REGION, USER, USER_PASSWORD, ZONE, Site
from tests.real.debs import absent

HERE = Path(__file__).parent
eventually = partial(patience.eventually, seconds=600.0)
_PORTS = ("keystone", "placement", "glance", "nova", "network", "mariadb", "rabbit", "rabbit-nodes", "epmd")
_APIS = {
    "keystone": "keystone.wsgi.api",
    "placement": "placement.wsgi.api",
    "glance": "glance.wsgi.api",
    "nova-api": "nova.wsgi.osapi_compute",
}
_CATALOG = (
    ("image", "glance", "http://127.0.0.1:{glance}"),
    ("placement", "placement", "http://127.0.0.1:{placement}"),
    ("compute", "nova", "http://127.0.0.1:{nova}/v2.1"),
    ("network", "network", "http://127.0.0.1:{network}"),
)


class Services:
    """The running services. Tests may stop and start single ones by name."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._environment = {**os.environ, **site.environment()}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start_all(self) -> None:
        """From nothing to a cloud that boots servers."""
        settings.write(self.site)
        self._start_stores()
        self._make_databases()
        for name in ("keystone", "placement", "glance"):
            self.start(name)
        self.start("network")
        self._wait_for("keystone")
        self._fill_catalog()
        self._wait_for("rabbit", "placement", "glance", "network")
        for name in ("nova-conductor", "nova-api", "nova-scheduler"):
            self.start(name)
        # A compute node asks the conductor once and then waits ten seconds before it asks again.
        eventually(lambda: "Starting conductor node" in self.log("nova-conductor"), "the conductor")
        self.start("nova-compute")
        self._wait_for("nova")
        eventually(self._has_host, "the compute node is in its cell")
        self.wait_ready(0.0)
        self._make_zone()
        self._make_user()

    def stop_all(self) -> None:
        """End everything, the stores last."""
        stores = {"rabbit", "epmd", "mariadb"}
        self.stop(*(self._running.keys() - stores))
        self.stop(*list(self._running))

    def start(self, name: str) -> None:
        """Start one service."""
        with (self.site.directory / "log" / f"{name}.out").open("ab") as output:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command(name)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def restart(self, name: str) -> None:
        """Start a service that was stopped, and wait until it is at work again."""
        since = time.time()
        self.start(name)
        if name == "nova-api":
            self._wait_for("nova")
        self.wait_ready(since)

    def stop(self, *names: str, sure: bool = False) -> None:
        """End services with all that they started; `sure`: by SIGKILL."""
        gone = {name: self._running.pop(name) for name in names}
        for process in gone.values():
            _signal(process, signal.SIGKILL if sure else signal.SIGTERM)
        deadline = time.monotonic() + 20.0
        for process in gone.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.1))
            _signal(process, signal.SIGKILL)
            process.wait()

    def log(self, name: str) -> str:
        """What a service has logged."""
        path = self.site.directory / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def connection(self, **options: Any) -> Connection:
        """The SDK's connection, as the administrator where nothing else is said."""
        given = {
            "auth_url": self.site.auth_url,
            "username": "admin",
            "password": PASSWORD,
            "project_name": "admin",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
            "region_name": REGION,
        } | options
        return openstack.connect(load_yaml_config=False, load_envvars=False, **given)

    def login(self, **options: Any) -> dict[str, Any]:
        """The options of a cloud section that logs in as an ordinary user, typed."""
        return {
            "auth_url": self.site.auth_url,
            "username": USER,
            "password": USER_PASSWORD,
            "tenant_name": PROJECT,
            "regions": (REGION,),
            "networks": ("none",),
        } | options

    def as_user(self) -> Connection:
        """The SDK's connection of that user."""
        return self.connection(username=USER, password=USER_PASSWORD, project_name=PROJECT)

    def set_quota(self, **limits: int) -> None:
        """Limit what the user's project may have, e.g. `instances`; -1 is no limit."""
        api = self.connection()
        api.compute.update_quota_set(api.identity.find_project(PROJECT), **limits)

    def add_region(self, name: str, **urls: str) -> None:
        """Give the catalogue one more region, where some kinds of service are elsewhere than in the first."""
        identity = self.connection().identity
        identity.create_region(id=name)
        for kind, _, url in _CATALOG:
            (service,) = identity.services(type=kind)
            place = urls.get(kind, url.format(**self.site.ports))
            identity.create_endpoint(service_id=service.id, interface="public", url=place, region_id=name)

    @contextmanager
    def tokens_that_last(self, seconds: int) -> Iterator[None]:
        """Have Keystone issue tokens that expire so soon while the block runs."""
        usual = (self.site.directory / "etc" / "keystone.conf").read_text()
        try:
            self._restart_keystone(usual.replace("[token]\n", f"[token]\nexpiration = {seconds}\n"))
            yield
        finally:
            self._restart_keystone(usual)

    def _restart_keystone(self, configuration: str) -> None:
        (self.site.directory / "etc" / "keystone.conf").write_text(configuration)
        self.stop("keystone")
        self.start("keystone")
        self._wait_for("keystone")

    def wait_ready(self, since: float) -> None:
        """Wait until conductor, scheduler and compute node have reported after `since` (Unix seconds)."""
        api = self.connection()

        def reported() -> bool:
            times = [each.updated_at for each in api.compute.services()]
            fresh = [each for each in times if each and _unix(each) >= since]
            return len(fresh) >= 3

        eventually(reported, "Nova's services have reported")

    def _command(self, name: str) -> list[str]:
        binaries, etc = self.site.venv / "bin", self.site.directory / "etc"
        ports = self.site.ports
        if name in _APIS:
            port = ports["nova" if name == "nova-api" else name]
            return [str(binaries / "python"), str(HERE / "serve.py"), _APIS[name], str(port)]
        if name == "network":
            return [str(binaries / "python"), str(HERE / "network.py"), str(ports["network"])]
        if name == "rabbit":
            return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]
        if name == "epmd":
            return ["epmd"]
        if name == "mariadb":
            return self._mariadb()
        config = "nova-compute.conf" if name == "nova-compute" else "nova.conf"
        return [str(binaries / name), "--config-file", str(etc / config)]

    def _mariadb(self) -> list[str]:
        directory = self.site.directory / "my"
        return [
            *("/usr/sbin/mariadbd", "--no-defaults", "--user=root", f"--datadir={directory / 'data'}"),
            *(f"--socket={directory / 's.sock'}", f"--pid-file={directory / 'pid'}", "--bind-address=127.0.0.1"),
            *(f"--port={self.site.ports['mariadb']}", "--skip-name-resolve", "--skip-log-bin"),
            *("--performance-schema=off", "--innodb-buffer-pool-size=96M", "--innodb-log-file-size=32M"),
            *("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--max-connections=300"),
            "--character-set-server=utf8mb3",
        ]

    def _start_stores(self) -> None:
        directory = self.site.directory / "my"
        install = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={directory / 'data'}"]
        self._run([*install, "--auth-root-authentication-method=normal", "--skip-test-db"])
        for name in ("mariadb", "epmd", "rabbit"):
            self.start(name)
        client = ["mariadb", "--no-defaults", "-uroot", f"--socket={directory / 's.sock'}", "-e"]
        eventually(lambda: not subprocess.run([*client, "select 1"], capture_output=True).returncode, "the database")
        self._run([*client, "create user lab@'127.0.0.1' identified by 'lab'; grant all on *.* to lab@'127.0.0.1'"])
        self._run([*client, "; ".join(f"create database {name}" for name in DATABASES)])

    def _make_databases(self) -> None:
        """Fill the databases; what does not depend on each other at once."""
        site, etc = self.site, self.site.directory / "etc"
        keystone = [str(site.venv / "bin/keystone-manage"), "--config-file", str(etc / "keystone.conf")]
        nova = [str(site.venv / "bin/nova-manage"), "--config-file", str(etc / "nova.conf")]
        placement = [str(site.venv / "bin/placement-manage"), "--config-dir", str(etc)]
        glance = [str(site.venv / "bin/glance-manage"), "--config-file", str(etc / "glance/glance-api.conf")]
        keys = ["--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid())]
        urls = [f"--bootstrap-{each}-url={site.auth_url}" for each in ("public", "internal", "admin")]
        cell = ["--database_connection", site.database("nova"), "--transport-url", site.transport]
        self._run_beside(
            [
                [*keystone, "db_sync"],
                [*keystone, "fernet_setup", *keys],
                [*keystone, "credential_setup", *keys],
                [*keystone, "bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", REGION, *urls],
                [*placement, "--config-file", str(etc / "placement.conf"), "db", "sync"],
                [*glance, "db_sync"],
            ],
            [
                [*nova, "api_db", "sync"],
                [*nova, "cell_v2", "map_cell0", "--database_connection", site.database("nova_cell0")],
                [*nova, "db", "sync"],
                [*nova, "cell_v2", "create_cell", "--name", "cell1", *cell],
            ],
        )

    def _fill_catalog(self) -> None:
        identity = self.connection().identity
        for kind, name, url in _CATALOG:
            service = identity.create_service(name=name, type=kind)
            for interface in ("public", "internal", "admin"):
                identity.create_endpoint(
                    service_id=service.id,
                    interface=interface,
                    url=url.format(**self.site.ports),
                    region_id=REGION,
                )

    def _make_zone(self) -> None:
        """An availability zone with the compute node in it: a host can enter one while it has no servers."""
        compute = self.connection().compute
        compute.add_host_to_aggregate(compute.create_aggregate(name=ZONE, availability_zone=ZONE), "compute1")

    def _make_user(self) -> None:
        """An ordinary user with a project, an image and flavors: one that fits, one that no host has room for."""
        api = self.connection()
        identity = api.identity
        project = identity.create_project(name=PROJECT, domain_id="default")
        user = identity.create_user(name=USER, password=USER_PASSWORD, domain_id="default")
        identity.assign_project_role_to_user(project, user, identity.find_role("member"))
        image = {"disk_format": "raw", "container_format": "bare", "visibility": "public"}
        api.create_image("image", data=b"x" * 1024, wait=True, **image)
        for name, cores in (("small", 1), ("larger-than-any-host", 4000)):
            api.compute.create_flavor(name=name, ram=512, vcpus=cores, disk=1)

    def _has_host(self) -> bool:
        nova = [str(self.site.venv / "bin/nova-manage"), "--config-file", str(self.site.directory / "etc/nova.conf")]
        self._run([*nova, "cell_v2", "discover_hosts"])
        return b"compute1" in self._run([*nova, "cell_v2", "list_hosts"])

    def _wait_for(self, *names: str) -> None:
        for name in names:
            eventually(lambda port=self.site.ports[name]: _listens(port), f"{name} listens")

    def _run(self, command: Sequence[str]) -> bytes:
        done = subprocess.run(
            command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert not done.returncode, f"{' '.join(command)}: {done.stderr.decode(errors='replace')[-2000:]}"
        return done.stdout

    def _run_beside(self, *rows: Sequence[Sequence[str]]) -> None:
        """Run rows of commands, the rows beside each other."""
        scripts = [" && ".join(" ".join(f"'{word}'" for word in command) for command in row) for row in rows]
        runs = [
            subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sh", "-c", script],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for script in scripts
        ]
        for run in runs:
            output, _ = run.communicate()
            assert not run.returncode, output.decode(errors="replace")[-3000:]


@contextmanager
def running(directory: Path) -> Iterator[Services]:
    """Start the services in a directory of their own; stop them whatever happens. Skips where they are missing."""
    venv = Path(os.environ.get("CLOUDSCHED_OPENSTACK_VENV", HERE.parent.parent / ".venv-openstack"))
    if not (venv / ".installed").exists():
        absent("the OpenStack services are not installed: `make test-openstack` does it")
    services = Services(Site(directory, venv, dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))))
    try:
        services.start_all()
        yield services
    finally:
        services.stop_all()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a service and its children: each service leads a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _unix(text: str) -> float:
    return time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
