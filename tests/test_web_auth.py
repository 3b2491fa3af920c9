"""The token file, the bearer token and what wrong ones lead to."""

import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from wsgi import Client

from cloudsched.errors import ConfigError
from cloudsched.web.app import build
from cloudsched.web.auth import Auth, Failures, read_token

TOKEN = "a-token-of-many-characters"


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caplog hear our log also after something in this process has set it up for good."""
    monkeypatch.setattr(logging.getLogger("cloudscheduler"), "propagate", True)


class Actor:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = req.context.actor


def client(auth: Auth) -> Client:
    return Client(build({"/": Actor()}, auth))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_token_is_created_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "admin.token"
    token = read_token(path)
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_token(path) == token
    assert [each.name for each in path.parent.iterdir()] == ["admin.token"]


def test_token_created_at_once_by_many_is_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: read_token(tmp_path / "admin.token"), range(16)))
    assert len(tokens) == 1


@pytest.mark.parametrize(("content", "mode"), [(TOKEN, 0o644), ("", 0o600), ("short", 0o600), ("\u00e9" * 40, 0o600)])
def test_unusable_token_file_is_refused_without_showing_it(tmp_path: Path, content: str, mode: int) -> None:
    path = tmp_path / "admin.token"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_token(path)
    assert str(path) in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_token_in_a_place_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        read_token(tmp_path / "file" / "admin.token")


def test_right_token_passes_and_names_the_actor() -> None:
    app = client(Auth("token", TOKEN))
    assert app.get("/", headers=bearer(TOKEN)).text == "admin@127.0.0.1"
    assert app.get("/", headers={"Authorization": f"bearer {TOKEN}"}).status_int == 200


@pytest.mark.parametrize(
    "headers", [{}, bearer("wrong"), bearer(""), {"Authorization": f"Basic {TOKEN}"}, bearer("\xe9")]
)
def test_missing_or_wrong_token_is_401_before_routing(headers: dict[str, str]) -> None:
    app = client(Auth("token", TOKEN))
    for url in ("/", "/unknown"):
        answer = app.get(url, headers=headers)
        assert (answer.status_int, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="cloudsched"')
        assert "X-Request-ID" in answer.headers


def test_open_and_closed_modes() -> None:
    assert client(Auth("none")).get("/").text == "anonymous@127.0.0.1"
    assert client(Auth("closed")).get("/", headers=bearer(TOKEN)).status_int == 403


def test_web_page_may_only_read_where_no_token_is_needed() -> None:
    origin = {"Origin": "http://elsewhere.example"}
    assert client(Auth("none")).get("/", headers=origin).status_int == 200
    assert client(Auth("none")).post("/", headers=origin).status_int == 403
    assert client(Auth("token", TOKEN)).post("/", headers=origin | bearer(TOKEN)).status_int == 405


def test_many_wrong_tokens_are_429_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    app = client(Auth("token", TOKEN, clock=lambda: now[0]))
    statuses = [app.get("/", headers=bearer("wrong")).status_int for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    refused = app.get("/", headers=bearer("wrong"))
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert app.get("/", headers=bearer(TOKEN)).status_int == 200
    assert len([record for record in caplog.records if "wrong token" in record.getMessage()]) == 10
    now[0] = 61.0
    assert app.get("/", headers=bearer("wrong")).status_int == 401


def test_failures_remember_a_bounded_number_of_addresses() -> None:
    failures = Failures(limit=1, addresses=2)
    for address in ("a", "b", "c", "a"):
        assert failures.add(address, 0.0) == 0.0
    assert failures.add("a", 1.0) > 0
    assert failures.add("c", 1.0) > 0
