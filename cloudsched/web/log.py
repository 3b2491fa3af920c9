"""A name for every request, and one line in the log for those that matter."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Mapping
from typing import Any

from falcon import Request, Response

from cloudsched.logs import FIELDS
from cloudsched.web.routing import shown_path
from cloudsched.web.traffic import Traffic

_log = logging.getLogger("cloudscheduler.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

NO_SNIFFING = ("X-Content-Type-Options", "nosniff")


def request_id(environ: Mapping[str, Any]) -> str:
    """The name of a request: the client's own where it is one word of at most 64 characters, else a new one."""
    sent = environ.get("HTTP_X_REQUEST_ID", "")
    return sent if _REQUEST_ID.fullmatch(sent) else f"{random.getrandbits(128):032x}"


class RequestLog:
    """Middleware: takes or makes `X-Request-ID`, answers with it, and logs requests (`errors` or `all`).

    Neither headers nor parameters are logged, so no secret is.
    """

    def __init__(self, logged: str = "errors", traffic: Traffic | None = None) -> None:
        self._all, self._traffic = logged == "all", traffic or Traffic()

    def process_request(self, req: Request, resp: Response) -> None:
        """Name the request and note when it began."""
        req.context.request_id = request_id(req.env)
        req.context.began = time.monotonic()
        resp.set_header("X-Request-ID", req.context.request_id)
        resp.set_header(*NO_SNIFFING)

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
