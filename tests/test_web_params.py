"""Parameters from query, form and JSON, and every way they can be wrong."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsgi import Client, everybody

from cloudsched.web import params
from cloudsched.web.app import build
from cloudsched.web.params import Parameter, integer, word

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


class Echo:
    def on_put(self, req: Any, resp: Any) -> None:
        values = params.read(
            req,
            Parameter("action", word("go", "stop"), required=True),
            Parameter("count", integer(0, 9)),
            Parameter("note", str),
        )
        resp.content_type, resp.text = JSON, json.dumps(values)

    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = str(params.read(req))


CLIENT = Client(build({"/": Echo()}, everybody("GET /", "PUT /")))


def put(query: str = "", body: bytes | str = b"", content_type: str = FORM) -> Any:
    # Not `CLIENT.put`, which takes a form body apart and puts it together again.
    headers = {"Accept": JSON, "Content-Type": content_type}
    sent = body.encode() if isinstance(body, str) else body
    return CLIENT.request("/" + query, method="PUT", body=sent, headers=headers)


@pytest.mark.parametrize(
    ("query", "body", "kind"),
    [
        ("?action=go&count=3&note=a%20b", b"", FORM),
        ("", b"action=go&count=3&note=a+b", FORM),
        ("", b"action=go&count=3&note=a+b", FORM + "; charset=utf-8"),
        ("", b'{"action": "go", "count": 3, "note": "a b"}', JSON),
        ("", b'{"action": "go", "count": 3.0, "note": "a b"}', JSON),
        ("?count=3", b'{"action": "go", "count": 4, "note": "a b"}', JSON),
    ],
)
def test_parameters_are_read_from_query_form_and_json(query: str, body: bytes, kind: str) -> None:
    assert put(query, body, kind).json == {"action": "go", "count": 3, "note": "a b"}


def test_multipart_form_is_read() -> None:
    body = '--x\r\nContent-Disposition: form-data; name="action"\r\n\r\ngo\r\n--x--\r\n'
    assert put(body=body, content_type="multipart/form-data; boundary=x").json == {"action": "go"}
    assert put(body="--x\r\nnonsense", content_type="multipart/form-data; boundary=x").status_int == 400
    assert put(body=body, content_type="multipart/form-data").status_int == 400


@pytest.mark.parametrize(
    ("query", "body", "kind", "code", "parameter"),
    [
        ("", b"", FORM, "missing-parameter", "action"),
        ("?count=1", b"", FORM, "missing-parameter", "action"),
        ("?action=go&extra=1", b"", FORM, "unknown-parameter", "extra"),
        ("?action=go&Action=go", b"", FORM, "unknown-parameter", "Action"),
        ("?action=go&action=go", b"", FORM, "repeated-parameter", "action"),
        ("", b'{"action": "go", "action": "go"}', JSON, "repeated-parameter", "action"),
        ("?action=walk", b"", FORM, "bad-parameter", "action"),
        ("?action=", b"", FORM, "bad-parameter", "action"),
        ("?action=go&count=", b"", FORM, "bad-parameter", "count"),
        ("", b'{"action": "go", "count": 3.5}', JSON, "bad-parameter", "count"),
        ("?action=go&count=ten", b"", FORM, "bad-parameter", "count"),
        ("?action=go&count=10", b"", FORM, "bad-parameter", "count"),
        ("?action=go&count=" + "9" * 5000, b"", FORM, "bad-parameter", "count"),
        ("?action=go&count=%EF%BC%91", b"", FORM, "bad-parameter", "count"),
        ("", b'{"action": ["go"]}', JSON, "bad-parameter", "action"),
        ("", b'{"action": null}', JSON, "bad-parameter", "action"),
        ("", b'["action"]', JSON, "bad-json", None),
        ("", b'{"action": ', JSON, "bad-json", None),
        ("", b"[" * 100_000, JSON, "bad-json", None),
        ("", b"\xff\xfe", JSON, "bad-json", None),
        ("", b'{"note": "\\ud800", "action": "go"}', JSON, "bad-encoding", None),
        ("", b"action=%ff", FORM, "bad-encoding", None),
        ("", b"action=\xff", FORM, "bad-encoding", None),
        ("", b"action=%g0", FORM, "bad-encoding", None),
        ("?action=%ff", b"", FORM, "bad-encoding", None),
        ("", b"&".join(b"a%d=" % n for n in range(200)), FORM, "bad-encoding", None),
    ],
)
def test_wrong_parameters_are_400_naming_them(
    query: str, body: bytes, kind: str, code: str, parameter: str | None
) -> None:
    answer = put(query, body, kind)
    problem = answer.json
    assert (answer.status_int, problem["code"], problem.get("parameter")) == (400, code, parameter)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/octet-stream"])
def test_body_that_is_neither_form_nor_json_is_415(kind: str) -> None:
    answer = put(body=b"action=go", content_type=kind)
    assert (answer.status_int, answer.json["code"]) == (415, "unsupported-media-type")


def test_body_beyond_the_limit_is_413() -> None:
    answer = put(body=b"note=" + b"x" * params.BODY_LIMIT)
    assert (answer.status_int, answer.json["code"]) == (413, "body-too-large")


def test_unknown_parameter_lists_the_accepted_ones() -> None:
    assert "accepted: action, count, note" in put("?x=1").json["detail"]
    assert "none is accepted here" in CLIENT.get("/?x=1").text


@given(st.binary(max_size=60), st.sampled_from([FORM, JSON, "multipart/form-data; boundary=x"]))
def test_any_body_is_answered_never_500(body: bytes, kind: str) -> None:
    assert put(body=body, content_type=kind).status_int in (200, 400)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_arrives_the_same_by_form_and_json(note: str) -> None:
    form = CLIENT.put("/", {"action": "go", "note": note}).json
    assert form == put(body=json.dumps({"action": "go", "note": note}), content_type=JSON).json
    assert form["note"] == note
