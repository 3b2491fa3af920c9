"""What monitoring scrapes beside the VMs: hosts for munin, fair shares, heartbeats (I17, I18, I21)."""

from __future__ import annotations

import time
from collections.abc import Callable

from cloudsched.config.options import Global
from cloudsched.info.forms import Page
from cloudsched.info.page import show
from cloudsched.info.picture import Picture
from cloudsched.model.snapshot import Heartbeat
from cloudsched.policy.fairshare import distributions
from cloudsched.render import documents, heartbeats, shares, vms
from cloudsched.store import Store
from cloudsched.store.heartbeats import all_heartbeats
from cloudsched.web import Request, Response, params


def ips(picture: Picture) -> Page:
    """`GET /ips`."""
    return Page(
        text=lambda: vms.ips(picture.fleet.vms),
        document=lambda: documents.encode(documents.hosts(picture.fleet)),
        key=("ips",),
        topics=("clouds", "vms"),
    )


def diff_types(picture: Picture, settings: Global) -> Page:
    """`GET /diff-types`: fair share as the planner would compute it of this picture."""
    return Page(
        text=lambda: shares.shares(*distributions(picture.snapshot, settings)),
        document=lambda: documents.encode(documents.shares(*distributions(picture.snapshot, settings))),
        key=("diff-types",),
        topics=("clouds", "vms", "jobs", "shapes", "limits"),
        census=True,
    )


class HeartBeats:
    """The engine's stages. Heartbeats lie outside the index: each request reads them."""

    def __init__(self, store: Store, settings: Global, now: Callable[[], float] = time.time) -> None:
        self._store, self._now = store, now
        started_at = now()
        self._never_seen = {
            name: Heartbeat(name, interval, started_at)
            for name, interval in {
                "Scheduler": settings.scheduler_interval,
                "Cleanup": settings.cleanup_interval,
                "VMPoller": settings.vm_poller_interval,
                "JobPoller": settings.job_poller_interval,
                "MachinePoller": settings.machine_poller_interval,
            }.items()
        }

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the age of each stage's last cycle; of one that never ended a cycle, since this daemon's start."""
        params.read(req)
        with self._store.reading() as connection:
            seen = {beat.name: beat for beat in all_heartbeats(connection)}
        beats, now = (self._never_seen | seen).values(), self._now()
        page = Page(
            text=lambda: heartbeats.heartbeats(beats, now),
            document=lambda: documents.encode(documents.beats(beats, now)),
        )
        show(req, resp, page)
