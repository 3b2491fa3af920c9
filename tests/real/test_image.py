"""The image: a real buildah makes it of the Containerfile, and what it is told to run runs as the account it names.

Its base, which comes from a registry, is made here of Debian's own Python.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from scheduler_process import wait_for

from tests.real.debs import absent

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("package")]
ROOT = Path(__file__).parent.parent.parent
CONTAINERFILE = ROOT / "contrib" / "Containerfile"
SECONDS = 1800
TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")
"""Whom this host trusts to be the package index."""
EXTRAS = "migrate,postgresql"
"""Enough to see that extras come along; the others are larger."""


@dataclass(frozen=True)
class Images:
    """A store of images of this test's own."""

    home: Path

    def run(self, *words: str | Path) -> str:
        """A command of buildah's, which must succeed: what it printed."""
        done = subprocess.run(self.command(*words), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout.strip()

    def command(self, *words: str | Path) -> list[str]:
        places = ["--root", self.home / "store", "--runroot", self.home / "run", "--storage-driver", "vfs"]
        return [*map(str, ("buildah", *places, *words))]


def debian(root: Path) -> None:
    """The smallest Debian that has Python, as the image that ours is FROM has it: `python`, `pip` for all of it."""
    release = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if not release:
        absent("mmdebstrap makes nothing but Debian, and this is none")
    packages = "--include=python3,python3-pip,ca-certificates"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", packages, release[1], str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        absent(f"mmdebstrap: {done.stderr.strip()[-300:]}")
    (root / "usr" / "bin" / "python").symlink_to("python3")
    shutil.copy(TRUSTED, root / TRUSTED.relative_to("/"))
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """With our image in it, made by the command that the Containerfile names but for its program."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("buildah", "mmdebstrap"))):
        absent("making an image needs root and Debian's packages buildah and mmdebstrap")
    home = tmp_path_factory.mktemp("image")
    made = Images(home)
    debian(home / "base")
    container = made.run("from", "scratch")
    made.run("add", "--quiet", container, home / "base", "/")
    (base,) = set(re.findall(r"^FROM (\S+)", CONTAINERFILE.read_text("utf-8"), re.MULTILINE))
    made.run("commit", "--quiet", "--rm", container, base)
    shutil.rmtree(home / "base")
    (words,) = re.findall(r"^# podman build (.*)$", CONTAINERFILE.read_text("utf-8"), re.MULTILINE)
    here = ("--isolation", "chroot", "--pull-never", "--build-arg", f"EXTRAS={EXTRAS}")
    made.run("bud", *here, *words.split())
    yield made
    shutil.rmtree(home)


@contextmanager
def started(images: Images, container: str, entry: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The entry point in a container, on ports of its own: the process and the info daemon's URL."""
    ports = [f"--env=CLOUDSCHED_GLOBAL_{name}_SERVER_PORT=0" for name in ("ADMIN", "INFO")]
    command = images.command("run", "--isolation", "chroot", *ports, container, "--", *entry)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = ""
    for line in process.stdout:
        if found := re.match(r"  info +http://0\.0\.0\.0:(\d+)", line):
            url = f"http://127.0.0.1:{found[1]}"
        if line.startswith("Ctrl-C"):
            break
    try:
        yield process, url
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_image_is_healthy_runs_as_its_own_account_and_ends_by_its_signal(images: Images) -> None:
    told = json.loads(images.run("inspect", "--type", "image", "cloudsched"))["Docker"]["config"]
    container = images.run("from", "--pull-never", "cloudsched")

    def inside(port: str, *words: str) -> subprocess.CompletedProcess[str]:
        options = ("--isolation", "chroot", f"--env=CLOUDSCHED_GLOBAL_INFO_SERVER_PORT={port}")
        command = images.command("run", *options, container, "--", *words)
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)

    with started(images, container, told["Entrypoint"]) as (process, url):
        port = url.rpartition(":")[2]
        kind, *health = (word.replace(":8111/", f":{port}/") for word in told["Healthcheck"]["Test"])
        assert kind == "CMD"
        assert any(url in word for word in health)
        wait_for(lambda: inside(port, *health).returncode == 0)
        assert requests.get(f"{url}/clusters", timeout=SECONDS).status_code == 401
        status = inside(port, "cloud_status")
        assert (status.returncode, "localhost" in status.stdout) == (0, True), status.stderr
        # A container that is only a change of root has no process ids of its own, so that ours is the engine's.
        engine = re.search(r"engine: process (\d+) on ", requests.get(f"{url}/health/ready", timeout=SECONDS).text)
        assert engine
        accounts = Path("/proc", engine[1], "status").read_text()
        assert re.search(r"^Uid:\t811\t811\t811\t811$", accounts, re.MULTILINE)
        os.kill(int(engine[1]), signal.Signals[told["StopSignal"]])
        assert process.wait(SECONDS) == 0
        assert inside(port, *health).returncode != 0
