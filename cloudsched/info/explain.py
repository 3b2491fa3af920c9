"""`/jobs/JOB/explain`: what a job waits for, as the planner would decide now.

The planner runs over the whole state for the answer, so it is made for those who ask and kept for nobody; who asks
meanwhile shares the next run.
"""

from __future__ import annotations

import time

from cloudsched.config import Config
from cloudsched.errors import NotFound
from cloudsched.info.freshness import Shared
from cloudsched.model.jobs import Job
from cloudsched.policy.explain import explain
from cloudsched.policy.outlook import Placement, look
from cloudsched.render import explanation as render
from cloudsched.render import jobs as texts
from cloudsched.store import Store, queues
from cloudsched.store.snapshot import Seen, SnapshotReader
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply, write_json


class Explanation:
    """Why one job waits, or how it stands if it does not."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store, self._config = store, config
        self._placement = Shared(self._found)

    def on_get(self, req: Request, resp: Response, job: str) -> None:
        """GET the explanation of a job: 200, or 404."""
        params.read(req)
        found = self._job(job)
        placement = self._placement() if render.waits(found) else None
        told = explain(found, placement) if placement else None
        own = found.failed_boot_reason
        if (req.uri_template or "").endswith(".json"):
            write_json(resp, render.document(found, own, told))
        else:
            reply(req, resp, render.text(found, own, told), render.document(found, own, told))

    def _job(self, name: str) -> Job:
        number = texts.number(name)
        with self._store.reading() as connection:
            found = queues.job(connection, (name,), [number] if number else ())
        if found is None:
            raise NotFound("job", name, v1_text=texts.NO_JOB)
        return found.job

    def _found(self) -> Placement | None:
        seen = Seen(int(time.time()), jobs_known=True, machines_known=True)
        snapshot = SnapshotReader(self._store).snapshot(seen)
        return look(snapshot, self._config.global_, self._config.job).placement
