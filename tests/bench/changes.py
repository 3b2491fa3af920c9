"""What the info daemon pays for change, for memory and for its start, and what its readers notice of it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

from cloudsched.config import Config, Global
from cloudsched.info import create_app, memory
from cloudsched.model.vms import VM
from cloudsched.render import documents
from cloudsched.store import Store, vms
from tests.bench.busy import MANY
from tests.bench.daemons import Server, bare, info
from tests.bench.figure import QUICK, Effort, Figure, cpu_seconds, interleaved, ratio
from tests.bench.fleet import LARGE, MIDDLE, SMALL, Size, job_id, made
from tests.bench.homes import copied, shared
from tests.bench.load import Asking, load
from tests.bench.reads import DOCUMENTS, document

REBUILDS = 15
REBUILD_BAR, GROWTH_BAR = 0.05, 12.0
WRITING_BAR, POLLING_BAR, MILLION_BAR = 0.75, 3.0, 1.2
REST_MB, IDLE_MB, START_SECONDS = 200.0, 60.0, 1.5
SEEN = 50


def figures(effort: Effort) -> Iterator[Figure]:
    """Rebuilding in two sizes; memory and start; one daemon under writes and pollers; at last many jobs."""
    with tempfile.TemporaryDirectory() as directory:
        middle = Path(directory) / "middle"
        copied(MIDDLE, middle)
        middle_seconds, encode_seconds = _rebuild_seconds(middle)
        yield Figure("change.clusters_json.10000", middle_seconds / encode_seconds, "x-encode", REBUILD_BAR)
        if effort is not QUICK:
            large = Path(directory) / "large"
            copied(LARGE, large)
            growth = _rebuild_seconds(large)[0] / middle_seconds
            yield Figure("change.clusters_json.100000", growth, "x-10000", GROWTH_BAR)
        yield from _memory_and_start(middle)
        with info(middle) as ours:
            yield from _beside_writes(ours, middle, effort)
            yield _beside_pollers(ours, effort)
        if effort is not QUICK:
            yield _of_a_million(effort)


def _rebuild_seconds(home: Path) -> tuple[float, float]:
    """Of the first /clusters.json after a change of one VM, through the whole application; of encoding it anew."""
    state = home / "state"
    memory.keep_pages()
    store = Store.open(f"sqlite:///{state / 'state.db'}", state)
    app = create_app(
        Store.open(f"sqlite:///{state / 'state.db'}", state, read_only=True), Config(Global(state_dir=state))
    )
    with store.reading() as connection:
        fleet = vms.all_vms(connection)
    _asked(app)
    times = []
    for number in range(REBUILDS):
        _change(store, fleet[number * 7 % len(fleet)], f"Status{number}")
        found: list[bytes] = []
        times.append(cpu_seconds(lambda found=found: found.append(_asked(app))))
        assert f'"Status{number}"'.encode() in found[0]
    parsed = json.loads(_asked(app))
    assert documents.encode(parsed).encode() == _asked(app)
    encoding = [cpu_seconds(lambda: documents.encode(parsed).encode()) for _ in range(3)]
    store.close()
    return statistics.median(times), statistics.median(encoding)


def _change(store: Store, vm: VM, status: str) -> None:
    """Change one VM as the engine would, so that readers see it at once."""
    with store.writing() as writing:
        vms.record_fields(writing, [{"uid": vm.uid, "status": status}])
        writing.touch("outcomes")


def _asked(app: Callable[..., Any]) -> bytes:
    environ: dict[str, Any] = {"REQUEST_URI": "/clusters.json", "PATH_INFO": "/clusters.json"}
    setup_testing_defaults(environ)
    (body,) = app(environ, lambda *_: None)
    found: bytes = body
    return found


def _memory_and_start(home: Path) -> Iterator[Figure]:
    began = time.perf_counter()
    with info(home) as server:
        server.get("/clusters.json")
        yield Figure("start.clusters_json.10000", time.perf_counter() - began, "s", START_SECONDS)
        for target in DOCUMENTS.values():
            load(Asking(server.url, [target], 8), 1)
        time.sleep(5)
        yield Figure("memory.info.10000.100000", server.resident_mb(), "MB", REST_MB)
    with tempfile.TemporaryDirectory() as directory:
        small = Path(directory) / "small"
        made(small, Size(0, 0, 0))
        with info(small) as server:
            server.get("/clusters.json")
            time.sleep(5)
            yield Figure("memory.info.idle", server.resident_mb(), "MB", IDLE_MB)


@contextmanager
def _writing(home: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.bench.writer", str(home / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield
        finally:
            process.kill()


def _beside_writes(ours: Server, home: Path, effort: Effort) -> Iterator[Figure]:
    """Throughput with the engine's 200 VM changes a second, and answers that are older than a commit before them."""

    def rate(target: str) -> float:
        return load(Asking(ours.url, [target], 8), effort.seconds).rate

    def disturbed(target: str) -> float:
        with _writing(home):
            return rate(target)

    for name in ("total", "vms", "clusters_json"):
        target = DOCUMENTS[name]
        found = interleaved(effort.rounds, lambda target=target: disturbed(target), lambda target=target: rate(target))
        yield Figure(f"read.{name}.10000.c8.writing", ratio(*found), "x-quiet", WRITING_BAR, at_least=True)
    with _writing(home):
        yield Figure("read.older_than_the_commit", _stale(ours, home), "answers", 0)


def _stale(ours: Server, home: Path) -> float:
    store = Store.open(f"sqlite:///{home / 'state' / 'state.db'}", home / "state")
    with store.reading() as connection:
        vm = vms.all_vms(connection)[0]
    stale = 0
    for number in range(SEEN):
        _change(store, vm, f"Seen{number}")
        _, _, body = ours.get(f"/clusters/{vm.cloud}/vms/{vm.uid}.json")
        stale += json.loads(body)["status"] != f"Seen{number}"
    store.close()
    return stale


def _beside_pollers(ours: Server, effort: Effort) -> Figure:
    """The slowest of 100 polls of 200 clients, one a second each, while 8 others read as fast as they can."""
    documents = {target: document(ours, target) for target in (DOCUMENTS["total"], DOCUMENTS["vms"])}
    with bare("tuned", documents) as tuned:
        mine, theirs = interleaved(min(effort.rounds, 3), lambda: _polled(ours), lambda: _polled(tuned))
    return Figure("read.pollers.p99", ratio(mine, theirs), "x-tuned", POLLING_BAR)


def _polled(server: Server) -> float:
    command = [sys.executable, "-m", "tests.bench.pollers", server.url, DOCUMENTS["total"], "200", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        load(Asking(server.url, [DOCUMENTS["vms"]], 8), 5)
        said, _ = process.communicate()
    return float(said)


def _of_a_million(effort: Effort) -> Figure:
    """What one job costs among a million, in what it costs among a thousand."""
    rates = []
    with info(shared(SMALL)) as small, info(shared(MANY)) as big:
        for server, count in ((small, 1_000), (big, 1_000_000)):
            # As many of both, for a request that comes again is not read again.
            chosen = range(0, count, count // 1_000)
            targets = [f"/jobs/{job_id(number).replace('#', '%23')}.json" for number in chosen]
            asking = Asking(server.url, targets, 8)
            rates.append(lambda asking=asking: load(asking, effort.seconds).rate)
        of_few, of_many = interleaved(effort.rounds, *rates)
    return Figure("read.one_job.1000000", ratio(of_few, of_many), "x-1000", MILLION_BAR)
