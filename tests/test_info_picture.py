"""The published picture: nothing is served from before a verb's answer, nothing goes backwards, little is re-read."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from golden_state import NOW, golden, load
from info_app import open_store

from cloudsched.errors import StateUnavailable
from cloudsched.info.contents import NOTHING, Contents, Wanted, read
from cloudsched.info.forms import Page
from cloudsched.info.freshness import Shared
from cloudsched.info.picture import FEW, MOST_UNREAD, PUBLISH_SECONDS, Picture, Pictures
from cloudsched.info.queue import FAILING, Queue, by_reason, by_user, groups
from cloudsched.render import documents, failures
from cloudsched.render import jobs as render_jobs
from cloudsched.store import Store, jobs, machines, retention, rows, tables, verbs, vms, wishes
from cloudsched.store.glance import LOOK_SECONDS
from cloudsched.store.groups import groups as job_groups

DEADLINE_SECONDS = 300


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path)
    load(opened, NOW)
    yield opened
    opened.close()


def _status(picture: Picture, uid: str = "vm-mouse-2") -> str:
    return picture.contents.vms["mouse"][uid].status


def _set_status(store: Store, status: str) -> None:
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": "vm-mouse-2", "status": status}])


def test_observations_are_published_after_a_while(store: Store) -> None:
    clock = Clock()
    pictures = Pictures(store, clock)
    assert _status(pictures.current()) == "Starting"
    _set_status(store, "Running")
    assert _status(pictures.current()) == "Starting"
    clock.now += PUBLISH_SECONDS
    assert _status(pictures.current()) == "Running"


def test_verb_is_published_at_once_with_everything_before_it(store: Store) -> None:
    pictures = Pictures(store, Clock())
    pictures.current()
    _set_status(store, "Running")
    verbs.wish_enabled(store, wishes.By("test"), "mouse", False)
    picture = pictures.current()
    assert _status(picture) == "Running"
    assert picture.index == store.state().index


def test_unchanged_state_keeps_its_picture(store: Store) -> None:
    clock = Clock()
    pictures = Pictures(store, clock)
    first = pictures.current()
    clock.now += 1000
    assert pictures.current() is first


def test_page_is_rendered_once_until_its_topics_change(store: Store) -> None:
    clock = Clock()
    pictures = Pictures(store, clock)
    rendered: list[int] = []

    def page(picture: Picture) -> bytes:
        made = Page(lambda: str(rendered.append(picture.index)), lambda: "", ("page",), ("vms",))
        return picture.body(made, as_json=False)

    first = pictures.current()
    assert page(first) == page(first)
    with store.writing() as writing:
        machines.record_machines(writing, [])
    clock.now += 1
    second = pictures.current()
    page(second)
    assert (second is not first, rendered) == (True, [first.index])
    _set_status(store, "Running")
    clock.now += 1
    page(pictures.current())
    assert rendered == [first.index, pictures.current().index]


def test_document_of_a_vm_is_encoded_again_only_when_it_changed(store: Store) -> None:
    clock = Clock()
    pictures = Pictures(store, clock)
    before = {vm.uid: pictures.current().vm_text(vm) for vm in pictures.current().fleet.vms}
    _set_status(store, "Running")
    clock.now += 1
    picture = pictures.current()
    after = {vm.uid: picture.vm_text(vm) for vm in picture.fleet.vms}
    assert [uid for uid in after if after[uid] is not before[uid]] == ["vm-mouse-2"]


@pytest.mark.sqlite
def test_unavailable_state_is_raised_and_forgotten(store: Store, tmp_path: Path) -> None:
    clock = Clock()
    pictures = Pictures(store, clock)
    first = pictures.current()
    hidden = tmp_path / "hidden"
    (tmp_path / "state.db").rename(hidden)
    clock.now += LOOK_SECONDS
    with pytest.raises(StateUnavailable):
        pictures.current()
    hidden.rename(tmp_path / "state.db")
    assert pictures.current() is first


def _without_row(contents: Contents) -> Contents:
    return replace(contents, row=NOTHING.row)


def _change(store: Store, number: int) -> None:
    """One random commit of the engine's."""
    chosen = random.Random(number)
    listed = golden()
    with store.writing() as writing:
        vm, job = chosen.choice(listed.vms), chosen.choice(listed.jobs)
        match chosen.randrange(6):
            case 0:
                vms.record_vms(writing, [replace(vm, status=str(number))])
            case 1:
                vms.forget(writing, [vm.uid])
            case 2:
                jobs.record_jobs(writing, [replace(job, shape=replace(job.shape, req_memory=number))])
            case 3:
                jobs.record_reasons(writing, {job.shape.key: [str(number)]})
            case 4:
                machines.record_machines(writing, listed.machines if chosen.random() < 0.5 else [])
            case _:
                retention.prune_engine(writing, NOW, 1)


def test_incremental_reading_equals_reading_everything(store: Store) -> None:
    words = (*render_jobs.QUEUES, FAILING)
    wanted = Wanted(frozenset(Queue(word, form) for word in words for form in (True, False)), census=True)
    kept = read(store, NOTHING, wanted)
    for number in range(150):
        _change(store, number)
        if number % 3 == 0:
            kept = read(store, kept, wanted)
            assert kept == read(store, NOTHING, wanted)


def test_census_counts_what_counting_every_job_does(store: Store) -> None:
    with store.writing() as writing:
        for number, job in enumerate(golden().jobs):
            jobs.record_reasons(writing, {job.shape.key: [f"reason {number % 3}"]})
        jobs.record_jobs(
            writing, [replace(golden().jobs[0], id="odd", problem="no"), replace(golden().jobs[1], id="x")]
        )
    contents = read(store, NOTHING, Wanted(census=True))
    shapes = contents.queue_shapes
    assert contents.census is not None
    with store.reading() as connection:
        every, expected = jobs.all_jobs(connection), job_groups(connection)
    assert by_user(contents.census, shapes) == Counter((job.job_status, job.shape.user) for job in every)
    assert by_reason(contents.census, shapes) == Counter(
        reason for job in every for reason in failures.reasons(job, shapes.reasons)
    )
    assert sorted(groups(contents.census), key=repr) == sorted(expected, key=repr)


def test_queue_is_followed_while_it_is_read_and_then_forgotten(store: Store) -> None:
    pictures = Pictures(store, Clock())
    running = Wanted(frozenset([Queue("running", False)]))
    first = pictures.holding(running)
    assert pictures.holding(running) is first
    job = next(each for each in golden().jobs if each.job_status == 2)
    for number in range(MOST_UNREAD + 2):
        with store.writing() as writing:
            jobs.record_jobs(writing, [replace(job, priority=100 + number)])
            writing.touch("wishes")
        picture = pictures.current()
        assert picture.holds(running) == (number <= MOST_UNREAD)
    assert list(pictures.holding(running).listed("running", False)) == list(first.listed("running", False))


def test_one_job_and_its_picture_are_of_the_same_moment(store: Store) -> None:
    """Observations are published late, but who has seen a job's new status is shown no picture of before."""
    pictures = Pictures(store, Clock())
    job = next(each for each in golden().jobs if each.job_status == 2)
    before = pictures.current()
    assert pictures.job(job.id) == (before, job)
    with store.writing() as writing:
        jobs.record_jobs(writing, [replace(job, job_status=5)])
    picture, found = pictures.job("nosuch", job.id)
    assert (picture.index, found and found.job_status) == (store.state().index, 5)
    assert pictures.current() is picture
    with store.writing() as writing:
        rows.remove(writing, tables.jobs, [job.id], topic="jobs")
    assert pictures.job(job.id) == (pictures.current(), None)
    assert pictures.current().index == store.state().index


def test_changed_vm_costs_its_own_text_and_its_clouds_block(store: Store) -> None:
    clock = Clock()
    pictures = Pictures(store, clock)
    first = pictures.current()
    before = {each.cloud.name: first.cloud_body(each) for each in first.fleet.active}
    _set_status(store, "Running")
    clock.now += 1
    second = pictures.current()
    after = {each.cloud.name: second.cloud_body(each) for each in second.fleet.active}
    assert [name for name in after if after[name] is not before[name]] == ["mouse"]
    assert after["mouse"] == documents.cloud(second.fleet.find("mouse") or second.fleet.active[0])


def test_memory_is_given_back_when_nobody_asks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendered pages and long queues go, short ones stay; answers and their tags are what they were."""
    monkeypatch.setattr("cloudsched.info.picture.KEPT_AT_REST", 3000)
    pictures = Pictures(store, Clock())
    short, long = Queue("held", False), Queue("new", True)
    busy = pictures.holding(Wanted(frozenset((short, long)), census=True))
    page = Page(lambda: "text", lambda: "", ("page",), ("vms",))
    busy.body(page, as_json=False)
    pictures._was_asked = True
    pictures._rest_now()
    assert pictures.current() is busy
    pictures._was_asked = False
    pictures._rest_now()
    rested = pictures.current()
    assert (rested.rendered(), list(rested.contents.listings), rested.index) == ((0, 0), [short], busy.index)
    assert rested.vm_text(next(rested.fleet.vms)) is busy.vm_text(next(busy.fleet.vms))
    assert list(pictures.holding(Wanted(frozenset([long]))).listed("new", True)) == list(busy.listed("new", True))


def test_texts_of_vms_that_are_gone_are_forgotten(store: Store) -> None:
    pictures = Pictures(store, Clock())
    for number in range(3):
        with store.writing() as writing:
            vms.record_vms(writing, [replace(golden().vms[0], uid=f"vm-{number}-{each}") for each in range(FEW)])
            writing.touch("wishes")
        picture = pictures.current()
        for vm in picture.fleet.vms:
            picture.vm_text(vm)
        with store.writing() as writing:
            vms.forget(writing, [f"vm-{number}-{each}" for each in range(FEW)])
            writing.touch("wishes")
        kept = pictures.current()._vm_texts
    assert len(kept) <= 2 * FEW


def test_untouched_topics_stay_the_same_objects(store: Store) -> None:
    before = read(store, NOTHING)
    _set_status(store, "Running")
    after = read(store, before)
    assert after.clouds is before.clouds
    assert after.vms["mouse"]["vm-mouse-1"] is before.vms["mouse"]["vm-mouse-1"]
    assert after.vms["cheetah"] is before.vms["cheetah"]


def test_replaced_state_is_read_whole(store: Store) -> None:
    before = read(store, NOTHING)
    with store.writing() as writing:
        retention.forget_everything(writing)
    assert _without_row(read(store, before)) == NOTHING


def test_index_that_went_back_is_another_state(store: Store) -> None:
    before = read(store, NOTHING)
    later = replace(before, row=replace(before.row, index=before.row.index + 100), vms={})
    assert read(store, later) == before


def test_shared_run_serves_only_who_came_before_it_began() -> None:
    """Many callers, few runs; and no caller gets a run that began before it called."""
    runs: list[int] = []

    def run() -> int:
        runs.append(len(runs))
        begun = runs[-1]
        time.sleep(0.002)
        return begun

    shared, late = Shared(run), []

    def call() -> None:
        for _ in range(50):
            begun_before = len(runs)
            if shared() < begun_before:
                late.append(begun_before)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert not late
    assert 50 <= len(runs) < 8 * 50


def test_shared_failure_reaches_everybody_once() -> None:
    answers = iter([StateUnavailable("gone"), 7])

    def run() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shared = Shared(run)
    with pytest.raises(StateUnavailable):
        shared()
    assert shared() == 7


def test_readers_never_see_the_index_go_back(store: Store) -> None:
    pictures, stop = Pictures(store), threading.Event()
    wrong: list[tuple[int, int]] = []

    def watch() -> None:
        last = 0
        while not stop.is_set():
            index = pictures.current().index
            if index < last:
                wrong.append((last, index))
            last = index

    threads = [threading.Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        _set_status(store, str(number))
        operation = verbs.wish_enabled(store, wishes.By("test"), "mouse", number % 2 == 0)
        assert operation.id
        assert pictures.current().index == store.state().index
    stop.set()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert not wrong
