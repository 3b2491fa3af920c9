"""`/clouds/CLOUD`: enable, disable, change the quota (PARITY 1.2, A4 to A6)."""

from __future__ import annotations

from typing import Any

from cloudsched.admin.answers import Answers, Wording
from cloudsched.admin.asking import Asked
from cloudsched.errors import BadRequest, Conflict
from cloudsched.model.wishes import Operation
from cloudsched.render import verbs as texts
from cloudsched.render.verbs import say
from cloudsched.store import verbs
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply
from cloudsched.web.params import Parameter

MOST_SLOTS = 2**31 - 1

ACTIONS = {"enable": texts.ENABLED, "disable": texts.DISABLED}


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


class Cloud:
    """One cloud."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_put(self, req: Request, resp: Response, cloud: str) -> None:
        """PUT `action` or `allocations`; as in v1 the action counts when both are given."""
        asked = self._answers.read(req, ACTION, ALLOCATIONS)
        if "action" in asked.given:
            self._enable(req, resp, cloud, asked)
        elif "allocations" in asked.given:
            self._allocate(req, resp, cloud, asked)
        else:
            problem = "The parameter 'action' is missing; without it 'allocations' is needed."
            raise BadRequest(problem, parameter="action", code="missing-parameter")

    def _enable(self, req: Request, resp: Response, cloud: str, asked: Asked) -> None:
        action, missing = asked.given["action"], {"cloud": say(texts.ENABLE_NO_CLOUD, cloud=cloud)}

        def wish(by: By) -> Operation:
            return verbs.wish_enabled(self._answers.store, by, cloud, action == "enable")

        wording = Wording(lambda _: say(ACTIONS[action], cloud=cloud), missing=missing)
        self._answers.give(req, resp, asked, wish, wording)

    def _allocate(self, req: Request, resp: Response, cloud: str, asked: Asked) -> None:
        slots, missing = asked.given["allocations"], {"cloud": say(texts.ALLOCATE_NO_CLOUD, cloud=cloud)}

        def wish(by: By) -> Operation:
            return verbs.wish_vm_slots(self._answers.store, by, cloud, slots)

        wording = Wording(lambda _: say(texts.ALLOCATED, cloud=cloud, slots=slots), missing=missing)
        try:
            self._answers.give(req, resp, asked, wish, wording)
        except Conflict as ex:
            if ex.code != "unchanged":
                raise
            reply(req, resp, say(texts.ALLOCATED_ALREADY, slots=slots), NOTHING_TO_DO)


NOTHING_TO_DO: dict[str, Any] = {"id": None, "verb": "allocations", "state": "done", "targets": []}
"""The JSON form of "Nothing to do.": an operation that was not needed."""
