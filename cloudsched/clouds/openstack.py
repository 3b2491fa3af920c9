"""OpenStack by its own API (`cloud_type: OpenStackNative`), through the official SDK.

Nova has no request token: the same POST twice makes two servers. So each VM's uid is a tag, the tag is looked up before
a server is asked for and again when no answer came, and of two servers for one uid the later one is ended as soon as a
listing shows them. What Nova accepts may still fail: such a server is listed in ERROR with its fault.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from cloudsched.clouds.openstack_login import Options, connections
from cloudsched.clouds.openstack_region import Recipe, Region, Room
from cloudsched.clouds.openstack_servers import Owner, first_made, observed, uid_of
from cloudsched.errors import BadRequirement, CloudError, Outage, QuotaExceeded, Transient
from cloudsched.model.clouds import AdoptOutcome, BootOutcome, BootRequest, DestroyOutcome, ObservedVM
from cloudsched.model.vms import VM

T = TypeVar("T")

log = logging.getLogger("cloudscheduler")

_DEFAULTS: Mapping[str, Any] = {"request_threads": 8, "request_timeout": 60}


@dataclass(frozen=True, slots=True)
class _Known:
    """Where a server is, and how it was last listed."""

    region: Region
    zone: str
    shown: ObservedVM | None = None


class OpenStackCloud:
    """CloudAdapter over the servers that one installation has for one cloud, in the configured regions.

    `options` are the section's, typed. Nothing is asked before the first call. Raises ConfigError.
    """

    def __init__(self, name: str, installation: str, options: Options) -> None:
        self._options = {**_DEFAULTS, **options}
        self._owner = Owner(name, installation)
        made = connections(name, self._options)
        self._regions = {each: Region(name, each, connection, self._owner) for each, connection in made.items()}
        self._zones: tuple[str, ...] = self._options.get("placement_zone", ())
        self._pool = ThreadPoolExecutor(self._options["request_threads"], thread_name_prefix=f"OpenStack-{name}")
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def vms(self) -> list[ObservedVM]:
        """List our servers of all regions; one region that does not answer fails the listing.

        Nova leaves out the servers of a cell that is down. So a server that was listed before and is not now counts as
        gone only when Nova denies it.
        """
        listed = [(region, each) for region in self._regions.values() for each in self._once(region, region.servers())]
        present = {each.id: _Known(region, each.availability_zone or "", observed(each)) for region, each in listed}
        with self._lock:
            missing = {each: known for each, known in self._known.items() if each not in present}
        hidden = self._spread(lambda pair: pair[1].region.knows(pair[0]), missing.items())
        kept = {each: known for (each, known), is_there in zip(missing.items(), hidden, strict=True) if is_there}
        with self._lock:
            for each in missing.keys() - kept.keys():
                self._known.pop(each, None)
            self._known.update(present)
        return [known.shown for known in (present | kept).values() if known.shown]

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        """Ask for servers, `request_threads` at a time, in the first region that has room.

        Those that were made for a uid before are found by its tag and not asked for again.
        """
        asked = {request.uid: request for request in requests}
        made = self._made_for(asked)
        missing = [request for uid, request in asked.items() if uid not in made]
        attempt = _Attempt(self, missing) if missing else None
        outcomes = {uid: BootOutcome(uid, id=server_id) for uid, server_id in made.items()}
        if attempt:
            outcomes |= {each.uid: each for each in self._spread(attempt.booted, missing)}
        return [outcomes[request.uid] for request in requests]

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        """End servers by Nova's id, or by their uid where Nova's id is not known yet."""
        with self._lock:
            strangers = [each for each in vm_ids if each not in self._known]
        try:
            made = self._made_for(strangers)
        except CloudError as ex:
            return [DestroyOutcome(each, ex) for each in vm_ids]
        return self._spread(lambda each: self._destroyed(each, made.get(each, each)), vm_ids)

    def adopt(self, vms: Sequence[VM]) -> list[AdoptOutcome]:
        """Put our tags and metadata on servers that another scheduler booted, in whichever region they are."""
        return self._spread(self._adopted, vms)

    def console(self, vm_id: str) -> str:
        """The end of what a server wrote to its console. Raises CloudError."""
        region = self._region_of(vm_id)
        return region.console(vm_id) if region else ""

    def credentials_expire_at(self) -> float | None:
        """When the application credential, or else the user's password, ends; every region has the same login."""
        return next(iter(self._regions.values())).credentials_expire_at()

    # -- for one call ---------------------------------------------------------------------------------------------

    @property
    def regions(self) -> Mapping[str, Region]:
        """The regions by name, in the order in which they are filled."""
        return self._regions

    @property
    def options(self) -> Options:
        """The section's options."""
        return self._options

    def create(self, region: Region, request: BootRequest, recipe: Recipe) -> str:
        """Ask for one server; returns its id. Where no answer came, Nova is asked what became of the request."""
        zone = self._zone_for(request)
        try:
            server_id = region.create(request, recipe, self._extras(request, zone))
        except (Outage, Transient) as ex:
            server_id = self._made_all_the_same(region, request.uid, ex)
        with self._lock:
            self._known[server_id] = _Known(region, zone)
        return server_id

    def _made_all_the_same(self, region: Region, uid: str, problem: CloudError) -> str:
        try:
            found = first_made(region.made_for([uid])).get(uid)
        except CloudError:
            raise problem from None
        if not found:
            raise problem
        log.info("%s: the server for %s was made although its answer was lost.", region.place, uid)
        return str(found[0].id)

    def _extras(self, request: BootRequest, zone: str) -> dict[str, Any]:
        groups = request.security_groups or self._options.get("security_group", ())
        given = {
            "key_name": request.key_name or self._options.get("key_name"),
            "security_groups": [{"name": each} for each in groups],
            "availability_zone": zone,
        }
        return {name: value for name, value in given.items() if value}

    def _zone_for(self, request: BootRequest) -> str:
        """The zone that the job names, else the configured one with the fewest of our servers."""
        if request.location and request.location not in self._regions:
            return request.location
        with self._lock:
            used = Counter(known.zone for known in self._known.values())
        return min(self._zones, key=lambda zone: used[zone], default="")

    def _made_for(self, uids: Iterable[str]) -> dict[str, str]:
        """The ids of the servers there are for these uids."""
        wanted = list(uids)
        if not wanted:
            return {}
        found = {}
        for region in reversed(self._regions.values()):
            for server in self._once(region, region.made_for(wanted)):
                found[uid_of(server)] = str(server.id)
                with self._lock:
                    self._known.setdefault(server.id, _Known(region, server.availability_zone or ""))
        return found

    def _once(self, region: Region, servers: Sequence[Any]) -> list[Any]:
        """Servers with one per uid: of two, the later is ended, as nobody asked for it."""
        kept = []
        for uid, same in first_made(servers).items():
            kept += same[:1] if uid else same
            for surplus in same[1:] if uid else ():
                log.warning("%s: two servers were made for %s; ending %s.", region.place, uid, surplus.id)
                region.delete(surplus.id)
        return kept

    def _adopted(self, vm: VM) -> AdoptOutcome:
        try:
            for region in self._regions.values():
                if region.adopt(vm):
                    return AdoptOutcome(vm.uid)
        except CloudError as ex:
            return AdoptOutcome(vm.uid, ex)
        places = ", ".join(region.place for region in self._regions.values())
        return AdoptOutcome(vm.uid, BadRequirement(f"{places}: there is no server {vm.id!r} to take over."))

    def _destroyed(self, vm_id: str, server_id: str) -> DestroyOutcome:
        try:
            region = self._region_of(server_id)
            if region is not None:
                region.delete(server_id)
        except CloudError as ex:
            return DestroyOutcome(vm_id, ex)
        return DestroyOutcome(vm_id)

    def _region_of(self, server_id: str) -> Region | None:
        """Where a server of ours is; None when no region has it."""
        with self._lock:
            known = self._known.get(server_id)
        if known:
            return known.region
        return next((each for each in self._regions.values() if each.server(server_id) is not None), None)

    def _spread(self, work: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
        return list(self._pool.map(work, items))


class _Attempt:
    """The boots of one call: what room each region has and what names mean there is asked once."""

    def __init__(self, cloud: OpenStackCloud, requests: Sequence[BootRequest]) -> None:
        self._cloud = cloud
        self._rooms: dict[str, Room | CloudError] = {}
        self._recipes: dict[tuple[str, ...], Recipe | CloudError] = {}
        for request in requests:
            for region in self._regions_for(request):
                self._prepare(region, request)

    def booted(self, request: BootRequest) -> BootOutcome:
        """Boot one VM in the first region that has room for it."""
        problem: CloudError = Outage("No region is configured.")
        for region in self._regions_for(request):
            try:
                return BootOutcome(request.uid, id=self._created(region, request))
            except QuotaExceeded as ex:
                problem = ex
            except CloudError as ex:
                return BootOutcome(request.uid, error=ex)
        return BootOutcome(request.uid, error=problem)

    def _created(self, region: Region, request: BootRequest) -> str:
        room, recipe = self._rooms[region.name], self._recipes[self._key(region, request)]
        for each in (recipe, room):
            if isinstance(each, CloudError):
                raise each
        assert isinstance(recipe, Recipe) and isinstance(room, Room)
        room.take(recipe.cores, recipe.ram)
        return self._cloud.create(region, request, recipe)

    def _regions_for(self, request: BootRequest) -> list[Region]:
        """All regions in their order, or the one that the job names as its location."""
        regions = self._cloud.regions
        named = regions.get(request.location or "")
        return [named] if named else list(regions.values())

    def _prepare(self, region: Region, request: BootRequest) -> None:
        key = self._key(region, request)
        if region.name not in self._rooms:
            self._rooms[region.name] = _caught(region.room)
        if key not in self._recipes:
            self._recipes[key] = _caught(lambda: region.recipe(request, key[-1]))

    def _key(self, region: Region, request: BootRequest) -> tuple[str, ...]:
        network = request.network or next(iter(self._cloud.options.get("networks", ())), "auto")
        return region.name, request.flavor, request.image, network


def _caught(ask: Callable[[], T]) -> T | CloudError:
    try:
        return ask()
    except CloudError as ex:
        return ex
