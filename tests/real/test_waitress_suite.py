"""Waitress's own test suite with our channel and our dispatcher in the place of Waitress's."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.slow]

SECONDS = 1200

CONFTEST = """
import waitress.channel
import waitress.server
from cloudsched.web.channel import Dispatcher, TunedChannel

made = []

def at_once(environ):
    # One of its applications sleeps, which nothing may that says it is at hand.
    return {at_once} and not environ["PATH_INFO"].startswith("/sleepy")

class ThreadedTaskDispatcher(Dispatcher):
    def __init__(self):
        super().__init__(at_once, 0)

class Counted(TunedChannel):
    def __init__(self, *args, **kwargs):
        made.append(1)
        super().__init__(*args, **kwargs)

waitress.channel.HTTPChannel = waitress.server.HTTPChannel = Counted
waitress.server.BaseWSGIServer.channel_class = Counted
waitress.server.ThreadedTaskDispatcher = ThreadedTaskDispatcher

def pytest_sessionfinish(session):
    print(f"made {{len(made)}} channels")
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The sources of the Waitress that is installed, tests included."""
    wanted = f"waitress=={version('waitress')}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "waitress", wanted]
    found = subprocess.run([*pip, "-d", str(tmp_path)], capture_output=True, text=True, timeout=SECONDS)
    if found.returncode:
        pytest.skip(f"the sources of {wanted} cannot be had: {found.stderr.strip().splitlines()[-1]}")
    (archive,) = tmp_path.glob("waitress-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    return next(each for each in tmp_path.glob("waitress-*") if each.is_dir())


@pytest.mark.parametrize("at_once", [False, True], ids=["workers", "loop"])
def test_waitress_own_tests_pass_with_our_channel(suite: Path, at_once: bool) -> None:
    """Whether workers answer everything, or the main loop everything that it may."""
    (suite / "conftest.py").write_text(CONFTEST.format(at_once=at_once))
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-c", "/dev/null", "--rootdir", str(suite), "tests"]
    ran = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=suite, capture_output=True, text=True, timeout=SECONDS
    )
    assert ran.returncode == 0, ran.stdout[-5000:]
    passed = re.search(r"(\d+) passed", ran.stdout)
    made = re.search(r"made (\d+) channels", ran.stdout)
    assert passed and int(passed[1]) > 700
    assert made and int(made[1]) > 50
