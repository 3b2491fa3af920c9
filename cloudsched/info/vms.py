"""VMs of all clouds or of one: the table, v1's metrics, one VM (I8 to I10, I13, I14)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cloudsched.errors import BadRequest, NotFound
from cloudsched.info import news, nouns
from cloudsched.info.forms import Named, Page
from cloudsched.info.listed import Found, Listings, Source, held
from cloudsched.info.page import picture_for, show, without_suffix
from cloudsched.info.picture import Picture, Pictures
from cloudsched.model.vms import VM
from cloudsched.render import clouds, documents, vms
from cloudsched.render.fleet import CloudVMs, Fleet
from cloudsched.web import Request, Response, params
from cloudsched.web.kept import Shown
from cloudsched.web.listing import Asked, Noun, Query

_FLEET = ("clouds", "vms")
_Form = Callable[[Picture, Fleet], str]

METRICS: Mapping[str, tuple[_Form, _Form, tuple[str, ...]]] = {
    "": (
        lambda picture, fleet: vms.table_of(fleet, picture.vm_rows),
        lambda picture, fleet: documents.vm_list(fleet, picture.vm_text),
        _FLEET,
    ),
    "all": (
        lambda _, fleet: vms.condensed(fleet.vms),
        lambda _, fleet: documents.encode(documents.states(fleet)),
        _FLEET,
    ),
    "total": (
        lambda _, fleet: str(sum(1 for _ in fleet.vms)),
        lambda _, fleet: documents.encode({"total": sum(1 for _ in fleet.vms)}),
        _FLEET,
    ),
    "missing": (
        lambda picture, _: vms.missing(picture.missing_machines),
        lambda picture, _: documents.encode(documents.missing(picture.missing_machines)),
        ("machines", "vms"),
    ),
    "startup_time": (
        lambda _, fleet: vms.startup_times(fleet.active),
        lambda _, fleet: documents.encode(documents.startup_times(fleet)),
        _FLEET,
    ),
    "job_run_times": (
        lambda _, fleet: vms.job_run_times(fleet.vms),
        lambda _, fleet: documents.encode(documents.job_run_times(fleet)),
        _FLEET,
    ),
}
"""By `metric`, none being the table: the text, the document, and the topics they are made of.

A machine that belongs to no VM belongs to no cloud either: `missing` is the same for every cloud."""

_METRIC = params.Parameter("metric", params.word(*filter(None, METRICS)))


class VMs:
    """The VMs of all clouds."""

    def __init__(self, pictures: Pictures, listings: Listings) -> None:
        self._pictures, self._listings = pictures, listings

    def on_get(self, req: Request, resp: Response) -> None:
        """GET the table, a `metric`, or a page of what is asked for: 200, 400, or 410."""
        values = params.read(req, _METRIC, *nouns.VMS.parameters, *news.PARAMETERS)
        asked, metric = _asked(nouns.VMS, values), values.get("metric", "")
        picture = picture_for(req, self._pictures, values, METRICS[metric][2])
        if asked is None:
            show(req, resp, _page(picture, metric, picture.fleet), picture)
        else:
            self._listings.show(req, resp, asked, _source(nouns.VMS, _whole), picture)


class CloudsVMs:
    """The VMs of one cloud; v1 showed those of all clouds in most of these (B-30)."""

    def __init__(self, pictures: Pictures, listings: Listings) -> None:
        self._pictures, self._listings = pictures, listings

    def on_get(self, req: Request, resp: Response, cloud: str) -> None:
        """GET a cloud's table, `metric` or page: 200, 400, 410, or 404 with v1's sentence."""
        values = params.read(req, _METRIC, *nouns.VMS_OF_CLOUD.parameters, *news.PARAMETERS)
        asked, metric = _asked(nouns.VMS_OF_CLOUD, values), values.get("metric", "")
        picture = picture_for(req, self._pictures, values, METRICS[metric][2])
        found = picture.fleet.find(cloud)
        if found is None:
            sentence = vms.no_condensed if metric == "all" else clouds.no_cluster
            raise NotFound("cloud", cloud, v1_text=sentence(cloud))
        name = found.cloud.name
        if asked is None:
            show(req, resp, _page(picture, metric, _alone(found), name), picture)
        else:
            source = _source(nouns.VMS_OF_CLOUD, partial(_of_cloud, name), name)
            self._listings.show(req, resp, asked, source, picture)


def _asked(noun: Noun[VM], values: Mapping[str, Any]) -> Asked | None:
    """The page that is asked for, which is of VMs, not of a figure. Raises BadRequest."""
    asked = noun.asked(values)
    if asked is not None and "metric" in values:
        raise BadRequest("The parameter 'metric' goes without those of a listing.", parameter="metric")
    return asked


def _source(noun: Noun[VM], fleet_of: Callable[[Picture], Fleet], *names: str) -> Source[VM]:
    def read(picture: Picture, query: Query, now: float) -> Found[VM]:
        fleet = fleet_of(picture)
        released = (vm for each in (*fleet.active, *fleet.removed) for vm in each.released)
        shown: Shown[VM] = Shown(picture.vm_text, lambda rows, total: vms.listed(rows, total, len(fleet.active)))
        found = held(noun, (*fleet.vms, *fleet.retired, *released), query, now)
        return Found(found, shown, picture.revision(_FLEET))

    return Source(noun, ("vms", *names), _FLEET, read)


def _whole(picture: Picture) -> Fleet:
    return picture.fleet


def _of_cloud(name: str, picture: Picture) -> Fleet:
    found = picture.fleet.find(name)
    return _alone(found) if found else Fleet()


def _page(picture: Picture, metric: str, fleet: Fleet, *name: str) -> Page:
    text, document, topics = METRICS[metric]
    return Page(partial(text, picture, fleet), partial(document, picture, fleet), ("vms", metric, *name), topics)


def _alone(each: CloudVMs) -> Fleet:
    return Fleet(removed=(each,)) if each.cloud.removed else Fleet(active=(each,))


class OneVM:
    """One VM of a cloud, by id, spot request or uid.

    A released VM has a document, in which `released` is true; for the text, as for v1, it is forgotten.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def on_get(self, req: Request, resp: Response, cloud: str, vm: str) -> None:
        """GET a VM: 200, or 404 with v1's sentence, `{}` for `.json`."""
        picture = picture_for(req, self._pictures, params.read(req, *news.PARAMETERS), _FLEET)
        named = one(picture, cloud, vm)
        show(req, resp, named.page, picture, json_named=named.as_json)


def one(picture: Picture, cloud: str, vm: str) -> Named:
    """The page of a VM by the names in its URL. Raises NotFound."""
    holder = picture.fleet.find(cloud)
    vm_id, json_named = without_suffix(vm, holder.vm if holder else lambda _: None)
    found = holder.vm(vm_id) if holder else None
    sentence = "{}" if json_named else vms.no_info(vm_id, None if holder else cloud)
    if holder is None:
        raise NotFound("cloud", cloud, v1_text=sentence)
    if found is None:
        raise NotFound("vm", vm_id, v1_text=sentence)
    page = Page(text=partial(_info, vm_id, found), document=lambda: picture.vm_text(found), topics=_FLEET)
    return Named(page, json_named)


def _info(vm_id: str, vm: VM) -> str:
    if vm.released:
        raise NotFound("vm", vm_id, v1_text=vms.no_info(vm_id))
    return vms.info(vm_id, vm)
