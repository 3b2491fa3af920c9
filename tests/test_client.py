"""Where a client connects, and which hosts may see the token."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from recorder import BODY, recording

from cloudsched.client import Address, Client, NoAnswer, find_token
from cloudsched.errors import BadRequest


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "admin.token"
    path.write_text("the-token\n")
    return path


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8112/"),
        ("cs.example.org", "http://cs.example.org:8112/"),
        ("0.0.0.0", "http://127.0.0.1:8112/"),
        ("::", "http://[::1]:8112/"),
        ("fe80::1", "http://[fe80::1]:8112/"),
        ("[::1]", "http://[::1]:8112/"),
        ("unix:/run/cs.sock", "http://localhost/"),
    ],
)
def test_address_becomes_a_url(host: str, base_url: str) -> None:
    assert Address.of(host, "8112").base_url == base_url


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "x", "٣", "8112 "])
def test_port_must_be_one(port: str) -> None:
    with pytest.raises(BadRequest, match="not an integer from 1 to 65535"):
        Address.of("127.0.0.1", port)


@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1:8111", "/run/cs.sock", "me@host", "a b", "x#y"])
def test_host_must_be_one(host: str) -> None:
    with pytest.raises(BadRequest, match=r"is not a host name, an IP address or unix:PATH\.$"):
        Address.of(host, "8112")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost", "unix:/s", platform.node()])
def test_token_file_is_used_towards_this_machine(host: str, token_file: Path) -> None:
    assert find_token(Address.of(host, "1"), "127.0.0.1", token_file, {}) == "the-token"


@pytest.mark.parametrize("host", ["cs.example.org", "10.0.0.5", "localhost.example.org", "127.0.0.1.example.org"])
def test_token_file_is_not_used_towards_others(host: str, token_file: Path) -> None:
    address = Address.of(host, "1")
    assert find_token(address, "127.0.0.1", token_file, {}) == ""
    assert find_token(address, host, token_file, {}) == "the-token"
    assert find_token(address, "127.0.0.1", token_file, {"CLOUDSCHED_TOKEN": "mine"}) == "mine"


def test_token_file_that_cannot_be_read_is_no_token(tmp_path: Path) -> None:
    assert find_token(Address.of("localhost", "1"), "", tmp_path / "absent", {}) == ""
    assert find_token(Address.of("localhost", "1"), "", tmp_path, {}) == ""


def test_token_stays_out_of_the_representation() -> None:
    assert "the-token" not in repr(Client(Address("localhost", "1"), "program", "the-token"))


def test_environment_changes_neither_route_nor_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with recording() as server:
        client = Client(Address(server.host, server.port), "program", "the-token")
        assert client.send("GET", ["clusters"]).text == BODY
    assert server.headers[0]["Authorization"] == "Bearer the-token"


def test_answer_cut_short_is_no_answer() -> None:
    with recording() as server:
        server.cut_short = True
        with pytest.raises(NoAnswer, match="Is the cloud scheduler running on port"):
            Client(Address(server.host, server.port), "program").send("GET", [])


def test_socket_of_something_else_is_no_answer(tmp_path: Path) -> None:
    with recording(str(tmp_path / "s")) as server:
        server.cut_short = True
        with pytest.raises(NoAnswer, match="couldn't connect"):
            Client(Address(server.host), "program").send("GET", [])
