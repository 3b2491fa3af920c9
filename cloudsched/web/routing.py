"""Routing on the request target as it was sent, so that any character may occur in a name (DESIGN 6).

WSGI's PATH_INFO has lost the difference between `/` and `%2F`; the raw target has not. Where a server hands over none,
PATH_INFO has to do.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import quote, unquote, unquote_to_bytes

import falcon
from falcon.constants import COMBINED_METHODS
from falcon.routing import CompiledRouter

from cloudsched.errors import BadRequest

_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f#\\]")
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+", re.ASCII)
"""A path that is the same however often it is encoded and decoded, of names that are no dots."""

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def raw_path(env: Mapping[str, Any]) -> str:
    """The path as the client sent it, still percent-encoded, without origin, mount point and query."""
    sent = env.get("REQUEST_URI") or env.get("RAW_URI")
    if sent is None:
        return quote(str(env.get("PATH_INFO", "")).encode("latin-1"), safe="/") or "/"
    path = _AUTHORITY.sub("", str(sent), count=1).partition("?")[0] or "/"
    mount = quote(str(env.get("SCRIPT_NAME", "")).encode("latin-1"), safe="/")
    return path.removeprefix(mount) or "/"


def shown_path(env: Mapping[str, Any]) -> str:
    """The raw path as logs and problem documents show it: printable ASCII only."""
    return ascii(raw_path(env))[1:-1]


def segments(path: str) -> list[str]:
    """The decoded segments of a raw path; `[""]` for the root. Raises BadRequest for what is not a path."""
    if not path.startswith("/"):
        raise _bad_target("is not a path")
    if _FORBIDDEN.search(path):
        raise _bad_target("holds a control character, a space, '#' or '\\', which must be percent-encoded")
    if _BROKEN_ESCAPE.search(path):
        raise _bad_target("holds a '%' without two hexadecimal digits; a plain '%' is written %25")
    try:
        names = [unquote_to_bytes(each.encode("latin-1")).decode() for each in path[1:].split("/")]
    except UnicodeError:
        raise _bad_target("is not UTF-8") from None
    if any("\0" in name for name in names):
        raise _bad_target("holds a NUL")
    return names


def are_names(found: list[str]) -> bool:
    """Whether a path's segments may name anything: an empty one or one of dots does not, but for the root's."""
    return found == [""] or not any(name in ("", ".", "..") for name in found)


def _bad_target(problem: str) -> BadRequest:
    return BadRequest(f"The request target {problem}.", code="bad-target")


class RawRouter(CompiledRouter):
    """Falcon's router fed with the raw target: each segment is decoded once, an empty or dot segment never matches.

    HEAD is served by GET's handler as in v1; every other method a resource lacks is refused (PARITY 1.1).
    """

    def map_http_methods(self, resource: object, **kwargs: Any) -> Any:
        """Map the resource's methods, HEAD, and a refusal for everything else."""
        methods: dict[str, Any] = dict(super().map_http_methods(resource, **kwargs))
        if "GET" in methods:
            methods.setdefault("HEAD", methods["GET"])
        allowed = sorted(methods)

        def refuse(req: falcon.Request, resp: falcon.Response, **names: str) -> NoReturn:
            raise falcon.HTTPMethodNotAllowed(allowed)

        return defaultdict(lambda: refuse, {**dict.fromkeys(COMBINED_METHODS, refuse), **methods})

    def find(self, uri: str, req: falcon.Request | None = None) -> Any:
        """Match the raw target of a request; `uri` only counts where there is no request."""
        if req is None:
            return super().find(uri)
        path = raw_path(req.env)
        if _PLAIN.fullmatch(path):
            return super().find(path)
        names = segments(path)
        if not are_names(names):
            return None
        route = super().find("/" + "/".join(quote(name, safe="") for name in names))
        if route is None:
            return None
        resource, methods, fields, template = route
        return resource, methods, {field: unquote(value) for field, value in fields.items()}, template
