"""`/users/USER`: renew a user's proxies (PARITY 1.2, A16 and A17; v1 never managed it, B-06)."""

from __future__ import annotations

from cloudsched.admin.answers import Answers, Wording
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.render.verbs import say
from cloudsched.store import verbs
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, params
from cloudsched.web.params import Parameter

PROXIES = {
    "job_proxy": (Aspect.JOB_PROXY, "Refreshed the job proxies of user {user}."),
    "vm_proxy": (Aspect.VM_PROXY, "Refreshed the VM proxies of user {user}."),
}
REFRESH = Parameter("refresh", params.word(*PROXIES), required=True)


class User:
    """One user."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_post(self, req: Request, resp: Response, user: str) -> None:
        """POST `refresh`; 409 with the reason when there is nothing to refresh."""
        asked = self._answers.read(req, REFRESH)
        aspect, text = PROXIES[asked.given["refresh"]]

        def wish(by: By) -> Operation:
            return verbs.wish_proxy(self._answers.store, by, user, aspect)

        self._answers.give(req, resp, asked, wish, Wording(lambda _: say(text, user=user)))
