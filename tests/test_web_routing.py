"""Any character in a name, decoded once; what is no path is refused (DESIGN 6)."""

import io
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsgi import Client, everybody

from cloudsched.errors import BadRequest
from cloudsched.web.app import build
from cloudsched.web.routing import raw_path, segments, shown_path


class Echo:
    def on_get(self, req: Any, resp: Any, **names: str) -> None:
        resp.media = names
        resp.content_type = "application/json"

    def on_put(self, req: Any, resp: Any, **names: str) -> None:
        resp.text = "put"


URLS = ("/", "/clouds/{cloud}", "/clouds/{cloud}/vms/{vm}", "/cloud-aliases")
APP = build(dict.fromkeys(URLS, Echo()), everybody(*(f"{method} {url}" for method in ("GET", "PUT") for url in URLS)))
CLIENT = Client(APP)

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(NAMES, NAMES)
def test_any_name_arrives_as_it_was(cloud: str, vm: str) -> None:
    answer = CLIENT.get(f"/clouds/{quote(cloud, safe='')}/vms/{quote(vm, safe='')}")
    assert answer.json == {"cloud": cloud, "vm": vm}


@pytest.mark.parametrize("name", ["test/name?x#y 100%", "sched.example.org#245.698#1282577354", "\u0416\"'", "a%2Fb"])
def test_awkward_name_arrives_decoded_once(name: str) -> None:
    assert CLIENT.get(f"/clouds/{quote(name, safe='')}").json == {"cloud": name}


@given(st.text(st.characters(max_codepoint=0xFF)), st.text(st.characters(max_codepoint=0xFF)))
def test_any_target_is_answered_never_500(target: str, query: str) -> None:
    status = call("GET", "/" + target, QUERY_STRING=query)[0]
    assert status in (200, 400, 404)


def call(method: str, target: str | None, **env: Any) -> tuple[int, dict[str, str], bytes]:
    """The bare WSGI call, for what webtest would not send."""
    got: list[Any] = []
    base: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": "/",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    if target is not None:
        base["REQUEST_URI"] = target
    chunks = APP(base | env, lambda status, headers: got.extend((int(status[:3]), dict(headers))))
    return got[0], got[1], b"".join(chunks)


@pytest.mark.parametrize(
    "target",
    ["*", "clouds/a", "/clouds/a#b", "/clouds/a\\b", "/clouds/a\x01", "/clouds/%00", "/clouds/%ff", "/clouds/\xff",
     "/clouds/a b", "/clouds/100%", "/clouds/%zz"],
)  # fmt: skip
def test_target_that_is_no_path_is_400(target: str) -> None:
    assert call("GET", target)[0] == 400


@pytest.mark.parametrize(
    "target",
    ["/clouds/", "/clouds//vms/x", "//clouds/a", "/clouds/a/", "/clouds/..", "/clouds/%2e", "/clouds/a/vms/../x",
     "/nothing", "/Clouds/a", "/clouds%2Fa"],
)  # fmt: skip
def test_target_without_a_resource_is_404_with_v1_body(target: str) -> None:
    status, _, body = call("GET", target)
    assert (status, body) == (404, b"not found")


@pytest.mark.parametrize("target", ["http://h:80/clouds/a", "/clouds/a?x#y".replace("#", "%23"), "/%63louds/%61"])
def test_equivalent_targets_match(target: str) -> None:
    assert call("GET", target)[2] == b'{"cloud": "a"}'


def test_absolute_form_without_path_is_the_root() -> None:
    assert raw_path({"REQUEST_URI": "http://h?a=/b"}) == "/"
    assert raw_path({"REQUEST_URI": "/clouds?u=http://h/x"}) == "/clouds"


def test_raw_uri_then_path_info_stand_in_for_request_uri() -> None:
    assert raw_path({"RAW_URI": "/a%2Fb?c", "PATH_INFO": "/a/b"}) == "/a%2Fb"
    assert raw_path({"PATH_INFO": "/a/\xc3\xa9 %?"}) == "/a/%C3%A9%20%25%3F"
    assert call("GET", None, PATH_INFO="/clouds/\xc3\xa9%")[2] == '{"cloud": "\u00e9%"}'.encode("utf-8")
    assert call("GET", None, PATH_INFO="/clouds/\xff")[0] == 400


def test_mount_point_is_left_out() -> None:
    assert raw_path({"REQUEST_URI": "/admin/clouds/a", "SCRIPT_NAME": "/admin"}) == "/clouds/a"


def test_shown_path_is_printable_ascii() -> None:
    assert shown_path({"REQUEST_URI": "/a\n\x1b\xff"}) == "/a\\n\\x1b\\xff"


def test_segments_name_what_is_wrong() -> None:
    with pytest.raises(BadRequest, match="plain '%' is written %25"):
        segments("/100%")


def test_head_is_get_without_body() -> None:
    status, headers, body = call("HEAD", "/clouds/a")
    assert (status, body, headers["content-length"]) == (200, b"", str(len('{"cloud": "a"}')))


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "PATCH", "BREW", "TRACE"])
def test_other_methods_are_405_with_allow(method: str) -> None:
    status, headers, body = call(method, "/clouds/a")
    assert (status, headers["allow"], body) == (405, "GET, HEAD, PUT", b"None")
