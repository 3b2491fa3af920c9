"""A stand-in for the OpenStack APIs that answers as it is told: for what the real services cannot be made to do.

It keeps servers, and speaks only what our adapter asks. The real services are asked the same things by
`make test-openstack`.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import certificates

IMAGES = {"tiny": "11111111-1111-4111-8111-111111111111", "image": "33333333-3333-4333-8333-333333333333"}
FLAVORS = {"small": ("1", 1, 512), "huge": ("2", 64, 512000)}
NETWORKS = {"private": "22222222-2222-4222-8222-222222222222"}
NOVA = "2.96"

Answer = tuple[int, Any]


@dataclass
class Told:
    """For the next request that matches: answer `status` and `body` without doing anything.

    A `body` that is a string is sent as a page of HTML. `do`: carry the request out and give its answer, or, with
    `instead`, the scripted one. `lose`: close the connection without an answer. `seconds`: wait before the answer.
    """

    method: str
    path: str
    status: int = 500
    body: Any = field(default_factory=lambda: {"computeFault": {"code": 500, "message": "told to"}})
    lose: bool = False
    do: bool = False
    instead: bool = False
    seconds: float = 0.0
    times: int = 1


class Cloud:
    """The state of the stand-in: servers by id, limits, and what it was told. `asked` is every request it got."""

    def __init__(self) -> None:
        self.servers: dict[str, dict[str, Any]] = {}
        self.limits = {"maxTotalInstances": -1, "maxTotalCores": -1, "maxTotalRAMSize": -1}
        self.told: list[Told] = []
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.hidden: set[str] = set()
        self.page = 1000
        self.tokens = 0
        self.newest = NOVA
        self.password = "right"
        self.at_once = self.most_at_once = self.connections = 0
        self.lock = threading.Lock()
        self.password_ends: str | None = None
        self.credential_ends: str | None = None
        self.url = ""

    def login(self, **options: Any) -> dict[str, Any]:
        """The typed options of a cloud section that logs in here."""
        return {
            "auth_url": f"{self.url}/v3",
            "username": "operator",
            "password": "right",
            "tenant_name": "tenant",
            "regions": ("one",),
            "networks": ("none",),
            "request_timeout": 20,
        } | options

    def tell(self, *told: Told) -> None:
        """Script the next answers."""
        self.told += told

    def times(self, method: str, path: str) -> int:
        """How often something was asked."""
        return sum(each[0] == method and re.fullmatch(path, each[1]) is not None for each in self.asked)

    def uids(self) -> list[str]:
        """What servers were made for."""
        return sorted(each["metadata"]["cloudsched_uid"] for each in self.servers.values())

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        """Carry a request out."""
        for verb, pattern, act in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                return act(self, tuple(map(unquote, found.groups())), query, body)
        return 404, {"itemNotFound": {"code": 404, "message": f"{method} {path} is not played"}}


def _discovery(cloud: Cloud, *_: Any) -> Answer:
    link = [{"rel": "self", "href": f"{cloud.url}/v3/"}]
    return 200, {"version": {"id": "v3.14", "status": "stable", "links": link, "media-types": []}}


def _token(cloud: Cloud, _: Any, query: Any, body: Any) -> Answer:
    user = body["auth"]["identity"].get("password", {}).get("user", {})
    if user.get("password", cloud.password) != cloud.password:
        return 401, {"error": {"code": 401, "title": "Unauthorized", "message": "The request requires authentication."}}
    cloud.tokens += 1
    kinds = {"compute": "/v2.1", "image": "", "network": "", "identity": "/v3"}
    regions = ("one", "two")

    def endpoint(kind: str, region: str, path: str) -> dict[str, str]:
        place = {"region": region, "region_id": region, "url": f"{cloud.url}/{region}{path}"}
        return {"id": kind, "interface": "public"} | place

    catalog = [
        {"type": kind, "name": kind, "id": kind, "endpoints": [endpoint(kind, each, path) for each in regions]}
        for kind, path in kinds.items()
    ]
    ends = {"issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z"}
    owner = {"user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}}, "project": {"id": "p", "name": "p"}}
    return 201, {"token": {"catalog": catalog, "methods": ["password"], "roles": [], **ends, **owner}}


def _identity(cloud: Cloud, found: Any, *_: Any) -> Answer:
    link = [{"rel": "self", "href": f"{cloud.url}/{found[0]}/v3/"}]
    return 200, {"version": {"id": "v3.14", "status": "stable", "links": link, "media-types": []}}


def _user(cloud: Cloud, *_: Any) -> Answer:
    return 200, {"user": {"id": "u", "password_expires_at": cloud.password_ends}}


def _credential(cloud: Cloud, *_: Any) -> Answer:
    return 200, {"application_credential": {"id": "id1", "expires_at": cloud.credential_ends}}


def _compute(cloud: Cloud, found: Any, *_: Any) -> Answer:
    link = [{"rel": "self", "href": f"{cloud.url}/{found[0]}/v2.1/"}]
    version = {"id": "v2.1", "status": "CURRENT", "version": cloud.newest, "min_version": "2.1", "links": link}
    return 200, {"version": version}


def _images(cloud: Cloud, found: Any, *_: Any) -> Answer:
    link = [{"rel": "self", "href": f"{cloud.url}/{found[0]}/v2/"}]
    return 300, {"versions": [{"id": "v2.9", "status": "CURRENT", "links": link}]}


def _networks(cloud: Cloud, found: Any, *_: Any) -> Answer:
    link = [{"rel": "self", "href": f"{cloud.url}/{found[0]}/v2.0/"}]
    return 200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": link}]}


def _one(kind: str, ids: dict[str, str]) -> Callable[..., Answer]:
    def act(cloud: Cloud, found: Any, *_: Any) -> Answer:
        name = next((name for name, each in ids.items() if each == found[1]), None)
        document = {"id": found[1], "name": name, "status": "active"}
        wrapped = document if kind == "image" else {kind: document}
        return (200, wrapped) if name else (404, {"itemNotFound": {"code": 404, "message": "no such thing"}})

    return act


def _many(kind: str, ids: dict[str, str]) -> Callable[..., Answer]:
    def act(cloud: Cloud, found: Any, query: dict[str, list[str]], body: Any) -> Answer:
        wanted = query.get("name", list(ids))
        return 200, {f"{kind}s": [{"id": each, "name": name} for name, each in ids.items() if name in wanted]}

    return act


def _flavor(cloud: Cloud, found: Any, *_: Any) -> Answer:
    every = [{"id": each, "name": name, "vcpus": cores, "ram": ram} for name, (each, cores, ram) in FLAVORS.items()]
    if found[1] == "detail":
        return 200, {"flavors": every}
    one = [each for each in every if each["id"] == found[1]]
    return (200, {"flavor": one[0]}) if one else (404, {"itemNotFound": {"code": 404, "message": "no flavor"}})


def _limits(cloud: Cloud, *_: Any) -> Answer:
    used = {"totalInstancesUsed": len(cloud.servers), "totalCoresUsed": 0, "totalRAMUsed": 0}
    return 200, {"limits": {"absolute": cloud.limits | used, "rate": []}}


def _create(cloud: Cloud, found: Any, query: Any, body: Any) -> Answer:
    given, made = body["server"], str(uuid.uuid4())
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    server = {
        **{name: given[name] for name in ("name", "metadata", "tags")},
        **{"id": made, "status": "ACTIVE", "created": now, "updated": now, "region": found[0], "asked": given},
        "OS-EXT-AZ:availability_zone": given.get("availability_zone", "nova"),
        "addresses": {"private": [{"addr": "10.0.0.9", "version": 4, "OS-EXT-IPS:type": "fixed"}]},
    }
    with cloud.lock:
        cloud.servers[made] = server
    return 202, {"server": {"id": made, "links": []}}


def _list(cloud: Cloud, found: Any, query: dict[str, list[str]], body: Any) -> Answer:
    every = {tag for each in query.get("tags", []) for tag in each.split(",")}
    some = {tag for each in query.get("tags-any", []) for tag in each.split(",")}
    shown = [
        each
        for each in list(cloud.servers.values())
        if each["region"] == found[0]
        and each["id"] not in cloud.hidden
        and every <= set(each["tags"])
        and (not some or some & set(each["tags"]))
    ]
    start = next((n + 1 for n, each in enumerate(shown) if [each["id"]] == query.get("marker")), 0)
    page = shown[start : start + cloud.page]
    document: dict[str, Any] = {"servers": page}
    if start + cloud.page < len(shown):
        words = "&".join(f"{name}={value}" for name, values in query.items() if name != "marker" for value in values)
        href = f"{cloud.url}/{found[0]}/v2.1/servers/detail?{words}&marker={page[-1]['id']}"
        document["servers_links"] = [{"rel": "next", "href": href}]
    return 200, document


def _show(cloud: Cloud, found: Any, *_: Any) -> Answer:
    server = cloud.servers.get(found[1])
    if server is None or server["region"] != found[0]:
        return 404, {"itemNotFound": {"code": 404, "message": f"Instance {found[1]} could not be found."}}
    return 200, {"server": server}


def _describe(cloud: Cloud, found: Any, query: Any, body: Any) -> Answer:
    cloud.servers[found[1]]["metadata"].update(body["metadata"])
    return 200, {"metadata": cloud.servers[found[1]]["metadata"]}


def _tag(cloud: Cloud, found: Any, *_: Any) -> Answer:
    tags = cloud.servers[found[1]]["tags"]
    status = 204 if found[2] in tags else 201
    tags += [found[2]] if status == 201 else []
    return status, None


def _delete(cloud: Cloud, found: Any, *_: Any) -> Answer:
    status, document = _show(cloud, found)
    if status == 200:
        del cloud.servers[found[1]]
        return 204, None
    return status, document


def _console(cloud: Cloud, found: Any, *_: Any) -> Answer:
    return 200, {"output": "booting\nlogin:"}


_ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", "/v3/?", _discovery),
    ("POST", "/v3/auth/tokens", _token),
    ("GET", r"/(one|two)/v3/?", _identity),
    ("GET", r"(/one|/two|)/v3/users/u", _user),
    ("GET", r"(/one|/two|)/v3/users/u/application_credentials/id1", _credential),
    ("GET", r"/(one|two)/v2\.1/?", _compute),
    ("GET", r"/(one|two)/v2\.1/flavors/([^/]+)", _flavor),
    ("GET", r"/(one|two)/v2\.1/limits", _limits),
    ("POST", r"/(one|two)/v2\.1/servers", _create),
    ("GET", r"/(one|two)/v2\.1/servers/detail", _list),
    ("GET", r"/(one|two)/v2\.1/servers/([^/]+)", _show),
    ("POST", r"/(one|two)/v2\.1/servers/([^/]+)/metadata", _describe),
    ("PUT", r"/(one|two)/v2\.1/servers/([^/]+)/tags/([^/]+)", _tag),
    ("DELETE", r"/(one|two)/v2\.1/servers/([^/]+)", _delete),
    ("POST", r"/(one|two)/v2\.1/servers/([^/]+)/action", _console),
    ("GET", r"/(one|two)/?", lambda cloud, found, *_: _images(cloud, found)),
    ("GET", r"/(one|two)/v2/images/([^/]+)", _one("image", IMAGES)),
    ("GET", r"/(one|two)/v2/images", _many("image", IMAGES)),
    ("GET", r"/(one|two)/v2\.0/networks/([^/]+)", _one("network", NETWORKS)),
    ("GET", r"/(one|two)/v2\.0/networks", _many("network", NETWORKS)),
]


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Cloud]:
    """Serve a stand-in until the block ends, by HTTPS where it is given how."""
    cloud = Cloud()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _handle(self) -> None:
            url = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(content) if content else None
            with cloud.lock:
                cloud.asked.append((self.command, url.path, body))
                cloud.at_once += 1
                cloud.most_at_once = max(cloud.most_at_once, cloud.at_once)
                told = next((each for each in cloud.told if _matches(each, self.command, url.path)), None)
                if told:
                    told.times -= 1
            try:
                self._answer(told, url.path, parse_qs(url.query), body)
            finally:
                with cloud.lock:
                    cloud.at_once -= 1

        def _answer(self, told: Told | None, path: str, query: dict[str, list[str]], body: Any) -> None:
            if told is None or told.do:
                status, document = cloud.answer(self.command, path, query, body)
            if told is not None:
                time.sleep(told.seconds)
                if told.lose:
                    self.close_connection = True
                    return
                if told.instead or not told.do:
                    status, document = told.status, told.body
            is_page = isinstance(document, str)
            content = b"" if document is None else (document if is_page else json.dumps(document)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if is_page else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Openstack-Request-Id", "req-1")
            if path.endswith("/auth/tokens"):
                self.send_header("X-Subject-Token", f"token-{cloud.tokens}")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _handle

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.cloud = True, cloud
    cloud.url = certificates.url(server, tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    cloud: Cloud

    def get_request(self) -> Any:
        self.cloud.connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what some tests are about."""


def _matches(told: Told, method: str, path: str) -> bool:
    return told.times > 0 and told.method == method and re.fullmatch(told.path, path) is not None
