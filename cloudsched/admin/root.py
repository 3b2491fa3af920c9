"""`/` and `/settings`: log level, quick exit, reconfiguration (PARITY 1.2, A1 to A3; B-26)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cloudsched.admin.answers import Answers, Wording
from cloudsched.errors import BadRequest
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.store import limits, verbs
from cloudsched.store.wishes import By, Foresight, nothing_more
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply_tagged
from cloudsched.web.params import Parameter

LEVELS = ("VERBOSE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
ACTIONS = {"quick_shutdown": Aspect.QUICK_EXIT, "reconfig": Aspect.RECONFIG}


def level(value: str) -> str:
    """A log level of v1's, in any case."""
    return params.word(*LEVELS)(value.upper())


EMPTY = Wording(lambda _: "")


class Root:
    """The scheduler itself, by v1's URL; `foresights` tell what reading a file again would change."""

    def __init__(self, answers: Answers, foresights: Mapping[Aspect, Foresight]) -> None:
        self._answers, self._foresights = answers, foresights

    def on_put(self, req: Request, resp: Response) -> None:
        """PUT `log_level`; empty text."""
        asked = self._answers.read(req, Parameter("log_level", level, required=True))
        self._answers.give(req, resp, asked, _wish(self._answers, Aspect.LOG_LEVEL, asked.given["log_level"]), EMPTY)

    def on_post(self, req: Request, resp: Response) -> None:
        """POST quick_shutdown, which toggles the quick-exit flag, or reconfig; empty text, JSON has what changed."""
        asked = self._answers.read(req, Parameter("action", params.word(*ACTIONS), required=True))
        aspect = ACTIONS[asked.given["action"]]
        foresight = self._foresights.get(aspect, nothing_more)

        def wish(by: By) -> Operation:
            return verbs.wish_setting(self._answers.store, by, aspect, foresight=foresight)

        self._answers.give(req, resp, asked, wish, EMPTY)


class Settings:
    """The settings that verbs change, to be read and set to a value; v1 could do neither with quick exit."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_get(self, req: Request, resp: Response) -> None:
        """GET both settings as in force, null before the first start of the scheduler: 200, or 304."""
        params.read(req)
        # Read before what it stands for: a tag is never newer than what it is given with.
        revision = self._answers.store.state().limits
        document = {name: limits.setting(self._answers.store, name) for name in ("log_level", "quick_exit")}
        text = "".join(f"{name}: {_shown(value)}\n" for name, value in document.items())
        reply_tagged(req, resp, revision, text, document)

    def on_put(self, req: Request, resp: Response) -> None:
        """PUT `quick_exit` or `log_level`, one of them."""
        asked = self._answers.read(req, Parameter("quick_exit", params.switch), Parameter("log_level", level))
        if len(asked.given) != 1:
            raise BadRequest(
                "One of the parameters 'quick_exit' and 'log_level' is needed.",
                "quick_exit",
                "log_level",
                code="missing-parameter",
            )
        (name, value), *_ = asked.given.items()
        wording = Wording(lambda _: f"{name}: {_shown(value)}\n")
        self._answers.give(req, resp, asked, _wish(self._answers, Aspect(name), value), wording)


def _wish(answers: Answers, aspect: Aspect, value: Any = None) -> Callable[[By], Operation]:
    return lambda by: verbs.wish_setting(answers.store, by, aspect, value)


def _shown(value: Any) -> str:
    return {True: "true", False: "false", None: "unknown"}.get(value, str(value))
