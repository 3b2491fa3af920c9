"""The information daemon as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from golden_state import NOW, load
from info_app import open_store

from cloudsched.store import vms

ROOT = Path(__file__).parent.parent
SECONDS = 300


def _start(directory: Path, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "info_server", "--port", "0", *argv],
        cwd=ROOT,
        env={**os.environ, "HOME": str(directory), "CLOUDSCHED_GLOBAL_STATE_DIR": str(directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    store = open_store(tmp_path)
    load(store, NOW)
    store.close()
    yield tmp_path


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    _, _, url = process.stdout.readline().strip().partition("Listening on ")
    return url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_daemon_serves_until_told_to_stop(state: Path, number: signal.Signals) -> None:
    with _start(state) as process:
        url = _url(process)
        assert requests.get(f"{url}/vms?metric=total", timeout=SECONDS).text == "8"
        name = requests.get(f"{url}/clusters/test%2Fname%3Fx%23y.json", timeout=SECONDS).json()["name"]
        assert name == "test/name?x#y"
        head = requests.head(f"{url}/clusters.json", timeout=SECONDS)
        assert (head.status_code, head.content) == (200, b"")
        process.send_signal(number)
        assert process.wait(SECONDS) == 0


def test_daemon_stops_with_its_parent(state: Path) -> None:
    with _start(state, "--exit-with-parent") as process:
        assert requests.get(_url(process), timeout=SECONDS).status_code == 200
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(SECONDS) == 0


def test_daemon_without_a_state_says_so(tmp_path: Path) -> None:
    with _start(tmp_path) as process:
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert said.startswith("info_server: ")


def test_taken_port_is_one_sentence(state: Path) -> None:
    with _start(state) as first:
        port = _url(first).rpartition(":")[2]
        with _start(state, "--port", port) as second:
            _, said = second.communicate(timeout=SECONDS)
        first.terminate()
    assert second.returncode == 1
    assert said.count("\n") == 1
    assert port in said


def test_reads_show_only_what_was_committed_and_never_go_back(state: Path) -> None:
    """Each commit gives two VMs of different clouds the same new address; clients keep one connection each."""
    store = open_store(state)
    with store.reading() as connection:
        first, last = (lambda found: (found[0].uid, found[-1].uid))(vms.all_vms(connection))
    wrong: list[object] = []
    stop = threading.Event()

    def commit(number: int) -> None:
        with store.writing() as writing:
            vms.record_fields(writing, [{"uid": uid, "spot_id": f"{number}"} for uid in (first, last)])
            # Every third is published at once, as a verb is: the last one is such a one.
            writing.touch(*(("outcomes",) if number % 3 == 2 else ()))

    def read(url: str) -> None:
        seen = -1
        with requests.Session() as session:
            while not stop.is_set():
                document = session.get(f"{url}/clusters.json", timeout=SECONDS).json()
                told = {int(number) for number in re.findall(r'"spot_id": "(\d+)"', json.dumps(document))}
                if len(told) > 1 or max(told) < seen:
                    wrong.append((seen, told))
                seen = max(told)

    commit(0)
    with _start(state) as process:
        url = _url(process)
        readers = [threading.Thread(target=read, args=(url,)) for _ in range(4)]
        for reader in readers:
            reader.start()
        for number in range(1, 60):
            commit(number)
            time.sleep(0.01)
        stop.set()
        for reader in readers:
            reader.join(SECONDS)
        newest = requests.get(f"{url}/clusters.json", timeout=SECONDS).text
        process.terminate()
    store.close()
    assert not wrong
    assert newest.count('"59"') == 2
