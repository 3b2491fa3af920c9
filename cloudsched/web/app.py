"""The WSGI application both daemons are built with: routes in, error table and middleware around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import falcon

from cloudsched.config.options import Global
from cloudsched.model.access import Role
from cloudsched.store import Store
from cloudsched.web import contract, errors, health, journal, operations, process_metrics
from cloudsched.web.ages import Told
from cloudsched.web.auth import Auth, Limits, Trust
from cloudsched.web.guard import Pauses
from cloudsched.web.keyring import Keyring
from cloudsched.web.log import NO_SNIFFING, RequestLog, request_id
from cloudsched.web.negotiate import TEXT
from cloudsched.web.notes import Notes
from cloudsched.web.permissions import Permissions
from cloudsched.web.ready import Answer, Environ, Lookup, Reads
from cloudsched.web.routing import RawRouter
from cloudsched.web.throttle import Rate, plain_address
from cloudsched.web.token_file import read_token
from cloudsched.web.traffic import Traffic

StartResponse = Callable[..., Any]


class WSGIApp(falcon.App[falcon.Request, falcon.Response]):
    """Falcon's application behind what is ready: `reads` finds an answer, which is counted by `traffic`.

    `reads` is for applications that ask nothing of who reads and log no success; None answers everything by Falcon.
    `stopping` is to be called when the service begins to stop.
    """

    reads: Reads | None = None
    traffic: Traffic
    pauses: Pauses
    stopping: Callable[[], None] = staticmethod(lambda: None)

    def __call__(self, env: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answer(env, self.reads.ready, self.reads.ages) if self.reads else None
        if answer is None:
            return super().__call__(env, start_response)
        start_response(answer.status, answer.headers)
        return [answer.body] if answer.body else []

    def at_hand(self, env: Environ) -> Answer | None:
        """The answer to a request where that waits for nothing."""
        return self._answer(env, self.reads.at_hand, self.reads.ages.at_hand) if self.reads else None

    def _answer(self, env: Environ, ready: Lookup, headers: Callable[[], Told | None]) -> Answer | None:
        method = env["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            return None
        began = time.monotonic()
        found = ready(env)
        told = headers() if found else None
        if found is None or told is None:
            return None
        own = (("X-Request-ID", request_id(env)), NO_SNIFFING, *told)
        known = env.get("HTTP_IF_NONE_MATCH")
        if known is not None and found.is_known(known):
            self.traffic.add(method, 304, time.monotonic() - began)
            return Answer("304 Not Modified", [*found.without_body, *own], b"")
        self.traffic.add(method, 200, time.monotonic() - began)
        return Answer("200 OK", [*found.with_body, *own], found.body if method == "GET" else b"")


@dataclass(frozen=True, slots=True)
class _Told:
    """Middleware: the headers of every answer, errors too."""

    reads: Reads

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, succeeded: bool) -> None:
        """Add them."""
        resp.set_headers(list(self.reads.ages()))


@dataclass(frozen=True, slots=True)
class Gate:
    """Who is let in, and to what."""

    auth: Auth
    permissions: Permissions


def gate(daemon: str, store: Store, settings: Global) -> Gate:
    """The gate of the `admin` or `info` daemon; creates the first token where one is needed.

    Raises ConfigError for an unusable token file.
    """
    mode: str = getattr(settings, f"{daemon}_auth")
    socket_role = (
        Role(settings.admin_socket_role) if daemon == "admin" and settings.admin_socket_role != "none" else None
    )
    keyring = Keyring(store, read_token(settings.admin_token_file)) if mode == "token" else None
    notes = Notes(store.directory / "notes" / f"{daemon}.jsonl")
    trust = Trust(frozenset(map(plain_address, settings.trusted_proxies)), socket_role)
    return Gate(Auth(mode, keyring, trust, Limits(Rate(settings.rate_limit)), notes), Permissions(store))


def shared_routes(daemon: str, store: Store, settings: Global, traffic: Traffic) -> dict[str, object]:
    """What both daemons answer, by URL; `daemon` is `admin` or `info`."""
    return {
        **operations.routes(store),
        **journal.routes(store),
        **health.routes(store, settings),
        **process_metrics.routes(store, traffic, daemon),
        **contract.routes(daemon),
    }


def build(
    routes: Mapping[str, object],
    gate: Gate,
    access_log: str = "errors",
    traffic: Traffic | None = None,
    reads: Reads | None = None,
) -> WSGIApp:
    """An application that answers `routes` (URI template to resource) to whom the gate lets in.

    `access_log` is `errors` or `all`; `traffic` counts what is answered. Fields of a template reach the resource's
    methods by name, decoded once. `reads` has headers of every answer, and answers that need no resource. Raises
    LookupError for a method of a resource that nobody is permitted.
    """
    gate.permissions.check(routes)
    # The log comes first, so that what the gate refuses is named and logged like any other request.
    traffic = traffic or Traffic()
    middleware: Any = [RequestLog(access_log, traffic), gate.auth, gate.permissions, *([_Told(reads)] if reads else [])]
    app = WSGIApp(router=RawRouter(), media_type=TEXT, middleware=middleware)
    app.traffic, app.pauses = traffic, gate.auth.pauses
    if gate.auth.asks_readers_nothing and access_log == "errors":
        app.reads = reads
    for kind in (Exception, falcon.HTTPError):
        app.add_error_handler(kind, errors.handle)
    for template, resource in routes.items():
        app.add_route(template, resource)
    return app
