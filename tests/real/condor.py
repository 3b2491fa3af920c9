"""A real HTCondor pool on loopback for tests: unpacked from Debian, run without root's powers, gone afterwards.

Debian's packages of HTCondor come from a newer suite than the host may be, with a glibc of their own; each program is
told to use that one. Nothing is installed on the host, nothing listens beyond 127.0.0.1.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cloudsched import processes
from cloudsched.batch.htcondor_ads import VM_ATTRIBUTE
from cloudsched.batch.htcondor_commands import CommandLines, Commands
from cloudsched.batch.htcondor_tokens import SigningKey
from cloudsched.config.options import Global
from cloudsched.engine.htcondor import environment
from tests.patience import eventually as eventually
from tests.real.debs import absent

DOMAIN = "lab.test"
SUITE = "trixie"
SCHEDD = f"schedd@{DOMAIN}"
HERE = Path(__file__).parent
_DEBS = (
    "condor", "libc6", "libgcc-s1", "libstdc++6", "libgomp1", "libssl3t64", "libzstd1", "zlib1g", "libpcre2-8-0",
    "libuuid1", "patchelf",
)  # fmt: skip


def installed() -> Path:
    """Where HTCondor is unpacked, made once per machine; skips with the reason where that cannot be."""
    if not all(map(shutil.which, ("apt-get", "dpkg-deb", "setpriv"))):
        absent("HTCondor's daemons need Debian's apt-get, dpkg-deb and setpriv")
    place = Path(tempfile.gettempdir(), f"cloudsched-real-{os.geteuid()}")
    place.mkdir(mode=0o755, exist_ok=True)
    place.chmod(0o755)
    prefix = place / "htcondor"
    with (place / "htcondor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (prefix / ".ready").exists():
            done = subprocess.run(
                ["bash", HERE / "install_condor.sh", place / "work", prefix, SUITE, *_DEBS],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                absent(f"HTCondor cannot be had: {(done.stderr.strip() or done.stdout.strip())[-300:]}")
    return prefix


def account() -> str:
    """Who runs the daemons and the jobs: HTCondor refuses jobs of root."""
    return "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _as_account() -> list[str]:
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(account())
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@dataclass
class CondorPool:
    """Collector, negotiator and schedd under one master, in a directory of their own."""

    prefix: Path
    directory: Path
    port: int
    master: subprocess.Popen[bytes] | None = None

    @property
    def key_file(self) -> Path:
        """The pool's signing key."""
        return self.directory / "keys" / "POOL"

    @property
    def collector(self) -> str:
        """The collector's address."""
        return f"127.0.0.1:{self.port}"

    @property
    def client_config(self) -> Path:
        """HTCondor's configuration for whoever asks the pool."""
        return self.directory / "client.config"

    @property
    def tokens(self) -> Path:
        """The token directory of the pool's administrator, who the scheduler is."""
        return self.directory / "tokens-admin"

    @property
    def environment(self) -> dict[str, str]:
        """What a client or a child of the bindings needs."""
        tools = f"{self.prefix}/usr/bin:{self.prefix}/usr/sbin"
        path = f"{tools}:{os.environ['PATH']}"
        return environment(Global(condor_config=self.client_config), {"PATH": path, "HOME": "/"})

    def start(self) -> None:
        """Start the pool and wait until it takes jobs."""
        for name in ("log", "run", "lock", "spool", "execute", "sock", "keys", "tokens-daemon", "tokens-admin"):
            (self.directory / name).mkdir(mode=0o755, exist_ok=True)
        self._make_secrets()
        self._write_configuration()
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", account(), self.directory], check=True)
            # A token counts only for the account that owns it.
            subprocess.run(["chown", "-R", "root", self.tokens], check=True)
        self._launch()
        eventually(lambda: self.run("condor_q", "-totals", check=False).returncode == 0, "the schedd answers")
        eventually(lambda: self.status("-schedd") and self.status("-negotiator"), "the daemons are in the collector")
        self._introduce()

    def stop(self) -> None:
        """End every daemon and remove the directory."""
        if self.master is not None:
            family = [process for name in _DAEMONS for process in self.daemons(name)]
            self.master.send_signal(signal.SIGQUIT)
            try:
                self.master.wait(10)
            except subprocess.TimeoutExpired:
                self.master.kill()
                self.master.wait()
            for process in family:
                processes.send(process, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def daemons(self, name: str) -> list[processes.Process]:
        """The pool's own processes of a program, e.g. `schedd`."""
        assert self.master is not None
        there = processes.every()
        family = processes.family(there, [self.master.pid])
        return [there[pid] for pid in family if _program(pid) == f"condor_{name}"]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a daemon."""
        for process in self.daemons(name):
            processes.send(process, number)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Have a daemon stopped as long as the block lasts."""
        self.signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(name, signal.SIGCONT)

    def run(self, *command: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of HTCondor's commands as the administrator."""
        program = next(each for part in ("bin", "sbin") if (each := self.prefix / "usr" / part / command[0]).exists())
        return subprocess.run(
            [program, *command[1:]], env=self.environment, input=text, capture_output=True, text=True, check=check
        )

    def status(self, kind: str = "-any") -> list[str]:
        """The names that the collector knows of a kind of daemon."""
        return self.run("condor_status", kind, "-af", "Name", check=False).stdout.split()

    def startds(self) -> list[str]:
        """The slots in the collector."""
        return self.run("condor_status", "-af", "Name", check=False).stdout.split()

    def clear(self) -> None:
        """Remove every job."""
        self.run("condor_rm", "-all", check=False)
        self.run("condor_rm", "-forcex", "-all", check=False)
        eventually(lambda: self._queue() == [], "no job is left")

    def forget_vms(self) -> None:
        """Have the collector forget what it still says of VMs, none of which may be alive."""
        for target, verb in (("Machine", "INVALIDATE_STARTD_ADS"), ("DaemonMaster", "INVALIDATE_MASTER_ADS")):
            query = f'MyType="Query"\nTargetType="{target}"\nRequirements={VM_ATTRIBUTE} =!= undefined\n'
            self.run("condor_advertise", verb, "-", text=query)

    def _queue(self) -> list[str] | None:
        done = self.run("condor_q", "-allusers", "-af", "ClusterId", check=False)
        return None if done.returncode else done.stdout.split()

    def _launch(self) -> None:
        with (self.directory / "log" / "out").open("ab") as output:
            self.master = subprocess.Popen(
                [*_as_account(), self.prefix / "usr/sbin/condor_master", "-f"],
                env={"PATH": "/usr/bin:/bin", "CONDOR_CONFIG": str(self.directory / "condor_config")},
                stdout=output,
                stderr=output,
                cwd=self.directory,
                start_new_session=True,
            )

    def _make_secrets(self) -> None:
        _private(self.key_file, secrets.token_hex(32))
        key = SigningKey("POOL", self.key_file.read_bytes())
        for user, place in (("condor", "tokens-daemon"), ("admin", "tokens-admin")):
            _private(self.directory / place / user, key.token(f"{user}@{DOMAIN}", int(time.time()), 86400) + "\n")

    def _write_configuration(self) -> None:
        values = {
            "PREFIX": str(self.prefix),
            "NODE": str(self.directory),
            "PORT": str(self.port),
            "DOMAIN": DOMAIN,
            "SCHEDD": SCHEDD,
        }
        for source, target in (("condor_config.in", "condor_config"), ("client_config.in", "client.config")):
            text = (HERE / source).read_text("utf-8")
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            (self.directory / target).write_text(text, "utf-8")
        user = pwd.getpwnam(account())
        with self.client_config.open("a", encoding="utf-8") as file:
            # HTCondor's commands insist on it when root runs them.
            file.write(f"CONDOR_IDS = {user.pw_uid}.{user.pw_gid}\n")

    def _introduce(self) -> None:
        """A schedd gives an administrator's powers only to somebody it has had a job of."""
        job = "executable = /bin/true\ntransfer_executable = false\nrequirements = false\nqueue\n"
        self.run("condor_submit", "-terse", "-disable", "-", text=job)
        self.run("condor_rm", "-all")


_DAEMONS = ("shared_port", "collector", "negotiator", "schedd", "shadow")


@contextmanager
def condor_pool() -> Iterator[CondorPool]:
    """A running pool, as long as the block lasts."""
    prefix = installed()
    # A short path: it holds Unix sockets.
    directory = Path(tempfile.mkdtemp(prefix="hc-"))
    directory.chmod(0o755)
    pool = CondorPool(prefix, directory, _free_port())
    try:
        pool.start()
        yield pool
    finally:
        pool.stop()


def _program(pid: int) -> str:
    with suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].rpartition(b"/")[2])
    return ""


def commands(pool: CondorPool, seconds: float = 30.0) -> Commands:
    """The pool by its command lines, as a v1 site has them configured."""
    lines = CommandLines(
        query=["condor_q", "-l"],
        history=["condor_history", "-l"],
        submit=["condor_submit"],
        hold=["condor_hold"],
        release=["condor_release"],
        remove=["condor_rm"],
        status=["condor_status", "-l"],
        status_masters=["condor_status", "-master", "-l"],
        drain=["condor_drain"],
        ping=["condor_ping"],
        off=[f"{pool.prefix}/usr/sbin/condor_off"],
        on=[f"{pool.prefix}/usr/sbin/condor_on"],
        advertise=[f"{pool.prefix}/usr/sbin/condor_advertise"],
    )
    settings = {"COLLECTOR_HOST": pool.collector, "TRUST_DOMAIN": DOMAIN}
    return Commands(lines, pool.environment, seconds, settings)


def local_command() -> str:
    """The template that makes a VM of the local cloud a startd of a pool."""
    script = HERE.parent.parent / "contrib" / "htcondor" / "local_startd.sh"
    return f"{script} {{uid}} {{dir}} {{vmtype}} {{user}} {{slots}} {{memory}} {{condor_host}} {{trust_domain}}"


def vm_environment(pool: CondorPool) -> dict[str, str]:
    """What that template needs to know of this machine."""
    extra = pool.directory / "startd.config"
    extra.write_text((HERE / "startd_config.in").read_text("utf-8"), "utf-8")
    return {
        "CONDOR_PREFIX": str(pool.prefix),
        "CONDOR_USER": account(),
        "CONDOR_SCRATCH": str(pool.directory),
        "CONDOR_EXTRA": str(extra),
    }


def site_options(pool: CondorPool, clouds: Path) -> dict[str, str]:
    """The `[global]` options of an installation whose VMs join the pool."""
    return {
        "BATCH_SYSTEM": "htcondor",
        "CLOUD_RESOURCE_CONFIG": str(clouds),
        "LOCAL_COMMAND": local_command(),
        "CONDOR_CONFIG": str(pool.client_config),
        "CONDOR_COLLECTOR": pool.collector,
        "CONDOR_TRUST_DOMAIN": DOMAIN,
        "CONDOR_SIGNING_KEY": str(pool.key_file),
        "CONDOR_UPDATE_SECONDS": "6",
        "CONDOR_TIMEOUT_SECONDS": "5",
        "CLEANUP_MISSING_VMS": "yes",
        "POLL_TIMEOUT_SECONDS": "20",
        "USE_CLOUD_INIT": "no",
        "SCHEDULER_INTERVAL": "1",
        "CLEANUP_INTERVAL": "1",
    }


def kill_vm(uid: str) -> None:
    """kill -9 for all processes of a VM of the local cloud."""
    mark = f"CLOUDSCHED_VM={uid}".encode()
    there = processes.every()
    for pid in processes.family(there, [pid for pid in there if mark in processes.marks(pid)]) - {os.getpid()}:
        processes.send(there[pid], signal.SIGKILL)


def startd_of(uid: str) -> list[processes.Process]:
    """The startd of a VM of the local cloud."""
    mark = f"CLOUDSCHED_VM={uid}".encode()
    there = processes.every()
    return [
        process
        for pid, process in there.items()
        if mark in processes.marks(pid) and b"condor_startd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _private(path: Path, text: str) -> None:
    path.parent.chmod(0o700)
    path.touch(mode=0o600)
    path.write_text(text, "ascii")
