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
import functools
import io
import os
import sys
import waitress.channel
import waitress.server
from cloudsched.web.at_once import AtOnceChannel, Dispatcher
from cloudsched.web.channel import TunedChannel
from cloudsched.web.ready import Answer

made = []
# Most servers of the suite are processes of their own.
answered = os.open("answered", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

def at_once(application, environ):
    # One of the applications sleeps, which nothing may that says it is at hand; some read what is sent to them.
    is_plain = environ["REQUEST_METHOD"] in ("GET", "HEAD") and environ.get("CONTENT_LENGTH", "0") == "0"
    if not {at_once} or not is_plain or environ["PATH_INFO"].startswith("/sleepy"):
        return None
    told, pieces = [], []
    def start_response(status, headers, exc_info=None):
        told[:] = [status, list(headers)]
        return pieces.append
    # Its applications are given what every server gives beside what the request says.
    client = {{"REMOTE_ADDR": "127.0.0.1", "REMOTE_HOST": "127.0.0.1", "REMOTE_PORT": "0"}}
    found = application(
        {{**environ, **client, "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr}}, start_response
    )
    pieces.extend(found)
    if hasattr(found, "close"):
        found.close()
    (status, headers), body = told, b"".join(pieces)
    lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
    # Waitress's tests see to it that it mends wrong lengths and adds missing ones: that is a worker's.
    if lengths != [len(body)] or len(headers) != len(dict(headers)):
        return None
    os.write(answered, b".")
    return Answer(status, headers, body)

class ThreadedTaskDispatcher(Dispatcher):
    def __init__(self):
        super().__init__(lambda environ: None, 0)

class Counted(AtOnceChannel):
    def __init__(self, server, *args, **kwargs):
        made.append(1)
        if hasattr(server, "task_dispatcher"):
            server.task_dispatcher._at_once = functools.partial(at_once, server.application)
        super().__init__(server, *args, **kwargs)

    def received(self, data):
        # Some servers of the suite are dummies that dispatch nothing.
        has_loop = hasattr(self.server, "task_dispatcher")
        return super().received(data) if has_loop else TunedChannel.received(self, data)

waitress.channel.HTTPChannel = waitress.server.HTTPChannel = Counted
waitress.server.BaseWSGIServer.channel_class = Counted
waitress.server.ThreadedTaskDispatcher = ThreadedTaskDispatcher

def pytest_sessionfinish(session):
    print(f"made {{len(made)}} channels, answered {{os.stat('answered').st_size}} at once")
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
    made = re.search(r"made (\d+) channels, answered (\d+) at once", ran.stdout)
    assert passed and int(passed[1]) > 700
    assert made and int(made[1]) > 50
    assert int(made[2]) > 50 if at_once else made[2] == "0"
