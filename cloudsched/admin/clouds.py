"""`/clouds/CLOUD`: enable, disable, change the quota (PARITY 1.2, A4 to A6); make, change and delete a cloud."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from cloudsched.admin.answers import Answers, Wording
from cloudsched.admin.asking import Asked
from cloudsched.config.clouds import host_size
from cloudsched.config.definitions import Document
from cloudsched.config.options import Global
from cloudsched.errors import BadRequest, Conflict
from cloudsched.model.wishes import Operation
from cloudsched.render import verbs as texts
from cloudsched.render.verbs import say
from cloudsched.store import cloud_verbs, verbs
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply
from cloudsched.web.params import Parameter
from cloudsched.web.permissions import may_define_clouds
from cloudsched.web.times import ahead

MOST_SLOTS = 2**31 - 1

ACTIONS = {"enable": texts.ENABLED, "disable": texts.DISABLED}
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


def slots(value: str) -> int:
    """A quota: an integer, 0 or more."""
    number = params.to_integer(value)
    if number is None:
        problem = f"The parameter 'allocations' must be an integer, not {value!r}."
        raise BadRequest(problem, parameter="allocations", v1_text=texts.ALLOCATE_NO_NUMBER)
    if not 0 <= number <= MOST_SLOTS:
        raise ValueError(f"must be an integer from 0 to {MOST_SLOTS}, not {number}")
    return number


ACTION = Parameter("action", params.word(*ACTIONS))
ALLOCATIONS = Parameter("allocations", slots)
UNTIL = Parameter("until", ahead(time.time))
V1 = frozenset({ACTION.name, ALLOCATIONS.name})


class Cloud:
    """One cloud."""

    def __init__(self, answers: Answers, settings: Global) -> None:
        self._answers, self._settings = answers, settings

    def on_put(self, req: Request, resp: Response, cloud: str) -> None:
        """PUT `action` or `allocations`; as in v1 the action counts when both are given.

        PUT a JSON document without either: the cloud shall be as it says. 201 for a new one, else 200.
        """
        if params.has_json(req):
            document = params.document(req, JSON)
            if not V1 & (document.keys() | params.given_in_query(req)):
                self._put(req, resp, cloud, document)
                return
        asked = self._answers.read(req, ACTION, ALLOCATIONS, UNTIL)
        if "action" in asked.given:
            self._enable(req, resp, cloud, asked)
        elif "until" in asked.given:
            raise BadRequest(
                "The parameter 'until' goes with 'action': nothing else ends by itself.", parameter="until"
            )
        elif "allocations" in asked.given:
            self._allocate(req, resp, cloud, asked)
        else:
            problem = "The parameter 'action' is missing; without it 'allocations' is needed."
            raise BadRequest(problem, parameter="action", code="missing-parameter")

    def on_patch(self, req: Request, resp: Response, cloud: str) -> None:
        """PATCH a JSON document: what it names changes, what is null in it goes (RFC 7396)."""
        # Who sends a wrong parameter is told so, and not that the body is of a wrong type.
        self._answers.read_beside(req, {})
        document = Document(cloud.lower(), params.document(req, MERGE_PATCH, JSON), partial=True)
        decide = self._decide(document)

        def wish(by: By) -> Operation:
            return cloud_verbs.wish_patch(self._answers.store, by, document.name, decide)

        self._define(req, resp, (cloud, document), wish)

    def on_delete(self, req: Request, resp: Response, cloud: str) -> None:
        """DELETE: it boots no more VMs, those it has retire, and when the last is gone so is it."""
        asked = self._answers.read(req)

        def wish(by: By) -> Operation:
            return cloud_verbs.wish_delete(self._answers.store, by, cloud.lower())

        self._answers.give(req, resp, asked, wish, Wording(lambda _: say(texts.DELETED, cloud=cloud)))
        cloud_verbs.forget_secrets(self._answers.store)

    def _put(self, req: Request, resp: Response, cloud: str, values: Mapping[str, Any]) -> None:
        may_define_clouds(req.context.caller)
        document, only_new = Document(cloud.lower(), values), req.get_header("If-None-Match") == "*"
        decide = self._decide(document)

        def wish(by: By) -> Operation:
            return cloud_verbs.wish_put(self._answers.store, by, document.name, decide, only_new=only_new)

        self._define(req, resp, (cloud, document), wish)

    def _define(
        self, req: Request, resp: Response, what: tuple[str, Document], wish: Callable[[By], Operation]
    ) -> None:
        cloud, document = what
        asked = self._answers.read_beside(req, document.values)
        wording = Wording(lambda done: _defined(cloud, done), statuses={"create": HTTPStatus.CREATED})
        with _unchanged(req, resp, say(texts.DEFINED_ALREADY, cloud=cloud), "replace"):
            self._answers.give(req, resp, asked, wish, wording)

    def _decide(self, document: Document) -> cloud_verbs.Decide:
        host = host_size(self._settings.state_dir)
        return lambda before: document.draft(before, self._settings, host)

    def _enable(self, req: Request, resp: Response, cloud: str, asked: Asked) -> None:
        action, missing = asked.given["action"], {"cloud": say(texts.ENABLE_NO_CLOUD, cloud=cloud)}

        def wish(by: By) -> Operation:
            return verbs.wish_enabled(self._answers.store, by, cloud, action == "enable", asked.given.get("until"))

        wording = Wording(lambda _: say(ACTIONS[action], cloud=cloud), missing=missing)
        self._answers.give(req, resp, asked, wish, wording)

    def _allocate(self, req: Request, resp: Response, cloud: str, asked: Asked) -> None:
        slots, missing = asked.given["allocations"], {"cloud": say(texts.ALLOCATE_NO_CLOUD, cloud=cloud)}

        def wish(by: By) -> Operation:
            return verbs.wish_vm_slots(self._answers.store, by, cloud, slots)

        wording = Wording(lambda _: say(texts.ALLOCATED, cloud=cloud, slots=slots), missing=missing)
        with _unchanged(req, resp, say(texts.ALLOCATED_ALREADY, slots=slots), "allocations"):
            self._answers.give(req, resp, asked, wish, wording)


@contextmanager
def _unchanged(req: Request, resp: Response, text: str, verb: str) -> Iterator[None]:
    """Answer what is so already as done: its JSON form is an operation that was not needed."""
    try:
        yield
    except Conflict as ex:
        if ex.code != "unchanged":
            raise
        reply(req, resp, text, {"id": None, "verb": verb, "state": "done", "targets": []})


def _defined(cloud: str, operation: Operation) -> str:
    outcome = operation.targets[0].outcome
    return texts.defined(cloud, operation.verb, outcome.detail.get("warnings", ()) if outcome else ())
