"""A VM's user data makes a real startd join a real pool, as that VM, and lets the scheduler retire it."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudsched import cloudinit
from cloudsched.batch.htcondor import HTCondorBatch, Settings
from cloudsched.batch.htcondor_ads import Rules
from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.batch.htcondor_tokens import read_key
from cloudsched.cloudinit import Context
from cloudsched.config.options import Global, JobDefaults
from cloudsched.model.clouds import BootRequest, Cloud
from cloudsched.model.jobs import Machine
from cloudsched.model.vms import VM
from tests.real.condor import DOMAIN, CondorPool, account, eventually

pytest.importorskip("htcondor2")
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("htcondor")]

ROOT = Path(__file__).parent.parent.parent
# What an image brings along: where HTCondor is and which directories it reads; and what this one host asks for.
_IMAGE = """RELEASE_DIR = {prefix}/usr
LOCAL_DIR = {image}/var
BIN = $(RELEASE_DIR)/bin
SBIN = $(RELEASE_DIR)/sbin
LIB = $(RELEASE_DIR)/lib/condor
LIBEXEC = $(RELEASE_DIR)/libexec/condor
SHARE = $(RELEASE_DIR)/share/condor
LOG = $(LOCAL_DIR)
LOCK = $(LOCAL_DIR)
RUN = $(LOCAL_DIR)
SPOOL = $(LOCAL_DIR)
EXECUTE = $(LOCAL_DIR)
DAEMON_SOCKET_DIR = $(LOCAL_DIR)/sock
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR = {image}/etc/condor/config.d
SEC_TOKEN_DIRECTORY = {image}/etc/condor/tokens.d
SEC_TOKEN_SYSTEM_DIRECTORY = {image}/etc/condor/tokens.d
SEC_PASSWORD_DIRECTORY = {image}/etc/condor/passwords.d
NETWORK_HOSTNAME = {uid}.{domain}
DEFAULT_DOMAIN_NAME = {domain}
NO_DNS = True
NETWORK_INTERFACE = 127.0.0.1
ENABLE_IPV6 = False
USE_SHARED_PORT = False
SEC_USE_FAMILY_SESSION = False
DISCARD_SESSION_KEYRING_ON_STARTUP = False
USE_PROCD = False
BASE_CGROUP =
CGROUP_MEMORY_LIMIT_POLICY = none
DOCKER =
SINGULARITY =
STARTD_CRON_JOBLIST =
BENCHMARKS_JOBLIST =
UPDATE_INTERVAL = 5
"""


@pytest.fixture
def batch(pool: CondorPool) -> Iterator[HTCondorBatch]:
    rules = Rules(JobDefaults(), 3600)
    settings = Settings(rules, key=lambda: read_key(pool.key_file), domain=DOMAIN, collector=pool.collector)
    adapter = HTCondorBatch(Bindings(pool.environment, 15.0), settings)
    yield adapter
    adapter.close()


def booted(pool: CondorPool, request: BootRequest) -> subprocess.Popen[bytes]:
    """An image after its cloud-init: the files are written and HTCondor is started."""
    base = (ROOT / "contrib/htcondor/default.yaml").read_text("utf-8")
    data = cloudinit.user_data(Context(base), request, Cloud("mouse", "OpenStackNative"), Global())
    image = pool.directory / request.uid
    for name in ("etc/condor/tokens.d", "etc/condor/passwords.d", "var/sock"):
        (image / name).mkdir(parents=True)
    for each in yaml.safe_load(gzip.decompress(data))["write_files"]:
        write(image, each)
    values = {"prefix": pool.prefix, "image": image, "uid": request.uid, "domain": DOMAIN}
    (image / "condor_config").write_text(_IMAGE.format(**values), "utf-8")
    (image / "etc/condor/passwords.d").chmod(0o700)
    as_account: list[str] = []
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", account(), image], check=True)
        as_account = ["setpriv", f"--reuid={account()}", "--regid=nogroup", "--clear-groups"]
    return subprocess.Popen(
        [*as_account, pool.prefix / "usr/sbin/condor_master", "-f"],
        env={"PATH": "/usr/bin:/bin", "CONDOR_CONFIG": str(image / "condor_config")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=image,
        start_new_session=True,
    )


def write(image: Path, entry: dict[str, str]) -> None:
    path = image / entry["path"].lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = entry["content"].encode()
    path.write_bytes(base64.b64decode(content) if entry.get("encoding") == "b64" else content)
    path.chmod(int(entry.get("permissions", "0644"), 8))


def machines(batch: HTCondorBatch, uid: str) -> list[Machine]:
    return [each for each in batch.machines() if each.vm == uid]


def test_a_vm_joins_by_its_user_data_and_retires(pool: CondorPool, batch: HTCondorBatch) -> None:
    uid = "mouse-7d1c"
    join: dict[str, Any] = batch.join(uid, "atlas", "alice")
    master = booted(pool, BootRequest(uid, "image", "alice", "atlas", join=join))
    try:
        (slot, *_) = eventually(lambda: machines(batch, uid), "the VM has joined")
        assert (slot.vmtype, slot.machine_name) == ("atlas", f"{uid}.{DOMAIN}")
        assert 'Owner == "alice"' in slot.start_req
        running = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
        assert not [secret for secret in (join["token"], join["key"], pool.key_file.read_text()) if secret in running]
        (outcome,) = batch.retire([VM(uid, "mouse")])
        assert outcome.error == ""
        eventually(lambda: not machines(batch, uid) and master.poll() is not None, "the VM has left, and its master")
    finally:
        if master.poll() is None:
            os.killpg(master.pid, signal.SIGKILL)
            master.wait()
        shutil.rmtree(pool.directory / uid, ignore_errors=True)
