"""Pages and their forms: what a picture can show, before anybody has asked for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cloudsched.info.contents import Wanted
from cloudsched.info.queue import Queue
from cloudsched.web.negotiate import TEXT


@dataclass(frozen=True, slots=True)
class Page:
    """Something a picture shows, in both its forms; `document` makes encoded JSON, as text or as UTF-8 already.

    A page with a `key` is rendered once, and again only after one of the `topics` it is made of has changed;
    `index` stands for all of them. `queues` and `census` are what it needs of the jobs.
    """

    text: Callable[[], str]
    document: Callable[[], str | bytes]
    key: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    text_type: str = TEXT
    queues: tuple[str, ...] = ()
    census: bool = False

    def needs(self, as_json: bool) -> Wanted:
        """What the picture must hold of the jobs for one of the forms."""
        return Wanted(frozenset(Queue(word, as_json) for word in self.queues), self.census)

    def body(self, as_json: bool) -> bytes:
        """The page in one of its forms, as UTF-8."""
        made = self.document() if as_json else self.text()
        return made if isinstance(made, bytes) else made.encode(errors="replace")


@dataclass(frozen=True, slots=True)
class Asked:
    """The form a client asks for; `mark` tells forms of one URL apart in the tag."""

    as_json: bool
    gzip: bool = False
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """A page that a URL's last name asks for, and whether it asks for JSON by ending in `.json`."""

    page: Page
    as_json: bool
