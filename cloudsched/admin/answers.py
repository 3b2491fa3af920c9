"""How a verb is answered: who asked, v1's sentence for what is not there, and the outcome with an honest status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from cloudsched.admin import asking
from cloudsched.admin.asking import Asked, Rules
from cloudsched.admin.waiting import Waiting
from cloudsched.errors import NotFound, StateError
from cloudsched.model.wishes import Operation, OutcomeState, Target
from cloudsched.render.verbs import ACCEPTED, say
from cloudsched.store import Store, verbs, wishes
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, errors
from cloudsched.web.negotiate import reply
from cloudsched.web.operations import operation_document
from cloudsched.web.params import Parameter

_FORGET_SECONDS = 3600


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
    """The text of a settled verb and its statuses; a failure without a text of v1's shows its reason.

    `statuses` are those of what is done, by the verb that it was found to be, where that is not `done_status`.
    `missing` has v1's sentence for what is not there, by its kind.
    """

    done: Callable[[Operation], str]
    failed: Callable[[Operation], str] = first_error
    done_status: HTTPStatus = HTTPStatus.OK
    failed_status: HTTPStatus = HTTPStatus.CONFLICT
    statuses: Mapping[str, HTTPStatus] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


class Answers:
    """What every resource of the admin daemon holds: the state, and a place to wait for outcomes.

    Operations are forgotten `history_days` after they were made, as the option says; `rules` are what every verb must
    keep.
    """

    def __init__(self, store: Store, waiting: Waiting, history_days: int, rules: Rules) -> None:
        self.store, self._waiting, self._history_days, self._rules = store, waiting, history_days, rules
        self._forgot_at = 0

    def read(self, req: Request, *declared: Parameter) -> Asked:
        """A verb as it is asked, with its own parameters and those of all verbs. Raises BadRequest."""
        return asking.read(req, self._rules, *declared)

    def read_beside(self, req: Request, document: Mapping[str, Any]) -> Asked:
        """The same of a verb whose body is a document."""
        return asking.read_beside(req, self._rules, document)

    def give(
        self, req: Request, resp: Response, asked: Asked, wish: Callable[[By], Operation], wording: Wording
    ) -> None:
        """Have a verb recorded by `wish`, unless it was under its key, and answer with its outcome.

        That is waited for, and the answer is 202 with where to look when there is none yet. Raises what `wish` raises.
        """
        operation = self._recorded(asked.by) or self._record(asked.by, wish, wording)
        self._forget_old(operation.made_at)
        has_left = req.env.get("waitress.client_disconnected", lambda: False)
        operation = self._waiting.outcome(operation, has_left, asked.wait_seconds)
        {"running": _accepted, "failed": _failed, "done": _done}[operation.state](req, resp, operation, wording)

    def _recorded(self, by: By) -> Operation | None:
        if by.terms.key is None:
            return None
        with self.store.reading() as connection:
            return wishes.recorded(connection, by)

    def _record(self, by: By, wish: Callable[[By], Operation], wording: Wording) -> Operation:
        try:
            return wish(by)
        except NotFound as ex:
            raise NotFound(ex.kind, ex.name, v1_text=wording.missing.get(ex.kind, "")) from ex

    def _forget_old(self, now: int) -> None:
        """Once an hour, and only while verbs come: nothing else makes these tables grow."""
        if now - self._forgot_at < _FORGET_SECONDS:
            return
        self._forgot_at = now
        with suppress(StateError):
            verbs.forget_old(self.store, now, self._history_days)


def _done(req: Request, resp: Response, operation: Operation, wording: Wording) -> None:
    resp.status = wording.statuses.get(operation.verb, wording.done_status)
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
