"""Answers that are ready: bytes, their headers and their tag, for whoever asks in the same words.

A page that depends on nothing but the state is rendered once and kept as a `Ready`. The application answers from it
before anything is routed, so a hit costs little more than the server itself (docs/performance.md).
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudsched.web.ages import Ages

Environ = Mapping[str, Any]
Key = tuple[str | None, ...]
Headers = list[tuple[str, str]]

SMALLEST_GZIP = 1024
"""Shorter bodies are sent as they are: compressing them saves no packet."""


@dataclass(frozen=True, slots=True)
class Ready:
    """One form of one page: its strong tag (quoted, RFC 9110 8.8.3), its headers with and without a body."""

    tag: str
    body: bytes
    with_body: tuple[tuple[str, str], ...]
    without_body: tuple[tuple[str, str], ...]

    def is_known(self, if_none_match: str) -> bool:
        """Whether the client has these very bytes, by its If-None-Match (compared weakly, RFC 9110 13.1.2)."""
        if if_none_match in (self.tag, "*"):
            return True
        return any(each.strip().removeprefix("W/") == self.tag for each in if_none_match.split(","))


Lookup = Callable[[Environ], Ready | None]


def nothing(environ: Environ) -> None:
    """Nothing is ready."""


@dataclass(frozen=True, slots=True)
class Reads:
    """How an application answers who reads: `ages` are headers of every answer, `ready` finds answers that are made.

    `at_hand` is for the server's main loop: it waits for nobody's lock and finds none where it would have to.
    """

    ages: Ages
    ready: Lookup = nothing
    at_hand: Lookup = nothing


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: status line, headers, body."""

    status: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """What bytes are: their media type, how the URL's forms are told apart, which state index they show."""

    content_type: str
    revision: int
    mark: str = ""
    encoding: str = ""


def ready(body: bytes, form: Form) -> Ready:
    """Make an answer of a body. Its tag is the revision, with a mark where one URL has several forms."""
    tag = f'"{"-".join(filter(None, (str(form.revision), form.mark, form.encoding)))}"'
    shared = [
        ("Cache-Control", "no-cache"),
        ("ETag", tag),
        ("Vary", "Accept, Accept-Encoding"),
        ("X-State-Index", str(form.revision)),
    ]
    encoded = [("Content-Encoding", form.encoding)] if form.encoding else []
    described = [("Content-Type", form.content_type), ("Content-Length", str(len(body)))]
    return Ready(tag, body, (*shared, *encoded, *described), tuple(shared))


def asked(environ: Environ) -> Key | None:
    """What decides which ready answer a request gets; None for a server that hands over no raw target."""
    find = environ.get
    target = find("REQUEST_URI")
    # The query stands in the target too, but PEP 3333 only knows of this one.
    return target and (target, find("QUERY_STRING"), find("HTTP_ACCEPT"), find("HTTP_ACCEPT_ENCODING"))


def takes_gzip(environ: Environ) -> bool:
    """Whether the client asks for gzip (RFC 9110 12.5.3); `*` is not taken for asking."""
    for each in environ.get("HTTP_ACCEPT_ENCODING", "").lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def compressed(body: bytes) -> bytes:
    """The body by gzip at its fastest: it is made for clients that wait for it."""
    return gzip.compress(body, 1, mtime=0)
