"""What bounds a local VM as a whole, on this host's own kernel: limits that hold, namespaces, and nothing left behind.

Where a host lets nobody make control groups the tests of limits skip; tests/real/test_qemu.py has a kernel of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudsched import processes
from cloudsched.clouds import local_limits
from cloudsched.clouds.local import STARVED, LocalCloud
from cloudsched.clouds.local_isolation import Isolation, fence
from cloudsched.errors import ConfigError
from cloudsched.model.clouds import BootRequest, VMStatus
from tests.patience import eventually, is_gone, pid_in

LIMITED = Isolation(limits="yes", overhead=0, processes=64)
needs_limits = pytest.mark.usefixtures("can_limit")
needs_namespaces = pytest.mark.usefixtures("can_separate")


@pytest.fixture
def can_limit() -> None:
    """Skip where nobody may make control groups."""
    if refused := local_limits.survey().refused:
        pytest.skip(f"no limits on this host: {refused}")


@pytest.fixture
def can_separate() -> None:
    """Skip where nobody may make namespaces."""
    statement = fence(Isolation(namespaces=("auto",))).statement
    if "no pid namespace" in statement:
        pytest.skip(statement)


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    cloud = LocalCloud("local", "inst", tmp_path / "state")
    cloud.destroy([vm.uid for vm in cloud.vms()])


def cloud(state_dir: Path, script: str, isolation: Isolation = LIMITED) -> LocalCloud:
    path = state_dir.parent / "vm.sh"
    path.write_text(script)
    return LocalCloud("local", "inst", state_dir, f"/bin/sh {path}", isolation)


def request(memory: int = 64, uid: str = "vm-1") -> BootRequest:
    return BootRequest(uid, "Default-Image", "alice", "default", cpucores=1, memory=memory)


def boot(adapter: LocalCloud, wanted: BootRequest | None = None) -> None:
    (outcome,) = adapter.boot([wanted or request()])
    assert outcome.error is None


def vm_dir(state_dir: Path) -> Path:
    return state_dir / "vms" / "vm-1"


def groups(state_dir: Path) -> list[Path]:
    return [Path(each) for each in json.loads((vm_dir(state_dir) / "vm.json").read_text())["groups"]]


def leader(state_dir: Path) -> int:
    return int((vm_dir(state_dir) / "pid").read_text().split()[0])


def destroyed(adapter: LocalCloud, state_dir: Path) -> None:
    """Destroy the VM: no process, no group and no directory is left."""
    held = groups(state_dir)
    assert [each.error for each in adapter.destroy(["vm-1"])] == [None]
    assert not [group for group in held if group.exists()]
    assert list((state_dir / "vms").iterdir()) == []


def hog(megabytes: int, then: str) -> str:
    """A shell line: a process that takes this much memory and then does something."""
    return f'{sys.executable} -c "held = bytearray({megabytes} * 2**20); {then}"'


@needs_limits
def test_processes_that_are_together_larger_than_the_vm_are_killed_and_it_is_said(state_dir: Path) -> None:
    """Each one alone would fit: what is bounded is the whole tree."""
    one = hog(40, "import time; time.sleep(600)")
    adapter = cloud(state_dir, f"{one} & {one}\necho $? > status; sleep 600")
    boot(adapter, request(memory=64))
    (vm,) = eventually(lambda: [each for each in adapter.vms() if each.fault], "the kernel has killed one")
    assert (vm.status, vm.fault) == (VMStatus.RUNNING, STARVED)
    assert local_limits.starved(groups(state_dir))
    destroyed(adapter, state_dir)


@needs_limits
def test_a_vm_that_fits_its_memory_lives(state_dir: Path) -> None:
    adapter = cloud(state_dir, hog(40, "open('fits', 'w').write('yes'); import time; time.sleep(600)"))
    boot(adapter, request(memory=128))
    eventually((vm_dir(state_dir) / "fits").exists)
    assert [(vm.status, vm.fault) for vm in adapter.vms()] == [(VMStatus.RUNNING, "")]
    destroyed(adapter, state_dir)


@needs_limits
def test_the_overhead_is_the_vms_own(state_dir: Path) -> None:
    adapter = cloud(state_dir, "sleep 600", Isolation(limits="yes", overhead=100, processes=0))
    boot(adapter, request(memory=28))
    texts = [(group / name) for group in groups(state_dir) for name in ("memory.limit_in_bytes", "memory.max")]
    assert [int(each.read_text()) for each in texts if each.exists()] == [128 * 2**20]
    pids = next(group / "pids.max" for group in groups(state_dir) if (group / "pids.max").exists())
    assert pids.read_text().strip() == "max"
    destroyed(adapter, state_dir)


@needs_limits
def test_the_cores_are_those_that_were_asked_for(state_dir: Path) -> None:
    adapter = cloud(state_dir, "while :; do :; done & while :; do :; done")
    boot(adapter)
    texts = [group / name for group in groups(state_dir) for name in ("cpu.cfs_quota_us", "cpu.max")]
    (given,) = [each.read_text().split()[0] for each in texts if each.exists()]
    assert given == "100000"

    def accounted() -> bool:
        stats = [group / "cpu.stat" for group in groups(state_dir)]
        lines = [line.split() for each in stats if each.exists() for line in each.read_text().splitlines()]
        return any(name == "nr_periods" and int(count) > 0 for name, count in lines)

    eventually(accounted, "the kernel counts what it takes in each period")
    destroyed(adapter, state_dir)


@needs_limits
def test_a_fork_bomb_stops_at_its_bound_and_is_ended(state_dir: Path) -> None:
    adapter = cloud(state_dir, "while :; do (sleep 600 &) 2>/dev/null; done")
    boot(adapter)
    eventually(lambda: len(local_limits.members(groups(state_dir))) >= 60, "it is at its bound")
    # What is listed of two hierarchies, one after the other, may be more than there are at any moment.
    (counted,) = (each / "pids.current" for each in groups(state_dir) if (each / "pids.current").exists())
    assert int(counted.read_text()) <= 64
    destroyed(adapter, state_dir)


ESCAPE = "(env -i setsid sh -c 'echo $$ > escaped; exec sleep 600' &); sleep 0.2; exec {}"


@needs_limits
def test_what_left_session_environment_and_parent_is_ended_all_the_same(state_dir: Path) -> None:
    adapter = cloud(state_dir, ESCAPE.format("sleep 600"))
    boot(adapter)
    escaped = pid_in(vm_dir(state_dir) / "escaped")
    assert not any(b"CLOUDSCHED" in mark for mark in processes.marks(escaped))
    destroyed(adapter, state_dir)
    assert is_gone(escaped)


@needs_limits
def test_a_vm_whose_first_process_is_killed_is_cleared_of_what_escaped(state_dir: Path) -> None:
    adapter = cloud(state_dir, ESCAPE.format("sleep 600"))
    boot(adapter)
    escaped = pid_in(vm_dir(state_dir) / "escaped")
    os.kill(leader(state_dir), signal.SIGKILL)
    eventually(lambda: adapter.vms()[0].status == VMStatus.SHUTDOWN and is_gone(escaped), "nothing lives on")
    destroyed(adapter, state_dir)


@needs_limits
def test_groups_made_inside_a_vm_go_with_it(state_dir: Path) -> None:
    adapter = cloud(state_dir, "sleep 600")
    boot(adapter)
    inner = [group / "made" / "inside" for group in groups(state_dir)]
    for each in inner:
        each.mkdir(parents=True)
    destroyed(adapter, state_dir)
    assert not [each for each in inner if each.exists()]


@needs_limits
def test_an_engine_killed_before_the_start_leaves_a_vm_that_the_next_completes(state_dir: Path) -> None:
    boot(cloud(state_dir, "sleep 600"))
    adapter = cloud(state_dir, "sleep 600")
    os.killpg(leader(state_dir), signal.SIGKILL)
    eventually(lambda: not local_limits.members(groups(state_dir)))
    (vm_dir(state_dir) / "pid").unlink()
    boot(adapter)
    assert adapter.vms()[0].status == VMStatus.RUNNING
    eventually(lambda: all((group / "cgroup.procs").read_text().split() for group in groups(state_dir)))
    destroyed(adapter, state_dir)


@needs_limits
def test_an_adapter_without_limits_ends_vms_that_had_them(state_dir: Path) -> None:
    """The configuration may have changed since: what a VM has is written in its directory."""
    boot(cloud(state_dir, ESCAPE.format("sleep 600")))
    escaped = pid_in(vm_dir(state_dir) / "escaped")
    destroyed(LocalCloud("local", "inst", state_dir), state_dir)
    assert is_gone(escaped)


@needs_limits
def test_an_absent_program_leaves_no_group(state_dir: Path) -> None:
    before = {each for ground in local_limits.survey().grounds for each in ground.base.glob("cloudsched-*")}
    adapter = LocalCloud("local", "inst", state_dir, "/absent/program", LIMITED)
    (outcome,) = adapter.boot([request()])
    assert "/absent/program" in str(outcome.error) and adapter.vms() == []
    name = local_limits.groups_of(local_limits.survey().grounds, vm_dir(state_dir).absolute())[0].name
    assert not [each for each in before if each.name == name]


SEPARATE = Isolation(namespaces=("pid", "ipc", "net"))


@needs_namespaces
def test_a_separated_vm_sees_its_own_processes_and_no_network(state_dir: Path) -> None:
    script = "echo $$ > mine; ls -d /proc/[0-9]* | wc -l > count; tail -n +3 /proc/net/dev > net; exec sleep 600"
    adapter = cloud(state_dir, script, SEPARATE)
    boot(adapter)
    eventually((vm_dir(state_dir) / "net").exists)
    eventually(lambda: (vm_dir(state_dir) / "net").read_text())
    assert (vm_dir(state_dir) / "mine").read_text().strip() == "1"
    assert int((vm_dir(state_dir) / "count").read_text()) < 5
    networks = [line.split(":")[0].strip() for line in (vm_dir(state_dir) / "net").read_text().splitlines()]
    assert networks == ["lo"]
    inner = next(iter(inside(state_dir)))
    for kind in ("pid", "ipc", "net", "mnt"):
        assert Path(f"/proc/{inner}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink()
    destroyed(adapter, state_dir)


def inside(state_dir: Path) -> set[int]:
    """The processes in the VM's own process space, by their numbers on the host."""
    there = processes.every()
    return {each.pid for each in there.values() if each.parent == leader(state_dir)}


@needs_namespaces
def test_the_first_process_of_a_separated_vm_is_asked_to_end(state_dir: Path) -> None:
    """It may give its jobs back: unshare, which was started, passes nothing on."""
    script = "trap 'echo bye > said; exit 0' TERM; touch ready; while :; do sleep 0.05; done"
    adapter = cloud(state_dir, script.replace("said", str(state_dir.parent / "said")), SEPARATE)
    boot(adapter)
    eventually((vm_dir(state_dir) / "ready").exists)
    destroyed(adapter, state_dir)
    assert (state_dir.parent / "said").read_text() == "bye\n"


@needs_namespaces
@pytest.mark.parametrize("of", ["unshare", "inside"])
def test_a_separated_vm_dies_whole_with_its_first_process(state_dir: Path, of: str) -> None:
    adapter = cloud(state_dir, "env -i setsid sleep 600 & sleep 600", SEPARATE)
    boot(adapter)
    eventually(lambda: inside(state_dir))
    first = next(iter(inside(state_dir)))
    members = eventually(lambda: (found := processes.family(processes.every(), [first])) and len(found) > 2 and found)
    os.kill(leader(state_dir) if of == "unshare" else first, signal.SIGKILL)
    eventually(lambda: all(is_gone(pid) for pid in members), "the kernel ends what was in it")
    eventually(lambda: adapter.vms()[0].status == VMStatus.SHUTDOWN)
    destroyed(adapter, state_dir)


NOBODY = 65534
ORDINARY = """
import json, sys
from pathlib import Path
from cloudsched.clouds.local import LocalCloud
from cloudsched.clouds.local_isolation import Isolation
from cloudsched.model.clouds import BootRequest
import time
state = Path(sys.argv[1])
cloud = LocalCloud("local", "inst", state, "/bin/sh -c 'id -u > who; echo $$ > mine; exec sleep 600'",
                   Isolation(limits="auto", namespaces=("auto",)))
(outcome,) = cloud.boot([BootRequest("vm-1", "n", "u", "t", memory=64)])
mine = state / "vms" / "vm-1" / "mine"
while not (mine.exists() and mine.read_text()):
    time.sleep(0.02)
said = {"statement": cloud.enforced, "mine": mine.read_text().strip(), "who": (mine.parent / "who").read_text().strip(),
        "status": cloud.vms()[0].status, "destroyed": str(cloud.destroy(["vm-1"])[0].error), "left": len(cloud.vms())}
print(json.dumps(said))
"""


@pytest.fixture
def home_of_nobody() -> Iterator[Path]:
    """A directory of another account, where it may go: pytest's own are root's."""
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")
@needs_namespaces
def test_an_ordinary_account_gets_namespaces_and_is_told_what_it_does_not_get(home_of_nobody: Path) -> None:
    account = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run(
        [*account, sys.executable, "-c", ORDINARY, home_of_nobody / "state"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["mine"], said["who"], said["status"]) == ("1", str(NOBODY), "Running")
    assert (said["destroyed"], said["left"]) == ("None", 0)
    assert said["statement"].endswith("namespaces: pid, ipc")
    assert said["statement"].startswith("limited: nothing; not limited: memory") and "denied" in said["statement"]


def test_what_is_asked_for_by_name_and_refused_makes_the_cloud_unusable(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match=r"namespaces = pid, and this host refuses them: .*unshare"):
        LocalCloud("local", "inst", state_dir, "/bin/true", Isolation(namespaces=("pid",)))
    adapter = LocalCloud("local", "inst", state_dir, "/bin/true", Isolation(namespaces=("auto",)))
    assert "no pid namespace: " in adapter.enforced and "limits = no" in adapter.enforced


# -- where groups can be made: what proc(5) says -----------------------------------------------------------------------


def proc(tmp_path: Path, own: str, mounts: str) -> Path:
    directory = tmp_path / "proc"
    directory.mkdir()
    (directory / "cgroup").write_text(own)
    (directory / "mountinfo").write_text(mounts.replace("ROOT", str(tmp_path / "fs")))
    return directory


def test_a_host_without_control_groups_is_told_so(tmp_path: Path) -> None:
    found = local_limits.survey(proc(tmp_path, "", "25 1 0:23 / /proc rw - proc proc rw\n"))
    assert found.grounds == ()
    assert found.refused == dict.fromkeys(("memory", "cpu", "pids"), "this host shows no control groups")


def test_a_container_sees_its_own_part_of_the_hierarchy(tmp_path: Path) -> None:
    for name in ("memory/ours", "cpu,cpuacct/ours"):
        (tmp_path / "fs" / name).mkdir(parents=True)
    found = local_limits.survey(
        proc(
            tmp_path,
            "4:memory:/docker/abc/ours\n3:cpu,cpuacct:/docker/abc/ours\n0::/\n",
            "30 1 0:26 /docker/abc ROOT/memory rw - cgroup cgroup rw,memory\n"
            "31 1 0:27 /docker/abc ROOT/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n",
        )
    )
    assert {(each.base, each.version) for each in found.grounds} == {
        (tmp_path / "fs" / "memory" / "ours", 1),
        (tmp_path / "fs" / "cpu,cpuacct" / "ours", 1),
    }
    assert found.refused == {"pids": "this host shows no control groups"}


def test_what_systemd_has_not_given_away_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_limits, "SYSTEMD", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    base = tmp_path / "fs" / "system.slice"
    base.mkdir(parents=True)
    mounts = "30 1 0:26 / ROOT rw - cgroup2 cgroup2 rw\n"
    found = local_limits.survey(proc(tmp_path, "0::/system.slice\n", mounts))
    assert found.refused["memory"] == f"{base} is systemd's: run the scheduler with Delegate=yes"
