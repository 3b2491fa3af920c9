"""Who is let in: the first token, tokens of the state, and what wrong ones lead to."""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event
from wsgi import Client

from cloudsched.model.access import Role
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.store import Store, tokens
from cloudsched.store.tokens import Grant
from cloudsched.web.app import Gate, build
from cloudsched.web.auth import OPEN, Auth, Limits, Trust
from cloudsched.web.keyring import Keyring, Refusal
from cloudsched.web.permissions import PERMITS, Permissions, Permit, Scope
from cloudsched.web.throttle import Failures, Rate, client_key, plain_address

TOKEN = "a-token-of-many-characters"
Serve = Callable[..., Client]
Clock = Callable[[], float]

ROWS = {"GET /": Permit(Role.READER, Scope.NOTHING), "PUT /": Permit(Role.OPERATOR, Scope.NOTHING)}
PROXY, OTHER = "192.0.2.1", "192.0.2.2"
TRUST = Trust(frozenset((PROXY,)), Role.OPERATOR)


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caplog hear our log also after something in this process has set it up for good."""
    monkeypatch.setattr(logging.getLogger("cloudscheduler"), "propagate", True)


class Actor:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = req.context.actor

    def on_put(self, req: Any, resp: Any) -> None:
        resp.text = req.context.actor


@pytest.fixture
def served(store: Store) -> Serve:
    """Makes a client of an application behind a gate of some mode, with TOKEN as the first token."""

    def make(mode: str, clock: Clock = time.monotonic, now: Clock = time.time, rate: int = 0) -> Client:
        keyring = Keyring(store, TOKEN, now) if mode == "token" else None
        auth = Auth(mode, keyring, TRUST, Limits(Rate(rate), clock=clock))
        return Client(build({"/": Actor()}, Gate(auth, Permissions(store, ROWS))))

    return make


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def made(store: Store, role: Role = Role.READER, expires_at: int | None = None) -> tuple[str, str]:
    text, token = tokens.make(
        store, Grant(role, expires_at=expires_at), Entry(EntryKind.ASKED, "token_create", 1000, "test")
    )
    return text, token.id


def test_first_token_passes_and_names_the_actor(served: Serve) -> None:
    app = served("token")
    assert app.get("/", headers=bearer(TOKEN)).text == "admin@127.0.0.1"
    assert app.get("/", headers={"Authorization": f"bearer {TOKEN}"}).status_int == 200


def test_token_of_the_state_passes_from_its_making_to_its_revoking(served: Serve, store: Store) -> None:
    app = served("token")
    assert app.get("/", headers=bearer(TOKEN)).status_int == 200
    text, token = made(store)
    for _ in range(3):
        assert app.get("/", headers=bearer(text)).text == f"{token}@127.0.0.1"
    tokens.revoke(store, token, Entry(EntryKind.ASKED, "token_revoke", 2000))
    refused = app.get("/", headers=bearer(text))
    assert (refused.status_int, refused.text) == (401, "The token was revoked.")
    assert app.get("/", headers=bearer(made(store)[0])).status_int == 200


def test_token_ends_when_it_expires(served: Serve, store: Store) -> None:
    now = [1999.0]
    app = served("token", now=lambda: now[0])
    text, _ = made(store, expires_at=2000)
    assert app.get("/", headers=bearer(text)).status_int == 200
    now[0] = 2000.0
    refused = app.get("/", headers=bearer(text))
    assert (refused.status_int, refused.text) == (401, "The token has expired.")


def test_only_who_knows_the_text_learns_that_a_token_was_revoked(served: Serve, store: Store) -> None:
    text, token = made(store)
    tokens.revoke(store, token, Entry(EntryKind.ASKED, "token_revoke", 2000))
    guessed = f"cs_{token}_{'x' * 43}"
    assert len(guessed) == len(text)
    assert served("token").get("/", headers=bearer(guessed)).text == "The token is wrong."


@pytest.mark.sqlite
def test_unknown_state_lets_only_the_first_token_in(served: Serve, store: Store) -> None:
    app = served("token")
    text, _ = made(store)
    assert store.path is not None
    store.path.rename(store.path.with_name("elsewhere"))
    assert app.get("/", headers=bearer(text)).status_int == 503
    assert app.get("/", headers=bearer(TOKEN)).status_int == 200


@pytest.fixture
def tables_read(store: Store) -> Iterator[list[str]]:
    """The tables of the statements that the database was given."""
    read: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        read.extend(re.findall(r"FROM (\w+)", statement))

    event.listen(Engine, "before_cursor_execute", note)
    yield read
    event.remove(Engine, "before_cursor_execute", note)


def test_checking_reads_no_table_while_no_token_changes(store: Store, tables_read: list[str]) -> None:
    keyring = Keyring(store, TOKEN)
    text, token = made(store)
    assert keyring.caller(text) == keyring.caller(text)
    tables_read.clear()
    assert {type(keyring.caller(text)).__name__ for _ in range(50)} == {"Caller"}
    assert "tokens" not in tables_read
    tokens.revoke(store, token, Entry(EntryKind.ASKED, "token_revoke", 2000))
    tables_read.clear()
    assert {type(keyring.caller(text)).__name__ for _ in range(3)} == {"Refusal"}
    assert tables_read.count("tokens") == 1


def test_tokens_are_compared_whole_whatever_is_wrong_with_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the comparison of constant time, and by digests of one length: what is right of a guess shows in nothing."""
    keyring, compared = Keyring(store, TOKEN), []
    text, token = made(store)
    compare = hmac.compare_digest

    def noted(one: str, other: str) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    first, own = tokens.digest(TOKEN), tokens.digest(text)
    for guess in (f"x{TOKEN[1:]}", f"{TOKEN[:-1]}x", TOKEN[:-1], ""):
        compared.clear()
        assert isinstance(keyring.caller(guess), Refusal)
        assert compared == [(tokens.digest(guess), first)]
    for guess in (f"{text[:-1]}{'a' if text[-1] != 'a' else 'b'}", f"cs_{token}_"):
        compared.clear()
        assert isinstance(keyring.caller(guess), Refusal)
        assert compared[0] == (tokens.digest(guess), first)
        assert all(len(one) == len(other) == len(own) for one, other in compared)


@pytest.mark.parametrize(
    "headers", [{}, bearer("wrong"), bearer(""), {"Authorization": f"Basic {TOKEN}"}, bearer("\xe9")]
)
def test_missing_or_wrong_token_is_401_before_routing(served: Serve, headers: dict[str, str]) -> None:
    app = served("token")
    for url in ("/", "/unknown"):
        answer = app.get(url, headers=headers)
        assert (answer.status_int, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="cloudsched"')
        assert "X-Request-ID" in answer.headers


def test_open_and_closed_modes(served: Serve) -> None:
    assert served("none").get("/").text == "anonymous@127.0.0.1"
    assert served("closed").get("/", headers=bearer(TOKEN)).status_int == 403


def test_web_page_may_only_read_where_no_token_is_needed(served: Serve) -> None:
    origin = {"Origin": "http://elsewhere.example"}
    assert served("none").get("/", headers=origin).status_int == 200
    assert served("none").post("/", headers=origin).status_int == 403
    assert served("token").post("/", headers=origin | bearer(TOKEN)).status_int == 405
    assert served("token").put("/", headers=origin | bearer(TOKEN)).status_int == 200


def test_many_wrong_tokens_are_429_for_a_while(served: Serve, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    app = served("token", lambda: now[0])
    statuses = [app.get("/", headers=bearer("wrong")).status_int for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    refused = app.get("/", headers=bearer("wrong"))
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert app.get("/", headers=bearer(TOKEN)).status_int == 200
    assert len([record for record in caplog.records if "wrong token" in record.getMessage()]) == 10
    now[0] = 61.0
    assert app.get("/", headers=bearer("wrong")).status_int == 401


def test_log_names_a_token_by_its_public_part_alone(
    served: Serve, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    text, token = made(store)
    tokens.revoke(store, token, Entry(EntryKind.ASKED, "token_revoke", 2000))
    served("token").get("/", headers=bearer(text))
    assert f"revoked token from 127.0.0.1 ({token})" in caplog.text
    assert text.split("_", 2)[2] not in caplog.text


def test_failures_remember_a_bounded_number_of_addresses() -> None:
    failures = Failures(limit=1, clients=2)
    for address in ("a", "b", "c", "a"):
        assert failures.add(address, 0.0) == 0.0
    assert failures.add("a", 1.0) > 0
    assert failures.add("c", 1.0) > 0


def told(role: str = "", user: str = "", address: str = "") -> dict[str, str]:
    """What a proxy says of its client."""
    return {"X-Cloudsched-Role": role, "X-Cloudsched-User": user, "X-Real-IP": address}


def asked(app: Client, peer: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items() if value}
    answer = app.request("/", method=method, headers=sent, environ={"REMOTE_ADDR": peer})
    return answer.status_int, answer.text


def test_trusted_proxy_tells_role_name_and_address(served: Serve) -> None:
    app = served("token")
    alice = told("operator", "CN=alice @x", "2001:db8::1")
    assert asked(app, PROXY, "PUT", **alice) == (200, "proxy:CN_alice__x@2001:db8::1")
    assert asked(app, PROXY, "PUT", **told("reader", "bob"))[0] == 403
    assert asked(app, PROXY, **told("reader")) == (200, f"proxy:unnamed@{PROXY}")
    assert asked(app, PROXY, **told("root")) == (
        403,
        "The proxy says the role 'root'; it must be reader, operator, admin or nothing.",
    )


def test_nobody_else_is_believed(served: Serve) -> None:
    app = served("token")
    claimed = told("admin", "root", "10.0.0.1")
    assert asked(app, OTHER, **claimed)[0] == 401
    assert asked(app, "uid:0", **claimed) == (200, "root@uid:0")
    assert asked(app, OTHER, **claimed, **bearer(TOKEN)) == (200, f"admin@{OTHER}")


def test_token_counts_more_than_what_a_proxy_says(served: Serve, store: Store) -> None:
    app = served("token")
    text, token = made(store)
    assert asked(app, PROXY, **told("admin"), **bearer(text)) == (200, f"{token}@{PROXY}")
    assert asked(app, PROXY, **told("admin"), **bearer("wrong"))[0] == 401


def test_account_at_a_socket_has_the_role_of_the_option(served: Serve) -> None:
    app = served("token")
    assert asked(app, "uid:0", "PUT") == (200, "root@uid:0")
    assert asked(app, "uid:4294967294") == (200, "4294967294@uid:4294967294")


def test_web_page_sends_no_verbs_by_a_certificate_or_a_socket(served: Serve) -> None:
    app = served("token")
    for peer in (PROXY, "uid:0"):
        assert asked(app, peer, "PUT", **told("operator"), Origin="https://elsewhere.example")[0] == 403
        assert asked(app, peer, **told("operator"), Origin="https://elsewhere.example")[0] == 200


def test_proxys_clients_are_limited_one_by_one(served: Serve) -> None:
    app = served("token")
    for _ in range(12):
        last = asked(app, PROXY, **told(address="198.51.100.1"), **bearer("wrong"))[0]
    assert last == 429
    assert asked(app, PROXY, **told(address="198.51.100.2"), **bearer("wrong"))[0] == 401


def test_rate_is_limited_by_token_and_by_address(served: Serve, store: Store) -> None:
    now = [0.0]
    app = served("token", lambda: now[0], rate=3)
    text, _ = made(store)
    assert [app.get("/", headers=bearer(text)).status_int for _ in range(5)] == [200] * 3 + [429] * 2
    assert app.get("/", headers=bearer(text)).headers["Retry-After"] == "21"
    assert app.get("/", headers=bearer(TOKEN)).status_int == 200
    now[0] = 20.0
    assert [app.get("/", headers=bearer(text)).status_int for _ in range(2)] == [200, 429]
    everybody = served("none", lambda: now[0], rate=1)
    assert [asked(everybody, peer)[0] for peer in (PROXY, OTHER, PROXY)] == [200, 200, 429]


def test_addresses_that_are_one_client() -> None:
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:1") != client_key("2001:db8:0:1::1")
    assert client_key("::ffff:192.0.2.1") == client_key("192.0.2.1") == "192.0.2.1"
    assert client_key("uid:0") == "uid:0"
    assert plain_address("2001:DB8:0::1%eth0") == "2001:db8::1" != plain_address("2001:db8::2")


def test_what_is_open_to_probes_is_what_takes_no_role() -> None:
    rows = {request.removeprefix("GET ") for request, permit in PERMITS.items() if permit.role is None}
    assert rows == {url.removesuffix(".json") for url in OPEN}


def test_method_without_a_row_is_not_served(store: Store) -> None:
    with pytest.raises(LookupError, match="GET /forgotten has no row"):
        build({"/forgotten": Actor()}, Gate(Auth("none"), Permissions(store)))
