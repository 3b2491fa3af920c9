"""What the commands add to v1's: previews, reasons, JSON, undo, patience, and asking again without harm."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cloudsched.clients import cloud_admin, cloud_status
from pair import Pair, serving
from recorder import BODY, Recorder, Run

from cloudsched.client import Address, Client, NoAnswer
from cloudsched.store import operations

pytest_plugins = ["client_fixtures"]
pytestmark = pytest.mark.usefixtures("home")

BIN = Path(sys.executable).parent
SECONDS = 60
Said = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with serving(tmp_path_factory.mktemp("pair"), {"verb_wait_seconds": "20", "guard_vms": "2"}) as running:
        yield running


@pytest.fixture
def asked(pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs `cloud_admin` on the daemon's own configuration; gives exit status and output."""
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_STATE_DIR", str(pair.config.global_.state_dir))
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_ADMIN_SERVER_PORT", pair.admin_port)
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_INFO_SERVER_PORT", pair.info_port)
    return lambda *argv: (cloud_admin.main(argv), capsys.readouterr().out)


def test_preview_is_confirmed_done_and_undone(asked: Said, pair: Pair) -> None:
    verb = ("-o", "-c", "mouse", "-a")
    status, told = asked(*verb, "--dry-run")
    assert (status, told.splitlines()[0][:33]) == (0, "retire would hit 5 VM(s) (5 drain")
    preview = told.splitlines()[-2].rpartition("=")[2]
    status, refused = asked(*verb)
    assert (status, refused.splitlines()[0]) == (
        1,
        "It would hit 5 VM(s), more than guard_vms (2) lets pass without a confirmation.",
    )
    assert asked(*verb, "--preview", preview, "--reason", "new image") == (0, "Retired all VMs in mouse.\n")
    status, listed = asked("--operations", "-c", "mouse", "-b", "1")
    assert listed.rstrip().endswith(" retire 5 targets: done; new image")
    number = listed.split()[3]
    status, shown = asked("--operation", number)
    assert shown.splitlines()[0] == f"Operation {number}: retire, done"
    status, text = asked("--undo", number, "--dry-run")
    # Nothing here has retired them: the thread in the engine's place settles and does nothing.
    assert (status, text.startswith(f"Operation {number} cannot be undone: vm ")) == (1, True)


def test_json_is_all_that_is_printed(asked: Said) -> None:
    status, text = asked("-q", "--json")
    assert (status, json.loads(text)["verb"]) == (0, "quick_exit")
    status, text = asked("-v", "4", "-c", "mouse", "--json", "--dry-run")
    assert (status, json.loads(text)["verb"]) == (0, "allocations")
    status, text = asked("-e", "nope", "--json")
    assert (status, json.loads(text)["code"]) == (1, "not-found")


@pytest.mark.parametrize("line", ["-m", "-q all", "-t", "-v", "-z", "-c mouse -n testvm", "-a", ""])
def test_cloud_status_shows_json_whatever_is_asked(line: str, asked: Said, capsys: pytest.CaptureFixture[str]) -> None:
    assert cloud_status.main([*line.split(), "--json"]) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    assert [type(json.loads(each)) for each in printed] != []


def test_v1s_short_option_stays_v1s(status: Run, server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    status("-m", "-j")
    status("-a", "-j")
    assert [path for _, path, _ in server.requests] == ["/vms", "/clusters.json"]
    assert not any("json" in headers.get("Accept", "") for headers in server.headers)


def test_every_verb_has_a_key_of_its_own_and_reads_none(admin: Run, server: Recorder) -> None:
    for line in ("-e N", "-e N", "-j", "-e N --idempotency-key mine"):
        admin(*line.split())
    keys = [headers.get("Idempotency-Key") for headers in server.headers]
    assert (len(set(keys)), keys[2:]) == (4, [None, "mine"])


@pytest.mark.parametrize("seconds", ["301", "x", "-1"])
def test_wait_that_cannot_be_is_one_sentence(seconds: str, admin: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert admin("-e", "N", f"--wait={seconds}") == 1
    assert f"--wait takes a number of seconds from 0 to 300, not '{seconds}'." in capsys.readouterr().err


def test_dry_run_needs_no_comment_and_prints_the_preview_alone(
    admin: Run, server: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.conf").write_text("[logging]\nadmin_log_comments: true\n")
    assert admin("-f", str(tmp_path / "site.conf"), "-v", "3", "-c", "C", "--dry-run") == 0
    assert capsys.readouterr().out == f"{BODY}\n"
    assert admin("-f", str(tmp_path / "site.conf"), "-v", "3", "-c", "C", "--reason", "smaller") == 0
    assert [body for _, _, body in server.requests] == [
        "allocations=3&dry_run=true",
        "allocations=3&reason=smaller",
    ]


# -- answers that were lost --------------------------------------------------------------------------------------------


@contextmanager
def losing(port: str, lost: int) -> Iterator[str]:
    """A way to a daemon on which the first `lost` answers get lost after the daemon has given them."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        left = lost
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", int(port))) as daemon:
                daemon.sendall(_whole(client))
                answer = _whole(daemon)
                if left:
                    left -= 1
                else:
                    client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield str(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _whole(channel: socket.socket) -> bytes:
    """One message of HTTP/1.1 whose length is told."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += channel.recv(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += channel.recv(65536)
    return head + b"\r\n\r\n" + body


def test_lost_answer_is_asked_again_and_nothing_is_done_twice(asked: Said, pair: Pair) -> None:
    asked("-q")
    before = _toggles(pair)
    with losing(pair.admin_port, 2) as port:
        assert asked("-P", port, "-q") == (0, "\nToggled Quick shutdown flag.\n")
    assert _toggles(pair) == before + 1


def _toggles(pair: Pair) -> int:
    with pair.store.reading() as connection:
        query = "SELECT count(*) FROM operations WHERE verb = 'quick_exit'"
        return int(connection.exec_driver_sql(query).scalar() or 0)


def test_answer_that_stays_lost_is_said_to_be_unknown(pair: Pair) -> None:
    with losing(pair.admin_port, 9) as port:
        client = Client(Address("127.0.0.1", port), "program", pauses=(0.01, 0.01))
        with pytest.raises(NoAnswer, match="couldn't connect(.|\n)*What was asked may still be done."):
            client.send("POST", ["user-limits"])


# -- patience ----------------------------------------------------------------------------------------------------------


def on_terminal(pair: Pair, *argv: str) -> tuple[int, str, str]:
    """A run of `cloud_admin` whose complaints go to a terminal: exit status, output, what the terminal was told."""
    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "CLOUDSCHED_GLOBAL_STATE_DIR": str(pair.config.global_.state_dir),
        "CLOUDSCHED_GLOBAL_ADMIN_SERVER_PORT": pair.admin_port,
    }
    command = [str(BIN / "cloud_admin"), *argv]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True, timeout=SECONDS, check=False
    )
    os.close(theirs)
    found = b""
    try:
        while part := os.read(ours, 65536):
            found += part
    except OSError:
        pass
    os.close(ours)
    return done.returncode, done.stdout, found.decode()


def test_long_wait_tells_a_terminal_how_far_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("slow"), {}, settles=False) as pair:
        status, printed, told = on_terminal(pair, "-o", "-c", "mouse", "-b", "2", "--wait", "3")
        assert (status, printed) == (0, "Accepted, see /operations/1.\n")
        assert "operation 1: 0 of 2 done; " in told
        assert told.endswith("\r\x1b[K")
        assert operations.read(pair.store, 1).state == "running"
        with pair.store.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM operations").scalar() == 1


def test_short_wait_tells_a_terminal_nothing(pair: Pair) -> None:
    status, printed, told = on_terminal(pair, "-l", "WARNING")
    assert (status, printed, told.replace("\r\x1b[K", "")) == (0, "\n", "")
