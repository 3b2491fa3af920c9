"""`admin_server` as a process: it starts, says where it listens, and refuses in one sentence."""

import http.client
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from admin_bench import Bench, make_store, settling
from wsgi import Client

from cloudsched.store import Store, operations, place

ROOT = Path(__file__).parent.parent
TIMEOUT_SECONDS = 300.0


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDSCHED_")}
    return kept | {"HOME": str(tmp_path), "CLOUDSCHED_GLOBAL_STATE_DIR": str(tmp_path / "state")}


def start(tmp_path: Path, *arguments: str, **options: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "admin_server.py"), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment(tmp_path) | options, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def refused(tmp_path: Path, *arguments: str) -> str:
    """The one sentence on standard error of a start that fails."""
    process = start(tmp_path, *arguments)
    out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("admin_server: ")
    assert err.count("\n") == 1
    return err


def ask(url: str, method: str, target: str, token: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_SECONDS)
    connection.request(method, target, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_server_answers_with_its_token_and_stops_cleanly(tmp_path: Path) -> None:
    with start(tmp_path, "--port", "0") as process:
        assert process.stdout and process.stderr
        url = process.stdout.readline().strip().removeprefix("Listening on ")
        token_file = tmp_path / "state" / "admin.token"
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        token = token_file.read_text().strip()
        assert ask(url, "GET", "/user-limits")[0] == 401
        assert ask(url, "GET", "/user-limits", token) == (200, "{}")
        assert ask(url, "PUT", "/?log_level=DEBUG", token) == (202, "Accepted, see /operations/1.")
        process.terminate()
        assert process.wait(TIMEOUT_SECONDS) == 0
        assert token not in process.stderr.read()


def test_server_stops_when_its_parent_is_gone(tmp_path: Path) -> None:
    with start(tmp_path, "--port", "0", "--exit-with-parent") as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline().startswith("Listening on http://127.0.0.1:")
        process.stdin.close()
        assert process.wait(TIMEOUT_SECONDS) == 0


def test_verbs_wait_for_the_engine_and_a_stop_sends_the_waiting_home(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    store = make_store(tmp_path / "state")
    retire = ("PUT", "/clouds/mouse/vms/testvm?action=force_retire")
    with start(tmp_path, "--port", "0", CLOUDSCHED_GLOBAL_ADMIN_AUTH="none") as process:
        assert process.stdout
        url = process.stdout.readline().strip().removeprefix("Listening on ")
        with settling(Bench(store, Client(None))):
            assert ask(url, *retire) == (200, "Retired VM testvm on mouse.")
        with closing(place.hold(store)), ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, url, *retire)
            until(lambda: _asked(store) == 1)
            process.terminate()
            assert waiting.result(TIMEOUT_SECONDS) == (202, "Accepted, see /operations/2.")
        assert process.wait(TIMEOUT_SECONDS) == 0


def _asked(store: Store) -> int:
    with store.reading() as connection:
        return len(operations.unsettled(connection))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def test_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1 port {port}" in refused(tmp_path, "--port", str(port))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--port", "http"], "admin_server_port = 'http'"),
        (["--port", "70000"], "admin_server_port = '70000'"),
        (["--listen", "unix:"], "admin_listen = 'unix:'"),
        (["-f", "/no/such/file.conf"], "/no/such/file.conf"),
        (["--listen", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_wrong_options_are_one_sentence(tmp_path: Path, arguments: list[str], part: str) -> None:
    assert part in refused(tmp_path, *arguments)


def test_token_others_can_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "admin.token").write_text("x" * 40)
    (tmp_path / "state" / "admin.token").chmod(0o644)
    assert "mode 0600" in refused(tmp_path, "--port", "0")


def test_state_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    assert str(tmp_path / "state") in refused(tmp_path, "--port", "0")
