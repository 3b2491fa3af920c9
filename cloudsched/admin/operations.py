"""`/operations/ID/undo`: have things as they were before a verb."""

from __future__ import annotations

from cloudsched.admin.answers import Answers, Wording
from cloudsched.model.wishes import Operation
from cloudsched.render.verbs import UNDONE, say
from cloudsched.store import operations, undo
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, params
from cloudsched.web.operations import number
from cloudsched.web.params import Parameter
from cloudsched.web.permissions import may_undo

PARTIAL = Parameter("partial", params.switch)


class Undo:
    """What an operation changed."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_post(self, req: Request, resp: Response, operation: str) -> None:
        """POST: a new operation that asks for what was before; 409 with why not, 404 for an unknown number.

        Where some targets cannot be undone nothing is, unless `partial` is true: then the others are.
        """
        asked = self._answers.read(req, PARTIAL)
        store, undone = self._answers.store, number(operation)
        may_undo(req.context.caller, operations.read(store, undone))

        def wish(by: By) -> Operation:
            return undo.wish_undone(store, by, undone, partial=asked.given.get("partial", False))

        wording = Wording(lambda done: say(UNDONE, operation=undone, undo=done.id, targets=len(done.targets)))
        self._answers.give(req, resp, asked, wish, wording)
