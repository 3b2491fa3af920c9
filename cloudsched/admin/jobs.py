"""`/jobs` and `/jobs/JOB`: submit, hold, release, remove; what v1 left to the batch system's own commands."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from http import HTTPStatus

from cloudsched.admin.answers import Answers, Wording
from cloudsched.admin.asking import Asked
from cloudsched.batch import htcondor_submit, submit
from cloudsched.config import JobDefaults
from cloudsched.errors import Forbidden
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.render.verbs import SUBMITTED, say
from cloudsched.store import verbs
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, params
from cloudsched.web.params import Parameter
from cloudsched.web.permissions import may_submit_for

NO_JOB = "Job not found."
ACTIONS = {
    "hold": (Aspect.HOLD, "Job {job} held."),
    "release": (Aspect.RELEASE, "Job {job} released."),
    "remove": (Aspect.REMOVE, "Job {job} removed."),
}
ACTION = Parameter("action", params.word("hold", "release"), required=True)
SUBMIT = (
    Parameter("submit", required=True),
    Parameter("initialdir", required=True),
    Parameter("owner"),
)


def checker(batch_system: str, defaults: JobDefaults) -> Callable[[str, str, str], object]:
    """How a description is read before it is passed on: as a whole, or as far as HTCondor leaves it to us."""
    if batch_system == "htcondor":
        return lambda text, _owner, _directory: htcondor_submit.sections(text)
    return lambda text, owner, directory: submit.parse(
        text, owner=owner, initialdir=directory, defaults=defaults, now=int(time.time())
    )


class Jobs:
    """The queue."""

    def __init__(self, answers: Answers, check: Callable[[str, str, str], object], *, known_clients: bool) -> None:
        """`check` reads a description for an owner and a directory and raises SubmitError."""
        self._answers, self._check, self._known_clients = answers, check, known_clients

    def on_post(self, req: Request, resp: Response) -> None:
        """POST a submit description: 201, or 400 with the line that is wrong.

        `initialdir` is the absolute directory it is submitted from, `owner` an account, by default the daemon's own.
        Who may submit runs commands, so a root daemon takes none from clients it does not know, and nobody submits as
        an owner that is not theirs: 403.
        """
        if not self._known_clients and os.geteuid() == 0:
            raise Forbidden(
                "With admin_auth = none a scheduler that runs as root takes no jobs: set admin_auth = token."
            )
        asked = self._answers.read(req, *SUBMIT)
        given = asked.given
        owner = given.get("owner") or _own_account()
        may_submit_for(req.context.caller, owner)
        text, directory = given["submit"], given["initialdir"]
        self._check(text, owner, directory)

        def wish(by: By) -> Operation:
            return verbs.wish_submit(self._answers.store, by, owner, text, directory)

        self._answers.give(req, resp, asked, wish, Wording(_submitted, done_status=HTTPStatus.CREATED))


class Job:
    """One job, by its id or as CLUSTER.PROC."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_put(self, req: Request, resp: Response, job: str) -> None:
        """PUT hold or release; `reason` is kept with the job."""
        asked = self._answers.read(req, ACTION)
        self._ask(req, resp, job, (asked, asked.given["action"]))

    def on_delete(self, req: Request, resp: Response, job: str) -> None:
        """DELETE: remove the job from the queue, ending it when it runs; `reason` is kept with it."""
        self._ask(req, resp, job, (self._answers.read(req), "remove"))

    def _ask(self, req: Request, resp: Response, job: str, what: tuple[Asked, str]) -> None:
        asked, action = what
        aspect, text = ACTIONS[action]

        def wish(by: By) -> Operation:
            return verbs.wish_job(self._answers.store, by, job, aspect)

        wording = Wording(lambda _: say(text, job=job), missing={"job": NO_JOB})
        self._answers.give(req, resp, asked, wish, wording)


def _submitted(operation: Operation) -> str:
    outcome = operation.targets[0].outcome
    detail = outcome.detail if outcome else {}
    return say(SUBMITTED, jobs=detail.get("jobs", 0), cluster=detail.get("cluster", 0))


def _own_account() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name
