"""`/tokens`: made once, listed without their texts, revoked on both daemons at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from admin_bench import Bench, bench
from wsgi import Client

from cloudsched import info
from cloudsched.config import Config, Global
from cloudsched.store import Store, tables, tokens
from cloudsched.store.verbs import forget_old


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, admin_auth="token") as ready:
        yield ready


def create(made: Bench, **form: str) -> dict[str, Any]:
    answer = made.client.post("/tokens", form, headers={"Accept": "application/json"})
    assert answer.status_int == 201, answer.text
    assert answer.headers["Location"] == f"/tokens/{answer.json['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    found: dict[str, Any] = answer.json
    return found


def test_token_is_shown_once_and_then_never_again(made: Bench) -> None:
    found = create(made, role="operator", clouds="Mouse", users="alice,bob", days="7", description="the nightly script")
    text = found.pop("token")
    assert {name: found[name] for name in ("role", "state", "clouds", "users", "description", "revoked_at")} == {
        "role": "operator",
        "state": "active",
        "clouds": ["mouse"],
        "users": ["alice", "bob"],
        "description": "the nightly script",
        "revoked_at": None,
    }
    assert found["created_by"] == "admin@127.0.0.1"
    assert found["expires_at"] == found["created_at"] + 7 * 86400
    for url in ("/tokens", f"/tokens/{found['id']}"):
        for accept in ("text/plain", "application/json"):
            answer = made.client.get(url, headers={"Accept": accept})
            assert found["id"] in answer.text
            assert text.rpartition("_")[2] not in answer.text
            assert tokens.digest(text) not in answer.text


def test_text_answers(made: Bench) -> None:
    text = made.client.post("/tokens", {"role": "reader"}).text
    token = tokens.id_of(text)
    assert token
    heading, row = made.client.get("/tokens").text.split("\n")
    assert heading.split() == ["ID", "ROLE", "STATE", "CLOUDS", "USERS", "EXPIRES", "DESCRIPTION"]
    assert row.split() == [token, "reader", "active", "all", "all", "never"]
    assert made.client.delete(f"/tokens/{token}").text == f"Token {token} revoked."
    assert made.client.get(f"/tokens/{token}").text.split("\n")[1].split()[2] == "revoked"


def test_revoked_token_is_refused_by_both_daemons_at_once(made: Bench, tmp_path: Path) -> None:
    reading = Store.open(f"sqlite:///{made.store.path}", made.store.directory, read_only=True)
    page = Client(info.create_app(reading, Config(Global(state_dir=tmp_path, info_auth="token"))))
    found = create(made, role="operator")
    headers = {"Authorization": f"Bearer {found['token']}"}
    plain = Client(made.client.app)
    assert plain.get("/settings", headers=headers).status_int == 200
    assert page.get("/cloud", headers=headers).status_int == 200
    for _ in range(2):
        assert made.client.delete(f"/tokens/{found['id']}").status_int == 200
        assert plain.get("/settings", headers=headers).status_int == 401
        assert page.get("/cloud", headers=headers).status_int == 401
    reading.close()


@pytest.mark.parametrize(
    ("form", "parameter", "sentence"),
    [
        ({}, "role", "is missing"),
        ({"role": "root"}, "role", "must be reader or operator or admin, not 'root'"),
        ({"role": "reader", "clouds": "nowhere"}, "clouds", "there is no such cloud"),
        ({"role": "reader", "clouds": "mouse,,"}, "clouds", "must be names separated by commas, or a JSON list"),
        ({"role": "reader", "users": "[1]"}, "users", "must be names separated by commas, or a JSON list"),
        ({"role": "reader", "users": "[" * 9999}, "users", "must be names separated by commas, or a JSON list"),
        ({"role": "admin", "users": "alice"}, "users", "cannot limit the role admin"),
        ({"role": "reader", "days": "0"}, "days", "must be an integer from 1 to 36500"),
        ({"role": "reader", "description": "a\nb"}, "description", "must be one line of at most 200"),
        ({"role": "reader", "token": "mine"}, "token", "is unknown"),
    ],
)
def test_wrong_wishes_are_named(made: Bench, form: dict[str, str], parameter: str, sentence: str) -> None:
    answer = made.client.post("/tokens", form, headers={"Accept": "application/json"})
    assert (answer.status_int, answer.json["parameter"]) == (400, parameter)
    assert sentence in answer.json["detail"]
    assert made.client.get("/tokens", headers={"Accept": "application/json"}).json == {"tokens": []}


def test_names_with_any_character_limit_a_token(made: Bench) -> None:
    users = ["a,b", "[c]", "d e"]
    assert create(made, role="reader", users=json.dumps(users))["users"] == users


def test_unknown_token_is_404(made: Bench) -> None:
    assert made.client.get("/tokens/none").status_int == 404
    assert made.client.delete("/tokens/none").status_int == 404


def test_ended_tokens_are_forgotten_after_a_while(made: Bench) -> None:
    kept, revoked, expired = (create(made, role="reader", days=days)["id"] for days in ("36500", "36500", "1"))
    now = int(time.time())
    tokens.revoke(made.store, revoked, now)
    forget_old(made.store, now + 29 * 86400, 30)
    assert len(_ids(made)) == 3
    forget_old(made.store, now + 32 * 86400, 30)
    assert _ids(made) == [kept]
    assert expired != kept


def _ids(made: Bench) -> list[str]:
    with made.store.reading() as connection:
        return [each.id for each in tokens.all_tokens(connection)]


def test_state_keeps_a_digest_and_no_text(made: Bench) -> None:
    text = create(made, role="admin")["token"]
    with made.store.reading() as connection:
        row = connection.execute(tables.tokens.select()).one()
    assert row.digest == tokens.digest(text)
    assert text not in str(row)
    assert made.store.path is not None
    files = [path.read_bytes() for path in made.store.path.parent.glob("state.db*")]
    assert all(text.rpartition("_")[2].encode() not in content for content in files)
