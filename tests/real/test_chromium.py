"""The status page in a real Chromium: live, by keyboard, on a phone, in the dark, without a script."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import Tab, chromium
from contract import contract
from golden_state import load
from info_app import open_store
from scheduler_process import daemon, wait_for

from cloudsched.store import Store, heartbeats, history, verbs, wishes

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("chromium"),
    pytest.mark.skipif(not PROGRAM, reason="needs Debian's package chromium"),
]
SECTIONS = ["fleet", "queue", "heartbeats", "failures", "journal", "history"]
PICTURE = Path(__file__).parent.parent.parent / "docs" / "status-page.png"


@dataclass(frozen=True)
class Shown:
    """An info daemon over the recorded fleet, its state, and a browser."""

    url: str
    store: Store
    tab: Tab


def fill(store: Store) -> None:
    """The recorded fleet and a day that was busy in the middle."""
    load(store, time.time())
    now = int(time.time() // 60)
    with store.writing() as writing:
        for minute in range(now - 1439, now + 1):
            day = (1 - math.cos((minute - now) / 1440 * 2 * math.pi)) / 2
            noise = (1 + math.sin(minute / 40)) / 2
            counts = {
                "vms": 8 + round(20 * day),
                "jobs_waiting": round(30 * day * noise),
                "idle_cores": round(6 * noise),
            }
            counts |= {"vms_running": counts["vms"] - 3, "jobs_running": 4 + round(18 * day), "jobs_held": 2}
            if not now - 400 < minute < now - 340:
                history.record_minute(writing, minute, {name: float(value) for name, value in counts.items()})
    verbs.wish_enabled(store, wishes.By("root"), "cheetah", True)
    verbs.wish_vm_slots(store, wishes.By("root"), "mouse", 12)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    home = tmp_path_factory.mktemp("chromium")
    store = open_store(home / "state")
    fill(store)
    with daemon(home, "info_server") as url, chromium(PROGRAM, home) as tab:
        yield Shown(url, store, tab)
    store.close()


@pytest.fixture
def tab(shown: Shown) -> Tab:
    """The page, freshly loaded on a desk's screen; by its end nothing was complained of."""
    shown.tab.problems.clear()
    shown.tab.size(1280, 1540)
    shown.tab.dark(False)
    shown.tab.open(shown.url)
    return shown.tab


def test_page_loads_without_a_complaint(shown: Shown, tab: Tab) -> None:
    assert tab.value("[...document.querySelectorAll('section')].map(each => each.id)") == SECTIONS
    assert tab.value("document.querySelectorAll('#fleet tbody tr').length") == 3
    assert tab.value("document.querySelectorAll('#history path').length") == 5
    wait_for(lambda: tab.value("document.getElementById('live').textContent").startswith("live, "))
    assert tab.problems == []
    if os.environ.get("CLOUDSCHED_PICTURE"):
        tab.picture(PICTURE)


def test_page_follows_the_state_and_the_heartbeats(shown: Shown, tab: Tab) -> None:
    before = tab.value("document.querySelector('.index').textContent")
    verbs.wish_vm_slots(shown.store, wishes.By("root"), "mouse", 13 + int(time.time()) % 1000)
    wait_for(lambda: tab.value("document.querySelector('.index').textContent") != before)
    assert tab.value("document.querySelector('#journal tbody td:nth-child(2)').textContent") == "allocations"
    age = "Number(document.querySelector('#heartbeats tbody tr').cells[2].textContent)"
    with shown.store.reading() as connection:
        beat = heartbeats.all_heartbeats(connection)[0]
    wait_for(lambda: tab.value(age) >= int(time.time() - beat.beat_at) - 5)
    assert tab.value("document.activeElement === document.body")
    assert tab.value("document.querySelector('#heartbeats td.lost').textContent") == "late"


def test_page_works_by_keyboard_and_keeps_the_focus(shown: Shown, tab: Tab) -> None:
    tab.press("Tab")
    assert tab.value("document.activeElement.className") == "skip"
    tab.press("Enter")
    assert tab.value("location.hash") == "#main"
    tab.press("Tab")
    region = tab.value("document.activeElement.getAttribute('aria-label')")
    assert region == "Clouds and their VMs by state"
    before = tab.value("document.querySelector('.index').textContent")
    verbs.wish_vm_slots(shown.store, wishes.By("root"), "mouse", 2000 + int(time.time()) % 1000)
    wait_for(lambda: tab.value("document.querySelector('.index').textContent") != before)
    assert tab.value("document.activeElement.getAttribute('aria-label')") == region


def test_page_fits_a_phone(shown: Shown, tab: Tab) -> None:
    tab.size(360, 740, mobile=True)
    tab.open(shown.url)
    assert tab.value("document.documentElement.scrollWidth") <= 360
    assert tab.value("getComputedStyle(document.querySelector('#fleet div')).overflowX") == "auto"


def contrast(tab: Tab) -> float:
    """The contrast of text to its ground (WCAG 2)."""
    program = """(() => {
      const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(each => each / 255)
        .map(each => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const paper = matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)";
      const all = [...document.querySelectorAll("td, small, .scale, a, span")].filter(each => each.offsetParent)
        .map(each => light(getComputedStyle(each).color)).map(one => { const two = light(paper);
          return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05); });
      return Math.min(...all); })()"""
    return float(tab.value(program))


@pytest.mark.parametrize("dark", [False, True])
def test_page_can_be_read_in_light_and_dark(shown: Shown, tab: Tab, dark: bool) -> None:
    tab.dark(dark)
    assert tab.value("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert contrast(tab) >= 4.5


def test_contract_can_be_browsed_from_here_alone(shown: Shown, tab: Tab) -> None:
    tab.call("Page.navigate", url=f"{shown.url}/docs")
    wait_for(lambda: tab.value("document.querySelectorAll('.opblock').length"))
    paths = contract("info").document["paths"].values()
    assert tab.value("document.querySelectorAll('.opblock').length") == sum(map(len, paths))
    loaded = tab.value("performance.getEntriesByType('resource').map(each => new URL(each.name).origin)")
    assert set(loaded) == {shown.url.rstrip("/")}
    assert tab.problems == []


def test_page_without_a_script_is_a_picture_of_the_moment(shown: Shown, tab: Tab) -> None:
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.call("Page.navigate", url=f"{shown.url}/?")
        wait_for(lambda: "A picture of" in _text(tab))
        text = _text(tab)
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
    for word in ("Clouds and their VMs by state", "test/name?x#y", "Jobs by user", "alice", "reload for another"):
        assert word in text, word


def _text(tab: Tab) -> str:
    """The document's text, without its help: no script may run."""
    root = tab.call("DOM.getDocument", depth=-1)["root"]
    found: list[str] = []

    def walk(node: dict[str, object]) -> None:
        if node.get("nodeName") not in ("SCRIPT", "STYLE"):
            found.append(str(node.get("nodeValue") or ""))
            for child in node.get("children", ()):  # type: ignore[attr-defined]
                walk(child)

    walk(root)
    return " ".join(found)


def test_picture_in_the_documentation_is_one() -> None:
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
