"""VMs that are process groups of this host: found again and ended whatever was killed, and nobody else's touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudsched import processes
from cloudsched.clouds.local import LocalCloud
from cloudsched.clouds.local_directory import LARGEST_LOG
from cloudsched.errors import BadRequirement, ConfigError
from cloudsched.model.clouds import BootRequest, VMStatus
from cloudsched.model.jobs import JobStatus
from tests.batch_bench import Bench, eventually, is_gone, pid_in

SLEEP = "/bin/sleep 600"


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    for name in ("local", "other"):
        cloud = LocalCloud(name, "inst", tmp_path / "state")
        cloud.destroy([vm.uid for vm in cloud.vms()])


def cloud(state_dir: Path, command: str = SLEEP, name: str = "local") -> LocalCloud:
    return LocalCloud(name, "inst", state_dir, command)


def request(uid: str = "vm-1", cores: int = 1, **fields: object) -> BootRequest:
    return BootRequest(uid, "Default-Image", "alice", "default", cpucores=cores, memory=512, **fields)  # type: ignore[arg-type]


def leader(state_dir: Path, uid: str = "vm-1") -> int:
    return int((state_dir / "vms" / uid / "pid").read_text().split()[0])


def boot(adapter: LocalCloud, *requests: BootRequest) -> list[str]:
    outcomes = adapter.boot(requests)
    assert [outcome.error for outcome in outcomes] == [None] * len(requests)
    return [outcome.id for outcome in outcomes]


def test_a_booted_vm_runs_until_it_is_destroyed(state_dir: Path) -> None:
    adapter = cloud(state_dir)
    assert boot(adapter, request()) == ["vm-1"]
    (seen,) = adapter.vms()
    assert (seen.uid, seen.status, seen.hostname, seen.ipaddress) == ("vm-1", VMStatus.RUNNING, "vm-1", "127.0.0.1")
    pid = leader(state_dir)
    assert [outcome.error for outcome in adapter.destroy(["vm-1"])] == [None]
    assert is_gone(pid)
    assert adapter.vms() == []
    assert list((state_dir / "vms").iterdir()) == []


def test_the_directory_is_private_and_the_token_is_not_in_the_command_line(state_dir: Path) -> None:
    boot(cloud(state_dir), request(join={"token": "secret-token", "socket": "/s"}))
    directory = state_dir / "vms" / "vm-1"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "token").read_text() == "secret-token"
    assert (directory / "token").stat().st_mode & 0o777 == 0o600
    shown = Path(f"/proc/{leader(state_dir)}/cmdline").read_bytes() + b"".join(processes.marks(leader(state_dir)))
    assert b"secret-token" not in shown


def test_user_data_lies_beside_the_vm_for_its_command_alone(state_dir: Path) -> None:
    adapter = cloud(state_dir)
    boot(adapter, request(user_data=b"\x1f\x8bdata"), request("vm-2"))
    path = state_dir / "vms" / "vm-1" / "user-data"
    assert path.read_bytes() == b"\x1f\x8bdata"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not (state_dir / "vms" / "vm-2" / "user-data").exists()
    adapter.destroy(["vm-1", "vm-2"])


def test_the_template_is_filled_word_by_word(state_dir: Path) -> None:
    script = "import sys, time; open('seen', 'w').write(repr(sys.argv[1:])); time.sleep(600)"
    adapter = cloud(state_dir, f'{sys.executable} -c "{script}" {{user}} "{{uid}} on {{cloud}}" {{memory}} {{slots}}')
    boot(adapter, BootRequest("vm one", "n", "a b; $(x)", "t", memory=77, cpucores=2))
    seen = state_dir / "vms" / "vm%20one" / "seen"
    eventually(lambda: seen.exists() and seen.read_text())
    assert seen.read_text() == "['a b; $(x)', 'vm one on local', '77', '2']"


@pytest.mark.parametrize("command", ["run {nothing}", "run 'unclosed", "  "])
def test_a_wrong_template_is_a_configuration_error(state_dir: Path, command: str) -> None:
    with pytest.raises(ConfigError, match="command of the local cloud"):
        cloud(state_dir, command)


def test_a_command_that_cannot_run_is_a_bad_requirement_and_leaves_nothing(state_dir: Path) -> None:
    adapter = cloud(state_dir, "/absent/program")
    (outcome,) = adapter.boot([request()])
    assert isinstance(outcome.error, BadRequirement) and "/absent/program" in str(outcome.error)
    assert adapter.vms() == []


def test_a_vm_whose_process_ended_is_shutdown_with_its_last_words(state_dir: Path) -> None:
    adapter = cloud(state_dir, "/bin/sh -c 'echo no licence; exit 3'")
    boot(adapter, request())
    (seen,) = eventually(lambda: [vm for vm in adapter.vms() if vm.status == VMStatus.SHUTDOWN])
    assert seen.fault == "no licence"
    boot(adapter, request())
    assert adapter.vms()[0].status == VMStatus.SHUTDOWN


def test_no_zombie_is_kept(state_dir: Path) -> None:
    adapter = cloud(state_dir, "/bin/true")
    boot(adapter, request())
    pid = leader(state_dir)
    eventually(lambda: adapter.vms() and not Path(f"/proc/{pid}").exists(), "the child is reaped")


def test_destroy_ends_whatever_the_vm_started(state_dir: Path) -> None:
    script = (
        "trap '' TERM; setsid sh -c 'echo $$ > escaped; trap \"\" TERM; while :; do sleep 0.1; done' & "
        "(setsid sh -c 'echo $$ > forked; exec sleep 600' &); wait"
    )
    adapter = cloud(state_dir, f"/bin/sh {_script(state_dir, script)}")
    boot(adapter, request())
    pids = [pid_in(state_dir / "vms" / "vm-1" / name) for name in ("escaped", "forked")] + [leader(state_dir)]
    assert [outcome.error for outcome in adapter.destroy(["vm-1"])] == [None]
    assert all(is_gone(pid) for pid in pids)


def _script(state_dir: Path, text: str) -> Path:
    path = state_dir.parent / "script.sh"
    path.write_text(text)
    return path


def test_destroy_of_something_unknown_is_success(state_dir: Path) -> None:
    assert [outcome.error for outcome in cloud(state_dir).destroy(["never", "../..", ""])] == [None] * 3


def test_another_engine_adopts_the_vms(state_dir: Path) -> None:
    boot(cloud(state_dir), request(), request("vm-2"))
    adopting = cloud(state_dir)
    assert [(vm.uid, vm.status) for vm in adopting.vms()] == [("vm-1", "Running"), ("vm-2", "Running")]
    pid = leader(state_dir)
    assert boot(adopting, request()) == ["vm-1"]
    assert leader(state_dir) == pid


def test_a_vm_without_its_pid_file_is_found_by_name(state_dir: Path) -> None:
    boot(cloud(state_dir), request())
    pid = leader(state_dir)
    (state_dir / "vms" / "vm-1" / "pid").unlink()
    adopting = cloud(state_dir)
    assert adopting.vms()[0].status == VMStatus.RUNNING
    assert boot(adopting, request()) == ["vm-1"]
    assert not (state_dir / "vms" / "vm-1" / "pid").exists()
    adopting.destroy(["vm-1"])
    assert is_gone(pid)


def test_an_engine_killed_before_the_start_leaves_a_vm_that_boot_completes(state_dir: Path) -> None:
    directory = state_dir / "vms" / "vm-1"
    directory.mkdir(parents=True)
    content = {"uid": "vm-1", "cloud": "local", "installation": "inst", "cpus": [0]}
    (directory / "vm.json").write_text(json.dumps(content))
    adapter = cloud(state_dir)
    assert adapter.vms()[0].status == VMStatus.SHUTDOWN
    boot(adapter, request())
    assert adapter.vms()[0].status == VMStatus.RUNNING


def test_a_reused_process_id_is_not_taken_for_the_vm(state_dir: Path) -> None:
    adapter = cloud(state_dir)
    boot(adapter, request())
    os.kill(leader(state_dir), signal.SIGKILL)
    bystander = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    try:
        (state_dir / "vms" / "vm-1" / "pid").write_text(f"{bystander.pid} 1")
        assert adapter.vms()[0].status == VMStatus.SHUTDOWN
        adapter.destroy(["vm-1"])
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_only_the_clouds_and_installations_own_vms_are_listed(state_dir: Path) -> None:
    boot(cloud(state_dir), request())
    boot(cloud(state_dir, name="other"), request("vm-2"))
    assert [vm.uid for vm in cloud(state_dir).vms()] == ["vm-1"]
    stranger = LocalCloud("local", "another installation", state_dir, SLEEP)
    assert stranger.vms() == []
    stranger.destroy(["vm-1"])
    assert [vm.uid for vm in cloud(state_dir).vms()] == ["vm-1"]


def test_cpus_are_shared_out_evenly(state_dir: Path) -> None:
    boot(cloud(state_dir), *(request(f"vm-{number}") for number in range(len(os.sched_getaffinity(0)))))
    given = [json.loads(path.read_text())["cpus"] for path in sorted((state_dir / "vms").glob("*/vm.json"))]
    assert sorted(cpu for cpus in given for cpu in cpus) == sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize("uid", ["a/b?c#d 100%", "..", "ünïcode 'quoted\"", "x" * 300, "host#245.698#1282577354"])
def test_any_name_works(state_dir: Path, uid: str) -> None:
    adapter = cloud(state_dir)
    boot(adapter, request(uid))
    assert [(vm.uid, vm.status) for vm in adapter.vms()] == [(uid, "Running")]
    assert adapter.destroy([uid])[0].error is None
    assert adapter.vms() == []


def test_the_log_of_a_vm_is_bounded(state_dir: Path) -> None:
    adapter = cloud(state_dir, f"/bin/sh -c 'head -c {LARGEST_LOG + 1} /dev/zero; sleep 600'")
    boot(adapter, request())
    path = state_dir / "vms" / "vm-1" / "worker.log"
    eventually(lambda: path.stat().st_size > LARGEST_LOG)
    adapter.vms()
    assert path.stat().st_size == 0


def test_our_variables_do_not_reach_the_vm(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_DATABASE_URL", "postgresql://user:secret@host/db")
    boot(cloud(state_dir), request())
    eventually(lambda: processes.marks(leader(state_dir)))
    assert not any(b"secret" in mark for mark in processes.marks(leader(state_dir)))


def test_the_whole_path_with_our_worker(tmp_path: Path, state_dir: Path) -> None:
    bench = Bench(state_dir)
    work = tmp_path / "work"
    work.mkdir()
    vm = bench.vm(cores=1, memory=1024)
    adapter = LocalCloud("local", "inst", state_dir)
    with bench.listening():
        join = bench.batch.join(vm.uid, vm.vmtype, vm.user)
        boot(adapter, BootRequest(vm.uid, "n", vm.user, vm.vmtype, cpucores=1, memory=1024, join=join))
        first = bench.run_shell(work, "echo done")
        assert bench.wait_for(first, JobStatus.COMPLETE).exit_code == 0
        second = bench.run_shell(work, "setsid sh -c 'echo $$ > pid; exec sleep 600' & sleep 600")
        pid = pid_in(work / "pid")
        os.kill(leader(state_dir), signal.SIGKILL)
        eventually(lambda: adapter.vms()[0].status == VMStatus.SHUTDOWN)
        eventually(lambda: adapter.vms() and is_gone(pid), "a dead VM is cleared of what its job left")
        assert adapter.destroy([vm.uid])[0].error is None
        bench.batch.lost([vm.uid])
    assert bench.job(second).job_status == JobStatus.IDLE
    bench.store.close()
