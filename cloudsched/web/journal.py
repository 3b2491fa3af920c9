"""`/journal` and the journals of single things: any number of daemons may serve them, they only read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlencode

from cloudsched.errors import NotFound
from cloudsched.model.journal import EntryKind
from cloudsched.render import journal as render
from cloudsched.store import Store, journal_pages, journal_subjects
from cloudsched.store.journal import ADMIN, CHAINS, Chain
from cloudsched.store.journal_pages import Asked, Filter
from cloudsched.store.journal_subjects import Subject
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import TEXT, prefers_json, reply, write_json
from cloudsched.web.params import Parameter
from cloudsched.web.times import moment

_LARGEST = 10**18 - 1
_ENTRY = re.compile(r"(?:(admin|engine):)?(\d{1,18})", re.ASCII)


def kind(value: str) -> EntryKind:
    """A kind of entry."""
    return EntryKind(params.word(*EntryKind)(value))


FILTERS = (
    Parameter("kind", kind),
    Parameter("verb"),
    Parameter("actor"),
    Parameter("noun"),
    Parameter("name"),
    Parameter("cloud", params.lowered),
    Parameter("user"),
    Parameter("request_id"),
    Parameter("operation", params.integer(1, _LARGEST)),
    Parameter("since", moment),
    Parameter("until", moment),
)
PAGING = (Parameter("limit", params.integer(1, 1000)), Parameter("page_token"))

SUBJECTS: Mapping[str, tuple[Callable[..., Subject], tuple[str, ...]]] = {
    "/journal": (lambda: journal_subjects.everything, ()),
    "/clouds/{cloud}/journal": (lambda cloud: journal_subjects.cloud(cloud), ("cloud",)),
    "/clouds/{cloud}/vms/{vm}/journal": (journal_subjects.vm, ("noun", "name", "cloud")),
    "/users/{user}/journal": (lambda user: journal_subjects.user(user), ("user",)),
    "/jobs/{job}/journal": (lambda job: journal_subjects.job(job), ("noun", "name")),
}
"""By URL: whose journal it is, by the names in it, and the filters that it takes the place of."""


def routes(store: Store) -> dict[str, object]:
    """The journal as a whole, of each thing, and each entry."""
    lists = {url: Journal(store, subject, fixed) for url, (subject, fixed) in SUBJECTS.items()}
    return {**lists, **{f"{url}.json": each for url, each in lists.items()}, "/journal/{entry}": OneEntry(store)}


class Journal:
    """Entries, newest first: of everything, or of what the URL names."""

    def __init__(self, store: Store, subject: Callable[..., Subject], fixed: tuple[str, ...]) -> None:
        self._store, self._subject = store, subject
        self._filters = tuple(each for each in FILTERS if each.name not in fixed)

    def on_get(self, req: Request, resp: Response, **names: str) -> None:
        """GET a page: 200, 304, 400, or 404 for a thing that nothing is known of."""
        given = params.read(req, *self._filters, *PAGING)
        as_json = (req.uri_template or "").endswith(".json") or prefers_json(req)
        mark = "-json" if as_json else ""
        known = tuple(str(each).removesuffix(mark) for each in req.if_none_match or () if str(each).endswith(mark))
        limit, token = given.pop("limit", 100), given.pop("page_token", "")
        asked = Asked(Filter(**given), self._subject(*names.values()), limit, token, known)
        version, page = journal_pages.read(self._store, asked)
        resp.etag = version + mark
        resp.set_header("Cache-Control", "no-cache")
        resp.append_header("Vary", "Accept")
        if page is None:
            resp.status = 304
            return
        if page.token:
            resp.append_link(next_page(req, page.token), "next")
        if as_json:
            write_json(resp, render.page_document(page.rows, page.total, page.newest, page.token))
        else:
            resp.content_type, resp.text = TEXT, render.lines(page.rows)


class OneEntry:
    """One entry, by its number in the admin's chain or as CHAIN:NUMBER, and what became of it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def on_get(self, req: Request, resp: Response, entry: str) -> None:
        """GET an entry: 200, or 404."""
        params.read(req)
        chain, number = place(entry.removesuffix(".json"))
        found, outcome = journal_pages.one(self._store, chain, number)
        document = {**render.entry_document(found), "outcome": render.entry_document(outcome) if outcome else None}
        if entry.endswith(".json"):
            write_json(resp, document)
        else:
            reply(req, resp, render.lines(filter(None, (found, outcome))), document)


def place(entry: str) -> tuple[Chain, int]:
    """The chain and the number that an entry is named by. Raises NotFound for what names none."""
    found = _ENTRY.fullmatch(entry)
    if not found:
        raise NotFound("journal entry", entry)
    return next(each for each in CHAINS if each.name == (found[1] or ADMIN.name)), int(found[2])


def next_page(req: Request, token: str) -> str:
    """The same request for the page after this one, relative to its URL."""
    given = [(name, value) for name, value in parse_qsl(req.query_string) if name != "page_token"]
    return f"?{urlencode([*given, ('page_token', token)])}"
