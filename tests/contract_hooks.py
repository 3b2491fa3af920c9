"""What the contract says in words, for schemathesis, which reads only schemas: what goes together, what there is.

Only data that the document calls valid is changed; what is sent to be refused is sent as it was made. Every connection
comes from an address of its own on this machine: wrong tokens from one address are soon told to wait, and not why.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
from schemathesis import Case, HookContext
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

Values = dict[str, Any]

_numbers = itertools.count(1)


class FromAnywhere(HTTPConnection):
    """A connection from another loopback address than the one before."""

    def connect(self) -> None:
        number = next(_numbers)
        self.source_address = (f"127.{1 + number // 62500 % 200}.{number // 250 % 250}.{1 + number % 250}", 0)
        super().connect()


HTTPConnectionPool.ConnectionCls = FromAnywhere

LISTINGS = ("/vms", "/jobs", "/clusters", "/cloud", "/failures")


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Mend what only words forbid."""
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return
    if isinstance(case.query, dict):
        _mend_query(case, case.query)
    if isinstance(case.body, dict):
        for mend in BODIES.get(f"{case.method} {case.path}", ()):
            mend(case.body)


def _mend_query(case: Case, query: Values) -> None:
    if "metric" in query:
        # A figure is of all VMs.
        _keep(query, {"metric", "index", "wait"})
    if "page_token" in query and case.path.startswith(LISTINGS) and "journal" not in case.path:
        _keep(query, query.keys() - {"index", "wait"})
    if "index" not in query:
        query.pop("wait", None)
    elif query.get("wait"):
        # Nobody changes anything meanwhile.
        query["wait"] = 1
    if case.path in ("/jobs", "/jobs.json") and case.method == "GET" and not query.keys() - {"index", "wait"}:
        query["state"] = "idle"


def _keep(query: Values, names: Any) -> None:
    for name in [name for name in query if name not in names]:
        del query[name]


def _count_goes_without_retain(body: Values) -> None:
    if "retain" in body:
        body.pop("count", None)
    if body.get("action") == "remove":
        body.pop("retain", None)


def _remove_takes_all(body: Values) -> None:
    if body.get("action") == "remove":
        body["count"] = "all"


def _count_is_of_vms(body: Values) -> None:
    if isinstance(body.get("count"), int):
        body["count"] = min(abs(body["count"]), 2)


def _description_is_one(body: Values) -> None:
    body["submit"] = "executable = /bin/date\nqueue"
    body.pop("owner", None)


def _token_is_for_what_there_is(body: Values) -> None:
    for name, known in (("clouds", "mouse"), ("users", "alice")):
        if name in body:
            body[name] = known
    if body.get("role") == "admin":
        # What concerns everything cannot be limited.
        _keep(body, body.keys() - {"clouds", "users"})
    if not str(body.get("description", "")).isprintable():
        del body["description"]


def _end_is_ahead(body: Values) -> None:
    if "until" in body:
        body["until"] = "90m"
        # Nothing else ends by itself.
        body.setdefault("action", "enable")


BODIES: Mapping[str, tuple[Callable[[Values], None], ...]] = {
    "PUT /clouds/{cloud}": (_end_is_ahead,),
    "PUT /clouds/{cloud}/vms": (_count_is_of_vms, _count_goes_without_retain, _remove_takes_all),
    "POST /clouds/{cloud}/vms": (_count_is_of_vms, _count_goes_without_retain),
    "POST /jobs": (_description_is_one,),
    "POST /tokens": (_token_is_for_what_there_is,),
}
"""What else is asked of a valid body, by operation."""
