"""Waitress's own test suite with our channel in the place of Waitress's."""

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
from cloudsched.web.channel import TunedChannel

made = []

class Counted(TunedChannel):
    def __init__(self, *args, **kwargs):
        made.append(1)
        super().__init__(*args, **kwargs)

waitress.channel.HTTPChannel = waitress.server.HTTPChannel = Counted
waitress.server.BaseWSGIServer.channel_class = Counted

def pytest_sessionfinish(session):
    print(f"made {len(made)} channels")
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


def test_waitress_own_tests_pass_with_our_channel(suite: Path) -> None:
    (suite / "conftest.py").write_text(CONFTEST)
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-c", "/dev/null", "--rootdir", str(suite), "tests"]
    ran = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=suite, capture_output=True, text=True, timeout=SECONDS
    )
    assert ran.returncode == 0, ran.stdout[-5000:]
    passed = re.search(r"(\d+) passed", ran.stdout)
    made = re.search(r"made (\d+) channels", ran.stdout)
    assert passed and int(passed[1]) > 700
    assert made and int(made[1]) > 50
