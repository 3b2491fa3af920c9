"""Serving over real sockets: Waitress around an application, from the first answer to the last."""

import errno
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloudsched.errors import ConfigError
from cloudsched.web.listening import listening_socket

TIMEOUT_SECONDS = 60.0

SERVER = """
import sys, time
from cloudsched.web.app import Gate, build
from cloudsched.web.auth import Auth
from cloudsched.web import params
from cloudsched.web.permissions import Permissions, Permit, Scope
from cloudsched.web.serve import Endpoint, serve

class Echo:
    def on_get(self, req, resp, name):
        if name == "slow":
            print("begun", flush=True)
            time.sleep(1)
        resp.text = name
    def on_put(self, req, resp, name):
        resp.text = str(params.read(req, params.Parameter("a")))

class Wait:
    def on_get(self, req, resp):
        print("begun", flush=True)
        left = req.env["waitress.client_disconnected"]
        while not left():
            time.sleep(0.01)
        print("left", flush=True)

rows = dict.fromkeys(["GET /names/{name}", "PUT /names/{name}", "GET /wait"], Permit(None, Scope.NOTHING))
app = build({"/names/{name}": Echo(), "/wait": Wait()}, Gate(Auth("none"), Permissions(None, rows)))
endpoint = Endpoint(sys.argv[1], int(sys.argv[2]), 4, with_parent=len(sys.argv) > 3)
serve(app, endpoint, lambda url: print(url, flush=True), lambda: print("stopping", flush=True))
print("ended", flush=True)
"""


@contextmanager
def server(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A serving process and its URL."""
    command = [sys.executable, "-c", SERVER, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_SECONDS)


def ask(url: str, target: str, method: str = "GET", **kwargs: Any) -> tuple[int, bytes]:
    connection = connect(url)
    connection.request(method, target, **kwargs)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def raw(url: str, request: bytes) -> bytes:
    """What comes back for exactly these bytes."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as stream:
            return stream.readline()


def test_names_with_any_character_arrive_through_the_server() -> None:
    with server("127.0.0.1", "0") as (_, url):
        assert ask(url, "/names/test%2Fname%3Fx%23y%20100%25") == (200, b"test/name?x#y 100%")
        assert ask(url, f"{url}/names/a%2Fb") == (200, b"a/b")
        assert ask(url, "//names/a")[0] == 404
        assert ask(url, "/names/a/")[0] == 404


@pytest.mark.parametrize(
    "target", [b"/names/a#b", b"/names/%ff", b"/names/\xff", b"/names/%00", b"names/a", b"*", b"/names/a\\b"]
)
def test_bad_targets_are_400_through_the_server(target: bytes) -> None:
    with server("127.0.0.1", "0") as (_, url):
        assert raw(url, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").split()[1] == b"400"
        assert ask(url, "/names/a") == (200, b"a")


def test_bodies_arrive_or_are_refused() -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with server("127.0.0.1", "0") as (_, url):
        assert ask(url, "/names/a", "PUT", body=b"a=1", headers=form) == (200, b"{'a': '1'}")
        assert ask(url, "/names/a", "PUT", body=iter([b"a=", b"2"]), headers=form) == (200, b"{'a': '2'}")
        assert ask(url, "/names/a", "PUT", body=b"a=1")[0] == 415
        length = b"Content-Length: 9999999\r\n\r\n"
        assert raw(url, b"PUT /names/a HTTP/1.1\r\nHost: x\r\n" + length).split()[1] == b"413"


def test_head_of_any_request_is_bounded() -> None:
    with server("127.0.0.1", "0") as (_, url):
        for size, status in ((1 << 15, 200), (1 << 17, 431)):
            head = b"GET /names/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + b"y" * size + b"\r\n\r\n"
            assert raw(url, head).split()[1] == str(status).encode(), size
        assert ask(url, "/names/a") == (200, b"a")


def test_sigterm_lets_the_answer_under_way_finish() -> None:
    with server("127.0.0.1", "0") as (process, url):
        answers: list[tuple[int, bytes]] = []
        slow = threading.Thread(target=lambda: answers.append(ask(url, "/names/slow")))
        slow.start()
        assert line(process) == "begun"
        process.send_signal(signal.SIGTERM)
        slow.join(TIMEOUT_SECONDS)
        assert answers == [(200, b"slow")]
        assert [line(process), line(process)] == ["stopping", "ended"]
        assert process.wait(TIMEOUT_SECONDS) == 0


def test_client_that_leaves_is_noticed() -> None:
    with server("127.0.0.1", "0") as (process, url):
        connection = connect(url)
        connection.request("GET", "/wait")
        assert line(process) == "begun"
        connection.close()
        assert line(process) == "left"


def test_end_of_the_parent_ends_the_server_and_ctrl_c_does_not() -> None:
    with server("127.0.0.1", "0", "with-parent") as (process, url):
        process.send_signal(signal.SIGINT)
        assert ask(url, "/names/a") == (200, b"a")
        assert process.stdin
        process.stdin.close()
        assert [line(process), line(process)] == ["stopping", "ended"]
        assert process.wait(TIMEOUT_SECONDS) == 0


def test_unix_socket_is_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with server(f"unix:{path}", "0") as (process, url):
        assert url == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /names/a HTTP/1.0\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.0 200 OK")
        process.terminate()
        assert process.wait(TIMEOUT_SECONDS) == 0
    assert not path.exists()


def test_taken_places_are_one_sentence(tmp_path: Path) -> None:
    with listening_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port}: another program listens"):
            listening_socket("127.0.0.1", port)
    with listening_socket(f"unix:{tmp_path}/x", 0) as taken:
        taken.listen()
        with pytest.raises(ConfigError, match="another program listens"):
            listening_socket(f"unix:{tmp_path}/x", 0)


def test_left_over_socket_is_replaced_but_no_other_file(tmp_path: Path) -> None:
    listening_socket(f"unix:{tmp_path}/x", 0).close()
    listening_socket(f"unix:{tmp_path}/x", 0).close()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ConfigError, match="no socket is in the way"):
        listening_socket(f"unix:{tmp_path}/file", 0)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    "listen", ["192.0.2.1", "no-such-host.invalid", "unix:/no/such/directory/x", "unix:" + "x" * 200]
)
def test_impossible_places_are_one_sentence(listen: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        listening_socket(listen, 0)


def test_ipv6_is_served_where_there_is_any() -> None:
    try:
        listening_socket("::1", 0).close()
    except ConfigError as ex:
        assert isinstance(ex.__cause__, OSError)
        pytest.skip(os.strerror(ex.__cause__.errno or errno.EAFNOSUPPORT))
    with server("::1", "0") as (_, url):
        assert url.startswith("http://[::1]:")
        assert ask(url, "/names/a") == (200, b"a")


def test_idle_connections_do_not_delay_the_end() -> None:
    with server("127.0.0.1", "0") as (process, url):
        connection = connect(url)
        connection.request("GET", "/names/a")
        connection.getresponse().read()
        began = time.monotonic()
        process.terminate()
        assert process.wait(TIMEOUT_SECONDS) == 0
        assert time.monotonic() - began < TIMEOUT_SECONDS / 2
        connection.close()
