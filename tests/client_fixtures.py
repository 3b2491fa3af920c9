"""Fixtures of the client tests: a home of its own, a recording server, and the commands pointed at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloudsched.clients import cloud_admin, cloud_job, cloud_status
from recorder import Recorder, Run, recording


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [each for each in os.environ if each.startswith("CLOUDSCHED_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    status = tmp_path / ".cloudscheduler" / "cloud_scheduler_status.conf"
    status.parent.mkdir()
    status.write_text("[global]\n")
    return tmp_path


@pytest.fixture
def server(home: Path) -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture
def status(server: Recorder) -> Run:
    return lambda *argv: cloud_status.main(["-s", server.host, "-p", server.port, *argv])


@pytest.fixture
def admin(server: Recorder) -> Run:
    return lambda *argv: cloud_admin.main(["-s", server.host, "-P", server.port, *argv])


@pytest.fixture
def job(server: Recorder) -> Run:
    where = ["-s", server.host, "--admin-port", server.port, "--info-port", server.port]
    return lambda *argv: cloud_job.main([*where, *argv])
