"""The WSGI application both daemons are built with: routes in, error table and middleware around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import falcon

from cloudsched.web import errors
from cloudsched.web.auth import Auth
from cloudsched.web.log import RequestLog
from cloudsched.web.negotiate import TEXT
from cloudsched.web.routing import RawRouter
from cloudsched.web.traffic import Traffic

WSGIApp = falcon.App[falcon.Request, falcon.Response]


def build(
    routes: Mapping[str, object], auth: Auth, access_log: str = "errors", traffic: Traffic | None = None
) -> WSGIApp:
    """An application that answers `routes` (URI template to resource) to whom `auth` lets in.

    `access_log` is `errors` or `all`; `traffic` counts what is answered. Fields of a template reach the resource's
    methods by name, decoded once.
    """
    # The log comes first, so that what `auth` refuses is named and logged like any other request.
    middleware: Any = [RequestLog(access_log, traffic), auth]
    app: WSGIApp = falcon.App(router=RawRouter(), media_type=TEXT, middleware=middleware)
    for kind in (Exception, falcon.HTTPError):
        app.add_error_handler(kind, errors.handle)
    for template, resource in routes.items():
        app.add_route(template, resource)
    return app
