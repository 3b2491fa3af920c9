"""`/`: v1's sentence with our number (I1), and for browsers the status page."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files

from cloudsched import __version__
from cloudsched.config.options import Global
from cloudsched.info.contents import Wanted
from cloudsched.info.picture import Pictures
from cloudsched.info.queue import by_reason, by_user
from cloudsched.render import health, status
from cloudsched.render.status import Status
from cloudsched.store import Store, history, journal_pages
from cloudsched.store.heartbeats import all_heartbeats
from cloudsched.store.journal_pages import Filter
from cloudsched.store.vm_failures import read_failures
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import HTML, prefers_html, reply

_JOURNAL = 15


class Root:
    """The version for who asks in text or JSON, the page for who prefers HTML."""

    def __init__(
        self, pictures: Pictures, store: Store, settings: Global, now: Callable[[], float] = time.time
    ) -> None:
        self._pictures, self._store, self._now = pictures, store, now
        self._poll_seconds = float(settings.poll_timeout_seconds)
        own = files("cloudsched.info")
        self._style, self._script = (own.joinpath(f"status.{kind}").read_text("utf-8") for kind in ("css", "js"))
        # Nothing but our own style and script runs, whatever a state may hold.
        self._policy = (
            f"default-src 'none'; style-src {_allowed(self._style)}; script-src {_allowed(self._script)}; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the version, or the page: 200, or 304 while neither the state index nor the minute has moved."""
        params.read(req)
        if not prefers_html(req):
            reply(req, resp, f"Cloud Scheduler version: {__version__}", {"version": __version__})
            return
        shown = self._status()
        minute = shown.history[-1][0] if shown.history else 0
        resp.etag = tag = f"{shown.index}-{minute}-html"
        resp.set_header("Cache-Control", "no-cache")
        resp.append_header("Vary", "Accept")
        if any(each in ("*", tag) for each in req.if_none_match or ()):
            resp.status = 304
            return
        resp.set_header("Content-Security-Policy", self._policy)
        resp.content_type = HTML
        resp.data = status.page(shown, self._style, self._script).encode(errors="replace")

    def _status(self) -> Status:
        picture = self._pictures.holding(Wanted(census=True))
        shapes = picture.contents.queue_shapes
        with self._store.reading() as connection:
            beats, day = all_heartbeats(connection), history.read_history(connection)
            lost, latest = read_failures(connection), journal_pages.page(connection, Filter(), _JOURNAL)
        return Status(
            version=__version__,
            index=picture.index,
            now=self._now(),
            fleet=picture.fleet,
            jobs=by_user(picture.census, shapes),
            why=by_reason(picture.census, shapes),
            beats=beats,
            late_after={beat.name: health.beat_limit(beat, self._poll_seconds) for beat in beats},
            failures=lost,
            journal=latest.rows,
            history=day,
        )


def _allowed(text: str) -> str:
    """An inline text by its digest (Content Security Policy Level 2)."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
