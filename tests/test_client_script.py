"""`client_test.sh`: it passes, it sees a difference, and it leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = str(Path(sys.executable).parent)


def _start(directory: Path, scratch: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "BIN": COMMANDS, "TMPDIR": str(scratch)}
    script = directory / "client_test.sh"
    return subprocess.Popen([script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def _processes_in(scratch: Path) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HOME={scratch}/" in each.read_text(errors="replace"):
                found.append(each.parent.name)
        except OSError:
            continue
    return found


def _copy(place: Path, expected: str) -> Path:
    (place / "tests").mkdir(parents=True)
    shutil.copy(ROOT / "client_test.sh", place)
    shutil.copy(ROOT / "tests" / "client_test_state.jsonl", place / "tests")
    shutil.copytree(ROOT / "contrib" / "examples", place / "contrib" / "examples")
    (place / "tests" / "client_test_expected.txt").write_text(expected)
    return place


def test_every_client_command_prints_what_is_expected(tmp_path: Path) -> None:
    printed, _ = (process := _start(ROOT, tmp_path)).communicate(timeout=600)
    assert printed.endswith(" commands, 0 differences\n"), printed
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []
    assert _processes_in(tmp_path) == []


def test_a_difference_is_shown_and_counted(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    expected = "$ cloud_status -o\n5\n\n$ cloud_status -o -c mouse\n5\n\n$ cloud_admin -r\nReconfig Disabled\n"
    process = _start(_copy(tmp_path / "copy", expected), scratch)
    printed, _ = process.communicate(timeout=600)
    assert printed.endswith("3 commands, 2 differences\n"), printed
    assert printed.count("DIFFERENT from") == 2
    assert "\n< 5\n---\n> 4\n" in printed
    assert process.returncode == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_leaves_nothing(signum: signal.Signals, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = _start(_copy(tmp_path / "copy", "$ cloud_status -o\n5\n\n" + "$ sleep 1\n\n" * 100), scratch)
    assert process.stdout is not None
    while process.stdout.readline() != "$ sleep 1\n":
        assert process.poll() is None
    process.send_signal(signum)
    process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    deadline = time.monotonic() + 60
    while _processes_in(scratch) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (_processes_in(scratch), list(scratch.iterdir())) == ([], [])
