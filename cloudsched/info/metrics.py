"""`GET /metrics`: a function of the state index, cached like any page."""

from __future__ import annotations

from cloudsched.info.forms import Page
from cloudsched.info.picture import Picture
from cloudsched.info.queue import by_user
from cloudsched.policy.idleness import idle_cores
from cloudsched.render import documents, metrics
from cloudsched.render.metrics import Facts, Family
from cloudsched.web import exposition


def state(picture: Picture) -> Page:
    """Every metric of the state; the page of Prometheus, munin and JSON."""
    return Page(
        text=lambda: exposition.text(_families(picture)),
        document=lambda: documents.encode(metrics.document(picture.index, _families(picture))),
        key=("metrics",),
        topics=("index",),
        census=True,
        text_type=exposition.CONTENT_TYPE,
    )


def _families(picture: Picture) -> list[Family]:
    contents = picture.contents
    return metrics.state_families(
        Facts(
            index=picture.index,
            fleet=picture.fleet,
            jobs=by_user(picture.census, contents.queue_shapes),
            machines=contents.machines.values(),
            waiting=contents.waiting,
            idle=idle_cores(picture.snapshot),
            tallies={each.key: each.value for each in contents.tallies.values()},
        )
    )
