"""Failures: why jobs have no VM, images that fail (I19), and what became of VMs that were of no use."""

from __future__ import annotations

from cloudsched.info import news, nouns
from cloudsched.info.forms import Page
from cloudsched.info.listed import Found, Listings, Source, held
from cloudsched.info.page import PageOf, picture_for, show, show_current
from cloudsched.info.picture import Picture, Pictures
from cloudsched.info.queue import FAILING
from cloudsched.model.clouds import Cloud
from cloudsched.model.failures import VMFailure
from cloudsched.render import documents, failures
from cloudsched.store import Store, state_row
from cloudsched.store.vm_failures import read_failures
from cloudsched.web import Request, Response, params
from cloudsched.web.kept import Shown
from cloudsched.web.listing import Query


def boot(picture: Picture) -> Page:
    """`GET /failures/boot`."""
    return Page(
        text=lambda: failures.boot_listed(picture.listed(FAILING, False)),
        document=lambda: documents.joined(jobs=picture.listed(FAILING, True)),
        key=("failures", "boot"),
        topics=("jobs", "shapes"),
        queues=(FAILING,),
    )


def image(picture: Picture) -> Page:
    """`GET /failures/image`."""
    return Page(
        text=lambda: failures.image(each.cloud for each in picture.fleet.active),
        document=lambda: documents.encode(documents.image_failures(each.cloud for each in picture.fleet.active)),
        key=("failures", "image"),
        topics=("clouds",),
    )


def _image_rows(picture: Picture, query: Query, now: float) -> Found[Cloud]:
    failing = [each.cloud for each in picture.fleet.active if each.cloud.failed_images]
    shown: Shown[Cloud] = Shown(
        encode=lambda cloud: documents.encode(documents.failing_images(cloud)),
        text=lambda rows, _: failures.image(rows),
    )
    return Found(held(nouns.IMAGE_FAILURES, failing, query, now), shown, picture.revision(("clouds",)))


IMAGES = Source(nouns.IMAGE_FAILURES, ("failures", "image"), ("clouds",), _image_rows)

_PAGES: dict[str, PageOf] = {"boot": boot, "image": image}
_TYPE = params.Parameter("type", params.word(*_PAGES), required=True)


class VMFailures:
    """VMs that were of no use. Their records lie outside the index: each request reads them."""

    def __init__(self, store: Store, pictures: Pictures, listings: Listings) -> None:
        self._store, self._pictures, self._listings = store, pictures, listings
        self._source = Source(nouns.VM_FAILURES, ("failures", "vms"), None, self._rows)

    def on_get(self, req: Request, resp: Response) -> None:
        """GET what became of VMs that never came up or never joined, newest first, with their consoles' ends."""
        asked = nouns.VM_FAILURES.asked(params.read(req, *nouns.VM_FAILURES.parameters))
        if asked is not None:
            self._listings.show(req, resp, asked, self._source, self._pictures.current())
            return
        with self._store.reading() as connection:
            found = read_failures(connection)
        page = Page(
            text=lambda: failures.vm(found),
            document=lambda: documents.encode(documents.vm_failures(found)),
        )
        show(req, resp, page)

    def _rows(self, picture: Picture, query: Query, now: float) -> Found[VMFailure]:
        with self._store.reading() as connection:
            found, row = read_failures(connection), state_row(connection)
        shown: Shown[VMFailure] = Shown(
            encode=lambda each: documents.encode(documents.vm_failure(each)), text=lambda rows, _: failures.vm(rows)
        )
        return Found(held(nouns.VM_FAILURES, found, query, now), shown, row.index)


class Failures:
    """The wiki's form of the two pages, chosen by `type`."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the failures of a `type`: 200, or 400."""
        values = params.read(req, _TYPE, *news.PARAMETERS)
        page_of = _PAGES[values["type"]]
        topics = page_of(self._pictures.current()).topics
        show_current(req, resp, self._pictures, page_of, picture_for(req, self._pictures, values, topics))
