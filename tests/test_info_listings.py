"""Listings: filters, order, fields, pages of one state index, and how long these are kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from contract import contract
from golden_state import golden
from info_app import golden_client
from wsgi import Client

from cloudsched.errors import PageExpired
from cloudsched.info import nouns, picture
from cloudsched.model.failures import VMFailure
from cloudsched.model.jobs import Job, JobStatus, Shape
from cloudsched.model.troubles import CloudCall, Trouble, TroubleKind
from cloudsched.store import Store, clouds, jobs, vm_failures, vms
from cloudsched.web import kept
from cloudsched.web.kept import BLOCK_ROWS, Held, Kept, Listing, Packing, Shown
from cloudsched.web.listing import Query, Token, age, order
from cloudsched.web.params import text

MOUSE = [vm.id for vm in golden().vms if vm.cloud == "mouse"]
NOUNS = {
    "/cloud": nouns.OVERVIEW,
    "/cloud/health": nouns.CLOUD_HEALTH,
    "/clusters": nouns.CLOUDS,
    "/clusters/mouse/vms": nouns.VMS_OF_CLOUD,
    "/vms": nouns.VMS,
    "/vms/resources": nouns.VMS,
    "/jobs": nouns.JOBS,
    "/failures/boot": nouns.BOOT_FAILURES,
    "/failures/image": nouns.IMAGE_FAILURES,
    "/failures/vms": nouns.VM_FAILURES,
}
FAILURES = [
    VMFailure("vm-9", "mouse", 1480000500, "timeout", "It never came up.", user="alice", image="atlas-5"),
    VMFailure("vm-8", "cheetah", 1480000400, "unjoined", "It never joined.", user="bob", vmtype="belle2"),
]


WANTED = {
    "state": "ok",
    "status": "Running",
    "user": "alice",
    "vmtype": "belle2",
    "cloud": "MOUSE",
    "image": "atlas-worker-5.11",
    "host": "SLOT1@mouse--3f8a-0001.example.org",
    "reason": "MEMORY",
    "type": "openstacknative",
    "cause": "timeout",
    "/jobs state": "running",
    "/failures/boot image": "Default-Image",
    "/failures/image image": "ami-dead0001",
    "/failures/vms image": "atlas-5",
}
"""Values by which a listing with such a filter finds something."""


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, Store]]:
    """For tests that change the state: mere observations are published at once."""
    monkeypatch.setattr(picture, "PUBLISH_SECONDS", 0.0)
    yield from _daemon(tmp_path)


def _daemon(directory: Path) -> Iterator[tuple[Client, Store]]:
    client, store = golden_client(directory)
    with store.writing() as writing:
        for each in FAILURES:
            vm_failures.record_failure(writing, each)
    yield client, store
    store.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """For tests that only read."""
    yield from (client for client, _ in _daemon(tmp_path_factory.mktemp("listings")))


def get(client: Client, url: str, **parameters: Any) -> dict[str, Any]:
    """A page as JSON; `key` is the rows, whatever their name is."""
    path, _, query = url.partition("?")
    answer = client.get(f"{path}.json?{'&'.join(filter(None, (query, urlencode(parameters))))}")
    assert answer.status_int == 200, answer.text
    found: dict[str, Any] = answer.json
    assert answer.headers["X-Total-Count"] == str(found["total"])
    return found


def ids(page: dict[str, Any], name: str = "id") -> list[str]:
    rows = next(value for value in page.values() if isinstance(value, list))
    return [row[name] for row in rows]


@pytest.mark.parametrize("url", NOUNS)
def test_every_filter_narrows_to_what_the_fields_say(client: Client, url: str) -> None:
    """It finds some rows by a value that there is, and none by one that there is not."""
    noun, whole = NOUNS[url], get(client, url, limit=1000)
    for name, each in noun.filters.items():
        if name in WANTED:
            value = WANTED.get(f"{url} {name}", WANTED[name])
            found = get(client, url, limit=1000, **{name: value})["total"]
            assert 0 < found < whole["total"] or value in ("ok", "Default-Image"), (name, found)
        if each.parse is text:
            assert get(client, url, **{name: "no such"})["total"] == 0, name


def test_filters_of_vms_are_all_met(client: Client) -> None:
    assert ids(get(client, "/vms", user="alice", cloud="Mouse")) == MOUSE[:2]
    assert ids(get(client, "/vms", status="Retiring")) == [MOUSE[2]]
    assert ids(get(client, "/vms", status="Running", user="alice")) == [MOUSE[0]]
    assert ids(get(client, "/vms", host="206.12.154.10")) == [MOUSE[0]]
    assert ids(get(client, "/vms", image="cernvm-4", user="alice", status="Running")) == [MOUSE[0]]
    assert ids(get(client, "/clusters/mouse/vms", user="bob")) == MOUSE[2:4]


def test_filters_of_jobs_are_all_met(client: Client) -> None:
    every = {job.id for job in golden().jobs}
    assert set(ids(get(client, "/jobs", limit=1000))) == every
    running = {job.id for job in golden().jobs if job.job_status == JobStatus.RUNNING}
    assert set(ids(get(client, "/jobs", state="running", limit=1000))) == running
    assert ids(get(client, "/jobs", state="running", user="alice")) == ["job-3"]
    assert ids(get(client, "/jobs", cloud="MOUSE", user="bob")) == ["job-4"]
    assert ids(get(client, "/jobs", host="slot1@mouse--3f8a-0001.EXAMPLE.org")) == ["job-3"]
    assert ids(get(client, "/jobs", host="mouse--3f8a-0001.example.org")) == ["job-3"]
    assert set(ids(get(client, "/jobs", image="atlas-worker-5.11"))) == {
        job.id for job in golden().jobs if "atlas-worker-5.11" in job.shape.req_ami.values()
    }
    assert ids(get(client, "/jobs", state="high", user="carol", sort="-id")) == ["job-8", "job-7"]


def test_jobs_need_a_state_where_nothing_else_is_asked(client: Client) -> None:
    assert client.get("/jobs").text == "The parameter 'state' is missing."
    assert client.get("/jobs?index=0").text == "The parameter 'state' is missing."
    assert client.get("/jobs?user=nobody").status_int == 200


def test_finished_jobs_are_told_from_the_others(daemon: tuple[Client, Store]) -> None:
    client, store = daemon
    with store.writing() as writing:
        ended = [replace(job, finished_at=1480000900) for job in golden().jobs if job.id == "job-9"]
        jobs.record_jobs(writing, ended)
    assert ids(get(client, "/jobs", finished="true")) == ["job-9"]
    assert get(client, "/jobs", finished="false")["total"] == len(golden().jobs) - 1


def test_ages_are_from_now_and_have_no_tag(daemon: tuple[Client, Store]) -> None:
    client, store = daemon
    now = int(time.time())
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "vm-mouse-1", "initialize_time": now - 1000}])
        found = [replace(job, submitted_at=now - 90000) for job in golden().jobs if job.id == "job-1"]
        jobs.record_jobs(writing, found)
    assert ids(get(client, "/vms", younger_than="20m")) == [MOUSE[0]]
    assert MOUSE[0] in ids(get(client, "/vms", older_than="15m"))
    assert MOUSE[0] not in ids(get(client, "/vms", older_than="1h"))
    # Jobs whose submission is unknown have no age.
    assert ids(get(client, "/jobs", older_than="1d")) == ["job-1"]
    assert ids(get(client, "/jobs", younger_than="2d")) == ["job-1"]
    assert "ETag" not in client.get("/vms?older_than=1").headers
    assert "ETag" not in client.get("/failures/vms?limit=1").headers


@pytest.mark.parametrize(
    ("written", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("3d", 259200)]
)
def test_ages_are_numbers_with_a_unit(written: str, seconds: int) -> None:
    assert age(written) == seconds


@pytest.mark.parametrize("written", ["", "m", "-1", "1.5h", "1w", "٣", "1 h", "1" * 10])
def test_other_ages_are_refused(client: Client, written: str) -> None:
    answer = client.get(f"/vms?{urlencode({'older_than': written})}")
    assert answer.status_int == 400
    assert "older_than" in answer.text


def test_released_vms_are_listed_for_who_asks_for_them(daemon: tuple[Client, Store]) -> None:
    client, store = daemon
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "vm-mouse-1", "released": True}])
        vms.record_fields(writing, [{"uid": "vm-mouse-2", "retired": True}])
    assert ids(get(client, "/vms", cloud="mouse")) == [*MOUSE[2:], MOUSE[1]]
    assert ids(get(client, "/vms", released="true")) == [MOUSE[0]]
    assert ids(get(client, "/vms", retired="true")) == [MOUSE[1]]
    assert ids(get(client, "/clusters/mouse/vms", retired="false")) == MOUSE[2:]


def test_rows_are_sorted_by_what_is_named_and_else_stay(client: Client) -> None:
    users = [(vm.user, vm.id) for vm in golden().vms]
    assert ids(get(client, "/vms", sort="user")) == [each for _, each in sorted(users, key=lambda pair: pair[0])]
    turned = sorted(users, key=lambda pair: pair[0], reverse=True)
    assert ids(get(client, "/vms", sort="-user")) == [each for _, each in turned]
    both = sorted(golden().vms, key=lambda vm: vm.initialize_time, reverse=True)
    both.sort(key=lambda vm: vm.vmtype, reverse=True)
    assert ids(get(client, "/vms", sort="-vmtype,age")) == [vm.id for vm in both]
    submitted = [job.id for job in sorted(golden().jobs, key=lambda job: (job.cluster_id, job.proc_id, job.id))]
    assert ids(get(client, "/jobs", limit=1000)) == submitted


def test_words_may_be_given_one_by_one(client: Client) -> None:
    assert (
        client.get("/vms?sort=-user&sort=id&fields=id&fields=user").text
        == client.get("/vms?sort=-user,id&fields=id,user").text
    )
    assert client.get("/vms?user=alice&user=bob").text == "The parameter 'user' is given twice."


def test_any_sort_key_works_on_every_listing(client: Client) -> None:
    for url, noun in NOUNS.items():
        for name in noun.sorts:
            key = noun.fields[0]
            upwards, downwards = (ids(get(client, url, sort=f"{sign}{name}"), key) for sign in ("", "-"))
            assert sorted(upwards) == sorted(downwards), (url, name)


@pytest.mark.parametrize("url", NOUNS)
def test_fields_are_exactly_those_of_the_document(client: Client, url: str) -> None:
    noun = NOUNS[url]
    whole = next(value for value in get(client, url, limit=1000).values() if isinstance(value, list))
    chosen = [noun.fields[-1], noun.fields[0]]
    some = next(value for value in get(client, url, fields=",".join(chosen)).values() if isinstance(value, list))
    assert whole
    assert some == [{name: row[name] for name in chosen if name in row} for row in whole]
    assert [list(row) for row in some] == [[name for name in chosen if name in row] for row in whole]
    assert {name for row in whole for name in row} == set(noun.fields)


@pytest.mark.parametrize("url", NOUNS)
def test_contract_has_every_field_and_the_document_its_schema(url: str) -> None:
    held = contract("info")
    path = url.replace("mouse", "{cloud}")
    parameters = held.parameters(held.document["paths"][path]["get"])
    assert tuple(parameters["fields"]["items"]["enum"]) == NOUNS[url].fields


def test_parameters_beyond_the_table_are_refused_by_name(client: Client) -> None:
    for url, named in {
        "/vms?colour=red&limit=2": "The parameter 'colour' is unknown",
        "/clusters/mouse/vms?cloud=mouse": "The parameter 'cloud' is unknown",
        "/vms?fields=id,colour": "The parameter 'fields' must be one or more of name or id or ",
        "/vms?fields=": "The parameter 'fields' must be one or more of ",
        "/vms?sort=colour": "The parameter 'sort' must be one or more of id or -id or ",
        "/vms?limit=0": "The parameter 'limit' must be an integer from 1 to 1000, not '0'.",
        "/vms?limit=1001": "The parameter 'limit' must be an integer from 1 to 1000",
        "/vms?retired=yes": "The parameter 'retired' must be true or false, not 'yes'.",
        "/vms?metric=total&user=alice": "The parameter 'metric' goes without those of a listing.",
        "/vms?page_token=1": "The parameter 'page_token' must be the one of the page before.",
        "/jobs?state=all&user=alice": "The parameter 'state' must be new or sched",
    }.items():
        answer = client.get(url)
        assert (answer.status_int, answer.text[: len(named)]) == (400, named)


def pages(client: Client, url: str, **parameters: Any) -> Iterator[Any]:
    """The answers for every page, by their links."""
    path, target = url, f"{url}?{urlencode(parameters)}"
    while target:
        answer = client.get(target, headers={"Accept": "application/json"})
        assert answer.status_int == 200, answer.text
        yield answer
        link = answer.headers.get("Link")
        assert bool(link) == bool(answer.json["next_page_token"])
        target = path + link[1 : link.index(">")] if link else ""


@pytest.mark.parametrize("url", NOUNS)
def test_pages_together_are_the_whole(client: Client, url: str) -> None:
    key, name = NOUNS[url].fields[0], next(iter(NOUNS[url].sorts))
    whole = get(client, url, sort=f"-{name}")
    found = list(pages(client, url, sort=f"-{name}", limit=2))
    assert [row for page in found for row in ids(page.json, key)] == ids(whole, key)
    assert len(found) == (whole["total"] + 1) // 2
    assert {page.json["total"] for page in found} == {whole["total"]}


@pytest.mark.parametrize("url", ["/vms", "/jobs", "/failures/vms"])
def test_all_pages_are_of_one_state_index(daemon: tuple[Client, Store], url: str) -> None:
    client, store = daemon
    expected = get(client, url, limit=1000)
    seen, indexes = [], set()
    for page in pages(client, url, limit=1):
        seen += next(value for value in page.json.values() if isinstance(value, list))
        indexes.add(page.json["index"])
        with store.writing() as writing:
            # Everything changes, goes or comes between the pages.
            number = len(seen)
            vms.forget(writing, [golden().vms[-1].uid])
            vms.record_fields(writing, [{"uid": "vm-mouse-1", "status": f"Status{number}"}])
            jobs.record_jobs(writing, [Job(f"new-{number}", Shape("zoe"), cluster_id=0, proc_id=number)])
            jobs.record_jobs(writing, [replace(golden().jobs[3], priority=number)])
            vm_failures.record_failure(
                writing, replace(FAILURES[0], uid=f"new-{number}", failed_at=1490000000 + number)
            )
    rows = next(value for value in expected.values() if isinstance(value, list))
    assert seen == rows
    assert len(indexes) == 1
    assert get(client, url, limit=1000) != expected


def test_token_brings_filters_order_and_length_with_it(client: Client) -> None:
    first = get(client, "/vms", user="bob", sort="-id", limit=1)
    token = first["next_page_token"]
    second = get(client, "/vms", page_token=token)
    assert ids(first) + ids(second) == sorted(MOUSE[2:4], reverse=True)
    assert second["next_page_token"] is None
    assert second == get(client, "/vms", user="bob", sort="-id", limit=1, page_token=token)
    assert list(get(client, "/vms", page_token=token, fields="user")["vms"][0]) == ["user"]


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("/vms?user=alice&", "'page_token' belongs to a listing with other filters"),
        ("/vms?sort=user&", "'page_token' belongs to a listing with other filters"),
        ("/vms?user=bob&", "'page_token' belongs to a listing with other filters"),
        ("/clusters/mouse/vms?", "'page_token' belongs to another URL"),
        ("/jobs?", "'page_token' belongs to another URL"),
        ("/vms?index=5&", "'index' goes without 'page_token'"),
    ],
)
def test_token_is_for_its_own_listing(client: Client, url: str, refused: str) -> None:
    token = get(client, "/vms", user="bob", sort="id", limit=1)["next_page_token"]
    answer = client.get(f"{url}page_token={token}")
    assert answer.status_int == 400
    assert refused in answer.text


def test_listing_that_is_gone_is_told_by_a_stable_code(client: Client) -> None:
    answer = client.get("/vms.json?page_token=0123456789abcdef.100.100")
    assert (answer.status_int, answer.json["code"]) == (410, "page-token-expired")
    assert "ask for its first page again" in client.get("/vms?page_token=0123456789abcdef.100.100").text


def test_listing_has_a_tag_until_what_it_shows_changes(daemon: tuple[Client, Store]) -> None:
    client, store = daemon
    url = "/jobs?user=alice&limit=1"
    first = client.get(url)
    known = {"If-None-Match": first.headers["ETag"]}
    assert client.get(url).headers["Link"] == first.headers["Link"]
    again = client.get(url, headers=known)
    assert (again.status_int, again.body) == (304, b"")
    with store.writing() as writing:
        jobs.record_jobs(writing, [Job("new", Shape("bob"), cluster_id=900)])
    changed = client.get(url, headers=known)
    assert changed.status_int == 200
    assert changed.text == first.text


def test_token_holds_for_who_was_told_that_nothing_changed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page is made again for a 304, so that the token in the client's copy still has its listing."""
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.0)
    first = client.get("/vms?limit=1", headers={"Accept": "application/json"})
    monkeypatch.undo()
    token = first.json["next_page_token"]
    assert client.get(f"/vms?page_token={token}").status_int == 410
    headers = {"Accept": "application/json", "If-None-Match": first.headers["ETag"]}
    assert client.get("/vms?limit=1", headers=headers).status_int == 304
    assert client.get(f"/vms?page_token={token}").status_int == 200


def test_listing_can_be_waited_for(daemon: tuple[Client, Store]) -> None:
    client, store = daemon
    index = get(client, "/vms", user="alice")["index"]
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "vm-mouse-1", "status": "Error"}])
    page = get(client, "/vms", user="alice", index=index, wait=30)
    assert page["index"] > index
    assert page["vms"][0]["status"] == "Error"


def test_text_is_the_same_table_with_what_was_asked_for(client: Client) -> None:
    whole = client.get("/vms").text.splitlines()
    some = client.get("/vms?user=bob&limit=1")
    assert some.text.splitlines() == [whole[0], whole[3], "", "Total VMs: 2. Total Clouds: 3"]
    assert some.headers["X-Total-Count"] == "2"
    listed = client.get("/jobs?state=running").text.splitlines()
    assert client.get("/jobs?state=running&user=bob").text.splitlines() == [listed[0], listed[2]]
    assert (
        client.get("/clusters?cloud=MOUSE").text
        == "Clusters in resource pool:\n"
        + client.get("/clusters/mouse").text.removeprefix("Cluster Info: mouse\n")
        + "\n"
    )
    assert client.get("/failures/image?cloud=mouse").text.splitlines()[:2] == ["Image Failure List", "   Cloud: mouse"]
    assert client.get("/cloud?cloud=mouse").text.count("\n") == 3


def test_fields_as_text_are_columns(client: Client) -> None:
    table = client.get("/vms?fields=user,status,override_status,memory,job_run_times&cloud=mouse&limit=3").text
    assert table.splitlines() == [
        "USER  STATUS   OVERRIDE_STATUS MEMORY JOB_RUN_TIMES",
        "alice Running  -               8192   [3600, 4200, 3905]",
        "alice Starting -               8192   []",
        "bob   Running  Retiring        2048   [180, 240, 300, 360, 420, 480, 540, 600, 660, 720]",
    ]


def test_names_of_any_characters_are_found(daemon: tuple[Client, Store]) -> None:
    client, store = daemon
    with store.writing() as writing:
        odd = [Job("odd", Shape('a,b"[%&=é\n', req_vmtype="-x"), cluster_id=800)]
        jobs.record_jobs(writing, odd)
    assert ids(get(client, "/jobs", user='a,b"[%&=é\n', vmtype="-x")) == ["odd"]
    assert ids(get(client, "/vms", cloud="test/name?x#y")) == ["vm/8.x?a#b"]


def test_clouds_by_how_they_stand(client: Client) -> None:
    assert ids(get(client, "/clusters", enabled="false"), "name") == ["cheetah"]
    assert ids(get(client, "/cloud", state="ok", sort="-name"), "name") == ["test/name?x#y", "mouse", "cheetah"]
    assert get(client, "/clusters", fields="name,vm_slots", cloud="mouse")["resources"][0].keys() == {
        "name",
        "vm_slots",
    }


def test_clouds_in_trouble_are_found_by_what_it_is_and_how_long_it_lasts(daemon: tuple[Client, Store]) -> None:
    client, store = daemon
    now = time.time()
    out = Trouble(TroubleKind.OUTAGE, CloudCall.LISTING, "No route to host.", now - 7200, failures=9)
    full = Trouble(TroubleKind.QUOTA, CloudCall.BOOT, "No room.", now - 60, failures=2)
    with store.writing() as writing:
        known = [replace(each, trouble={"mouse": out, "cheetah": full}.get(each.name)) for each in golden().clouds]
        clouds.record_clouds(writing, known)
    url = "/cloud/health"
    assert ids(get(client, url, state="out"), "name") == ["mouse"]
    assert ids(get(client, url, older_than="1h"), "name") == ["mouse"]
    assert ids(get(client, url, younger_than="1h"), "name") == ["cheetah"]
    assert ids(get(client, url, sort="-failures"), "name") == ["mouse", "cheetah", "test/name?x#y"]
    assert get(client, url, state="full", fields="name,cause")["clouds"] == [{"name": "cheetah", "cause": "No room."}]
    heading, row = client.get(f"{url}?state=out").text.splitlines()
    assert (heading.split()[:2], row.split()[:2]) == (["CLOUD", "STATE"], ["mouse", "out"])


def test_clouds_that_drain_are_in_the_same_list(daemon: tuple[Client, Store]) -> None:
    client, store = daemon
    with store.writing() as writing:
        clouds.record_clouds(writing, [replace(golden().clouds[0], removed=True)])
    assert ids(get(client, "/clusters", removed="true"), "name") == ["mouse"]
    assert "mouse" not in ids(get(client, "/clusters", removed="false"), "name")
    assert get(client, "/vms", cloud="mouse", retired="false")["total"] == 5


def test_more_jobs_than_a_block_keep_their_order(daemon: tuple[Client, Store]) -> None:
    client, store = daemon
    number = 2 * BLOCK_ROWS + 3
    with store.writing() as writing:
        jobs.record_jobs(
            writing, [Job(f"j{n:04}", Shape("zoe"), cluster_id=5000 - n, proc_id=n) for n in range(number)]
        )
    found = [row for page in pages(client, "/jobs", user="zoe", limit=100) for row in ids(page.json)]
    assert found == [f"j{n:04}" for n in reversed(range(number))]
    found = [row for page in pages(client, "/jobs", user="zoe", sort="id", limit=77) for row in ids(page.json)]
    assert found == [f"j{n:04}" for n in range(number)]


def test_listing_shows_no_less_than_what_was_seen_before(daemon: tuple[Client, Store]) -> None:
    """Jobs are read from the store itself: nothing that is answered later may be older."""
    client, store = daemon
    client.get("/jobs.json?state=new")
    with store.writing() as writing:
        jobs.record_jobs(writing, [Job("new", Shape("zoe"), cluster_id=900)])
    assert ids(get(client, "/jobs", user="zoe")) == ["new"]
    assert '"new"' in client.get("/jobs.json?state=new").text


def test_order_is_stable_both_ways() -> None:
    keys = [("b", 1), ("a", 1), ("b", 0), ("a", 1)]
    assert order(keys, ("x",)) == [1, 3, 0, 2]
    assert order(keys, ("-x",)) == [0, 2, 1, 3]
    assert order(keys, ("-x", "y")) == [2, 0, 1, 3]
    assert order(keys, ()) == [0, 1, 2, 3]


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


SHOWN: Shown[int] = Shown(str, lambda rows, total: "")


def listing(rows: int) -> Listing[int]:
    return Listing(("n",), Query(), 1, True, Held(range(rows)), SHOWN)


def test_listing_is_kept_a_minute_after_it_was_asked_for() -> None:
    clock = Clock()
    held = Kept(clock=clock)
    held.put("a", listing(1))
    for clock.now in (59.0, 118.0, 177.0):
        assert held.get("a").rows.some(0, 1)
    clock.now += 60.0
    with pytest.raises(PageExpired):
        held.get("a")
    assert held.size() == 0


def test_least_lately_asked_for_makes_room() -> None:
    held = Kept(most_bytes=3 * kept.HELD_ROW_BYTES)
    for name in "abc":
        held.put(name, listing(1))
    assert held.get("a")
    held.put("d", listing(1))
    assert [name for name in "abcd" if held.find(name)] == ["a", "c", "d"]
    # What is longer than everything may be is kept alone: it could not be paged otherwise.
    held.put("e", listing(10))
    assert [name for name in "abcde" if held.find(name)] == ["e"]
    held.put("f", listing(1))
    assert [name for name in "ef" if held.find(name)] == ["f"]


def test_sixty_four_megabytes_of_listings_are_kept() -> None:
    assert kept.KEPT_BYTES == 64 << 20
    assert kept.KEPT_SECONDS == 60


def test_packed_jobs_take_a_fraction() -> None:
    packing = Packing()
    for number in range(1000):
        packing.add([f"host#{number}.0#1480000000", "shape", number, 0, 5, 1, "Unscheduled", *[None] * 20])
    packed = packing.packed(reversed(range(1000)), lambda row: row)
    assert packed.some(0, 2) == [
        [f"host#{n}.0#1480000000", "shape", n, 0, 5, 1, "Unscheduled", *[None] * 20] for n in (999, 998)
    ]
    assert len(packed) == 1000
    assert packed.size < 40_000


def test_nothing_is_kept_on_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.05)
    held = Kept()
    held.put("a", listing(1))
    deadline = time.monotonic() + 30
    while held._entries and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not held._entries


def test_token_is_its_text() -> None:
    assert str(Token("0123456789abcdef", 100, 50)) == "0123456789abcdef.100.50"


def test_document_of_a_page_is_json_without_escapes_of_its_own(client: Client) -> None:
    body = client.get("/vms.json?limit=1").body
    assert json.loads(body)["vms"][0] == json.loads(client.get("/vms.json").body)["vms"][0]
