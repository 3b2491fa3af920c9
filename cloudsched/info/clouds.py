"""Clouds: the overview, their configuration, all of them, one of them (I2 to I7)."""

from __future__ import annotations

from collections.abc import Mapping

from cloudsched.config import Config
from cloudsched.config.clouds import HostSize, read_clouds
from cloudsched.errors import NotFound
from cloudsched.info import news, nouns
from cloudsched.info.forms import Page
from cloudsched.info.listed import Found, Listings, Source, held
from cloudsched.info.page import picture_for, show, without_suffix
from cloudsched.info.picture import Picture, Pictures
from cloudsched.model.clouds import Cloud, Origin
from cloudsched.render import clouds, documents, troubles
from cloudsched.render.fleet import CloudVMs, Fleet
from cloudsched.store import Store, limits
from cloudsched.store.polls import all_polls
from cloudsched.web import Request, Response, params
from cloudsched.web.kept import Shown
from cloudsched.web.listing import Query

_HOST_UNUSED = HostSize(0, 0, 0)


def overview(picture: Picture) -> Page:
    """`GET /cloud`."""
    return Page(
        text=lambda: clouds.overview(picture.fleet),
        document=lambda: documents.encode(documents.overview(picture.fleet)),
        key=("cloud",),
        topics=("clouds",),
    )


def clusters(picture: Picture) -> Page:
    """`GET /clusters` and `/clusters.json`."""
    return Page(
        text=lambda: clouds.clusters_of(picture.piece("text", each, clouds.cluster) for each in picture.fleet.active),
        document=lambda: documents.pool(picture.fleet, picture.cloud_body),
        key=("clusters",),
        topics=("clouds", "vms"),
    )


def _overview_rows(picture: Picture, query: Query, now: float) -> Found[CloudVMs]:
    shown: Shown[CloudVMs] = Shown(
        encode=lambda each: documents.encode(documents.glance(each.cloud)),
        text=lambda rows, _: clouds.overview(Fleet(active=tuple(rows))),
    )
    rows = held(nouns.OVERVIEW, picture.fleet.active, query, now)
    return Found(rows, shown, picture.revision(("clouds",)))


def _cluster_rows(picture: Picture, query: Query, now: float) -> Found[CloudVMs]:
    shown: Shown[CloudVMs] = Shown(
        encode=lambda each: picture.cloud_body(each).decode(),
        text=lambda rows, _: clouds.clusters_of(map(clouds.cluster, rows)),
    )
    every = (*picture.fleet.active, *picture.fleet.removed)
    return Found(held(nouns.CLOUDS, every, query, now), shown, picture.revision(("clouds", "vms")))


OVERVIEW = Source(nouns.OVERVIEW, ("cloud",), ("clouds",), _overview_rows)
CLUSTERS = Source(nouns.CLOUDS, ("clusters",), ("clouds", "vms"), _cluster_rows)


class Cluster:
    """One cloud, by name: as it is written, else in any case (B-09)."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def on_get(self, req: Request, resp: Response, cloud: str) -> None:
        """GET a cloud: 200, or 404 with v1's sentence, `{}` for `.json`."""
        picture = picture_for(req, self._pictures, params.read(req, *news.PARAMETERS), ("clouds", "vms"))
        name, json_named = without_suffix(cloud, picture.fleet.find)
        found = picture.fleet.find(name)
        if found is None:
            raise NotFound("cloud", name, v1_text="{}" if json_named else clouds.no_cluster_info(name))
        page = Page(
            text=lambda: clouds.cluster_info(name, found),
            document=lambda: picture.cloud_body(found),
            key=("clusters", name),
            topics=("clouds", "vms"),
        )
        show(req, resp, page, picture, json_named=json_named)


class CloudHealth:
    """How each cloud answers. When it last answered well lies outside the index: each request reads it."""

    def __init__(self, pictures: Pictures, store: Store, listings: Listings) -> None:
        self._pictures, self._store, self._listings = pictures, store, listings
        self._source = Source(nouns.CLOUD_HEALTH, ("cloud", "health"), None, self._rows)

    def on_get(self, req: Request, resp: Response) -> None:
        """GET every cloud's state, its cause, since when, its next try, its last good answer, and what it enforces.

        With the listing's parameters a page of it: 200, 400, or 410.
        """
        asked = nouns.CLOUD_HEALTH.asked(params.read(req, *nouns.CLOUD_HEALTH.parameters))
        picture = self._pictures.current()
        if asked is not None:
            self._listings.show(req, resp, asked, self._source, picture)
            return
        known, (listed, enforced) = _known(picture), self._told()
        page = Page(
            text=lambda: troubles.table(known, listed, enforced),
            document=lambda: documents.encode(troubles.document(known, listed, enforced)),
        )
        show(req, resp, page)

    def _told(self) -> tuple[Mapping[str, float | None], Mapping[str, str]]:
        """By cloud, when it last answered well and what it enforces."""
        with self._store.reading() as connection:
            listed = {each.name.partition(":")[2]: each.ok_at for each in all_polls(connection)}
            return listed, limits.enforced(connection)

    def _rows(self, picture: Picture, query: Query, now: float) -> Found[Cloud]:
        listed, enforced = self._told()
        shown: Shown[Cloud] = Shown(
            encode=lambda each: documents.encode(troubles.row(each, listed, enforced)),
            text=lambda rows, _: troubles.table(rows, listed, enforced),
        )
        return Found(held(nouns.CLOUD_HEALTH, _known(picture), query, now), shown, picture.index)


def _known(picture: Picture) -> list[Cloud]:
    return [each.cloud for each in (*picture.fleet.active, *picture.fleet.removed)]


class CloudConfig:
    """The clouds' configuration without secrets: of the file as it is now, and of the state (PARITY 2.3)."""

    def __init__(self, pictures: Pictures, config: Config) -> None:
        self._pictures, self._config = pictures, config

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the configuration: 200, or 409 for a file that cannot be read."""
        params.read(req)
        sections = self._sections()
        page = Page(
            text=lambda: clouds.configuration(sections),
            document=lambda: documents.encode(documents.configuration(sections)),
        )
        show(req, resp, page)

    def _sections(self) -> list[tuple[str, Mapping[str, str]]]:
        path = self._config.global_.cloud_resource_config
        known = [each.cloud for each in self._pictures.current().fleet.active]
        if path is None:
            return [(each.name, each.options) for each in known]
        found, _ = read_clouds(path, self._config.global_, _HOST_UNUSED)
        by_api = [(each.name, each.options) for each in known if each.origin is Origin.API]
        return [*((each.section, each.options) for each in found), *by_api]
