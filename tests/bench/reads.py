"""How near the info daemon's unchanged documents come to a bare application that returns the same bytes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.bench.daemons import Server, bare, info
from tests.bench.figure import Effort, Figure, interleaved, ratio
from tests.bench.fleet import LARGE, MIDDLE, SMALL, Size, job_id
from tests.bench.homes import shared
from tests.bench.load import Asking, load

DOCUMENTS = {
    "clusters_json": "/clusters.json",
    "cluster_json": "/clusters/cloud-001.json",
    "vms": "/vms",
    "jobs_running": "/jobs?state=running",
    "total": "/vms?metric=total",
    "metrics": "/metrics",
}
SIZES = ((SMALL, (1, 8, 32)), (MIDDLE, (1, 8, 32)), (LARGE, (1, 8)))
BIG, BIG_BAR, SMALL_BAR, ONE_BAR = 100_000, 0.8, 0.65, 0.3
COLLAPSING, AGAINST_DEFAULT, DEFAULT_ROUNDS = 1 << 20, 5.0, 5
DRAWN = 5_000
KNOWING = 8
"""With how many clients 304 answers are counted: the server does not look at the body it does not send."""


def figures(effort: Effort) -> Iterator[Figure]:
    """Every document at every size, then single objects."""
    for size, clients in SIZES:
        yield from _of_size(shared(size), size, clients, effort)


def _of_size(home: Path, size: Size, clients: tuple[int, ...], effort: Effort) -> Iterator[Figure]:
    with info(home) as ours:
        documents = {target: document(ours, target) for target in DOCUMENTS.values()}
        with bare("tuned", documents) as tuned, bare("default", documents) as default:
            for name, target in DOCUMENTS.items():
                for number in clients:
                    label = f"{name}.{size.vms}.c{number}"
                    yield from _document_figures(label, Asking("", [target], number), (ours, tuned, default), effort)
                _same(ours, target, documents)
            yield from _single_objects(size, ours, tuned, effort)


def document(server: Server, target: str) -> tuple[str, bytes]:
    """A document as it is answered: its content type and its bytes."""
    status, headers, body = server.get(target)
    if status != 200:
        raise RuntimeError(f"{target} gave {status}")
    return headers["content-type"], body


def _same(server: Server, target: str, documents: Mapping[str, tuple[str, bytes]]) -> None:
    """What was timed are still the bytes that the peers returned."""
    if document(server, target) != documents[target]:
        raise RuntimeError(f"{target} changed under the bench")


def _document_figures(
    label: str, asking: Asking, servers: tuple[Server, Server, Server], effort: Effort
) -> Iterator[Figure]:
    ours, tuned, default = servers
    length = len(document(tuned, asking.targets[0])[1])
    mine, theirs = interleaved(effort.rounds, _rate(ours, asking, effort), _rate(tuned, asking, effort))
    bar = BIG_BAR if length >= BIG else SMALL_BAR
    yield Figure(f"read.{label}", ratio(mine, theirs), "x-tuned", bar, at_least=True)
    if asking.clients > 1 and length <= COLLAPSING:
        rounds = min(effort.rounds, DEFAULT_ROUNDS)
        mine, theirs = interleaved(rounds, _rate(ours, asking, effort), _rate(default, asking, effort))
        slowest = min(mine) / statistics.median(theirs)
        yield Figure(f"read.slowest.{label}", slowest, "x-default", AGAINST_DEFAULT, at_least=True)
    if asking.clients == KNOWING:
        known = Asking("", asking.targets, asking.clients, {"If-None-Match": ours.get(asking.targets[0])[1]["etag"]})
        mine, theirs = interleaved(effort.rounds, _rate(ours, known, effort), _rate(tuned, known, effort))
        yield Figure(f"read.304.{label}", ratio(mine, theirs), "x-tuned-304", SMALL_BAR, at_least=True)


def _rate(server: Server, asking: Asking, effort: Effort) -> partial[float]:
    asked = Asking(server.url, asking.targets, asking.clients, asking.headers)
    return partial(_requests, asked, effort.seconds)


def _requests(asking: Asking, seconds: float) -> float:
    return load(asking, seconds).rate


def _single_objects(size: Size, ours: Server, tuned: Server, effort: Effort) -> Iterator[Figure]:
    """One VM and one job, drawn from all, against a small document on the peer."""
    vms = [f"/clusters/cloud-{n % size.clouds:03}/vms/vm-{n:06}.json" for n in _drawn(size.vms)]
    jobs = [f"/jobs/{job_id(n).replace('#', '%23')}.json" for n in _drawn(size.jobs)]
    for name, targets in (("one_vm", vms), ("one_job", jobs)):
        mine, theirs = interleaved(
            effort.rounds,
            _rate(ours, Asking("", targets, 8), effort),
            _rate(tuned, Asking("", ["/vms?metric=total"], 8), effort),
        )
        yield Figure(f"read.{name}.{size.vms}", ratio(mine, theirs), "x-tuned", ONE_BAR, at_least=True)


def _drawn(number: int) -> range:
    return range(0, number, max(1, number // DRAWN))
