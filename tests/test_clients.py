"""What the commands share: failures, time limits, interrupts, sockets, and who may see the token."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cloudsched.clients import cloud_admin
from recorder import BODY, Recorder, Run, recording

pytest_plugins = ["client_fixtures"]
pytestmark = pytest.mark.usefixtures("home")

COMMANDS = Path(sys.executable).parent


@pytest.mark.parametrize(("code", "expected"), [(200, 0), (202, 0), (302, 1), (400, 1), (404, 1), (500, 1), (503, 1)])
def test_exit_status_tells_whether_it_failed(
    code: int, expected: int, status: Run, admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    server.status = code
    assert (status("-m"), admin("-e", "N")) == (expected, expected)
    assert capsys.readouterr().out == f"{BODY}\n{BODY}\n"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("command", "options"),
    [("cloud_status", ["-p", "1"]), ("cloud_admin", ["-P", "1", "-y"]), ("cloud_job", ["--info-port", "1", "list"])],
)
def test_refused_connection_prints_v1s_two_lines(command: str, options: list[str]) -> None:
    done = subprocess.run([COMMANDS / command, *options], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (
        1,
        f"{COMMANDS / command}: couldn't connect to cloud scheduler at 127.0.0.1 on port 1.\n"
        "Is the cloud scheduler running on port 1?\n",
    )


def test_host_that_cannot_be_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert cloud_admin.main(["-s", "no such host", "-e", "N"]) == 1
    printed, said = capsys.readouterr()
    assert (printed, said.partition(": ")[2]) == (
        "",
        "'no such host' is not a host name, an IP address or unix:PATH.\n",
    )


def test_silent_server_is_given_up_after_the_timeout(
    status: Run, server: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_REQUEST_TIMEOUT_SECONDS", "1")
    server.released.clear()
    assert status("-m") == 1
    assert (
        f"no answer from cloud scheduler at 127.0.0.1 on port {server.port} within 1 seconds."
        in capsys.readouterr().out
    )


def test_unix_sockets_are_spoken(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(home / "admin.sock")
    assert cloud_admin.main(["-s", f"unix:{path}", "-e", "a b"]) == 1
    assert capsys.readouterr().out.splitlines()[1] == "Is the cloud scheduler running?"
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_ADMIN_LISTEN", f"unix:{path}")
    with recording(path) as server:
        assert cloud_admin.main(["-e", "a b"]) == 0
    assert server.requests == [("PUT", "/clouds/a%20b", "action=enable")]
    assert capsys.readouterr().out == f"{BODY}\n"


def test_interrupt_ends_without_a_traceback(server: Recorder) -> None:
    server.released.clear()
    command = [COMMANDS / "cloud_status", "-s", server.host, "-p", server.port, "-m"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: bool(server.requests))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_broken_pipe_is_silent(server: Recorder) -> None:
    server.body = b"a line\n" * 100_000
    line = f"{COMMANDS}/cloud_status -s {server.host} -p {server.port} -m | head -1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("a line\n", "")


def test_full_disk_is_one_sentence(server: Recorder) -> None:
    line = f"{COMMANDS}/cloud_status -s {server.host} -p {server.port} -m > /dev/full"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "cloud_status: the output cannot be written: No space left on device.\n"


def test_any_locale_prints_any_text(server: Recorder) -> None:
    server.body = "château ☃".encode()
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [COMMANDS / "cloud_status", "-s", server.host, "-p", server.port],
        capture_output=True,
        env=environment,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "château \\u2603\n".encode("latin-1"))


def test_commands_load_neither_database_nor_web_framework() -> None:
    program = (
        "import sys; from cloudsched.clients import cloud_admin, cloud_job, cloud_status;"
        "print(*{'sqlalchemy', 'falcon', 'waitress', 'prometheus_client'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "\n"


TOKEN = "a-token-of-more-than-sixteen-characters"


@pytest.fixture
def token_file(home: Path) -> Path:
    path = home / ".local" / "state" / "cloudsched" / "admin.token"
    path.parent.mkdir(parents=True)
    path.write_text(f"{TOKEN}\n")
    return path


def _sent(server: Recorder) -> str | None:
    return server.headers[-1].get("Authorization")


@pytest.mark.usefixtures("token_file")
def test_token_is_found_in_the_state_directory(admin: Run, server: Recorder) -> None:
    assert admin("-e", "N") == 0
    assert _sent(server) == f"Bearer {TOKEN}"


def test_token_file_follows_the_state_directory(
    admin: Run, server: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "admin.token").write_text("another-token")
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_STATE_DIR", str(tmp_path))
    assert admin("-e", "N") == 0
    assert _sent(server) == "Bearer another-token"


@pytest.mark.usefixtures("token_file")
def test_token_of_the_environment_wins(admin: Run, server: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSCHED_TOKEN", "mine")
    assert admin("-e", "N") == 0
    assert _sent(server) == "Bearer mine"


@pytest.mark.usefixtures("token_file")
def test_token_is_not_sent_where_none_is_wanted(
    admin: Run, status: Run, server: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (status("-m"), _sent(server)) == (0, None)
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_ADMIN_AUTH", "none")
    assert (admin("-e", "N"), _sent(server)) == (0, None)
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_INFO_AUTH", "token")
    assert (status("-m"), _sent(server)) == (0, f"Bearer {TOKEN}")


def test_no_token_is_sent_without_a_file(admin: Run, server: Recorder) -> None:
    assert (admin("-e", "N"), _sent(server)) == (0, None)


def test_token_no_header_can_hold_is_refused(
    admin: Run, server: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOUDSCHED_TOKEN", "two\nlines")
    assert (admin("-e", "N"), server.requests) == (1, [])
    assert "two" not in capsys.readouterr().err
