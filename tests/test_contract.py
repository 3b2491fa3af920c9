"""The contract against the code, both ways; every WSGI test besides holds its answers to it (tests/wsgi.py)."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from contract import Contract, contract, contract_of, routes
from openapi_spec_validator import OpenAPIV31SpecValidator
from wsgi import Client

from cloudsched import __version__, admin, info, openapi
from cloudsched.config import Config, Global
from cloudsched.config.cloud_kinds import CLOUD_OPTIONS
from cloudsched.config.definitions import FILE_ONLY
from cloudsched.store import Store
from cloudsched.web import auth
from cloudsched.web.app import WSGIApp
from cloudsched.web.errors import HTTP_CODES, STATUSES

ROOT = Path(__file__).parent.parent
JSON = {"Accept": "application/json"}
TOKEN = "a-token-of-many-characters"
UNSEEN = {"bad-document", "cloud-error", "batch-error", "not-empty", "unchanged", "no-scheduler", "no-answer"}
"""Codes of errors that commands and the engine meet, or that a resource answers as no error."""

OPERATIONS = [(daemon, method, path) for daemon in openapi.DAEMONS for method, path, _ in contract(daemon).operations()]


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, WSGIApp]]:
    directory = tmp_path_factory.mktemp("state")
    config = Config(Global(state_dir=directory, admin_auth="token", info_auth="token"))
    config.global_.admin_token_file.touch(0o600)
    config.global_.admin_token_file.write_text(TOKEN)
    store = Store.open(f"sqlite:///{directory / 'state.db'}", directory)
    yield {"admin": admin.create_app(store, config), "info": info.create_app(store, config)}
    store.close()


def ask(app: WSGIApp, method: str, path: str, given: dict[str, str] | None = None, **headers: str) -> Any:
    """The answer to a request with each name of a path filled in and the parameters in the query."""
    filled = re.sub(r"\{\w+\}", "x", path) + (f"?{urlencode(given)}" if given else "")
    headers = {"Authorization": f"Bearer {TOKEN}", **JSON, **headers}
    return Client(app).request(filled, method=method.upper(), headers={k: v for k, v in headers.items() if v})


@pytest.mark.parametrize("daemon", openapi.DAEMONS)
def test_document_is_openapi(daemon: str) -> None:
    document = contract(daemon).document
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document["info"]["version"] == __version__


@pytest.mark.parametrize("daemon", openapi.DAEMONS)
def test_built_json_is_the_yaml(daemon: str) -> None:
    assert json.loads(openapi.as_json(daemon)) == yaml.safe_load(openapi.as_yaml(daemon))


def test_build_leaves_what_is_up_to_date() -> None:
    built = ROOT / "cloudsched" / "openapi" / "info.json"
    before = built.stat()
    runpy.run_path(str(ROOT / "contrib" / "contract.py"), run_name="__main__")
    assert built.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("daemon", openapi.DAEMONS)
def test_paths_and_methods_are_exactly_the_routes(apps: dict[str, WSGIApp], daemon: str) -> None:
    described = {(method, path) for method, path, _ in contract(daemon).operations()}
    assert described == routes(apps[daemon])


@pytest.mark.parametrize(("daemon", "method", "path"), OPERATIONS)
def test_parameters_are_exactly_the_accepted_ones(
    apps: dict[str, WSGIApp], daemon: str, method: str, path: str
) -> None:
    held = contract(daemon)
    answer = ask(apps[daemon], method, path, {"no-such": "1"})
    assert (answer.status_int, answer.json["code"]) == (400, "unknown-parameter")
    _, _, accepted = answer.json["detail"].partition("accepted: ")
    names = set(filter(None, accepted.rstrip(".").split(", ")))
    assert names == set(held.parameters(held.document["paths"][path][method]))


@pytest.mark.parametrize(("daemon", "method", "path"), OPERATIONS)
def test_words_are_exactly_the_accepted_ones(apps: dict[str, WSGIApp], daemon: str, method: str, path: str) -> None:
    held = contract(daemon)
    parameters = held.parameters(held.document["paths"][path][method])
    for name, schema in parameters.items():
        others = {each: _some(held, parameters[each]) for each in parameters if each != name}
        answer = ask(apps[daemon], method, path, {**others, name: "no such word"})
        _, must, words = str(answer.json.get("detail", "")).partition(f"The parameter {name!r} must be ")
        words = words.partition(", not ")[0].removeprefix("one or more of ")
        found = set(words.split(" or ")) if must else set()
        if enum := _words(schema):
            assert {word.strip("'") for word in found} == {each for each in enum if isinstance(each, str)}
        else:
            assert not any(re.fullmatch(r"[a-z_]+", word) for word in found), f"{name} knows words: {found}"


def _words(schema: dict[str, Any]) -> list[Any]:
    """The words of a schema, which may be for several of them with commas between."""
    found: list[Any] = schema["items"]["enum"] if schema.get("type") == "array" else schema.get("enum", [])
    return [*found, *(word for each in schema.get("anyOf", ()) for word in each.get("enum", ()))]


def _some(held: Contract, schema: dict[str, Any]) -> str:
    """A value that a schema describes."""
    if schema.get("type") == "array":
        return ",".join(_words(schema)[:2])
    values = (*schema.get("examples", ()), "x", 1, *_words(schema))
    found = next(each for each in values if not held.complaints(schema, each))
    return str(found).lower() if isinstance(found, bool) else str(found)


def test_options_of_a_cloud_are_exactly_those_that_a_request_may_give() -> None:
    schema = contract("admin").resolve({"$ref": "#/components/schemas/CloudDefinition"})
    assert set(schema["propertyNames"]["enum"]) == {"name"} | CLOUD_OPTIONS.keys() - FILE_ONLY


@pytest.mark.parametrize("daemon", openapi.DAEMONS)
def test_examples_are_what_they_illustrate(daemon: str) -> None:
    held = contract(daemon)
    found = list(_examples(held, held.document))
    assert len(found) > 30
    assert [(schema, value, why) for schema, value in found if (why := held.complaints(schema, value))] == []


ITSELF = (
    "/openapi.json",
    "/openapi.yaml",
    "/docs",
    "/docs/swagger-ui.css",
    "/docs/swagger-ui-bundle.js",
    "/docs/start.js",
)
"""What no example could show but the whole."""


@pytest.mark.parametrize("daemon", openapi.DAEMONS)
def test_every_parameter_header_and_body_has_an_example(daemon: str) -> None:
    held = contract(daemon)
    bare = []
    for method, path, operation in held.operations():
        said = {f"parameter {held.resolve(each)['name']}": each for each in operation.get("parameters", ())}
        answers = {status: held.resolve(answer) for status, answer in operation["responses"].items()}
        for status, answer in answers.items():
            said |= {f"{status} {name}": each for name, each in answer.get("headers", {}).items()}
        bodies = {**answers, "request": held.resolve(operation.get("requestBody", {}))}
        for name, body in bodies.items():
            if path not in ITSELF or name != "200":
                said |= {f"{name} {media}": each for media, each in body.get("content", {}).items()}
        bare += [f"{method} {path}: {name}" for name, each in said.items() if not _is_shown(held, each)]
    assert bare == []


def _is_shown(held: Contract, value: Any, depth: int = 9) -> bool:
    """Whether something has an example, or words to choose from, or is made of what has."""
    found = held.resolve(value)
    if not isinstance(found, dict) or depth == 0:
        return False
    if found.keys() & {"example", "examples", "enum", "const"}:
        return True
    parts = [found.get("schema"), found.get("items"), found.get("additionalProperties")]
    parts += [*found.get("anyOf", ()), *found.get("oneOf", ()), *found.get("properties", {}).values()]
    return any(_is_shown(held, each, depth - 1) for each in parts)


def _examples(held: Contract, value: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _examples(held, each)
    elif isinstance(value, dict):
        if "example" in value:
            yield value.get("schema", value), value["example"]
        for each in value.values():
            yield from _examples(held, each)


@pytest.mark.parametrize(("daemon", "method", "path"), OPERATIONS)
def test_without_a_token_exactly_the_open_ones_answer(
    apps: dict[str, WSGIApp], daemon: str, method: str, path: str
) -> None:
    is_open = contract(daemon).document["paths"][path][method].get("security") == []
    assert is_open == (path in auth.OPEN)
    assert (ask(apps[daemon], method, path, Authorization="").status_int != 401) == is_open


def test_every_code_of_a_problem_is_named() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "cloudsched").rglob("*.py"))
    raised = set(re.findall(r'(?:BadRequest|Conflict)\([^()]*(?:\([^()]*\)[^()]*)*code="([a-z-]+)"', sources))
    described = contract("info").document["components"]["schemas"]["Problem"]["properties"]["code"]["description"]
    codes = {code for _, code in STATUSES.values()} | set(HTTP_CODES.values()) | raised
    assert {code for code in codes - UNSEEN if f"`{code}`" not in described} == set()


def test_every_status_of_an_error_is_described() -> None:
    described = {
        status
        for daemon in openapi.DAEMONS
        for _, _, operation in contract(daemon).operations()
        for status in operation["responses"]
    }
    statuses = {str(status.value) for status, _ in STATUSES.values()} | {str(status) for status in HTTP_CODES}
    # A method that a URL lacks is refused on every URL alike, which the document says in words.
    assert statuses - {"405"} - described == set()


@pytest.mark.parametrize("daemon", openapi.DAEMONS)
def test_contract_is_served_as_kept(apps: dict[str, WSGIApp], daemon: str) -> None:
    as_yaml = ask(apps[daemon], "get", "/openapi.yaml")
    assert (as_yaml.content_type, as_yaml.text) == ("application/yaml", openapi.as_yaml(daemon))
    assert ask(apps[daemon], "get", "/openapi.json").json == yaml.safe_load(as_yaml.text)


@pytest.mark.parametrize("daemon", openapi.DAEMONS)
def test_page_for_browsers_loads_only_what_is_here(apps: dict[str, WSGIApp], daemon: str) -> None:
    page = ask(apps[daemon], "get", "/docs")
    loaded = re.findall(r'(?:src|href)="([^":]+)"', page.text)
    assert len(loaded) == 4
    assert [ask(apps[daemon], "get", f"/{each}").status_int for each in loaded] == [200] * 4
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_page_for_browsers_names_its_extra(apps: dict[str, WSGIApp], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mkdocs_swagger_ui_tag", None)
    for path in ("/docs", "/docs/swagger-ui.css"):
        answer = ask(apps["info"], "get", path)
        assert (answer.status_int, answer.json["code"]) == (501, "missing-extra")
        assert "pip install 'cloudsched[docs]'" in answer.json["detail"]
    assert ask(apps["info"], "get", "/openapi.json").status_int == 200


def test_tests_hold_answers_to_the_contract(apps: dict[str, WSGIApp]) -> None:
    held = contract_of(apps["info"])
    assert held is contract("info")
    for request, status, headers, body in (
        (("GET", "/cloud"), 418, {}, b""),
        (("GET", "/no-such"), 200, {}, b""),
        (("PUT", "/cloud"), 200, {}, b""),
        (("PUT", "/cloud"), 405, {"Allow": "GET"}, b""),
        (("GET", "/cloud"), 200, {"X-Unknown": "1"}, b""),
        (("GET", "/cloud"), 200, {"Content-Type": "text/html"}, b"x"),
        (("GET", "/cloud"), 200, {"Content-Type": "application/json"}, b'{"resources": [{}]}'),
        (("GET", "/cloud"), 200, {"Content-Type": "application/json"}, b'{"resources": [], "more": 1}'),
    ):
        with pytest.raises(AssertionError):
            held.check(request, status, headers, body)
    held.check(("HEAD", "/cloud"), 200, {"Content-Type": "text/plain; charset=utf-8"}, b"")


def test_problem_names_every_offending_parameter(apps: dict[str, WSGIApp]) -> None:
    unknown = ask(apps["info"], "get", "/ips", {"colour": "red", "index": "0", "size": "1"}).json
    assert unknown["detail"] == "The parameters 'colour' and 'size' are unknown; accepted: index, wait."
    assert (unknown["parameter"], unknown["parameters"]) == ("colour", ["colour", "size"])
    missing = ask(apps["admin"], "post", "/jobs").json
    assert (missing["code"], missing["parameters"]) == ("missing-parameter", ["submit", "initialdir"])
    malformed = ask(apps["info"], "get", "/vms", {"metric": "some"}).json
    assert (malformed["code"], malformed["parameters"]) == ("bad-parameter", ["metric"])
