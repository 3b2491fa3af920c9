"""A name for every request, and one line in the log for those that matter."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from falcon import Request, Response

from cloudsched.logs import FIELDS
from cloudsched.web.routing import shown_path
from cloudsched.web.traffic import Traffic

_log = logging.getLogger("cloudscheduler.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """Middleware: takes or makes `X-Request-ID`, answers with it, and logs requests (`errors` or `all`).

    Neither headers nor parameters are logged, so no secret is.
    """

    def __init__(self, logged: str = "errors", traffic: Traffic | None = None) -> None:
        self._all, self._traffic = logged == "all", traffic or Traffic()

    def process_request(self, req: Request, resp: Response) -> None:
        """Name the request and note when it began."""
        sent = req.get_header("X-Request-ID") or ""
        req.context.request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        req.context.began = time.monotonic()
        resp.set_header("X-Request-ID", req.context.request_id)
        resp.set_header("X-Content-Type-Options", "nosniff")

    def process_response(self, req: Request, resp: Response, resource: Any, req_succeeded: bool) -> None:
        """Count and log the request."""
        now = time.monotonic()
        seconds = now - getattr(req.context, "began", now)
        self._traffic.add(req.method, resp.status_code, seconds)
        if not self._all and resp.status_code < 400:
            return
        figures = {
            "actor": getattr(req.context, "actor", str(req.remote_addr)),
            "method": ascii(req.method)[1:-1],
            "path": shown_path(req.env),
            "status": resp.status_code,
            "milliseconds": round(seconds * 1000, 1),
            "request_id": getattr(req.context, "request_id", ""),
        }
        _log.info("%s %s %s %s %.1f ms %s", *figures.values(), extra={FIELDS: figures})
