"""`cloud_scheduler quick-exit`: set by value, whatever the flag was, and refused in a sentence where nobody listens."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import databases
import pytest
from scheduler_process import ROOT, environment, scheduler
from whole_bench import COMMANDS, Site, a_site, eventually

from cloudsched.store import limits


def quick_exit(switch: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cloudsched", "quick-exit", switch]
    return subprocess.run(command, cwd=ROOT, env=dict(variables), capture_output=True, text=True, timeout=60)


def test_flag_is_set_by_value_and_in_force_when_the_command_ends(tmp_path: Path) -> None:
    with scheduler(tmp_path, "--no-servers") as running:
        store = databases.open_store(tmp_path / "state", read_only=True)
        for switch in ("on", "on", "off"):
            finished = quick_exit(switch, running.environment)
            assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
            assert limits.setting(store, "quick_exit") is (switch == "on")
        store.close()


@pytest.mark.sqlite
def test_without_a_scheduler_it_is_refused_and_makes_no_state(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    finished = quick_exit("on", environment(tmp_path))
    path = tmp_path / "state" / "state.db"
    sentence = f"cloud_scheduler: There is no state at {path} yet: start cloud_scheduler first.\n"
    assert (finished.returncode, finished.stderr, path.exists()) == (1, sentence, False)
    databases.open_store(tmp_path / "state").close()
    finished = quick_exit("on", environment(tmp_path))
    assert (finished.returncode, finished.stderr) == (1, "cloud_scheduler: No scheduler runs on this state.\n")
    assert quick_exit("maybe", environment(tmp_path)).returncode == 2


def stop_by_the_unit(site: Site, scheduler: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """What systemd runs before it signals the main process."""
    unit = (ROOT / "contrib" / "systemd" / "cloudsched.service").read_text("utf-8")
    assert "KillMode=process\n" in unit
    (line,) = re.findall(r"^ExecStop=(.*)$", unit, re.MULTILINE)
    command = shlex.split(line.replace("/opt/cloudsched/bin", str(COMMANDS)))
    variables = site.environment() | {"MAINPID": str(scheduler.pid)}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("hangs", [False, True])
def test_stop_of_the_unit_keeps_vms_and_jobs_even_of_a_scheduler_that_hangs(tmp_path: Path, hangs: bool) -> None:
    with a_site(tmp_path / "home", VERB_WAIT_SECONDS="1" if hangs else "30") as site:
        scheduler = site.start()
        site.submit("echo begun > begun; exec sleep 600")
        eventually(lambda: site.read("begun"), "the job runs")
        if hangs:
            os.kill(scheduler.pid, signal.SIGSTOP)
        done = stop_by_the_unit(site, scheduler)
        assert (done.returncode, done.stdout) == (0, "")
        if not hangs:
            assert done.stderr == ""
            scheduler.terminate()
        assert scheduler.wait(60) == (-signal.SIGKILL if hangs else 0)
        assert site.pids("sleep 600")
        assert site.pids("cloudsched.batch.worker")
