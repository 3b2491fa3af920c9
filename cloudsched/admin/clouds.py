"""`/clouds/CLOUD`: enable, disable, change the quota (PARITY 1.2, A4 to A6)."""

from __future__ import annotations

from typing import Any

from cloudsched.admin.answers import Answers, Wording, by, worded
from cloudsched.errors import BadRequest, Conflict
from cloudsched.render import verbs as texts
from cloudsched.render.verbs import say
from cloudsched.store import verbs
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
        given = params.read(req, ACTION, ALLOCATIONS)
        if "action" in given:
            self._enable(req, resp, cloud, given["action"])
        elif "allocations" in given:
            self._allocate(req, resp, cloud, given["allocations"])
        else:
            problem = "The parameter 'action' is missing; without it 'allocations' is needed."
            raise BadRequest(problem, parameter="action", code="missing-parameter")

    def _enable(self, req: Request, resp: Response, cloud: str, action: str) -> None:
        with worded({"cloud": say(texts.ENABLE_NO_CLOUD, cloud=cloud)}):
            operation = verbs.wish_enabled(self._answers.store, by(req), cloud, action == "enable")
        self._answers.give(req, resp, operation, Wording(lambda _: say(ACTIONS[action], cloud=cloud)))

    def _allocate(self, req: Request, resp: Response, cloud: str, slots: int) -> None:
        try:
            with worded({"cloud": say(texts.ALLOCATE_NO_CLOUD, cloud=cloud)}):
                operation = verbs.wish_vm_slots(self._answers.store, by(req), cloud, slots)
        except Conflict as ex:
            if ex.code != "unchanged":
                raise
            reply(req, resp, say(texts.ALLOCATED_ALREADY, slots=slots), NOTHING_TO_DO)
            return
        self._answers.give(req, resp, operation, Wording(lambda _: say(texts.ALLOCATED, cloud=cloud, slots=slots)))


NOTHING_TO_DO: dict[str, Any] = {"id": None, "verb": "allocations", "state": "done", "targets": []}
"""The JSON form of "Nothing to do.": an operation that was not needed."""
