"""Real VMs: the example for qemu under the real scheduler, and the limits of local VMs on a kernel of their own.

A host offers control groups of one version, and perhaps to nobody. In a VM of Debian's kernel they are those of
version 2, and tests of tests/test_local_isolation.py run there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from whole_bench import Site, a_site, eventually, stopped

from cloudsched import processes
from cloudsched.clouds import local_directory, local_limits
from tests.real.debs import absent

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("qemu")]

ROOT = Path(__file__).parent.parent.parent
QEMU = ROOT / "contrib" / "qemu"
BOOT_SECONDS = 600.0
CLOUDS = """[qemu]
cloud_type = local
command = {script} {{uid}} {{dir}} {{memory}} {{slots}} {{image}}
memory_overhead = 512
vm_slots = 1
memory = 1000
enabled = yes
"""
NO_USER_DATA = hashlib.sha256(b"#cloud-config\n").hexdigest()


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that the account of the VMs may read."""
    for program in ("qemu-system-x86_64", "busybox", "cpio"):
        if shutil.which(program) is None:
            absent(f"{program} is not installed: `make peers` does it")
    if not list(Path("/boot").glob("vmlinuz-*-cloud-amd64")):
        absent("linux-image-cloud-amd64 is not installed: `make peers` does it")
    made = Path(tempfile.mkdtemp(prefix="cloudsched-qemu-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def image(place: Path) -> Path:
    subprocess.run([QEMU / "make_image.sh", place / "image"], check=True)
    return place / "image"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_site(tmp_path / "home") as made:
        (made.home / "cloud_resources.conf").write_text(CLOUDS.format(script=QEMU / "local_qemu.sh"))
        made.options = {"CLOUD_RESOURCE_CONFIG": str(made.home / "cloud_resources.conf")}
        yield made


def killed(site: Site) -> None:
    """kill -9 of the scheduler and its daemons."""
    for pid in site.pids("cloud_scheduler") + site.pids("_server"):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not site.pids("cloud_scheduler"))


def test_a_real_vm_boots_outlives_the_scheduler_and_is_ended_whole(site: Site, image: Path) -> None:
    site.start()
    site.submit("true", '+VMType = "real"', f'+VMAMI = "{image}"', "+VMMem = 128", '+TargetClouds = "qemu"')
    (console,) = eventually(lambda: list((site.state / "vms").glob("*/worker.log")), "it is started")
    record = local_directory.read(console.parent)
    assert record is not None
    said = eventually(lambda: re.search(r"^VM .*", console.read_text(), re.MULTILINE), "it is up", BOOT_SECONDS)
    found = re.fullmatch(r"VM (\S+) is up with (\d+) kB and (\d+) cores; user data (\w+)", said[0].strip())
    assert found is not None, said[0]
    assert (found[1], found[3], found[4]) == (record.uid, "1", NO_USER_DATA)
    assert 80_000 < int(found[2]) < 128 * 1024, "the memory that its job asked for, without the kernel's own"
    eventually(lambda: [vm["status"] for vm in site.vms()] == ["Running"], "it is listed")
    (machine,) = site.pids("qemu-system")
    if os.geteuid() == 0:
        assert Path(f"/proc/{machine}").stat().st_uid != 0, "nothing that a VM breaks out of is root's"
    held = [group for group in record.groups if group.exists()]
    if not local_limits.survey().refused:
        assert machine in local_limits.members(held) and len(held) == len(record.groups) > 0
    killed(site)
    assert site.pids("qemu-system") == [machine]
    scheduler = site.start()
    eventually(lambda: [(vm["uid"], vm["status"]) for vm in site.vms()] == [(record.uid, "Running")], "taken over")
    assert site.pids("qemu-system") == [machine]
    assert stopped(scheduler) == 0
    assert site.processes() == {} and processes.read(machine) is None
    assert not [group for group in held if group.exists()]
    assert list((site.state / "vms").iterdir()) == []


def test_a_real_vm_whose_first_process_is_killed_leaves_nothing(site: Site, image: Path) -> None:
    scheduler = site.start()
    site.submit("true", '+VMType = "real"', f'+VMAMI = "{image}"', "+VMMem = 128", '+TargetClouds = "qemu"')
    machine = eventually(lambda: site.pids("qemu-system") or None, "it is started")[0]
    first = local_directory.read(next((site.state / "vms").iterdir()))
    assert first is not None
    os.kill(machine, signal.SIGKILL)
    eventually(lambda: not first.directory.exists(), "it is found dead and cleared away")
    assert not [group for group in first.groups if group.exists()]
    assert stopped(scheduler) == 0
    assert site.processes() == {}


# -- a kernel of our own -----------------------------------------------------------------------------------------------

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
{setup}
export HOME=/tmp PATH=/usr/bin:/bin PYTHONHOME={home} PYTHONPATH=/lib/python PYTHONDONTWRITEBYTECODE=1
cd /lib/python && {command}
echo "ENDED $?"
poweroff -f
"""
SKIPPED_PARTS = {"test", "tests", "idlelib", "lib2to3", "ensurepip", "tkinter", "site-packages", "turtledemo"}
ENTER = "echo 0 > /sys/fs/cgroup/unit/cgroup.procs"
LOOK = 'status=$?; echo UNIT: $(cd /sys/fs/cgroup/unit; ls -d */ | tr -d /); sh -c "exit $status"'
TESTS = ("__init__.py", "patience.py", "test_local_isolation.py")


def libraries(programs: Iterable[Path]) -> set[Path]:
    """The shared libraries that programs need, by ldd."""
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True)
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", done.stdout)}


def laid_in(tree: Path, *paths: Path) -> None:
    """Copy files to where they are on this host, links followed, with their times: what is compiled stays valid."""
    for path in paths:
        target = tree / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def python_tree(tree: Path) -> str:
    """This Python with pytest and our package, and what tests of processes need; the program's path."""
    python = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    standard = Path(sysconfig.get_path("stdlib"))
    modules = [
        path
        for kind in ("*.py", "*.so", "*.cpython-3??.pyc")
        for path in standard.rglob(kind)
        if not SKIPPED_PARTS & set(path.relative_to(standard).parts)
    ]
    programs = [python, *(Path(str(shutil.which(each))) for each in ("unshare", "setpriv"))]
    extensions = [each for each in modules if each.suffix == ".so"]
    laid_in(tree, *modules, *programs, *libraries([*programs, *extensions]))
    own = tree / "lib" / "python"
    installed = Path(pytest.__file__).parent.parent
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        shutil.copytree(installed / name, own / name)
    shutil.copy2(installed / "py.py", own / "py.py")
    shutil.copytree(ROOT / "cloudsched", own / "cloudsched")
    (own / "tests").mkdir()
    for name in TESTS:
        source = ROOT / "tests" / name
        (own / "tests" / name).write_text(source.read_text() if source.exists() else "")
    return str(python)


def run_in_vm(place: Path, name: str, setup: str, command: str) -> str:
    """Boot a VM that runs a command and powers off; what it said."""
    tree = place / name / "tree"
    tree.mkdir(parents=True)
    python = python_tree(tree)
    home = str(Path(python).parent.parent)
    (tree / "init").write_text(INIT.format(setup=setup, home=home, command=command.format(python=python)))
    for each in ("etc", "tmp"):
        (tree / each).mkdir(exist_ok=True)
    (tree / "etc" / "passwd").write_text("root:x:0:0::/tmp:/bin/sh\nalice:x:1000:1000::/tmp:/bin/sh\n")
    subprocess.run([QEMU / "make_image.sh", place / name / "image", tree], check=True)
    done = subprocess.run(
        [QEMU / "local_qemu.sh", name, place / name, "768", "2", place / name / "image"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=BOOT_SECONDS,
        check=False,
    )
    return done.stdout + done.stderr


def test_limits_and_namespaces_hold_with_control_groups_of_version_2(place: Path) -> None:
    """They run in a group as systemd delegates one to a service: before they divide it they must step aside."""
    setup = 'mkdir /sys/fs/cgroup/unit; echo "+memory +cpu +pids" > /sys/fs/cgroup/cgroup.subtree_control'
    chosen = "together_larger or overhead or cores or fork_bomb or left_session or groups_made or asked_to_end"
    tests = "{python} -m pytest --noconftest -p no:cacheprovider --color=no -q -rs tests/test_local_isolation.py -k"
    said = run_in_vm(place, "v2", setup, f"sh -c '{ENTER}; exec {tests} \"{chosen}\"'; {LOOK}")
    assert "ENDED 0" in said, said[-6000:]
    assert "UNIT: scheduler\n" in said, "the groups of VMs are gone, ours is left"
    counts = dict(re.findall(r"(\d+) (passed|skipped|failed)", said))
    assert {kind: int(count) for count, kind in counts.items()} == {"passed": 7}, said[-6000:]
