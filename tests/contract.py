"""A daemon's contract as tests hold the daemon to it: each answer is compared with what the document says of it."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any
from urllib.parse import quote

import falcon.inspect
import yaml
from jsonschema import Draft202012Validator

from cloudsched import openapi
from cloudsched.errors import BadRequest
from cloudsched.web.routing import RawRouter, segments

METHODS = ("get", "put", "post", "delete", "patch")
EVERYWHERE = {"content-type", "content-length"}
BEFORE_ROUTING = {400, 401, 403, 429}
"""What an answer may be to a request that no operation is asked by: a bad target, or somebody who may not ask."""

falcon.inspect.register_router(RawRouter)(falcon.inspect.inspect_compiled_router)


def routes(app: Any) -> set[tuple[str, str]]:
    """Every method, in small letters, and template that an application answers; HEAD goes without saying."""
    paths = [route.path for route in falcon.inspect.inspect_routes(app)]
    resources = {path: app._router.find(re.sub(r"\{\w+\}", "x", path))[0] for path in paths}
    return {(method, path) for path in paths for method in METHODS if hasattr(resources[path], f"on_{method}")}


@cache
def document(daemon: str) -> dict[str, Any]:
    """The document of `admin` or `info`."""
    found: dict[str, Any] = yaml.safe_load(openapi.as_yaml(daemon))
    return found


class Contract:
    """One daemon's document with its references resolved on demand.

    Readers must pass over fields they do not know; the code must have no field that the document does not know. So
    objects whose properties are listed may have no others here.
    """

    def __init__(self, daemon: str) -> None:
        self.document = json.loads(json.dumps(document(daemon)))
        self._components = _closed(self.document["components"])
        self._templates = [(_pattern(path), path) for path in sorted(self.document["paths"], key=_looseness)]

    def resolve(self, value: Any) -> Any:
        """What a reference stands for; anything else as it is."""
        while isinstance(value, Mapping) and "$ref" in value:
            found: Any = self.document
            for key in value["$ref"].removeprefix("#/").split("/"):
                found = found[key]
            value = found
        return value

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Every operation with its method and path."""
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method, path, item[method]

    def parameters(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        """The schema of each parameter that a query or a body may hold, by name."""
        every = [self.resolve(each) for each in operation.get("parameters", ())]
        found = {each["name"]: self.resolve(each["schema"]) for each in every if each["in"] == "query"}
        body = self.resolve(operation.get("requestBody", {}))
        for media in body.get("content", {}).values():
            # What has no list of properties is a document and holds no parameters.
            found |= self.resolve(media["schema"]).get("properties", {})
        return {name: self.resolve(schema) for name, schema in found.items()}

    def complaints(self, schema: Mapping[str, Any], value: Any) -> list[str]:
        """Why a value is not what a schema of this document describes."""
        whole = {**_closed(schema), "components": self._components}
        return [f"{each.json_path}: {each.message[:300]}" for each in Draft202012Validator(whole).iter_errors(value)]

    def check(self, request: tuple[str, str], status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Fail unless the answer to (method, raw path) is one of those that the document declares."""
        method, path = request[0].lower().replace("head", "get"), request[1]
        place = f"{request[0]} {path}: {status}"
        template = self._template(path)
        if template is None:
            assert status in BEFORE_ROUTING | {404}, f"{place}, of an URL that is not in the document"
            return
        item = self.document["paths"][template]
        if method not in item:
            allowed = {each.upper() for each in item if each in METHODS} | ({"HEAD"} if "get" in item else set())
            assert status in BEFORE_ROUTING | {405}, f"{place}, by a method that is not in the document"
            assert status != 405 or set(headers["Allow"].split(", ")) == allowed, place
            return
        assert str(status) in item[method]["responses"], f"{place} is not declared"
        declared = self.resolve(item[method]["responses"][str(status)])
        self._check_headers(place, declared.get("headers", {}), headers)
        if body and request[0] != "HEAD":
            self._check_body(place, declared.get("content", {}), headers, body)

    def _template(self, path: str) -> str | None:
        """The path of the document that a raw path asks for, whatever of it is percent-encoded."""
        try:
            names = segments(path)
        except BadRequest:
            return None
        path = "/" + "/".join(quote(name, safe="") for name in names)
        return next((each for pattern, each in self._templates if pattern.fullmatch(path)), None)

    def _check_headers(self, place: str, declared: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        known = {name.lower(): self.resolve(each)["schema"] for name, each in declared.items()}
        for name, value in headers.items():
            assert name.lower() in known.keys() | EVERYWHERE, f"{place}: the header {name} is not declared"
            assert self.complaints(known.get(name.lower(), {}), value) == [], f"{place}: {name}: {value}"

    def _check_body(self, place: str, declared: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> None:
        kind = headers.get("Content-Type", "").partition(";")[0]
        assert kind in declared, f"{place}: the type {kind!r} is not declared"
        body = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        value = _READERS[kind.rpartition("+")[2].rpartition("/")[2]](body)
        assert self.complaints(declared[kind]["schema"], value) == [], place


_READERS: Mapping[str, Callable[[bytes], Any]] = defaultdict(
    lambda: bytes.decode, json=json.loads, yaml=partial(yaml.load, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
)
"""How a body becomes what a schema describes, by the end of its type."""


@cache
def contract(daemon: str) -> Contract:
    """The contract of `admin` or `info`."""
    return Contract(daemon)


def contract_of(app: Any) -> Contract | None:
    """The contract of an application that is one of the daemons."""
    router = getattr(app, "_router", None)
    root = router and router.find("/")
    module = type(root[0]).__module__ if root else ""
    return {f"cloudsched.{daemon}.root": contract(daemon) for daemon in openapi.DAEMONS}.get(module)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("".join("[^/]+" if each[:1] == "{" else re.escape(each) for each in re.split(r"(\{\w+\})", path)))


def _looseness(path: str) -> tuple[int, str]:
    return path.count("{"), path


def _closed(value: Any) -> Any:
    """A schema, and all in it, whose objects have the properties that are listed and no others."""
    if isinstance(value, list):
        return [_closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _closed(each) for key, each in value.items()}
    if isinstance(value.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found
