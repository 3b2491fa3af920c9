"""The status page without a browser: what it shows, what it escapes, when it is asked for and when it is 304."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from info_app import golden_client
from wsgi import Client

from cloudsched.model.clouds import Cloud
from cloudsched.model.failures import VMFailure
from cloudsched.model.snapshot import Heartbeat
from cloudsched.model.vms import VM
from cloudsched.render import plots, status
from cloudsched.render.fleet import fleet
from cloudsched.render.status import Status
from cloudsched.store import Store, history, verbs, vm_failures, wishes

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}
EVIL = "<script>alert(1)</script>&\"'`\n</td>"


EMPTY = Status("1", 1, 1e9, fleet([], []), {}, {}, (), {}, (), (), ())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    client, store = golden_client(tmp_path)
    yield client, store
    store.close()


class Checked(HTMLParser):
    """Every element is closed where it was opened; scripts and text are collected."""

    VOID = frozenset(("meta", "link", "br", "path"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_browsers_get_the_page_and_nobody_else(served: tuple[Client, Store]) -> None:
    client, _ = served
    page = client.get("/", headers=BROWSER)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    Checked(page.text)
    for accept in (None, "*/*", "text/plain", "application/json, text/html;q=0.1", "text/plain, text/html;q=0.5"):
        other = client.get("/", headers={"Accept": accept} if accept else {})
        assert "Version" in other.text or "version" in other.text
        assert "<html" not in other.text
        assert other.headers["Vary"] == "Accept"


def test_page_shows_fleet_queue_and_failures(served: tuple[Client, Store]) -> None:
    client, store = served
    verbs.wish_enabled(store, wishes.By("someone@127.0.0.1"), "mouse", False)
    text = client.get("/", headers=BROWSER).text
    for word in ("test/name?x#y", "mouse", "alice", "Scheduler", "disable", "History", "State index"):
        assert word in text, word
    assert "someone" not in text
    assert re.search(r"<td>mouse</td><td>enabled</td><td class=number>5</td><td class=number>10</td>", text)


def test_page_tells_which_heartbeats_are_late_and_which_vms_were_of_no_use(served: tuple[Client, Store]) -> None:
    client, store = served
    with store.writing() as writing:
        for number in range(12):
            lost = VMFailure(f"uid-{number:02}", "mouse", 1000 + number, "unjoined", f"<b>{number}</b>")
            vm_failures.record_failure(writing, lost)
    text = client.get("/", headers=BROWSER).text
    Checked(text)
    rows = dict(re.findall(r"<tr><td>(\w+)</td><td>(late|on time)</td><td class=number>", text))
    assert rows["Scheduler"] == "on time"
    assert rows["MachinePoller"] == "late"
    assert re.findall(r"<td>(uid-\d\d)</td><td>&lt;b&gt;", text) == [f"uid-{number:02}" for number in range(11, 1, -1)]
    assert "1970-01-01 00:16:51 UTC" in text


def test_page_is_304_until_index_or_minute_moves(served: tuple[Client, Store]) -> None:
    client, store = served
    tag = client.get("/", headers=BROWSER).headers["ETag"]
    again = client.get("/", headers=BROWSER | {"If-None-Match": tag})
    assert (again.status_int, again.body) == (304, b"")
    with store.writing() as writing:
        history.record_minute(writing, int(time.time() // 60), {"vms": 1.0})
    moved = client.get("/", headers=BROWSER | {"If-None-Match": tag})
    assert moved.status_int == 200
    verbs.wish_enabled(store, wishes.By("x"), "mouse", True)
    last = client.get("/", headers=BROWSER | {"If-None-Match": moved.headers["ETag"]})
    assert last.status_int == 200


def test_nothing_of_a_state_becomes_markup() -> None:
    cloud = Cloud(EVIL, "local", last_error=EVIL, failed_images=(EVIL,), vm_slots=1)
    shown = replace(
        EMPTY,
        fleet=fleet([cloud], [VM("u", EVIL, status=EVIL, user=EVIL)]),
        jobs={(1, EVIL): 1},
        why={EVIL: 1},
        beats=(Heartbeat(EVIL, 5, 1),),
        late_after={EVIL: 35},
        failures=(VMFailure(EVIL, EVIL, 1, EVIL, EVIL),),
    )
    text, empty = status.page(shown, "", ""), status.page(EMPTY, "", "")
    assert Checked(text).seen.count("script") == Checked(empty).seen.count("script") == 1
    assert EVIL not in text
    assert "&lt;script&gt;" in text


def test_policy_allows_our_own_style_and_script_only(served: tuple[Client, Store]) -> None:
    client, _ = served
    page = client.get("/", headers=BROWSER)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"\son\w+=|style=|https?://", page.text.partition("<main")[2].partition("</main>")[0])


def test_many_users_are_summed_up() -> None:
    jobs = {(1, f"user{n:03}"): 1 for n in range(120)}
    text = status.page(replace(EMPTY, jobs=jobs), "", "")
    assert "<td>70 others</td><td class=number>70</td>" in text


def test_plot_breaks_its_line_where_no_engine_ran() -> None:
    day = [(1000, {"vms": 0.0}), (1001, {"vms": 10.0}), (1100, {"vms": 5.0}), (-9999, {"vms": 99.0})]
    text = plots.plot("VMs", {"vms": "all"}, sorted(day), 1100)
    (path,) = re.findall(r' d="([^"]*)"', text)
    assert path.count("M") == 2
    assert path.count("L") == 1
    assert path.endswith("M480.0 40.0")
    assert "at most 10" in text
    assert "<path" not in plots.plot("VMs", {"vms": "all"}, [], 1100)
