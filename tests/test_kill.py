"""kill -9 at random points under load: nothing acknowledged is lost, nothing is done twice, nothing is orphaned.

A few rounds belong to the suite; CLOUDSCHED_SOAK=1 makes many.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kill_bench import Killer, Load, a_killed_site, check_acknowledged, check_runs, runs, seen, settle, workers
from whole_bench import Site, eventually, stopped

from cloudsched import processes

SOAK = os.environ.get("CLOUDSCHED_SOAK") == "1"
ROUNDS = 12 if SOAK else 2
KILLS = 25 if SOAK else 6


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_killed_site(tmp_path) as made:
        yield made


@pytest.mark.parametrize("number", range(ROUNDS))
def test_nothing_is_lost_doubled_or_orphaned(site: Site, number: int) -> None:
    chance = random.Random(number)
    killer = Killer(site, chance, site.start())
    load = Load(site, random.Random(number + 1000))
    users = threading.Thread(target=load.run)
    users.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.3, 1.2))
            killer.kill_one()
            # A boot repeated by the next engine meets the first worker's lock and ends; a worker's child bears its
            # parent's command line until it becomes the job's launcher. Neither lasts.
            eventually(lambda: max(workers(site).values(), default=1) == 1, "no VM has two workers")
    finally:
        load.stop.set()
        users.join()
    eventually(lambda: _answers(site), "the daemons answer again")
    load.finish()
    settle(site)
    assert load.unexpected == []
    assert "Traceback" not in site.log()
    found = seen(site)
    check_acknowledged(load, found)
    check_runs(load, killer, found)
    eventually(lambda: not [pid for pid in site.processes() if _is_of_a_vm(pid)], "nothing of a VM lives on")
    assert list((site.state / "vms").iterdir()) == []
    assert load.submitted, "nothing was ever acknowledged"
    assert stopped(killer.scheduler) == 0
    assert site.processes() == {}


def _is_of_a_vm(pid: int) -> bool:
    return any(mark.startswith(b"CLOUDSCHED_VM=") for mark in processes.marks(pid))


def _answers(site: Site) -> bool:
    try:
        return site.ask("admin", "GET", "/user-limits")[0] == 200 == site.ask("info", "GET", "/cloud")[0]
    except OSError:
        return False


def submit(site: Site, seconds: float, count: int) -> None:
    text = f"executable = job.sh\narguments = {seconds}\nqueue {count}"
    status, body = site.ask("admin", "POST", "/jobs", {"submit": text, "initialdir": str(site.home)})
    assert status == 201, body


def started(site: Site, count: int) -> Callable[[], bool]:
    return lambda: len([line for line in site.read("runs") if line.startswith("start")]) >= count


def test_job_of_a_killed_worker_runs_again(site: Site) -> None:
    killer = Killer(site, random.Random(), site.start())
    submit(site, 3, 1)
    eventually(started(site, 1), "the job runs")
    killer.kill("cloudsched.batch.worker", site.pids("cloudsched.batch.worker")[0])
    settle(site)
    ((job, attempts),) = runs(site)["end"].items()
    assert list(attempts) == [2]
    assert list(runs(site)["start"][job]) == [1, 2]


def test_jobs_go_on_while_the_scheduler_is_killed_and_started(site: Site) -> None:
    killer = Killer(site, random.Random(), site.start())
    submit(site, 4, 2)
    eventually(started(site, 2), "the jobs run")
    for _ in range(2):
        killer.kill("cloud_scheduler", killer.scheduler.pid)
    settle(site)
    assert sorted(list(attempts) for attempts in runs(site)["end"].values()) == [[1], [1]]
    assert len(runs(site)["start"]) == 2


def test_scheduler_stopped_for_longer_than_a_lease_runs_no_job_twice(site: Site) -> None:
    site.options = {**site.options, "LEASE_SECONDS": "3"}
    scheduler = site.start()
    submit(site, 8, 2)
    eventually(started(site, 2), "the jobs run")
    scheduler.send_signal(signal.SIGSTOP)
    time.sleep(4.5)
    scheduler.send_signal(signal.SIGCONT)
    settle(site)
    assert {what: sorted(list(each) for each in ran.values()) for what, ran in runs(site).items()} == {
        "start": [[1], [1]],
        "end": [[1], [1]],
    }
