"""webtest with the raw request target, which real servers hand over and plain webtest lacks."""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    # webob imports `cgi`, which Python 3.11 calls deprecated; the suite makes warnings errors.
    warnings.simplefilter("ignore", DeprecationWarning)
    from webtest import TestApp
    from webtest.app import TestRequest


class RawRequest(TestRequest):
    """A request that remembers the target it was made from."""

    @classmethod
    def blank(cls, path: str, environ: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        return super().blank(path, {"REQUEST_URI": path, **(environ or {})}, *args, **kwargs)


class Client(TestApp):
    """`Client(app).get("/clouds/a%2Fb")` as it would reach the application through Waitress.

    Statuses are for the test to check: `expect_errors` is on.
    """

    RequestClass = RawRequest

    def do_request(self, req: Any, status: Any = None, expect_errors: Any = None) -> Any:
        return super().do_request(req, status, True)
