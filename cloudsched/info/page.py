"""How a page of a picture becomes an answer: which form, its ETag, and names that may end in `.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cloudsched.info import news
from cloudsched.info.forms import Asked, Page
from cloudsched.info.listed import Listings, Source
from cloudsched.info.picture import Picture, Pictures
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import JSON, prefers_json, ranks_json
from cloudsched.web.ready import Environ, takes_gzip

PageOf = Callable[[Picture], Page]


class Fixed:
    """A resource without names and parameters: one page of whatever picture is current.

    A page that `ages` shows more than the picture, so its index is no ETag for it.
    """

    def __init__(self, pictures: Pictures, page_of: PageOf, *, ages: bool = False) -> None:
        self._pictures, self._page_of, self._ages = pictures, page_of, ages

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the page: 200, or 304 to who has it already."""
        if self._ages:
            params.read(req)
            show(req, resp, self._page_of(self._pictures.current()))
            return
        values, pictures = params.read(req, *news.PARAMETERS), self._pictures
        topics = self._page_of(pictures.current()).topics if values else ()
        show_current(req, resp, pictures, self._page_of, picture_for(req, pictures, values, topics))


class Listed:
    """The same for a page that is also a listing: with parameters of its noun, what they ask for of its `source`."""

    def __init__(self, pictures: Pictures, page_of: PageOf, listings: Listings, source: Source[Any]) -> None:
        self._pictures, self._page_of = pictures, page_of
        self._listings, self._source = listings, source

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the page or a page of the listing: 200, 304, 400, or 410."""
        values, pictures = params.read(req, *self._source.noun.parameters, *news.PARAMETERS), self._pictures
        asked = self._source.noun.asked(values)
        picture = picture_for(req, pictures, values, self._source.topics or ())
        if asked is None:
            show_current(req, resp, pictures, self._page_of, picture)
        else:
            self._listings.show(req, resp, asked, self._source, picture)


def picture_for(req: Request, pictures: Pictures, values: Mapping[str, Any], topics: tuple[str, ...]) -> Picture:
    """The current picture; for a request that waits (see news.py) once one of the topics has changed."""
    awaited = news.awaited(values)
    if awaited is None:
        return pictures.current()
    return pictures.after(awaited, topics, req.env.get("waitress.client_disconnected", lambda: False))


def show_current(req: Request, resp: Response, pictures: Pictures, page_of: PageOf, picture: Picture) -> None:
    """Answer with a page of a picture, or of a newer one that holds what the page needs of the jobs."""
    page, as_json = page_of(picture), _wants_json(req)
    needs = page.needs(as_json)
    if not picture.has(page, as_json) and not picture.holds(needs):
        picture = pictures.holding(needs)
        page = page_of(picture)
    show(req, resp, page, picture)


def _wants_json(req: Request) -> bool:
    return (req.uri_template or "").endswith(".json") or prefers_json(req)


def show(req: Request, resp: Response, page: Page, picture: Picture | None = None, *, json_named: bool = False) -> None:
    """Answer with a page; `json_named` says that the URL's last name asked for JSON by ending in `.json`.

    A page of a picture has an ETag: the state index of what it depends on, and the form where one URL has several. A
    page with a key is also kept as it was asked for, for the next one who asks the same.
    """
    wanted = form(req.env, by_url=json_named or (req.uri_template or "").endswith(".json"))
    if picture is None:
        resp.set_header("Cache-Control", "no-cache")
        resp.append_header("Vary", "Accept")
        resp.content_type, resp.data = JSON if wanted.as_json else page.text_type, page.body(wanted.as_json)
        return
    made = picture.made(page, wanted)
    if page.key and not req.has_param("index"):
        picture.keep(req.env, made, page.topics)
    known = req.env.get("HTTP_IF_NONE_MATCH")
    if known is not None and made.is_known(known):
        resp.status = 304
        resp.set_headers(made.without_body)
        return
    resp.set_headers(made.with_body)
    resp.data = made.body


def form(environ: Environ, *, by_url: bool) -> Asked:
    """The form a request asks for; `by_url` says that its URL asks for JSON."""
    as_json = by_url or ranks_json(environ.get("HTTP_ACCEPT") or "*/*")
    return Asked(as_json, takes_gzip(environ), "" if by_url or not as_json else "json")


def without_suffix(name: str, exists: Callable[[str], object]) -> tuple[str, bool]:
    """A name from a URL, and whether it asked for JSON: an existing name that ends in `.json` wins (DESIGN 6)."""
    if name.endswith(".json") and name != ".json" and not exists(name):
        return name.removesuffix(".json"), True
    return name, False
