"""One region of an OpenStack: the calls we make there, each in our words and with our errors.

Every call has a time limit (the connection's) and none is repeated by itself: a repeated POST could make two servers.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import NotFoundException, raise_from_response

from cloudsched.clouds.openstack_errors import translated
from cloudsched.clouds.openstack_servers import GONE, Owner, uid_of, uid_tag
from cloudsched.errors import BadRequirement, Outage, QuotaExceeded
from cloudsched.model.clouds import BootRequest
from cloudsched.model.vms import VM

OLDEST = (2, 53)
"""Nova of Pike (2017): tags can be given at creation and be listed by since 2.52."""

_AT_ONCE = 40
_NAMES_SECONDS = 300.0
_LARGEST_USER_DATA = 65535
_PLAIN_NETWORKS = frozenset({"auto", "none"})
_CONSOLE_LINES = 100


@dataclass(slots=True)
class Room:
    """What the project may still use in a region, counted down while VMs are asked for; -1 is no limit."""

    place: str
    instances: int
    cores: int
    ram: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, cores: int, ram: int) -> None:
        """Count one more VM (`ram` in MB). Raises QuotaExceeded when it cannot be."""
        wanted = {"instances": 1, "cores": cores, "ram": ram}
        with self.lock:
            for name, amount in wanted.items():
                left = getattr(self, name)
                if 0 <= left < amount:
                    raise QuotaExceeded(
                        f"{self.place}: the project's quota of {name} leaves {left}, needed are {amount}."
                    )
            for name, amount in wanted.items():
                left = getattr(self, name)
                setattr(self, name, left if left < 0 else left - amount)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a request's flavor, image and network are in a region. `ram` is in MB."""

    flavor: str
    cores: int
    ram: int
    image: str
    networks: str | list[dict[str, str]]


class Region:
    """The servers of one owner in one region."""

    def __init__(self, cloud: str, name: str, connection: Connection, owner: Owner) -> None:
        self.name = name
        self.place = f"{cloud} {name}".strip()
        self._connection, self._owner = connection, owner
        self._names: dict[tuple[str, str], tuple[float, Any]] = {}
        self._proxies: dict[str, Any] = {}
        self._making = threading.Lock()

    def servers(self) -> list[Any]:
        """Every server of ours, in as many pages as Nova likes; each once."""
        with self._asking() as compute:
            found = {each.id: each for each in compute.servers(tags=",".join(self._owner.tags))}
        return [each for each in found.values() if self._is_there(each)]

    def made_for(self, uids: Iterable[str]) -> list[Any]:
        """The servers that were made for these uids."""
        wanted, found = sorted(set(uids)), []
        with self._asking() as compute:
            for start in range(0, len(wanted), _AT_ONCE):
                tags = ",".join(uid_tag(uid) for uid in wanted[start : start + _AT_ONCE])
                found += list(compute.servers(any_tags=tags))
        return [each for each in found if self._is_there(each) and uid_of(each) in set(wanted)]

    def server(self, server_id: str) -> Any | None:
        """One server of ours by Nova's id; None when there is none."""
        with self._asking() as compute:
            try:
                found = compute.get_server(server_id)
            except NotFoundException:
                return None
        return found if self._is_there(found) else None

    def knows(self, server_id: str) -> bool:
        """Whether Nova knows the id, even where it cannot say more: a cell that is down keeps its servers."""
        with self._asking() as compute:
            try:
                return compute.get_server(server_id).status not in GONE
            except NotFoundException:
                return False

    def room(self) -> Room:
        """What the project's quota leaves here."""
        with self._asking() as compute:
            limits = compute.get_limits().absolute
        pairs = (
            (limits.instances, limits.instances_used),
            (limits.total_cores, limits.total_cores_used),
            (limits.total_ram, limits.total_ram_used),
        )
        instances, cores, ram = (-1 if most is None or most < 0 else max(most - (used or 0), 0) for most, used in pairs)
        return Room(self.place, instances, cores, ram)

    def recipe(self, request: BootRequest, network: str) -> Recipe:
        """Look a request's names up, which may be ids as well; `network` may be `auto` or `none`, as Nova has it.

        Raises BadRequirement for what is not there or is there twice.
        """
        flavor = self._named("flavor", request.flavor)
        image = str(self._named("image", request.image).id)
        plain = network in _PLAIN_NETWORKS
        networks = network if plain else [{"uuid": str(self._named("network", network).id)}]
        return Recipe(str(flavor.id), flavor.vcpus or 0, flavor.ram or 0, image, networks)

    def create(self, request: BootRequest, recipe: Recipe, extras: Mapping[str, Any]) -> str:
        """Ask for one server and return its id; `extras` are more of Nova's attributes."""
        attributes = {
            "name": request.uid,
            "flavor_id": recipe.flavor,
            "image_id": recipe.image,
            "networks": recipe.networks,
            "metadata": self._owner.marks(request),
            "tags": [*self._owner.tags, uid_tag(request.uid)],
            **_user_data(self.place, request),
            **extras,
        }
        try:
            with self._asking() as compute:
                return str(compute.create_server(**attributes).id)
        except BadRequirement:
            self._names.clear()  # what a name meant may have been replaced meanwhile
            raise

    def adopt(self, vm: VM) -> bool:
        """Mark a server that another scheduler booted as ours; false when it is not here.

        The tags come last: a listing finds a server by them, and then believes the metadata. Raises BadRequirement for
        a server of another installation.
        """
        with self._asking() as compute:
            try:
                found = compute.get_server(vm.id)
            except NotFoundException:
                return False
            if found.status in GONE:
                return False
            if not (self._owner.has(found) or self._owner.may_have(found)):
                raise BadRequirement(f"{self.place}: the server {vm.id!r} belongs to another installation.")
            compute.set_server_metadata(found, **self._owner.marks(vm))
            for tag in (*self._owner.tags, uid_tag(vm.uid)):
                compute.add_tag_to_server(found, tag)
        return True

    def delete(self, server_id: str) -> None:
        """End a server; one that is not there is no error."""
        with self._asking() as compute:
            compute.delete_server(server_id, ignore_missing=True)

    def console(self, server_id: str) -> str:
        """The last lines of what a server wrote to its console; empty where Nova keeps none."""
        with self._asking() as compute:
            answer = compute.get_server_console_output(server_id, length=_CONSOLE_LINES)
        return str((answer or {}).get("output") or "")

    def credentials_expire_at(self) -> float | None:
        """When Keystone refuses this login for good, in Unix seconds; None for never."""
        credential = self._connection.config.get_auth_args().get("application_credential_id")
        with translated(self.place):
            user = f"/users/{self._connection.session.get_user_id()}"
            path = f"{user}/application_credentials/{credential}" if credential else user
            answer = self._proxy("identity").get(path)
            raise_from_response(answer)
            document = answer.json()
        text = (document.get("application_credential") or document.get("user") or {}).get(
            "expires_at" if credential else "password_expires_at"
        )
        return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp() if text else None

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        with translated(self.place):
            yield self._proxy("compute")

    def _proxy(self, service: str) -> Any:
        """A service's API; the SDK finds it at its first use, which must not happen in two threads at once."""
        with self._making:
            if service not in self._proxies:
                proxy = getattr(self._connection, service)
                if service == "compute":
                    self._check_age(proxy)
                self._proxies[service] = proxy
            return self._proxies[service]

    def _check_age(self, compute: Any) -> None:
        newest = compute.get_endpoint_data().max_microversion
        if not newest or tuple(newest) < OLDEST:
            raise Outage(f"{self.place}: its Nova is too old; needed is microversion 2.53 (Pike) or newer.")

    def _is_there(self, server: Any) -> bool:
        return server.status not in GONE and self._owner.has(server)

    def _named(self, kind: str, wanted: str) -> Any:
        """A flavor, image or network by name or id, remembered for a while. Raises BadRequirement."""
        if not wanted:
            raise BadRequirement(f"{self.place}: the job and the configuration name no {kind}.")
        known = self._names.get((kind, wanted))
        if known and time.monotonic() - known[0] < _NAMES_SECONDS:
            return known[1]
        service, method = _FINDERS[kind]
        with translated(f"{self.place}, {kind} {wanted!r}"):
            found = getattr(self._proxy(service), method)(wanted)
        if found is None:
            raise BadRequirement(f"{self.place}: there is no {kind} {wanted!r}; accepted are names and ids.")
        self._names[kind, wanted] = time.monotonic(), found
        return found


_FINDERS: Mapping[str, tuple[str, str]] = {
    "flavor": ("compute", "find_flavor"),
    "image": ("image", "find_image"),
    "network": ("network", "find_network"),
}
"""The service and the SDK's method that find each thing by name or id."""


def _user_data(place: str, request: BootRequest) -> dict[str, str]:
    encoded = base64.b64encode(request.user_data).decode("ascii")
    if len(encoded) > _LARGEST_USER_DATA:
        most = _LARGEST_USER_DATA * 3 // 4
        raise BadRequirement(f"{place}: the user data has {len(request.user_data)} bytes; accepted are {most}.")
    return {"user_data": encoded} if encoded else {}
