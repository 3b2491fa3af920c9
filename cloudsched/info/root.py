"""The version (I1)."""

from __future__ import annotations

from cloudsched import __version__
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply


class Root:
    """`/`: v1's sentence with our number."""

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the version."""
        params.read(req)
        reply(req, resp, f"Cloud Scheduler version: {__version__}", {"version": __version__})
