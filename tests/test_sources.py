"""Files and URLs that users name, read with their rights only."""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cloudsched.engine import sources
from cloudsched.engine.sources import account, fetch, read_own
from cloudsched.errors import BadRequirement, CloudError, Transient

_ANSWERS = {
    "/part?x=1": (200, {}, b"hello"),
    "/gone": (404, {}, b""),
    "/broken": (503, {}, b""),
    "/moved": (302, {"Location": "/part?x=1"}, b""),
    "/round": (302, {"Location": "/round"}, b""),
    "/metadata": (302, {"Location": "http://169.254.1.1:1/"}, b""),
    "/file": (302, {"Location": "file:///etc/passwd"}, b""),
    "/large": (200, {}, b"x" * (sources.LARGEST + 1)),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the library's name for it
        status, headers, body = _ANSWERS[self.path]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/part?x=1", "/moved"])
def test_a_url_is_fetched_also_where_it_leads_on(base: str, path: str) -> None:
    assert fetch(base + path) == b"hello"


@pytest.mark.parametrize(
    ("path", "kind", "why"),
    [
        ("/gone", BadRequirement, "the answer was 404 Not Found."),
        ("/broken", Transient, "the answer was 503 Service Unavailable."),
        ("/round", BadRequirement, "it leads on more than 3 times."),
        ("/file", BadRequirement, "accepted are http and https URLs."),
        ("/large", BadRequirement, "it is larger than 1048576 bytes."),
    ],
)
def test_a_url_that_gives_nothing_says_why(base: str, path: str, kind: type[CloudError], why: str) -> None:
    with pytest.raises(CloudError) as raised:
        fetch(base + path)
    assert (type(raised.value), str(raised.value)) == (kind, f"{base}{path} cannot be used: {why}")


def test_a_url_nobody_answers_may_pass(base: str) -> None:
    with pytest.raises(Transient, match="cannot be fetched: Connection refused"):
        fetch("http://127.0.0.1:1/x")


def test_a_port_that_is_none_is_no_url() -> None:
    with pytest.raises(BadRequirement, match="is no URL"):
        fetch("http://h:99999999/x")


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1"])
def test_addresses_that_are_this_hosts_own_affair_are_not_asked(address: str) -> None:
    with pytest.raises(BadRequirement, match="this host's own affair"):
        sources.check_reached(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.7", "2001:db8::1"])
def test_other_addresses_are_asked(address: str) -> None:
    sources.check_reached(address)


def test_an_own_file_is_read_with_what_a_copy_needs(tmp_path: Path) -> None:
    path = tmp_path / "proxy"
    path.write_bytes(b"p")
    path.chmod(0o640)
    found = read_own(path, os.getuid())
    assert (found.content, found.mode, found.uid) == (b"p", 0o640, os.getuid())


@pytest.mark.parametrize("path", ["/etc/passwd", "/dev/null", "/proc"])
def test_a_file_of_another_account_is_not_used(path: str) -> None:
    with pytest.raises(BadRequirement, match=f"{path} is not used: it is no regular file of its user's."):
        read_own(Path(path), 65534 if os.getuid() == 0 else os.getuid())


def test_links_pipes_and_large_files_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"x" * (sources.LARGEST + 1))
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "pipe")
    refused = {"link": "Too many levels", "pipe": "no regular file", "target": "larger", "absent": "No such"}
    for name, why in refused.items():
        with pytest.raises(BadRequirement, match=why):
            read_own(tmp_path / name, os.getuid())


def test_a_user_without_account_has_no_files() -> None:
    with pytest.raises(BadRequirement, match="this host has no such account"):
        account("no-such-user")


def test_a_user_has_an_account() -> None:
    assert account(pwd.getpwuid(os.getuid()).pw_name) == os.getuid()
