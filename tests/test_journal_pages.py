"""Reading the journal over HTTP: both chains in one order, filters, pages, one thing's own journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wsgi import Client

from cloudsched import admin, info
from cloudsched.config import Config, Global
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Job, Shape
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, OutcomeState
from cloudsched.store import Store, clouds, jobs, journal, operations, verbs, vms, wishes

ODD = "test/name?x#y 100%"
ODD_URL = "test%2Fname%3Fx%23y%20100%25"
ALICE = wishes.By("alice@192.0.2.7", "req-alice", "maintenance", at=1000, address="192.0.2.7")
BOB = wishes.By("bob@192.0.2.8", "req-bob", at=2000, address="192.0.2.8")


@pytest.fixture
def filled(store: Store) -> Store:
    """Verbs of two operators, half of them settled at once."""
    with store.writing() as writing:
        clouds.record_clouds(writing, [Cloud("mouse", "local", vm_slots=5), Cloud(ODD, "local")])
        vms.record_vms(writing, [VM("u-1", "mouse", id="i-1", user="carol"), VM("u-2", ODD, id="i/2", user="dave")])
        jobs.record_jobs(writing, [Job("host#7.0#9", Shape("carol"), cluster_id=7)])
    for number in range(3):
        made = verbs.wish_enabled(store, replace(ALICE, at=1000 + number), "mouse", number % 2 == 0)
        operations.settle(store, [(made.targets[0].wish.id, OutcomeState.DONE, {})])
    verbs.wish_vm(store, BOB, "mouse", "i-1", Aspect.SHUTDOWN)
    verbs.wish_vm(store, BOB, ODD, "i/2", Aspect.RETIRE)
    verbs.wish_job(store, BOB, "7.0", Aspect.HOLD)
    with store.writing() as writing:
        vms.forget(writing, ["u-1"])
    return store


@pytest.fixture(params=["info", "admin"])
def client(request: pytest.FixtureRequest, filled: Store, tmp_path: Path) -> Iterator[Client]:
    settings = Global(state_dir=tmp_path, admin_auth="none")
    yield Client({"info": info, "admin": admin}[request.param].create_app(filled, Config(settings)))


def shown(client: Client, url: str) -> list[tuple[str, int, str]]:
    return [(each["chain"], each["id"], each["verb"]) for each in client.get(url).json["entries"]]


def test_both_chains_are_one_journal_newest_first(client: Client) -> None:
    assert shown(client, "/journal.json") == [
        ("admin", 6, "hold"),
        ("admin", 5, "retire"),
        ("admin", 4, "shutdown"),
        ("engine", 3, "enable"),
        ("admin", 3, "enable"),
        ("engine", 2, "disable"),
        ("admin", 2, "disable"),
        ("engine", 1, "enable"),
        ("admin", 1, "enable"),
    ]


def test_an_entry_shows_all_that_its_hash_is_made_of(client: Client) -> None:
    for entry in client.get("/journal.json").json["entries"]:
        values = {name: value for name, value in entry.items() if name != "chain"}
        assert journal.digest(values) == entry["hash"]


def test_text_is_a_line_an_entry(client: Client) -> None:
    lines = client.get("/journal").text.splitlines()
    assert lines[0] == "1970-01-01 00:33:20 UTC admin:6 bob@192.0.2.8 hold job 7.0: job_status: 0 -> 5"
    assert lines[3] == "1970-01-01 00:16:42 UTC engine:3 engine ended enable cloud mouse: done".replace(
        "1970-01-01 00:16:42", lines[3][:19]
    )
    assert lines[4] == (
        "1970-01-01 00:16:42 UTC admin:3 alice@192.0.2.7 enable cloud mouse: enabled: false -> true; maintenance"
    )
    assert lines[2] == (
        "1970-01-01 00:33:20 UTC admin:4 bob@192.0.2.8 shutdown vm i-1 on mouse: status: Starting -> null"
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("kind=outcome", ["enable", "disable", "enable"]),
        ("kind=asked&actor=bob", ["hold", "retire", "shutdown"]),
        ("actor=alice&verb=disable", ["disable"]),
        ("noun=vm", ["retire", "shutdown"]),
        ("name=i-1", ["shutdown"]),
        ("name=u-1", ["shutdown"]),
        ("name=7.0", ["hold"]),
        (f"cloud={ODD_URL}", ["retire"]),
        ("cloud=MOUSE&noun=vm", ["shutdown"]),
        ("user=carol", ["hold", "shutdown"]),
        ("request_id=req-bob", ["hold", "retire", "shutdown"]),
        ("request_id=req-alice&kind=outcome", ["enable", "disable", "enable"]),
        ("operation=2", ["disable", "disable"]),
        ("since=2000&kind=asked", ["hold", "retire", "shutdown"]),
        ("since=1001&until=1001", ["disable"]),
        ("until=1970-01-01T00:16:40Z", ["enable"]),
        ("until=1970-01-01T01:16:40%2B01:00", ["enable"]),
        ("until=1970-01-01", []),
        ("actor=nobody", []),
    ],
)
def test_filters(client: Client, query: str, expected: list[str]) -> None:
    found = client.get(f"/journal.json?{query}").json
    assert [each["verb"] for each in found["entries"]] == expected
    assert found["total"] == len(expected)


@pytest.mark.parametrize(
    "query",
    [
        "kind=verb",
        "limit=0",
        "limit=1001",
        "limit=many",
        "operation=0",
        "since=yesterday",
        "until=9999999-01-01",
        "since=1e5",
        "page_token=x",
        "page_token=1.2.3.7.5",
        "sort=id",
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client: Client, query: str) -> None:
    answer = client.get(f"/journal.json?{query}", headers={"Accept": "application/json"})
    assert (answer.status_int, answer.json["parameter"]) == (400, query.partition("=")[0])


@pytest.mark.parametrize("limit", [1, 2, 4, 9])
def test_pages_make_up_the_whole_and_hold_still(client: Client, filled: Store, limit: int) -> None:
    whole = shown(client, "/journal.json")
    found: list[tuple[str, int, str]] = []
    url = f"/journal.json?limit={limit}"
    while url:
        page = client.get(url)
        entries = [(each["chain"], each["id"], each["verb"]) for each in page.json["entries"]]
        found += entries
        assert (page.json["total"], len(entries) <= limit) == (9, True)
        token = page.json["next_page_token"]
        assert bool(token) == ("Link" in page.headers)
        url = f"/journal.json{page.headers['Link'].partition('<')[2].partition('>')[0]}" if token else ""
        assert f"limit={limit}" in url or not token
        # What comes meanwhile belongs to none of these pages.
        verbs.wish_enabled(filled, BOB, "mouse", True)
    assert found == whole


def test_pages_of_a_filter(client: Client) -> None:
    first = client.get("/journal.json?actor=bob&limit=2").json
    second = client.get(f"/journal.json?actor=bob&limit=2&page_token={first['next_page_token']}").json
    assert [each["verb"] for each in first["entries"] + second["entries"]] == ["hold", "retire", "shutdown"]
    assert (first["total"], second["total"], second["next_page_token"]) == (3, 3, None)


OWN = {
    "/clouds/mouse/journal": 7,
    "/clouds/MOUSE/journal": 7,
    f"/clouds/{ODD_URL}/journal": 1,
    "/clouds/mouse/vms/i-1/journal": 1,
    "/clouds/mouse/vms/u-1/journal": 1,
    f"/clouds/{ODD_URL}/vms/i%2F2/journal": 1,
    "/users/carol/journal": 2,
    "/jobs/7.0/journal": 1,
    "/jobs/host%237.0%239/journal": 1,
}


@pytest.mark.parametrize("url", OWN)
def test_each_thing_has_its_own_journal_even_when_it_is_gone(client: Client, url: str) -> None:
    assert client.get(f"{url}.json").json["total"] == OWN[url]
    assert len(client.get(url).text.splitlines()) == OWN[url]


@pytest.mark.parametrize(
    "url", ["/clouds/rat/journal", "/clouds/mouse/vms/i-9/journal", "/users/eve/journal", "/jobs/9.9/journal"]
)
def test_of_what_nothing_is_known_there_is_no_journal(client: Client, url: str) -> None:
    assert client.get(url).status_int == 404
    assert client.get(f"{url}.json", headers={"Accept": "application/json"}).json["code"] == "not-found"


def test_a_thing_that_nothing_happened_to_has_an_empty_one(client: Client, filled: Store) -> None:
    with filled.writing() as writing:
        clouds.record_clouds(writing, [Cloud("quiet", "local")])
    assert client.get("/clouds/quiet/journal.json").json["entries"] == []


def test_what_is_in_the_url_is_no_parameter(client: Client) -> None:
    assert client.get("/clouds/mouse/journal?cloud=mouse").status_int == 400
    assert client.get("/jobs/7.0/journal?name=x").status_int == 400


def test_one_entry_with_what_became_of_it(client: Client) -> None:
    found = client.get("/journal/3", headers={"Accept": "application/json"}).json
    assert (found["verb"], found["reason"], found["outcome"]["detail"]) == ("enable", "maintenance", {"state": "done"})
    assert client.get("/journal/admin:3.json").json == found
    assert client.get("/journal/engine:3.json").json["kind"] == "outcome"
    assert client.get("/journal/4.json").json["outcome"] is None
    assert len(client.get("/journal/3").text.splitlines()) == 2


@pytest.mark.parametrize("entry", ["99", "engine:99", "info:1", "x", "1.5", "-1", "9" * 30])
def test_no_entry(client: Client, entry: str) -> None:
    assert client.get(f"/journal/{entry}").status_int == 404


def test_nothing_new_is_304_in_either_form(client: Client, filled: Store) -> None:
    def again(tag: str, **headers: str) -> Any:
        return client.get("/journal", headers={"If-None-Match": tag, **headers}).status_int

    json = {"Accept": "application/json"}
    text_tag, json_tag = client.get("/journal").headers["ETag"], client.get("/journal", headers=json).headers["ETag"]
    assert text_tag != json_tag
    assert (again(text_tag), again(json_tag, **json), again("*")) == (304, 304, 304)
    assert (again(json_tag), again(text_tag, **json)) == (200, 200)
    verbs.wish_enabled(filled, BOB, "mouse", True)
    assert again(text_tag) == 200


def test_no_text_of_a_user_forges_a_line(client: Client, filled: Store) -> None:
    verbs.wish_enabled(filled, replace(BOB, reason="one\ntwo \x1b[2J"), "mouse", True)
    assert client.get("/journal").text.splitlines()[0].endswith("one?two ?[2J")
