"""Operations: asked for once, waited for as long as wanted, with a reason, listed on both daemons."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import databases
import pytest
from admin_bench import JSON, Bench, bench, failed, make_config, make_store, put, settle
from test_admin_previews import VERBS
from wsgi import Client

from cloudsched import admin as admin_daemon
from cloudsched import info as info_daemon
from cloudsched.config.options import Logging
from cloudsched.model.access import Role
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, OutcomeState
from cloudsched.store import Store, keys, limits, place, tokens, verbs, vms, wishes
from cloudsched.store.tokens import Grant
from cloudsched.web.token_file import read_token

DAY = 86400


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, admin_auth="token") as made:
        yield made


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Client]:
    """A daemon whose verbs nobody settles."""
    with closing(make_store(tmp_path)) as store:
        yield Client(admin_daemon.create_app(store, make_config(tmp_path)))


# -- Idempotency-Key ---------------------------------------------------------------------------------------------------


def test_same_key_is_answered_with_the_first_operation_and_done_once(admin: Bench) -> None:
    first = admin.client.post("/", {"action": "quick_shutdown"}, headers={**JSON, "Idempotency-Key": "a"})
    again = admin.client.post("/", {"action": "quick_shutdown"}, headers={**JSON, "Idempotency-Key": '"a"'})
    assert again.json == first.json
    assert [wish[2:] for wish in admin.asked()] == [("quick_exit", True)]
    other = admin.client.post("/", {"action": "quick_shutdown"}, headers={**JSON, "Idempotency-Key": "b"})
    assert other.json["id"] != first.json["id"]
    assert limits.setting(admin.store, "quick_exit") is False


def test_repeated_shutdown_finds_its_answer_though_the_vm_is_gone(admin: Bench) -> None:
    first = put(admin.client, "/clouds/mouse/vms/testvm", "k", action="shutdown")
    with admin.store.writing() as writing:
        vms.forget(writing, ["vm-mouse-5"])
    assert put(admin.client, "/clouds/mouse/vms/testvm", "other", action="shutdown").status_int == 404
    again = put(admin.client, "/clouds/mouse/vms/testvm", "k", action="shutdown")
    assert (again.status_int, again.json) == (200, first.json)


def test_failure_is_repeated_as_it_was(admin: Bench) -> None:
    admin.endings["retire"] = failed("No machine has joined.")
    first = put(admin.client, "/clouds/mouse/vms/testvm", "k", action="force_retire")
    again = put(admin.client, "/clouds/mouse/vms/testvm", "k", action="force_retire")
    assert (first.status_int, again.status_int, len(admin.seen)) == (409, 409, 1)
    assert again.json["operation"] == first.json["operation"]


@pytest.mark.parametrize(
    ("url", "given", "status"),
    [
        ("/clouds/mouse/vms/new-vm", {"action": "shutdown"}, 404),
        ("/clouds/mouse/vms/testvm", {"action": "explode"}, 400),
        ("/clouds/mouse/vms", {"action": "force_retire", "confirm": "1"}, 409),
        ("/clouds/mouse/vms/testvm", {"action": "shutdown", "dry_run": "true"}, 200),
    ],
)
def test_key_names_nothing_before_something_is_recorded_under_it(
    admin: Bench, url: str, given: dict[str, str], status: int
) -> None:
    """A refusal is made anew each time, and leaves the key to the request that is done at last."""
    assert put(admin.client, url, "k", **given).status_int == status
    with admin.store.writing() as writing:
        vms.record_vms(writing, [*vms.all_vms(writing.connection), VM("new", "mouse", id="new-vm", position=900)])
    again = put(admin.client, url, "k", **given)
    assert again.status_int == (200 if status == 404 else status)
    other = put(admin.client, "/clouds/mouse", "k", action="disable")
    assert (other.status_int, len(admin.seen)) == ((409, 1) if status == 404 else (200, 1))


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("/clouds/mouse", {"action": "enable"}),
        ("/clouds/mouse", {"action": "disable", "reason": "other"}),
        ("/clouds/cheetah", {"action": "disable"}),
        ("/settings", {"quick_exit": "true"}),
    ],
)
def test_same_key_with_another_request_is_409(admin: Bench, url: str, given: dict[str, str]) -> None:
    assert put(admin.client, "/clouds/mouse", "k", action="disable").status_int == 200
    answer = put(admin.client, url, "k", **given)
    assert (answer.status_int, answer.json["code"]) == (409, "idempotency-key-reused")
    assert len(admin.seen) == 1


def test_how_long_to_wait_is_no_part_of_the_request(admin: Bench) -> None:
    first = put(admin.client, "/clouds/mouse", "k", action="disable")
    assert put(admin.client, "/clouds/mouse", "k", action="disable", wait="5").json == first.json


def test_key_of_another_caller_is_another_key(admin: Bench) -> None:
    put(admin.client, "/clouds/mouse", "k", action="disable")
    asked = Entry(EntryKind.ASKED, "token_create", 1)
    text, _ = tokens.make(admin.store, Grant(Role.OPERATOR), asked)
    headers = {**JSON, "Idempotency-Key": "k", "Authorization": f"Bearer {text}"}
    answer = Client(admin.client.app).put("/clouds/mouse", {"action": "enable"}, headers=headers)
    assert (answer.status_int, len(admin.seen)) == (200, 2)


@pytest.mark.parametrize("key", ["", "two words", "x" * 201, '""'])
def test_what_is_no_key_is_refused_by_name(admin: Bench, key: str) -> None:
    answer = admin.client.put("/clouds/mouse", {"action": "enable"}, headers={**JSON, "Idempotency-Key": key})
    assert (answer.status_int, answer.json["parameters"]) == (400, ["Idempotency-Key"])


def test_key_survives_a_restart_and_is_forgotten_after_a_day(store: Store) -> None:
    by = wishes.By("root", at=1000, terms=wishes.Terms(key=keys.Key.of("root", "k", {"a": 1})))
    first = verbs.wish_setting(store, by, Aspect.LOG_LEVEL, "INFO")
    assert verbs.wish_setting(store, replace(by, at=1000 + DAY - 1), Aspect.LOG_LEVEL, "INFO").id == first.id
    late = verbs.wish_setting(store, replace(by, at=1000 + DAY), Aspect.LOG_LEVEL, "INFO")
    assert late.id != first.id
    verbs.forget_old(store, 1000 + 2 * DAY, 30)
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM idempotency_keys").scalar() == 0


def test_requests_under_one_key_at_the_same_time_are_one_operation(admin: Bench) -> None:
    answers: list[Any] = []

    def ask() -> None:
        client = Client(admin.client.app)
        client.authorization = admin.client.authorization
        answers.append(put(client, "/clouds/mouse", "k", action="disable"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {answer.json["id"] for answer in answers} == {1}
    assert len(admin.seen) == 1


def test_token_is_made_once_under_a_key_and_its_text_not_told_again(admin: Bench) -> None:
    headers = {**JSON, "Idempotency-Key": "k"}
    made = admin.client.post("/tokens", {"role": "reader"}, headers=headers)
    again = admin.client.post("/tokens", {"role": "reader"}, headers=headers)
    assert (made.status_int, again.status_int, again.json["code"]) == (201, 409, "token-shown-once")
    assert made.json["id"] in again.json["detail"]
    assert len(admin.client.get("/tokens", headers=JSON).json["tokens"]) == 1
    url = f"/tokens/{made.json['id']}"
    assert [admin.client.delete(url, headers={**JSON, "Idempotency-Key": "r"}).status_int for _ in "ab"] == [200, 200]
    assert admin.client.delete("/tokens/x", headers={**JSON, "Idempotency-Key": "r"}).status_int == 404


# -- wait --------------------------------------------------------------------------------------------------------------


def test_wait_of_none_is_answered_at_once_with_where_to_look(idle: Client, tmp_path: Path) -> None:
    with closing(place.hold(databases.open_store(tmp_path))):
        answer = put(idle, "/clouds/mouse", action="disable", wait="0")
        assert (answer.status_int, answer.headers["Location"]) == (202, f"/operations/{answer.json['id']}")


def test_wait_ends_with_the_outcome_and_is_bounded(admin: Bench, idle: Client) -> None:
    assert put(admin.client, "/clouds/mouse", action="disable", wait="300").json["state"] == "done"
    assert put(idle, "/clouds/mouse", action="disable", wait="301").json["parameters"] == ["wait"]


# -- reasons -----------------------------------------------------------------------------------------------------------


def test_reason_is_journaled_with_every_verb(admin: Bench) -> None:
    put(admin.client, "/clouds/mouse", action="disable", reason="new kernel")
    entry = admin.client.get("/journal.json?kind=asked").json["entries"][0]
    assert (entry["reason"], entry["verb"]) == ("new kernel", "disable")
    assert admin.client.get("/operations/1.json").json["reason"] == "new kernel"


@pytest.fixture
def demanding(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    """A daemon of a site that demands a reason for every verb."""
    with closing(make_store(tmp_path)) as store:
        config = make_config(tmp_path, verb_wait_seconds=0, admin_auth="token")
        config = replace(config, logging=Logging(admin_log_comments=True))
        client = Client(admin_daemon.create_app(store, config))
        client.authorization = ("Bearer", read_token(config.global_.admin_token_file))
        yield client, store


def test_demanded_reason_is_demanded_of_every_verb(demanding: tuple[Client, Store]) -> None:
    client, store = demanding
    for method, url, given in VERBS:
        for query in ("", "?reason=%20"):
            asked = url.format(job="245.0", user="sharon", token="x", operation="1") + query
            answer = client.request(asked, method=method, headers=JSON, **({"POST": given} if given else {}))
            assert (answer.status_int, answer.json["code"]) == (400, "missing-parameter"), (method, url)
            assert answer.json["parameters"] == ["reason"]
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM operations").scalar() == 0


def test_demanded_reason_lets_verbs_and_previews_pass_and_speaks_as_v1(demanding: tuple[Client, Store]) -> None:
    client, _ = demanding
    assert client.put("/clouds/mouse?action=disable").text == (
        "Admin comments being enforced. Please use -C 'reason for command' when performing this option."
    )
    assert put(client, "/clouds/mouse", action="disable", dry_run="true").status_int == 200
    assert put(client, "/clouds/mouse", action="disable", reason="storm").status_int == 202
    assert client.get("/settings").status_int == 200


# -- the list ----------------------------------------------------------------------------------------------------------


def listed(client: Client, **given: str) -> list[int]:
    query = "&".join(f"{name}={value}" for name, value in given.items())
    return [each["id"] for each in client.get(f"/operations.json?{query}").json["operations"]]


@pytest.fixture
def several(idle: Client) -> Client:
    """Five operations: one done, one failed, three running."""
    put(idle, "/clouds/mouse", action="disable", reason="maintenance")
    put(idle, "/clouds/mouse/vms", action="force_retire", count="2")
    put(idle, "/clouds/cheetah", action="enable")
    put(idle, "/settings", log_level="DEBUG")
    put(idle, "/clouds/mouse/vms/testvm", action="shutdown")
    return idle


def test_operations_are_listed_on_both_daemons_target_by_target(several: Client, tmp_path: Path) -> None:
    with closing(databases.open_store(tmp_path)) as store:
        settle(store, 1, (OutcomeState.DONE, {}))
        settle(store, 2, failed("No machine."))
        info = Client(info_daemon.create_app(store, make_config(tmp_path, info_auth="none")))
        for client in (several, info):
            assert listed(client) == [5, 4, 3, 2, 1]
            assert listed(client, state="running") == [5, 4, 3]
            assert listed(client, state="done") == [1]
            assert listed(client, state="failed") == [2]
            found = client.get("/operations", headers=JSON).json["operations"][3]
            assert [(each["state"], each["detail"]) for each in found["targets"]] == [
                ("failed", {"error": "No machine."})
            ] * 2
        text = several.get("/operations?state=done").text
        assert text.endswith(" UTC 1 anonymous@127.0.0.1 disable cloud mouse: done; maintenance\n")
        assert several.get("/operations?state=running").text.count("running 0/1") == 3


FILTERED: list[tuple[dict[str, str], list[int]]] = [
    ({"verb": "disable"}, [1]),
    ({"cloud": "Mouse"}, [5, 2, 1]),
    ({"noun": "vm"}, [5, 2]),
    ({"name": "testvm"}, [5]),
    ({"name": "vm-mouse-1"}, [2]),
    ({"actor": "anonymous"}, [5, 4, 3, 2, 1]),
    ({"actor": "anonymou"}, []),
    ({"actor": "anon%25"}, []),
    ({"since": "4000000000"}, []),
    ({"until": "4000000000", "verb": "enable"}, [3]),
    ({"cloud": "mouse", "noun": "cloud"}, [1]),
]


def test_every_filter_must_fit(several: Client) -> None:
    assert [(given, listed(several, **given)) for given, _ in FILTERED] == FILTERED


def test_list_and_operation_have_a_tag_that_moves_with_operations_alone(several: Client, tmp_path: Path) -> None:
    with closing(databases.open_store(tmp_path)) as store:
        for url in ("/operations", "/operations.json?state=running", "/operations/5", "/operations/5.json"):
            for headers in ({}, {"Accept": "application/json"}):
                seen = several.get(url, headers=headers).headers["ETag"]
                with store.writing() as writing:
                    writing.touch("vms")
                again = several.get(url, headers={**headers, "If-None-Match": seen})
                assert (again.status_int, again.text) == (304, ""), url
        for change in (
            lambda: settle(store, 5, (OutcomeState.DONE, {})),
            lambda: put(several, "/clouds/mouse", action="enable"),
        ):
            seen = several.get("/operations/5").headers["ETag"]
            change()
            assert several.get("/operations/5", headers={"If-None-Match": seen}).status_int == 200
        forms = {
            several.get("/operations", headers=each).headers["ETag"] for each in ({}, {"Accept": "application/json"})
        }
        assert len(forms) == 2


def test_pages_hold_still_while_operations_are_made(several: Client) -> None:
    first = several.get("/operations.json?limit=2").json
    put(several, "/settings", log_level="INFO")
    second = several.get(f"/operations.json?limit=2&page_token={first['next_page_token']}")
    assert [each["id"] for each in second.json["operations"]] == [3, 2]
    assert (first["total"], second.json["total"]) == (5, 5)
    assert "rel=next" in second.headers["Link"]
    last = several.get(f"/operations.json?limit=2&page_token={second.json['next_page_token']}").json
    assert ([each["id"] for each in last["operations"]], last["next_page_token"]) == ([1], None)
    assert several.get("/operations?page_token=nonsense", headers=JSON).json["parameters"] == ["page_token"]
