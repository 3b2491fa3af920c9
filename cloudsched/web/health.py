"""`/health/live` and `/health/ready` on both daemons, for probes: open to all who can connect (see `auth.OPEN`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus

from cloudsched.config.options import Global
from cloudsched.errors import StateError
from cloudsched.render import health
from cloudsched.render.documents import Document
from cloudsched.render.health import FAILED, OK, Check
from cloudsched.store import Store, place, polls, state_row, tables
from cloudsched.store.connect import schema_version
from cloudsched.store.heartbeats import all_heartbeats
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply, write_json


def routes(store: Store, settings: Global, now: Callable[[], float] = time.time) -> dict[str, object]:
    """The resources by URL, each also with `.json`."""
    resources: dict[str, object] = {"/health/live": Live(), "/health/ready": Ready(store, settings, now)}
    return resources | {f"{url}.json": resource for url, resource in resources.items()}


class Live:
    """This process answers; nothing else is asked."""

    def on_get(self, req: Request, resp: Response) -> None:
        """GET: always 200."""
        params.read(req)
        _answer(req, resp, "live\n", {"live": True})


class Ready:
    """The state can be read, the engine lives and sees what it manages."""

    def __init__(self, store: Store, settings: Global, now: Callable[[], float] = time.time) -> None:
        self._store, self._poll_seconds, self._now = store, float(settings.poll_timeout_seconds), now

    def on_get(self, req: Request, resp: Response) -> None:
        """GET every check by name: 200, or 503 when one failed."""
        params.read(req)
        checks = self._checks()
        if not health.is_ready(checks):
            resp.status = HTTPStatus.SERVICE_UNAVAILABLE
            resp.set_header("Retry-After", "5")
        _answer(req, resp, health.text(checks), health.document(checks))

    def _checks(self) -> list[Check]:
        now = self._now()
        try:
            with self._store.reading() as connection:
                state = Check("state", OK, f"index {state_row(connection).index}")
                version = schema_version(connection)
                beats, polled = all_heartbeats(connection), polls.all_polls(connection)
            engine = self._engine()
        except StateError as ex:
            return [Check("state", FAILED, str(ex))]
        schema = Check("schema", OK if version == tables.SCHEMA_VERSION else FAILED, f"version {version}")
        beating = health.beat_checks(beats, now, self._poll_seconds)
        return [state, schema, *engine, *beating, *health.poll_checks(polled, now, self._poll_seconds)]

    def _engine(self) -> list[Check]:
        """Who is the engine, on whatever host."""
        holder = place.holder(self._store)
        return [Check("engine", OK if holder else FAILED, holder or "no scheduler holds the state")]


def _answer(req: Request, resp: Response, text: str, document: Document) -> None:
    resp.set_header("Cache-Control", "no-store")
    if (req.uri_template or "").endswith(".json"):
        write_json(resp, document)
    else:
        reply(req, resp, text, document)
