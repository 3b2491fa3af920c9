"""How a verb is answered: who asked, v1's sentence for what is not there, and the outcome with an honest status."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from cloudsched.admin.waiting import Waiting
from cloudsched.errors import NotFound, StateError
from cloudsched.model.wishes import Operation, OutcomeState, Target
from cloudsched.render.verbs import ACCEPTED, say
from cloudsched.store import Store, verbs
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, errors
from cloudsched.web.negotiate import reply
from cloudsched.web.operations import operation_document

_FORGET_SECONDS = 3600
_TAG = re.compile(r'(?<!W/)"([0-9]{1,18})(?:-[a-z-]+)?"')


def by(req: Request, reason: str = "") -> By:
    """Who asks, why, and for which picture (If-Match), as the store records it."""
    return By(
        req.context.actor,
        req.context.request_id,
        reason,
        address=req.context.address,
        seen=_seen(req.get_header("If-Match")),
    )


def _seen(if_match: str | None) -> frozenset[int] | None:
    """The state indexes of If-Match, in whatever form the page was (RFC 9110 13.1.1); None for `*` and no header."""
    if if_match is None or if_match.strip() == "*":
        return None
    return frozenset(map(int, _TAG.findall(if_match)))


@contextmanager
def worded(sentences: Mapping[str, str]) -> Iterator[None]:
    """Give a NotFound raised inside v1's sentence for its kind."""
    try:
        yield
    except NotFound as ex:
        raise NotFound(ex.kind, ex.name, v1_text=sentences.get(ex.kind, "")) from ex


def failures(operation: Operation) -> list[Target]:
    """The targets that failed."""
    return [each for each in operation.targets if each.outcome and each.outcome.state is OutcomeState.FAILED]


def error_of(target: Target) -> str:
    """The sentence that says why a target failed."""
    return str(target.outcome.detail.get("error") or "It failed.") if target.outcome else ""


def first_error(operation: Operation) -> str:
    """The sentence that says why an operation failed."""
    return next((error_of(each) for each in failures(operation)), "")


@dataclass(frozen=True, slots=True)
class Wording:
    """The text of a settled verb and its statuses; a failure without a text of v1's shows its reason."""

    done: Callable[[Operation], str]
    failed: Callable[[Operation], str] = first_error
    done_status: HTTPStatus = HTTPStatus.OK
    failed_status: HTTPStatus = HTTPStatus.CONFLICT


class Answers:
    """What every resource of the admin daemon holds: the state, and a place to wait for outcomes.

    Operations are forgotten `history_days` after they were made, as the option says.
    """

    def __init__(self, store: Store, waiting: Waiting, history_days: int) -> None:
        self.store, self._waiting, self._history_days = store, waiting, history_days
        self._forgot_at = 0

    def give(self, req: Request, resp: Response, operation: Operation, wording: Wording) -> None:
        """Wait for the outcome and answer with it, or with 202 and where to look when there is none yet."""
        self._forget_old(operation.made_at)
        operation = self._waiting.outcome(operation, req.env.get("waitress.client_disconnected", lambda: False))
        {"running": _accepted, "failed": _failed, "done": _done}[operation.state](req, resp, operation, wording)

    def _forget_old(self, now: int) -> None:
        """Once an hour, and only while verbs come: nothing else makes these tables grow."""
        if now - self._forgot_at < _FORGET_SECONDS:
            return
        self._forgot_at = now
        with suppress(StateError):
            verbs.forget_old(self.store, now, self._history_days)


def _done(req: Request, resp: Response, operation: Operation, wording: Wording) -> None:
    resp.status = wording.done_status
    reply(req, resp, wording.done(operation), operation_document(operation))


def _accepted(req: Request, resp: Response, operation: Operation, wording: Wording) -> None:
    resp.status = HTTPStatus.ACCEPTED
    resp.set_header("Location", f"/operations/{operation.id}")
    reply(req, resp, say(ACCEPTED, operation=operation.id), operation_document(operation))


def _failed(req: Request, resp: Response, operation: Operation, wording: Wording) -> None:
    members = {"operation": operation_document(operation)}
    detail = first_error(operation)
    problem = errors.Problem(wording.failed_status, "verb-failed", detail, wording.failed(operation), members)
    errors.answer(req, resp, problem)
