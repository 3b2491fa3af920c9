"""Errors as answers: one table gives each of ours a status and a code, one net catches the rest.

Text keeps v1's sentence; JSON is a problem document (RFC 9457) with `code`, `parameters` and `request_id`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import falcon
from falcon import Request, Response

from cloudsched import errors
from cloudsched.web.negotiate import JSON, prefers_json, write_json, write_text
from cloudsched.web.routing import raw_path, shown_path

_log = logging.getLogger("cloudscheduler.http")

PROBLEM = "application/problem+json"

STATUSES: dict[type[Exception], tuple[HTTPStatus, str]] = {
    errors.BadRequest: (HTTPStatus.BAD_REQUEST, "bad-parameter"),
    errors.BadDefinition: (HTTPStatus.BAD_REQUEST, "bad-definition"),
    errors.SubmitError: (HTTPStatus.BAD_REQUEST, "bad-submit-description"),
    errors.DocumentError: (HTTPStatus.BAD_REQUEST, "bad-document"),
    errors.NotFound: (HTTPStatus.NOT_FOUND, "not-found"),
    errors.Forbidden: (HTTPStatus.FORBIDDEN, "forbidden"),
    errors.Conflict: (HTTPStatus.CONFLICT, "conflict"),
    errors.PictureChanged: (HTTPStatus.PRECONDITION_FAILED, "precondition-failed"),
    errors.PageExpired: (HTTPStatus.GONE, "page-token-expired"),
    errors.ConfigError: (HTTPStatus.CONFLICT, "bad-configuration"),
    errors.MissingExtra: (HTTPStatus.NOT_IMPLEMENTED, "missing-extra"),
    errors.StateError: (HTTPStatus.SERVICE_UNAVAILABLE, "state-unavailable"),
    errors.CloudError: (HTTPStatus.BAD_GATEWAY, "cloud-error"),
    errors.BatchError: (HTTPStatus.BAD_GATEWAY, "batch-error"),
    errors.CloudschedError: (HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error"),
}
"""The first class of an error's family that stands here decides; an error's own `code` goes before the table's."""

HTTP_CODES = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
    429: "too-many-requests",
}
"""The codes of what HTTP itself refuses."""

_MEMBERS = ("parameter", "parameters", "line", "complaints")

V1_TEXTS = {HTTPStatus.NOT_FOUND: "not found", HTTPStatus.METHOD_NOT_ALLOWED: "None"}
"""v1's bodies for what no resource answers (PARITY 1.1)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is an error: `text` for readers of text, `members` beside RFC 9457's own for readers of JSON."""

    status: HTTPStatus
    code: str
    detail: str
    text: str
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of(ex: Exception) -> Problem:
    """What an exception is to a client; nothing of an unexpected one is told."""
    if isinstance(ex, falcon.HTTPError):
        return _of_falcon(ex)
    status, code = next((STATUSES[each] for each in type(ex).__mro__ if each in STATUSES), (None, ""))
    if status is None or status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "The server's log has more.", "internal server error"
        )
    members = {name: value for name in _MEMBERS if (value := getattr(ex, name, None))}
    retry_after = getattr(ex, "retry_after", None)
    return Problem(
        status,
        getattr(ex, "code", code),
        str(ex),
        getattr(ex, "v1_text", "") or str(ex),
        members,
        {} if status is not HTTPStatus.SERVICE_UNAVAILABLE else {"Retry-After": str(retry_after or 2)},
    )


def _of_falcon(ex: falcon.HTTPError) -> Problem:
    status = HTTPStatus(ex.status_code)
    detail = ex.description or f"{status.phrase}."
    code = HTTP_CODES.get(status.value, "http-error")
    return Problem(status, code, detail, V1_TEXTS.get(status, detail), headers=dict(ex.headers or {}))


def answer(req: Request, resp: Response, problem: Problem) -> None:
    """Answer with a problem, as text or as a problem document.

    A `.json` URL without an Accept header keeps v1's body for something unknown, `{}` or `null` (PARITY 10, B-02).
    """
    resp.status = f"{problem.status.value} {problem.status.phrase}"
    resp.set_headers(dict(problem.headers))
    resp.append_header("Vary", "Accept")
    is_document = req.method in ("GET", "HEAD") and raw_path(req.env).endswith(".json")
    if is_document and problem.text in ("{}", "null") and not prefers_json(req):
        resp.content_type, resp.text = JSON, problem.text
    elif is_document or prefers_json(req):
        write_json(resp, _document(req, problem), PROBLEM)
    else:
        write_text(resp, problem.text)


def _document(req: Request, problem: Problem) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": problem.detail,
        "code": problem.code,
        "instance": shown_path(req.env),
        "request_id": getattr(req.context, "request_id", ""),
        **problem.members,
    }


def handle(req: Request, resp: Response, ex: Exception, params: Mapping[str, Any]) -> None:
    """Falcon's error handler for everything; what is not ours or HTTP's is logged here, once."""
    problem = problem_of(ex)
    if problem.status is HTTPStatus.INTERNAL_SERVER_ERROR:
        request_id = getattr(req.context, "request_id", "")
        _log.error("%s %s failed (request %s)", req.method, shown_path(req.env), request_id, exc_info=ex)
    answer(req, resp, problem)
