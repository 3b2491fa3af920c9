"""Slow and hostile clients against a real server: they are dropped, and the others are answered meanwhile."""

from __future__ import annotations

import grp
import http.client
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloudsched.errors import ConfigError
from cloudsched.web.guard import Pauses
from cloudsched.web.listening import Rights, listening_socket

SECONDS = 120.0
TOKEN = "a-token-of-many-characters"

SERVER = """
import json, sys
from pathlib import Path
from cloudsched.model.access import Role
from cloudsched.store import Store
from cloudsched.web import guard, serve as serving
from cloudsched.web.app import Gate, build
from cloudsched.web.auth import Auth, Trust
from cloudsched.web.keyring import Keyring
from cloudsched.web.listening import Rights
from cloudsched.web.permissions import Permissions, Permit, Scope

settings = json.loads(sys.argv[1])
guard.REQUEST_SECONDS = guard.TAKEN_SECONDS = settings.get("patience", 1000)
serving.TUNING["connection_limit"] = settings.get("connections", 1000)
if "idle" in settings:
    serving.TUNING |= {"channel_timeout": settings["idle"], "cleanup_interval": 1}

class Page:
    def on_get(self, req, resp):
        resp.text = req.context.actor
class Large:
    def on_get(self, req, resp):
        resp.data = bytes(1 << 25)

store = Store.open(f"sqlite:///{settings['state']}/state.db", Path(settings["state"]))
role = Role(settings["role"]) if "role" in settings else None
auth = Auth("token", Keyring(store, settings["token"]), Trust(socket_role=role))
rows = dict.fromkeys(["GET /", "GET /large"], Permit(Role.READER, Scope.NOTHING))
app = build({"/": Page(), "/large": Large()}, Gate(auth, Permissions(store, rows)))
endpoint = serving.Endpoint(settings.get("listen", "127.0.0.1"), 0, 4, rights=Rights(settings.get("mode", "0600")))
serving.serve(app, endpoint, lambda url: print(url, flush=True))
"""


@contextmanager
def server(directory: Path, **settings: Any) -> Iterator[str]:
    """A serving process; gives its port, or the place of its socket."""
    words = [sys.executable, "-c", SERVER, json.dumps({"state": str(directory), "token": TOKEN, **settings})]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip().removeprefix("http://127.0.0.1:").removeprefix("unix:")
        finally:
            process.kill()


def connected(port: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(port)), timeout=SECONDS)


def ask(channel: socket.socket, token: str = TOKEN, path: str = "/") -> int:
    """The status of a request on a connection that stays open."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = channel
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def is_dropped(channel: socket.socket) -> bool:
    """Whether the server ends the connection, at once or after a while."""
    try:
        while channel.recv(1 << 16):
            pass
    except ConnectionResetError:
        return True
    return True


def test_request_that_never_ends_is_dropped_while_others_are_answered(tmp_path: Path) -> None:
    with server(tmp_path, patience=2) as port, ExitStack() as stack:
        slow = [stack.enter_context(connected(port)) for _ in range(50)]
        good = stack.enter_context(connected(port))
        for sent in b"GET / HTTP/1.1\r\nX: ":
            for each in slow:
                each.sendall(bytes((sent,)))
            assert ask(good) == 200
        dripping = slow[0]
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            for _ in range(int(SECONDS * 10)):
                dripping.sendall(b"y")
                time.sleep(0.1)
        assert all(map(is_dropped, slow[1:]))
        assert ask(good) == 200


def test_answer_that_nobody_takes_is_dropped(tmp_path: Path) -> None:
    with server(tmp_path, patience=1) as port, connected(port) as slow, connected(port) as good:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        slow.sendall(f"GET /large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert slow.recv(1)
        time.sleep(5)
        assert ask(good) == 200
        received = 0
        try:
            while data := slow.recv(1 << 16):
                received += len(data)
        except ConnectionResetError:
            pass
        assert received < 1 << 25


def test_silent_connections_make_room(tmp_path: Path) -> None:
    with server(tmp_path, connections=40) as port, ExitStack() as stack:
        first = stack.enter_context(connected(port))
        assert ask(first) == 200
        silent = [stack.enter_context(connected(port)) for _ in range(100)]
        for _ in range(20):
            with connected(port) as good:
                assert ask(good) == 200
        assert is_dropped(silent[0])


def test_idle_connection_is_dropped_and_a_busy_one_stays(tmp_path: Path) -> None:
    with server(tmp_path, idle=5) as port, connected(port) as idle, connected(port) as busy:
        assert (ask(idle), ask(busy)) == (200, 200)
        idle.settimeout(0.1)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            assert ask(busy) == 200
            try:
                assert idle.recv(1) == b""
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it is still open")
        assert ask(busy) == 200


def test_connection_with_a_wrong_token_is_not_read_for_a_second(tmp_path: Path) -> None:
    with server(tmp_path) as port, connected(port) as guessing, connected(port) as good:
        assert ask(guessing, "wrong") == 401
        began = time.monotonic()
        assert ask(good) == 200
        assert ask(guessing) == 200
        assert time.monotonic() - began >= 0.9


def test_guesser_is_slowed_down_and_never_locks_its_neighbours_out(tmp_path: Path) -> None:
    with server(tmp_path) as port, connected(port) as good:
        assert ask(good) == 200
        found = []
        for _ in range(12):
            with connected(port) as guessing:
                found.append(ask(guessing, "wrong"))
        assert found == [401] * 10 + [429] * 2
        assert ask(good) == 200
        began = time.monotonic()
        with connected(port) as neighbour:
            assert ask(neighbour) == 200
        assert time.monotonic() - began >= 0.9


def test_pauses_end_and_are_forgotten() -> None:
    now = [0.0]
    pauses = Pauses(lambda: now[0])
    pauses.connection("a", "1")
    pauses.address("b", 5.0)
    pauses.opened("b", "2")
    assert [pauses.holds(*each) for each in (("a", "1"), ("b", "2"), ("a", "3"))] == [True, True, False]
    now[0] = 2.0
    assert [pauses.holds(*each) for each in (("a", "1"), ("b", "2"))] == [False, False]
    pauses.opened("b", "4")
    pauses.closed("b", "4")
    assert not pauses.holds("b", "4")
    now[0] = 6.0
    pauses.opened("b", "5")
    assert not pauses.holds("b", "5")


def over(path: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    channel.settimeout(SECONDS)
    channel.connect(path)
    return channel


def test_socket_names_the_account_and_gives_it_the_role_of_the_option(tmp_path: Path) -> None:
    place = f"unix:{tmp_path}/x.sock"
    with server(tmp_path, listen=place, mode="0660", role="reader") as path:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o660
        with over(path) as channel:
            channel.sendall(b"GET / HTTP/1.0\r\n\r\n")
            account = pwd.getpwuid(os.geteuid()).pw_name
            assert channel.makefile("rb").read().endswith(f"{account}@uid:{os.geteuid()}".encode())
        with over(path) as channel:
            assert ask(channel) == 200
        with over(path) as channel:
            assert ask(channel, "wrong") == 401


def test_socket_without_a_role_wants_a_token(tmp_path: Path) -> None:
    with server(tmp_path, listen=f"unix:{tmp_path}/x.sock") as path:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        with over(path) as channel:
            assert ask(channel, "") == 401
        with over(path) as channel:
            assert ask(channel) == 200


def test_socket_is_given_to_owner_and_group(tmp_path: Path) -> None:
    own = Rights("0640", pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name)
    with listening_socket(f"unix:{tmp_path}/x", 0, own):
        found = (tmp_path / "x").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, os.geteuid(), os.getegid())


@pytest.mark.parametrize("rights", [Rights(group="no-such-group"), Rights(owner="no-such-account")])
def test_impossible_owner_is_one_sentence_and_leaves_no_socket(tmp_path: Path, rights: Rights) -> None:
    with pytest.raises(ConfigError, match=r"cannot give the socket .* to .*: there is no such\."):
        listening_socket(f"unix:{tmp_path}/x", 0, rights)
    assert not (tmp_path / "x").exists()
