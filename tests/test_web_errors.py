"""The error table: v1's sentence as text, a problem document as JSON, and one net for the unexpected."""

import logging
from typing import Any

import pytest
from wsgi import Client, everybody

from cloudsched import errors
from cloudsched.web.app import build
from cloudsched.web.errors import STATUSES

JSON = {"Accept": "application/json"}


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caplog hear our log also after something in this process has set it up for good."""
    monkeypatch.setattr(logging.getLogger("cloudscheduler"), "propagate", True)


class Raise:
    def __init__(self, ex: Exception) -> None:
        self.ex = ex

    def on_get(self, req: Any, resp: Any) -> None:
        raise self.ex


def client(ex: Exception) -> Client:
    return Client(build({"/x": Raise(ex), "/x.json": Raise(ex)}, everybody("GET /x")))


@pytest.mark.parametrize(
    ("ex", "status", "code", "text"),
    [
        (errors.BadRequest("No.", parameter="count"), 400, "bad-parameter", "No."),
        (errors.BadRequest("No.", v1_text="use a number"), 400, "bad-parameter", "use a number"),
        (errors.SubmitError("no queue", path="a.sub", line=3), 400, "bad-submit-description", "a.sub:3: no queue"),
        (errors.DocumentError("broken"), 400, "bad-document", "broken"),
        (errors.NotFound("cloud", "x"), 404, "not-found", "There is no cloud 'x'."),
        (errors.NotFound("cloud", "x", v1_text="Could not find"), 404, "not-found", "Could not find"),
        (errors.Conflict("Busy.", code="busy"), 409, "busy", "Busy."),
        (errors.ConfigError("bad", path="c.conf"), 409, "bad-configuration", "c.conf: bad"),
        (errors.MissingExtra("This", "ec2"), 501, "missing-extra", None),
        (errors.StateUnavailable("Locked.", retry_after=7), 503, "state-unavailable", "Locked."),
        (errors.StateMismatch("Old."), 503, "state-unavailable", "Old."),
        (errors.QuotaExceeded("Full."), 502, "cloud-error", "Full."),
        (errors.BatchError("Gone."), 502, "batch-error", "Gone."),
        (errors.CloudschedError("Odd."), 500, "internal-error", "internal server error"),
        (RuntimeError("secret"), 500, "internal-error", "internal server error"),
    ],
)
def test_each_error_has_status_code_and_text(ex: Exception, status: int, code: str, text: str | None) -> None:
    answer = client(ex).get("/x")
    assert (answer.status_int, answer.text) == (status, text or str(ex))
    problem = client(ex).get("/x", headers=JSON)
    assert problem.content_type == "application/problem+json"
    assert (problem.json["status"], problem.json["code"]) == (status, code)
    assert problem.json["request_id"] == problem.headers["X-Request-ID"]


def test_every_family_of_errors_is_in_the_table() -> None:
    families = [each for each in errors.CloudschedError.__subclasses__() if each.__module__ == errors.__name__]
    assert {each for each in families if not each.__name__.startswith("_")} <= set(STATUSES)


def test_problem_document_names_parameter_and_raw_path() -> None:
    problem = client(errors.BadRequest("No.", parameter="count")).get("/%78", headers=JSON).json
    assert (problem["parameter"], problem["instance"], problem["detail"]) == ("count", "/%78", "No.")


def test_unavailable_state_says_when_to_retry() -> None:
    assert client(errors.StateUnavailable("Locked.", retry_after=7)).get("/x").headers["Retry-After"] == "7"
    assert client(errors.StateHeld("Held.")).get("/x").headers["Retry-After"] == "2"


def test_unexpected_error_is_logged_once_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    answer = client(RuntimeError("secret")).get("/x", headers=JSON)
    assert "secret" not in answer.text
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == 1
    assert answer.headers["X-Request-ID"] in tracebacks[0].getMessage()


def test_unknown_json_document_keeps_v1_body() -> None:
    unknown = client(errors.NotFound("cloud", "x", v1_text="{}"))
    answer = unknown.get("/x.json")
    assert (answer.status_int, answer.content_type, answer.text) == (404, "application/json", "{}")
    assert unknown.get("/x.json", headers=JSON).json["code"] == "not-found"


def test_other_errors_of_a_json_document_are_problems() -> None:
    assert client(errors.Conflict("Busy.")).get("/x.json").json["code"] == "conflict"


def test_unmatched_url_and_method_are_problems_too() -> None:
    app = client(RuntimeError())
    assert app.get("/y", headers=JSON).json["code"] == "not-found"
    answer = app.post("/x", headers=JSON)
    assert (answer.json["code"], answer.headers["Allow"]) == ("method-not-allowed", "GET, HEAD")


def test_request_id_of_the_client_is_kept_when_harmless() -> None:
    app = client(errors.Conflict("Busy."))
    assert app.get("/x", headers={"X-Request-ID": "abc-1.2_3"}).headers["X-Request-ID"] == "abc-1.2_3"
    assert app.get("/x", headers={"X-Request-ID": "a b<script>"}).headers["X-Request-ID"] != "a b<script>"


def test_access_log_shows_errors_by_default(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cloudscheduler.access")
    client(errors.Conflict("Busy.")).get("/x?token=hidden")
    assert [record.getMessage().split()[1:4] for record in caplog.records] == [["GET", "/x", "409"]]
    assert "hidden" not in caplog.text
