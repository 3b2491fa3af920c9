"""webtest with the raw request target, which real servers hand over, and with each answer held to the contract."""

from __future__ import annotations

import warnings
from typing import Any, cast

from contract import contract_of

from cloudsched.store import Store
from cloudsched.web.app import Gate
from cloudsched.web.auth import Auth
from cloudsched.web.permissions import Permissions, Permit, Scope
from cloudsched.web.routing import raw_path

with warnings.catch_warnings():
    # webob imports `cgi`, which Python 3.11 calls deprecated; the suite makes warnings errors.
    warnings.simplefilter("ignore", DeprecationWarning)
    from webtest import TestApp
    from webtest.app import TestRequest


def everybody(*requests: str, auth: Auth | None = None) -> Gate:
    """A gate that lets everybody do what is named as `METHOD TEMPLATE`, or who `auth` lets in."""
    rows = dict.fromkeys(requests, Permit(None, Scope.NOTHING))
    # Only the limits of a token are looked up in a state.
    return Gate(auth or Auth("none"), Permissions(cast(Store, None), rows))


class RawRequest(TestRequest):
    """A request that remembers the target it was made from."""

    @classmethod
    def blank(cls, path: str, environ: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        return super().blank(path, {"REQUEST_URI": path, **(environ or {})}, *args, **kwargs)


class Client(TestApp):
    """`Client(app).get("/clouds/a%2Fb")` as it would reach the application through Waitress.

    Statuses are for the test to check: `expect_errors` is on. An answer of a daemon must be as its contract says.
    """

    RequestClass = RawRequest

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(app, *args, **kwargs)
        self._contract = contract_of(app)

    def do_request(self, req: Any, status: Any = None, expect_errors: Any = None) -> Any:
        answer = super().do_request(req, status, True)
        if self._contract:
            self._contract.check((req.method, raw_path(req.environ)), answer.status_int, answer.headers, answer.body)
        return answer
