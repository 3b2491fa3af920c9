"""Failures: why jobs have no VM, and images that fail (I19)."""

from __future__ import annotations

from cloudsched.info.page import PageOf, show
from cloudsched.info.picture import Page, Picture, Pictures
from cloudsched.render import documents, failures
from cloudsched.web import Request, Response, params


def boot(picture: Picture) -> Page:
    """`GET /failures/boot`."""
    return Page(
        text=lambda: failures.boot(picture.jobs, picture.reasons),
        document=lambda: documents.encode(documents.boot_failures(picture.jobs, picture.reasons)),
        key=("failures", "boot"),
        topics=("jobs", "shapes"),
    )


def image(picture: Picture) -> Page:
    """`GET /failures/image`."""
    return Page(
        text=lambda: failures.image(each.cloud for each in picture.fleet.active),
        document=lambda: documents.encode(documents.image_failures(each.cloud for each in picture.fleet.active)),
        key=("failures", "image"),
        topics=("clouds",),
    )


_PAGES: dict[str, PageOf] = {"boot": boot, "image": image}
_TYPE = params.Parameter("type", params.word(*_PAGES), required=True)


class Failures:
    """The wiki's form of the two pages, chosen by `type`."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the failures of a `type`: 200, or 400."""
        kind = params.read(req, _TYPE)["type"]
        picture = self._pictures.current()
        show(req, resp, _PAGES[kind](picture), picture)
