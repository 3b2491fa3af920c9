"""Text or JSON: v1 gave text, so JSON is for those who ask (DESIGN 6)."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from typing import Any

from falcon import Request, Response, mediatypes

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html; charset=utf-8"


def prefers_json(req: Request) -> bool:
    """Whether the Accept header ranks JSON above text; `*/*` and no header at all mean text."""
    return ranks_json(req.accept)


@lru_cache(maxsize=256)
def ranks_json(accept: str) -> bool:
    """The same of a header's value, which is one of a few for most clients."""
    if _preferred((JSON, "text/plain"), accept) != JSON:
        return False
    return _preferred(("text/plain", JSON), accept) == JSON or JSON in accept.lower()


def _preferred(types: tuple[str, ...], accept: str) -> str:
    with suppress(ValueError):
        return mediatypes.best_match(types, accept)
    return ""


def prefers_html(req: Request) -> bool:
    """Whether the client names HTML and ranks it highest, as browsers do."""
    return "text/html" in req.accept.lower() and req.client_prefers(("text/html", "text/plain", JSON)) == "text/html"


def reply(req: Request, resp: Response, text: str, document: Any) -> None:
    """Answer with whichever of the two forms the client wants; the document is anything json can dump."""
    if prefers_json(req):
        write_json(resp, document)
    else:
        write_text(resp, text)
    resp.append_header("Vary", "Accept")


def reply_tagged(req: Request, resp: Response, revision: int, text: str, document: Any) -> None:
    """`reply` with an ETag, and 304 to who has it (see `is_known`)."""
    if is_known(req, resp, revision, "-json" if prefers_json(req) else ""):
        resp.append_header("Vary", "Accept")
    else:
        reply(req, resp, text, document)


def is_known(req: Request, resp: Response, revision: int, mark: str = "") -> bool:
    """Give an answer its ETag: the state index at which what it shows last changed, and a mark for one of two forms.

    True where the client has that already: then it is told so, by 304.
    """
    tag = f"{revision}{mark}"
    resp.etag = tag
    resp.set_header("X-State-Index", str(revision))
    resp.set_header("Cache-Control", "no-cache")
    known = not {tag, "*"}.isdisjoint(map(str, req.if_none_match or ()))
    if known:
        resp.status = 304
    return known


def write_text(resp: Response, text: str) -> None:
    """Answer with text, byte for byte."""
    resp.content_type = TEXT
    resp.text = text


def write_json(resp: Response, document: Any, content_type: str = JSON) -> None:
    """Answer with a JSON document."""
    resp.content_type = content_type
    resp.text = json.dumps(document)
