"""Jobs as real processes under a real worker: files, limits, ends, and everything that may be killed."""

from __future__ import annotations

import os
import pwd
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cloudsched.model.jobs import JobOrder, JobStatus
from tests.batch_bench import Bench, ending, eventually, is_gone, kill, pid_in


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "state")
    with bench.listening():
        yield bench
    bench.store.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


def test_a_job_runs_with_its_arguments_files_and_environment(bench: Bench, work: Path) -> None:
    (work / "in").write_text("from stdin\n")
    with ending(bench.worker(bench.vm())):
        job_id = bench.run_shell(
            work,
            'cat; echo "$1|$2|$GREETING|$PWD|$USER|$CLOUDSCHED_VM"; echo trouble >&2; exit 7',
            "input = in",
            "arguments = \"one 'two words'\"",
            "environment = GREETING=hello there",
        )
        job = bench.wait_for(job_id, JobStatus.COMPLETE)
    assert job.exit_code == 7
    user = pwd.getpwuid(os.getuid()).pw_name
    assert (work / "out").read_text() == f"from stdin\none|two words|hello there|{work}|{user}|vm-1\n"
    assert (work / "err").read_text() == "trouble\n"


def test_the_log_tells_the_jobs_story_as_htcondor_would(bench: Bench, work: Path) -> None:
    with ending(bench.worker(bench.vm())):
        job_id = bench.run_shell(work, "exit 3")
        job = bench.wait_for(job_id, JobStatus.COMPLETE)
    events = [line for line in (work / "log").read_text().splitlines() if not line.startswith("\t")]
    assert [line.split(" ")[0] for line in events] == ["000", "...", "001", "...", "005", "..."]
    assert events[0].split(" ")[1] == f"({job.cluster_id:03d}.000.000)"
    assert "\t(1) Normal termination (return value 3)" in (work / "log").read_text()


def test_a_job_killed_by_a_signal_is_complete_without_an_exit_code(bench: Bench, work: Path) -> None:
    with ending(bench.worker(bench.vm())):
        job_id = bench.run_shell(work, "kill -SEGV $$")
        assert bench.wait_for(job_id, JobStatus.COMPLETE).exit_code is None
    assert "\t(0) Abnormal termination (signal 11)" in (work / "log").read_text()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("executable = absent.sh", "No such file or directory"),
        ("executable = not-executable", "Permission denied"),
        ("executable = no-program", "Exec format error"),
        ("output = absent/out", "open the job's output"),
        ("input = absent", "open the job's input"),
        ("initialdir = absent", "use the initial directory"),
        ("log = absent/log", "write the log"),
    ],
)
def test_a_job_that_cannot_start_is_held_with_the_reason(bench: Bench, work: Path, line: str, reason: str) -> None:
    (work / "not-executable").write_text("#!/bin/sh\n")
    (work / "no-program").write_text("echo no first line\n")
    (work / "no-program").chmod(0o755)
    with ending(bench.worker(bench.vm())):
        (job_id,) = bench.submit(f"executable = /bin/true\n{line}\nqueue", work)
        job = bench.wait_for(job_id, JobStatus.HELD)
    assert job.hold_reason.startswith("Error from slot1@vm-1: Failed to ") and reason in job.hold_reason


def test_requested_memory_stops_a_job_that_takes_more(bench: Bench, work: Path) -> None:
    take = f"{sys.executable} -c 'x = bytearray(400 * 1024 * 1024); print(len(x))'"
    with ending(bench.worker(bench.vm())):
        small = bench.run_shell(work, take, "request_memory = 200")
        assert bench.wait_for(small, JobStatus.COMPLETE).exit_code == 1
        assert "MemoryError" in (work / "err").read_text()
        large = bench.run_shell(work, take, "request_memory = 1G")
        assert bench.wait_for(large, JobStatus.COMPLETE).exit_code == 0


def test_without_a_request_the_vms_memory_is_the_limit(bench: Bench, work: Path) -> None:
    with ending(bench.worker(bench.vm(memory=200))):
        job_id = bench.run_shell(work, f"{sys.executable} -c 'bytearray(400 * 1024 * 1024)'")
        assert bench.wait_for(job_id, JobStatus.COMPLETE).exit_code == 1


def test_a_job_sees_the_cpus_it_asked_for_and_no_core_files(bench: Bench, work: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    show = f"{sys.executable} -c 'import os; print(sorted(os.sched_getaffinity(0)))'; ulimit -c; echo $OMP_NUM_THREADS"
    with ending(bench.worker(bench.vm(cores=len(cpus)), cpus=",".join(map(str, cpus)))):
        job_id = bench.run_shell(work, show, "request_cpus = 1")
        bench.wait_for(job_id, JobStatus.COMPLETE)
    assert (work / "out").read_text() == f"{cpus[:1]}\n0\n1\n"


def test_a_job_over_its_wall_time_is_ended_and_held(bench: Bench, work: Path) -> None:
    with ending(bench.worker(bench.vm())):
        job_id = bench.run_shell(work, "sleep 600 & echo $! > pid; wait", "allowed_execute_duration = 1")
        job = bench.wait_for(job_id, JobStatus.HELD)
    assert job.hold_reason == "The job exceeded allowed execute duration of 0+00:00:01"
    assert is_gone(pid_in(work / "pid"))


def test_getenv_lets_in_what_it_names_and_never_our_secrets(
    bench: Bench, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRUIT_A", "apple")
    monkeypatch.setenv("FRUIT_B", "banana")
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_DATABASE_URL", "secret")
    with ending(bench.worker(bench.vm())):
        job_id = bench.run_shell(work, "env", "getenv = FRUIT_*, CLOUDSCHED_*, !FRUIT_B")
        bench.wait_for(job_id, JobStatus.COMPLETE)
    shown = (work / "out").read_text()
    assert ("FRUIT_A=apple" in shown, "FRUIT_B" in shown, "secret" in shown) == (True, False, False)


def test_slots_run_jobs_side_by_side(bench: Bench, work: Path) -> None:
    meet = "touch here.$1; while [ ! -e here.0 -o ! -e here.1 ]; do sleep 0.05; done"
    (work / "meet.sh").write_text(f"#!/bin/sh\n{meet}\n")
    (work / "meet.sh").chmod(0o755)
    with ending(bench.worker(bench.vm(cores=2))):
        jobs = bench.submit("executable = meet.sh\narguments = $(Process)\nrequest_cpus = 1\nqueue 2", work)
        for job_id in jobs:
            bench.wait_for(job_id, JobStatus.COMPLETE)


def test_what_a_job_leaves_behind_dies_with_it(bench: Bench, work: Path) -> None:
    with ending(bench.worker(bench.vm())):
        job_id = bench.run_shell(work, "setsid sleep 600 >/dev/null 2>&1 & echo $! > pid; sleep 0.3")
        bench.wait_for(job_id, JobStatus.COMPLETE)
    assert is_gone(pid_in(work / "pid"))


def test_a_removed_job_and_its_escaped_processes_are_stopped(bench: Bench, work: Path) -> None:
    with ending(bench.worker(bench.vm())):
        job_id = bench.run_shell(work, "(env -i setsid sh -c 'echo $$ > pid; exec sleep 600' &) ; sleep 600")
        pid = pid_in(work / "pid")
        assert bench.act("remove", job_id) == ""
        eventually(lambda: is_gone(pid), "the escaped process dies")
        eventually(lambda: (work / "log").read_text().count("Job was evicted") == 1)
    assert bench.job(job_id).job_status == JobStatus.REMOVED


def test_a_killed_worker_takes_its_job_along_and_the_job_runs_again(bench: Bench, work: Path) -> None:
    vm = bench.vm()
    first = bench.worker(vm)
    with ending(first):
        job_id = bench.run_shell(work, "echo $$ >> pids; [ $(wc -l < pids) = 2 ] || exec sleep 600")
        pid = pid_in(work / "pids")
        kill(first)
        eventually(lambda: is_gone(pid), "the job dies with its worker")
    bench.batch.lost([vm.uid])
    with ending(bench.worker(bench.vm("vm-2"))):
        assert bench.wait_for(job_id, JobStatus.COMPLETE).exit_code == 0


def test_silence_longer_than_the_lease_gives_the_job_back(bench: Bench, work: Path) -> None:
    bench.lease_seconds = 3.0
    bench.renew_engine()
    with bench.listening():
        worker = bench.worker(bench.vm())
        with ending(worker):
            job_id = bench.run_shell(work, "sleep 600")
            bench.wait_for(job_id, JobStatus.RUNNING)
            worker.send_signal(signal.SIGSTOP)
            eventually(lambda: job_id in bench.batch.expire(), "the lease expires")
            worker.send_signal(signal.SIGCONT)
    assert bench.job(job_id).job_status == JobStatus.IDLE


def test_a_terminated_worker_gives_its_jobs_back_at_once(bench: Bench, work: Path) -> None:
    worker = bench.worker(bench.vm())
    job_id = bench.run_shell(work, "echo $$ > pid; trap '' TERM; while :; do sleep 0.1; done")
    pid = pid_in(work / "pid")
    worker.terminate()
    assert worker.wait(30) == 0
    assert is_gone(pid)
    assert bench.job(job_id).job_status == JobStatus.IDLE


def test_a_result_outlives_the_engines_absence_and_the_workers_death(tmp_path: Path, work: Path) -> None:
    bench = Bench(tmp_path / "state")
    vm = bench.vm()
    with bench.listening():
        worker = bench.worker(vm)
        job_id = bench.run_shell(work, "touch started; while [ ! -e go ]; do sleep 0.05; done; exit 5")
        eventually((work / "started").exists)
    (work / "go").touch()
    results = bench.state_dir / "vms" / vm.uid / "results"
    eventually(lambda: list(results.glob("*.json")), "the result is kept")
    kill(worker)
    bench.renew_engine()
    with bench.listening(), ending(bench.worker(vm)):
        assert bench.wait_for(job_id, JobStatus.COMPLETE).exit_code == 5
        eventually(lambda: not list(results.glob("*.json")), "the acknowledged result is removed")
    bench.store.close()


def test_a_job_runs_on_while_the_engine_is_away(tmp_path: Path, work: Path) -> None:
    bench = Bench(tmp_path / "state")
    with bench.listening():
        worker = bench.worker(bench.vm())
        job_id = bench.run_shell(work, "echo once >> runs; while [ ! -e go ]; do sleep 0.05; done")
        eventually((work / "runs").exists)
    with ending(worker):
        bench.renew_engine()
        with bench.listening():
            eventually(lambda: any(machine.vm == "vm-1" for machine in bench.batch.machines()), "it is back")
            (work / "go").touch()
            bench.wait_for(job_id, JobStatus.COMPLETE)
    assert (work / "runs").read_text() == "once\n"
    bench.store.close()


def test_a_retired_vm_finishes_its_job_and_leaves(bench: Bench, work: Path) -> None:
    vm = bench.vm()
    worker = bench.worker(vm)
    with ending(worker):
        first = bench.run_shell(work, "touch started; while [ ! -e go ]; do sleep 0.05; done")
        eventually((work / "started").exists)
        second = bench.run_shell(work, "true")
        assert bench.batch.retire([vm])[0].error == ""
        (work / "go").touch()
        assert worker.wait(30) == 0
    assert bench.job(first).job_status == JobStatus.COMPLETE
    assert bench.job(second).job_status == JobStatus.IDLE
    eventually(lambda: bench.batch.machines() == [], "its machine is gone")


def test_a_wrong_token_is_refused(bench: Bench) -> None:
    worker = bench.worker(bench.vm(), token=bench.batch.join("vm-2", "default", "x")["token"])
    assert worker.wait(30) == 1
    assert "refuses this VM" in (bench.state_dir / "vms" / "vm-1" / "worker.log").read_text()
    assert bench.batch.machines() == []


def test_a_second_worker_for_the_same_vm_leaves_at_once(bench: Bench) -> None:
    vm = bench.vm()
    with ending(bench.worker(vm)):
        eventually(bench.batch.machines)
        assert bench.worker(vm).wait(30) == 1


def test_the_token_is_neither_on_disk_nor_in_a_jobs_reach(bench: Bench, work: Path) -> None:
    vm = bench.vm()
    token = bench.batch.join(vm.uid, "default", "x")["token"]
    worker = bench.worker(vm)
    with ending(worker):
        job_id = bench.run_shell(work, "env; cat /proc/$PPID/environ /proc/$PPID/cmdline", "getenv = true")
        bench.wait_for(job_id, JobStatus.COMPLETE)
        assert not (bench.state_dir / "vms" / vm.uid / "token").exists()
    assert token not in (work / "out").read_text()


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A directory that other accounts can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run jobs as somebody else")
def test_a_worker_of_root_runs_the_job_as_its_owner(bench: Bench, nobodys: Path) -> None:
    os.chown(nobodys, 65534, 65534)
    (nobodys / "secret").write_text("root's")
    (nobodys / "secret").chmod(0o600)
    bench.known["vm-1"] = replace(bench.vm(), user="nobody")
    text = "executable = /bin/sh\narguments = \"-c 'id -un; id -Gn; cat secret'\"\noutput = out\nlog = log\nqueue"
    payload = {"submit": text, "initialdir": str(nobodys), "owner": "nobody"}
    (outcome,) = bench.batch.act([JobOrder("t", "submit", payload=payload)])
    assert outcome.error == ""
    with ending(bench.worker(bench.known["vm-1"])):
        (job_id,) = bench.all_jobs()
        assert bench.wait_for(job_id, JobStatus.COMPLETE).exit_code == 1
    assert (nobodys / "out").read_text() == "nobody\nnogroup\n"
    assert {(nobodys / name).stat().st_uid for name in ("out", "log")} == {65534}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks up the owner's account")
def test_an_owner_without_an_account_has_the_job_held(bench: Bench, work: Path) -> None:
    bench.known["vm-1"] = replace(bench.vm(), user="nobody-at-all")
    payload = {"submit": "executable = /bin/true\nqueue", "initialdir": str(work), "owner": "nobody-at-all"}
    bench.batch.act([JobOrder("t", "submit", payload=payload)])
    (job_id,) = bench.all_jobs()
    with ending(bench.worker(bench.known["vm-1"])):
        assert "no account 'nobody-at-all'" in bench.wait_for(job_id, JobStatus.HELD).hold_reason
