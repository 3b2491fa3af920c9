"""`cloud_scheduler quick-exit`: set by value, whatever the flag was, and refused in a sentence where nobody listens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import databases
from scheduler_process import ROOT, environment, scheduler

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


def test_without_a_scheduler_it_is_refused(tmp_path: Path) -> None:
    finished = quick_exit("on", environment(tmp_path))
    assert finished.returncode == 1
    assert finished.stderr == "cloud_scheduler: No scheduler runs on this state.\n"
    assert quick_exit("maybe", environment(tmp_path)).returncode == 2
