"""A second engine on PostgreSQL: refused, or standing by and taking over, with real processes and kills.

A few kills belong to the suite; CLOUDSCHED_SOAK=1 makes a hundred.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import databases
import pytest
from kill_bench import (
    SETTLE_SECONDS,
    Killer,
    Load,
    a_killed_site,
    check_acknowledged,
    check_runs,
    seen,
    settle,
    workers,
)
from postgresql import Server, postgresql_server
from scheduler_process import daemon
from whole_bench import Site, a_site, eventually, stopped

from cloudsched.errors import StateHeld, StateTakenOver, StateUnavailable
from cloudsched.model.wishes import Aspect
from cloudsched.store import Store, operations, place, polls, verbs, wishes

KILLS = 100 if os.environ.get("CLOUDSCHED_SOAK") == "1" else 5
SECONDS = 100.0
"""Ten times what a takeover may take."""

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _on_postgresql(postgresql: Server) -> Iterator[None]:
    with databases.on(postgresql):
        yield


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_killed_site(tmp_path) as made:
        yield made


@contextmanager
def daemons(site: Site) -> Iterator[None]:
    """An admin and an info daemon of their own, as on any host that reaches the server."""
    given = {"cloud_resource_config": site.options["CLOUD_RESOURCE_CONFIG"]}
    with daemon(site.home, "admin_server", **given) as admin, daemon(site.home, "info_server", **given) as info:
        site.ports.update({"admin": port(admin), "info": port(info)})
        yield


def port(url: str) -> int:
    return int(url.rstrip(".").rpartition(":")[2])


def engine(store: Store) -> int:
    """The process that is the engine, once there is one."""
    found = eventually(lambda: place.holder(store), "somebody is the engine", SECONDS)
    return int(re.fullmatch(r"process (\d+) on .*", found)[1])


def test_failover_loses_no_answered_verb_and_boots_nothing_twice(site: Site) -> None:
    chance = random.Random(7)
    load = Load(site, random.Random(8))
    with closing(databases.open_store(site.state)) as store, daemons(site), ExitStack() as users:
        engines = {each.pid: each for each in (site.spawn("--no-servers", "--standby") for _ in range(2))}
        eventually(lambda: "cheetah" in seen(site).clouds, "the first engine is at work")
        asking = threading.Thread(target=load.run)
        asking.start()
        users.callback(asking.join)
        users.callback(load.stop.set)
        for _ in range(KILLS):
            answered = len(load.submitted)
            eventually(lambda: len(load.submitted) > answered, "a submit is answered", SETTLE_SECONDS)  # noqa: B023
            time.sleep(chance.uniform(0.3, 1.5))
            before, victim, began = store.state().engine_epoch, engine(store), time.monotonic()
            killed = engines.pop(victim)
            killed.kill()
            eventually(lambda: began_after(store, before, site, *engines.values()), "the other one is it", SECONDS)  # noqa: B023
            print(f"took over after {time.monotonic() - began:.2f} s")  # noqa: T201
            killed.wait()
            fresh = site.spawn("--no-servers", "--standby")
            engines[fresh.pid] = fresh
            eventually(lambda: max(workers(site).values(), default=1) == 1, "no VM has two workers")
        users.close()
        # What was answered 202 while nobody was the engine comes to the queue late, and to the state by a poll.
        eventually(lambda: not seen(site).open_wishes, "every wish is settled", SETTLE_SECONDS)
        asked = time.time()
        eventually(lambda: polled_since(store, asked), "the queue has been read since", SETTLE_SECONDS)
        load.finish()
        settle(site)
        found = seen(site)
        check_acknowledged(load, found)
        check_runs(load, Killer(site, chance, engines[engine(store)]), found)
        assert load.submitted, "nothing was ever answered"
        assert load.unexpected == []
        assert "Traceback" not in site.log()
        first = engine(store)
        assert stopped(engines.pop(first)) == 0
        (last,) = engines
        assert engine(store) == last
        assert stopped(engines[last]) == 0


def began_after(store: Store, epoch: int, site: Site, *standing_by: subprocess.Popen[str]) -> bool:
    """Whether another engine's epoch has begun; fails when one of those who are to begin it has ended."""
    assert [each.poll() for each in standing_by] == [None] * len(standing_by), site.log()[-2000:]
    return store.state().engine_epoch > epoch


def polled_since(store: Store, moment: float) -> bool:
    with store.reading() as connection:
        return any(each.name == "JobPoller" and (each.ok_at or 0) > moment + 2 for each in polls.all_polls(connection))


def test_a_second_engine_is_refused_by_name(site: Site, tmp_path: Path) -> None:
    with closing(databases.open_store(site.state)) as store:
        site.spawn("--no-servers")
        pid = engine(store)
        site.options = {**site.options, "STATE_DIR": str(tmp_path / "elsewhere")}
        second = site.run("cloud_scheduler", "--no-servers")
        assert (second.returncode, second.stdout) == (1, "")
        assert re.search(rf"The state in \S+ is held by process {pid} on \S+ since ", second.stderr)
        standing = site.run("cloud_scheduler", "--no-servers", "--standby")
        assert standing.returncode == 1
        assert f"local VMs and the embedded batch live in {site.state} on " in standing.stderr
        assert "Traceback" not in second.stderr + standing.stderr


def test_another_host_takes_over_and_daemons_of_every_host_agree(site: Site, tmp_path: Path) -> None:
    """Two state directories, as two hosts have; played clouds, which are bound to none."""
    other = Site(tmp_path / "other", {**site.options, "DATABASE_URL": databases.url(site.state)})
    other.home.mkdir()
    (other.home / "log").touch()
    try:
        one, two = site.start("--simulate", "--standby"), other.start("--simulate", "--standby")
        with closing(databases.open_store(site.state)) as store:
            pid = engine(store)
        active, left = (one, other) if pid == one.pid else (two, site)
        for each in (site, other):
            assert each.ask("admin", "PUT", "/clouds/cheetah?action=enable")[0] == 200
            eventually(lambda: [here.clouds()["cheetah"]["enabled"] for here in (site, other)] == [True, True])
            assert each.ask("admin", "PUT", "/clouds/cheetah?action=disable")[0] == 200
        os.kill(active.pid, signal.SIGKILL)
        active.wait()
        eventually(lambda: left.ask("admin", "PUT", "/clouds/cheetah?action=enable")[0] == 200, "the other", SECONDS)
        assert left.clouds()["cheetah"]["enabled"] is True
        assert left.ask("info", "GET", "/health/ready")[0] in (200, 503)
    finally:
        other.clean_up()


def test_a_standby_that_is_asked_to_stop_stops(site: Site) -> None:
    with closing(databases.open_store(site.state)) as store:
        first = site.spawn("--no-servers")
        pid = engine(store)
        second = site.spawn("--no-servers", "--standby")
        eventually(lambda: "Standing by: The state in" in site.log() + log(site), "it stands by")
        assert stopped(second) == 0
        assert engine(store) == pid == first.pid
        assert stopped(first) == 0


def test_a_standby_that_finds_the_state_busy_takes_over_later(postgresql: Server, site: Site) -> None:
    """As a disk that rests for seconds makes it: the one who wrote last has not let go of the state row."""
    with closing(databases.open_store(site.state)) as store:
        first = site.spawn("--no-servers")
        victim = engine(store)
        second = site.spawn("--no-servers", "--standby")
        eventually(lambda: f"Standing by: The state in {site.state} is held by" in log(site), "it stands by")
        before = eventually(lambda: store.state().engine_epoch)
        with postgresql.connect(str(store.url.database)) as busy, busy.transaction():
            busy.execute("SELECT id FROM state FOR UPDATE")
            os.kill(victim, signal.SIGKILL)
            first.wait()
            eventually(lambda: second.poll() is not None or "Standing by: The state is busy: " in log(site), "it tries")
        assert second.poll() is None, site.log()
        eventually(lambda: store.state().engine_epoch > before, "it begins", SECONDS)
        assert engine(store) == second.pid
        eventually(lambda: "The place was free: this scheduler is at work now." in log(site), "it says so")
        assert stopped(second) == 0
        assert "Traceback" not in site.log()


def log(site: Site) -> str:
    return "".join(path.read_text() for path in (site.state / "log").glob("cloud_scheduler.log*"))


def test_an_engine_whose_server_restarts_goes_on(tmp_path: Path) -> None:
    with postgresql_server() as server, databases.on(server), a_site(tmp_path / "home") as site:
        with closing(databases.open_store(site.state)) as store:
            scheduler = site.spawn("--no-servers")
            pid = engine(store)
            eventually(lambda: seen(site).clouds, "it is at work")
            server.stop()
            server.start()
            assert eventually(lambda: reached(store), "the server is back", SECONDS)
            assert engine(store) == pid
            made = verbs.wish_setting(store, wishes.By("tester"), Aspect.LOG_LEVEL, "DEBUG")
            eventually(lambda: operations.read(store, made.id).state == "done", "it acts again", SECONDS)
        assert stopped(scheduler) == 0
        assert "Traceback" not in site.log() + log(site)


def reached(store: Store) -> bool:
    try:
        return store.state().index > 0
    except StateUnavailable:
        return False


def end_session(server: Server, store: Store) -> None:
    """Cut the connection that holds the engine's lock, as a fire wall between them would."""
    with server.connect(str(store.url.database)) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")


@contextmanager
def taken(store: Store) -> Iterator[None]:
    """The engine's place, once the server has let go of it."""
    eventually(lambda: place.holder(store) is None, "the server lets go", SECONDS)
    with closing(place.hold(store)):
        yield


def test_a_place_whose_connection_is_lost_is_taken_again_or_known_as_lost(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "LOOK_SECONDS", 0.0)
    url = databases.url(tmp_path)
    one, other = Store.open(url, tmp_path / "one"), Store.open(url, tmp_path / "other")
    with closing(one), closing(other), closing(place.hold(one)) as held:
        assert held.keep()
        with pytest.raises(StateHeld, match=rf"is held by process {os.getpid()} on "):
            place.hold(other)
        end_session(postgresql, one)
        eventually(lambda: place.holder(other) is None, "the server lets go", SECONDS)
        assert held.keep()
        assert place.holder(other)
        end_session(postgresql, one)
        with taken(other), pytest.raises(StateTakenOver, match="Another engine holds this state now"):
            held.keep()


def test_an_engine_that_was_cut_off_writes_nothing_after_the_takeover(postgresql: Server, tmp_path: Path) -> None:
    url = databases.url(tmp_path)
    one, other = Store.open(url, tmp_path / "one"), Store.open(url, tmp_path / "other")
    with closing(one), closing(other), closing(place.hold(one)):
        one.begin_epoch()
        end_session(postgresql, one)
        with taken(other):
            other.begin_epoch()
            before = other.state()
            with pytest.raises(StateTakenOver, match=r"now: process \d+ on "), one.writing():
                pass
            assert other.state() == before


def test_a_writer_stopped_in_its_transaction_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = databases.url(tmp_path)
    monkeypatch.setattr("cloudsched.store.databases.IDLE_WRITER_SECONDS", 0.5)
    stuck = Store.open(url, tmp_path / "one")
    with closing(stuck), closing(Store.open(url, tmp_path / "other")) as other:
        with pytest.raises(StateUnavailable), stuck.writing():
            began = time.monotonic()
            verbs.wish_setting(other, wishes.By("tester"), Aspect.LOG_LEVEL, "DEBUG")
            assert time.monotonic() - began < SECONDS
        assert stuck.state().wishes == stuck.state().index
