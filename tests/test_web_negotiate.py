"""Text unless JSON is asked for."""

from typing import Any

import pytest
from wsgi import Client, everybody

from cloudsched.web.app import build
from cloudsched.web.negotiate import reply


class Both:
    def on_get(self, req: Any, resp: Any) -> None:
        reply(req, resp, "text\u00e9", {"document": "\u00e9"})


CLIENT = Client(build({"/": Both()}, everybody("GET /")))


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", True),
        ("application/json, */*;q=0.1", True),
        ("application/json, text/plain, */*", True),
        ("text/plain;q=0.5, application/json", True),
        ("text/plain, application/json;q=0.5", False),
        ("application/json;q=0, */*", False),
        ("application/*", True),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("image/png", False),
        ("garbage", False),
        ("", False),
    ],
)
def test_json_is_for_those_who_rank_it_first(accept: str | None, is_json: bool) -> None:
    answer = CLIENT.get("/", headers={} if accept is None else {"Accept": accept})
    expected = ("application/json", '{"document": "\\u00e9"}') if is_json else ("text/plain", "text\u00e9")
    assert (answer.content_type, answer.text) == expected
    assert answer.headers["Vary"] == "Accept"


def test_text_is_utf8() -> None:
    assert CLIENT.get("/").headers["Content-Type"] == "text/plain; charset=utf-8"
