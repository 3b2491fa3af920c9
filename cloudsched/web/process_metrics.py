"""`/metrics/process` on both daemons: what moves without the state index."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from cloudsched import __version__
from cloudsched.errors import StateError
from cloudsched.model.metrics import PROCESS
from cloudsched.model.snapshot import Heartbeat, Polled
from cloudsched.render import metrics
from cloudsched.render.documents import encode
from cloudsched.render.metrics import Counts, Family
from cloudsched.store import Store, place, polls
from cloudsched.store.heartbeats import all_heartbeats
from cloudsched.web import Request, Response, exposition, params
from cloudsched.web.negotiate import JSON, prefers_json
from cloudsched.web.traffic import Traffic

CYCLE = "Scheduler"


def routes(store: Store, traffic: Traffic, daemon: str) -> dict[str, object]:
    """The resource by its URLs."""
    resource = ProcessMetrics(store, traffic, daemon)
    return {"/metrics/process": resource, "/metrics/process.json": resource}


class ProcessMetrics:
    """This daemon's requests and process, and how long ago the engine did what; `daemon` is its name."""

    def __init__(self, store: Store, traffic: Traffic, daemon: str, now: Callable[[], float] = time.time) -> None:
        self._store, self._traffic, self._daemon, self._now = store, traffic, daemon, now

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the figures; those of the engine are missing while the state cannot be read."""
        params.read(req)
        families = [*self._own(), *self._traffic.families(), *self._engine(), *exposition.process_families()]
        resp.set_header("Cache-Control", "no-store")
        resp.append_header("Vary", "Accept")
        if (req.uri_template or "").endswith(".json") or prefers_json(req):
            resp.content_type, resp.text = JSON, encode(metrics.document(None, families))
        else:
            resp.content_type, resp.text = exposition.CONTENT_TYPE, exposition.text(families)

    def _own(self) -> list[Family]:
        return [metrics.family(PROCESS["cloudsched_build_info"], {(__version__, self._daemon): 1.0})]

    def _engine(self) -> list[Family]:
        try:
            with self._store.reading() as connection:
                beats, polled = all_heartbeats(connection), polls.all_polls(connection)
            alive = place.holder(self._store) is not None
        except StateError:
            return []
        figures = dict(_figures(beats, polled, self._now()))
        figures["cloudsched_engine_up"] = {(): float(alive)}
        return [metrics.family(PROCESS[name], counts) for name, counts in figures.items()]


def _figures(beats: Sequence[Heartbeat], polled: Sequence[Polled], now: float) -> Iterator[tuple[str, Counts]]:
    sources = [each for each in polled if each.name != CYCLE]
    ages: Counts = {(each.name,): max(now - each.ok_at, 0.0) for each in sources if each.ok_at is not None}
    yield "cloudsched_heartbeat_age_seconds", {(beat.name,): max(now - beat.beat_at, 0.0) for beat in beats}
    yield "cloudsched_poll_age_seconds", ages
    yield "cloudsched_poll_failed", {(each.name,): float(bool(each.error)) for each in sources}
    yield "cloudsched_poll_seconds", {(each.name,): each.seconds for each in sources}
    cycles = [each.seconds for each in polled if each.name == CYCLE]
    yield "cloudsched_cycle_seconds", dict.fromkeys([()] if cycles else [], sum(cycles))
