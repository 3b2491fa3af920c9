"""`/tokens`: made once, listed without their texts, revoked on both daemons at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import databases
import pytest
from admin_bench import Bench, bench
from wsgi import Client

from cloudsched import info
from cloudsched.config import Config, Global
from cloudsched.engine import notes as engine_notes
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.store import journal, tables, tokens
from cloudsched.store.verbs import forget_old
from cloudsched.web.notes import MOST_CLIENTS, OTHERS, Notes


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
            assert text.split("_", 2)[2] not in answer.text
            assert tokens.digest(text) not in answer.text


def test_text_answers(made: Bench) -> None:
    text = made.client.post("/tokens", {"role": "reader"}).text
    token = tokens.id_of(text)
    assert token
    heading, row = made.client.get("/tokens").text.split("\n")
    assert heading.split() == ["ID", "ROLE", "STATE", "CLOUDS", "USERS", "EXPIRES", "LAST", "USE", "DESCRIPTION"]
    assert row.split() == [token, "reader", "active", "all", "all", "never", "never"]
    assert made.client.delete(f"/tokens/{token}").text == f"Token {token} revoked."
    assert made.client.get(f"/tokens/{token}").text.split("\n")[1].split()[2] == "revoked"


def test_revoked_token_is_refused_by_both_daemons_at_once(made: Bench, tmp_path: Path) -> None:
    reading = databases.open_store(made.store.directory, read_only=True)
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


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["mine", "yours", "gone", "all"]),
        ("role=operator", ["mine", "gone"]),
        ("state=revoked", ["gone"]),
        ("state=active&role=reader", ["yours"]),
        ("cloud=Mouse", ["mine", "gone"]),
        ("cloud=mouse&state=active", ["mine"]),
        ("user=bob", ["yours"]),
        ("state=expired", []),
    ],
)
def test_list_has_what_fits_every_filter(made: Bench, query: str, expected: list[str]) -> None:
    create(made, role="operator", clouds="mouse,cheetah", description="mine")
    create(made, role="reader", users="alice,bob", description="yours")
    gone = create(made, role="operator", clouds="mouse", description="gone")["id"]
    create(made, role="admin", description="all")
    made.client.delete(f"/tokens/{gone}")
    found = made.client.get(f"/tokens?{query}", headers={"Accept": "application/json"}).json["tokens"]
    assert sorted(each["description"] for each in found) == sorted(expected)
    assert len(made.client.get(f"/tokens?{query}").text.splitlines()) == 1 + len(expected)


def test_names_with_any_character_limit_a_token(made: Bench) -> None:
    users = ["a,b", "[c]", "d e"]
    assert create(made, role="reader", users=json.dumps(users))["users"] == users


def test_unknown_token_is_404(made: Bench) -> None:
    assert made.client.get("/tokens/none").status_int == 404
    assert made.client.delete("/tokens/none").status_int == 404


def test_ended_tokens_are_forgotten_after_a_while(made: Bench) -> None:
    kept, revoked, expired = (create(made, role="reader", days=days)["id"] for days in ("36500", "36500", "1"))
    now = int(time.time())
    tokens.revoke(made.store, revoked, Entry(EntryKind.ASKED, "token_revoke", now))
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
    files = [path.read_bytes() for path in made.store.directory.glob("state.db*")]
    assert all(text.split("_", 2)[2].encode() not in content for content in files)


def entries(made: Bench, chain: journal.Chain) -> list[Any]:
    with made.store.reading() as connection:
        return list(connection.execute(chain.entries.select().order_by(chain.entries.c.id)).mappings())


def test_making_and_revoking_are_in_the_journal(made: Bench) -> None:
    found = create(made, role="operator", clouds="mouse", days="1")
    made.client.delete(f"/tokens/{found['id']}")
    asked = [each for each in entries(made, journal.ADMIN) if each["noun"] == "token"]
    assert [(each["verb"], each["name"], each["actor"], each["address"]) for each in asked] == [
        ("token_create", found["id"], "admin@127.0.0.1", "127.0.0.1"),
        ("token_revoke", found["id"], "admin@127.0.0.1", "127.0.0.1"),
    ]
    assert (asked[0]["after"]["role"], asked[0]["after"]["clouds"]) == ("operator", ["mouse"])
    assert found["token"].split("_", 2)[2] not in str(asked)


def noted(made: Bench) -> Path:
    """The admin daemon's notes, once its writer has been at them."""
    path = made.store.directory / "notes" / "admin.jsonl"
    for _ in range(600):
        if path.exists() and path.stat().st_size:
            return path
        time.sleep(0.1)
    raise AssertionError("nothing was noted")


def test_last_use_and_refusals_reach_the_state_by_the_notes(made: Bench) -> None:
    found = create(made, role="reader")
    plain = Client(made.client.app)
    for token in (found["token"], *["wrong"] * 12):
        plain.get("/settings", headers={"Authorization": f"Bearer {token}"})
    path = noted(made)
    assert path.stat().st_mode & 0o777 == 0o600
    assert found["token"].split("_", 2)[2] not in path.read_text()
    engine_notes.take(made.store)
    assert path.stat().st_size == 0
    shown = made.client.get(f"/tokens/{found['id']}", headers={"Accept": "application/json"}).json
    assert shown["used_from"] == "127.0.0.1"
    assert shown["used_at"] % 60 == 0
    assert 0 <= time.time() - shown["used_at"] < 600
    (refused,) = (each for each in entries(made, journal.ENGINE) if each["verb"] == "token_refused")
    assert (refused["address"], refused["reason"]) == ("127.0.0.1", "wrong")
    assert refused["detail"] == {"count": 12, "daemon": "admin"}


def test_flood_from_everywhere_is_a_bounded_number_of_notes(tmp_path: Path) -> None:
    path = tmp_path / "notes" / "admin.jsonl"
    notes = Notes(path, lambda: 120.0)
    for number in range(5000):
        notes.refused("wrong", "", f"10.0.{number // 250}.{number % 250}")
    notes.flush()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == MOST_CLIENTS + 1
    assert sum(line["count"] for line in lines) == 5000
    assert max(lines, key=lambda line: line["count"])["address"] == OTHERS


def test_notes_that_nobody_reads_stop_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudsched.web.notes.LARGEST", 100)
    notes = Notes(tmp_path / "admin.jsonl", lambda: 120.0)
    for number in range(50):
        notes.refused("wrong", "", str(number))
        notes.flush()
    assert (tmp_path / "admin.jsonl").stat().st_size < 300


def test_token_is_noted_once_a_minute(tmp_path: Path) -> None:
    now = [120.0]
    notes = Notes(tmp_path / "info.jsonl", lambda: now[0])
    for now[0] in (120.0, 150.0, 179.0, 180.0):
        notes.used("t", "127.0.0.1")
        notes.flush()
    assert [json.loads(line)["at"] for line in (tmp_path / "info.jsonl").read_text().splitlines()] == [120, 180]


def test_broken_notes_are_left_out(made: Bench) -> None:
    path = made.store.directory / "notes" / "info.jsonl"
    path.parent.mkdir(exist_ok=True)
    good = {"note": "refusal", "why": "wrong", "token": "", "address": "a", "at": 1, "count": 2}
    path.write_text('{"note": "use", "tok\n[]\n{"note": "use"}\n{"note": "?"}\n' + json.dumps(good) + "\n")
    engine_notes.take(made.store)
    assert [each["address"] for each in entries(made, journal.ENGINE) if each["verb"] == "token_refused"] == ["a"]
