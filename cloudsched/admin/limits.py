"""`/user-limits` and `/cloud-aliases`: show what is in force, read the file again (PARITY 1.2, A18 to A21).

A file that cannot be used leaves the old values in force (B-24); text says `False`, JSON says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cloudsched.admin.answers import Answers, Wording
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.render.verbs import python2_mapping, reloaded
from cloudsched.store import Store, limits, verbs
from cloudsched.store.wishes import By, Foresight
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply_tagged

Listing = Callable[[Store], Mapping[str, int | Sequence[str]]]


class Listed:
    """One such file: `listing` reads what is in force, `aspect` is the wish to read the file again.

    `foresight` tells what that would change.
    """

    def __init__(self, answers: Answers, listing: Listing, aspect: Aspect, foresight: Foresight) -> None:
        self._answers, self._listing, self._aspect, self._foresight = answers, listing, aspect, foresight

    def on_get(self, req: Request, resp: Response) -> None:
        """GET what is in force, as Python 2 wrote a dict or as JSON: 200, or 304."""
        params.read(req)
        # Read before what it stands for: a tag is never newer than what it is given with.
        revision = self._answers.store.state().limits
        found = self._listing(self._answers.store)
        reply_tagged(req, resp, revision, python2_mapping(found), found)

    def on_post(self, req: Request, resp: Response) -> None:
        """POST: read the file again; `True` when anything is in force afterwards."""
        asked = self._answers.read(req)

        def wish(by: By) -> Operation:
            return verbs.wish_setting(self._answers.store, by, self._aspect, foresight=self._foresight)

        wording = Wording(lambda done: reloaded(_loaded(done)), lambda _: reloaded(0))
        self._answers.give(req, resp, asked, wish, wording)


def user_limits(answers: Answers, foresights: Mapping[Aspect, Foresight]) -> Listed:
    """The resource `/user-limits`."""
    return Listed(answers, limits.user_limits, Aspect.USER_LIMITS, foresights[Aspect.USER_LIMITS])


def cloud_aliases(answers: Answers, foresights: Mapping[Aspect, Foresight]) -> Listed:
    """The resource `/cloud-aliases`."""
    return Listed(answers, limits.cloud_aliases, Aspect.CLOUD_ALIASES, foresights[Aspect.CLOUD_ALIASES])


def _loaded(operation: Operation) -> int:
    return sum(each.outcome.detail.get("loaded", 0) for each in operation.targets if each.outcome)
