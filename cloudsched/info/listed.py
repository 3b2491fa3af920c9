"""Pages of listings: the rows of a noun that were asked for, all pages of one from the same state index.

What is read is read once, for the first page, and kept while its other pages are asked for (web/kept.py). Jobs are read
from the store in one transaction and kept packed; what the picture holds anyway is kept as it is.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

from cloudsched.errors import BadRequest
from cloudsched.info.picture import Picture, Pictures
from cloudsched.render import listings
from cloudsched.render.listings import Place
from cloudsched.web import Request, Response
from cloudsched.web.kept import Held, Kept, Listing, Rows, Shown, name_of
from cloudsched.web.listing import Asked, Noun, Query, Token, order
from cloudsched.web.negotiate import JSON, TEXT, prefers_json
from cloudsched.web.ready import SMALLEST_GZIP, Form, compressed, ready, takes_gzip

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What a source has read: the rows that fit, in order, how they are shown, the index of their last change."""

    rows: Rows[T]
    shown: Shown[T]
    revision: int


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """Where the rows of a noun come from: `read` finds those of a query, at a time in Unix seconds.

    `place` names the URL's noun and what else of it decides the rows. `topics` are what the answer depends on; None
    where it changes without the state index.
    """

    noun: Noun[T]
    place: tuple[str, ...]
    topics: tuple[str, ...] | None
    read: Callable[[Picture, Query, float], Found[T]]


def held(noun: Noun[T], rows: Sequence[T], query: Query, now: float) -> Held[T]:
    """Rows that are in memory, narrowed and sorted."""
    found = list(noun.fitting(rows, query, now))
    keys = noun.keys(query)
    places = order([[key(row) for key in keys] for row in found], query.sort)
    return Held(tuple(found[place] for place in places))


class Listings:
    """The listings of a daemon; one object per process. `now` is Unix seconds."""

    def __init__(self, pictures: Pictures, kept: Kept | None = None, now: Callable[[], float] = time.time) -> None:
        self._pictures, self._kept, self._now = pictures, kept or Kept(), now
        self._serial = itertools.count(1)

    def show(self, req: Request, resp: Response, asked: Asked, source: Source[Any], picture: Picture) -> None:
        """Answer with a page: 200 or 304. Raises BadRequest, PageExpired, StateUnavailable."""
        name, listing = self._found(asked, source, picture)
        start = asked.after.offset if asked.after else 0
        end = min(start + asked.limit, len(listing.rows)) if asked.limit else len(listing.rows)
        token = str(Token(name, end, asked.limit)) if end < len(listing.rows) else ""
        place = Place(len(listing.rows), listing.revision, token)
        _answer(req, resp, listing, _Page(source.noun.key, listing.rows.some(start, end), asked.fields, place))

    def _found(self, asked: Asked, source: Source[Any], picture: Picture) -> tuple[str, Listing[Any]]:
        if asked.after is not None:
            return asked.after.listing, self._continued(asked, asked.after, source)
        query, now = asked.query, self._now()
        lasts = source.topics is not None and not source.noun.ages(query)
        version = picture.revision(source.topics or ()) if lasts else None
        name = name_of(source.place, query, version)
        known = self._kept.find(name) if lasts else None
        if known is not None:
            return name, known
        found = source.read(picture, query, now)
        listing = Listing(source.place, query, found.revision, lasts, found.rows, found.shown)
        # Where nothing tells whether it has changed, every answer is another listing.
        name = name_of(source.place, query, found.revision if lasts else (next(self._serial), now))
        self._kept.put(name, listing)
        return name, listing

    def _continued(self, asked: Asked, after: Token, source: Source[Any]) -> Listing[Any]:
        listing = self._kept.get(after.listing)
        if listing.place != source.place:
            raise BadRequest("The parameter 'page_token' belongs to another URL.", parameter="page_token")
        if asked.query not in (Query(), listing.query):
            raise BadRequest(
                "The parameter 'page_token' belongs to a listing with other filters, or in another order.",
                parameter="page_token",
            )
        return listing


@dataclass(frozen=True, slots=True)
class _Page(Generic[T]):
    key: str
    rows: Sequence[T]
    fields: tuple[str, ...]
    place: Place

    def body(self, shown: Shown[T], as_json: bool) -> bytes:
        """The page in one of its forms, as UTF-8."""
        if as_json:
            text = listings.document(self.key, map(shown.encode, self.rows), self.fields, self.place)
        elif self.fields:
            text = listings.columns(map(shown.encode, self.rows), self.fields)
        else:
            text = shown.text(self.rows, self.place.total)
        return text.encode(errors="replace")


def _answer(req: Request, resp: Response, listing: Listing[Any], page: _Page[Any]) -> None:
    """Write the page with its headers: how many rows there are, the next page, and the tag of what lasts."""
    by_url = (req.uri_template or "").endswith(".json")
    as_json = by_url or prefers_json(req)
    body, encoding = page.body(listing.shown, as_json), ""
    if takes_gzip(req.env) and len(body) >= SMALLEST_GZIP:
        body, encoding = compressed(body), "gzip"
    mark = "" if by_url or not as_json else "json"
    made = ready(body, Form(JSON if as_json else TEXT, listing.revision, mark, encoding))
    known = req.env.get("HTTP_IF_NONE_MATCH")
    if listing.lasts and known is not None and made.is_known(known):
        resp.status = 304
        resp.set_headers(made.without_body)
        return
    resp.set_header("X-Total-Count", str(page.place.total))
    if page.place.token:
        resp.append_link(_next(req, page.place.token), "next")
    resp.set_headers([each for each in made.with_body if each[0] != "ETag" or listing.lasts])
    resp.data = made.body


def _next(req: Request, token: str) -> str:
    """The same request for the page after this one, relative to its URL; it waits for nothing."""
    left_out = ("page_token", "index", "wait")
    given = [(name, value) for name, value in parse_qsl(req.query_string) if name not in left_out]
    return f"?{urlencode([*given, ('page_token', token)])}"
