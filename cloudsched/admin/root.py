"""`/` and `/settings`: log level, quick exit, reconfiguration (PARITY 1.2, A1 to A3; B-26)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cloudsched.admin.answers import Answers, Wording
from cloudsched.errors import BadRequest
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.store import limits, verbs
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply
from cloudsched.web.params import Parameter

LEVELS = ("VERBOSE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
ACTIONS = {"quick_shutdown": Aspect.QUICK_EXIT, "reconfig": Aspect.RECONFIG}
SWITCH = {"true": True, "false": False}


def level(value: str) -> str:
    """A log level of v1's, in any case."""
    return params.word(*LEVELS)(value.upper())


def switch(value: str) -> bool:
    """`true` or `false`."""
    return SWITCH[params.word(*SWITCH)(value)]


EMPTY = Wording(lambda _: "")


class Root:
    """The scheduler itself, by v1's URL."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_put(self, req: Request, resp: Response) -> None:
        """PUT `log_level`; empty text."""
        asked = self._answers.read(req, Parameter("log_level", level, required=True))
        self._answers.give(req, resp, asked, _wish(self._answers, Aspect.LOG_LEVEL, asked.given["log_level"]), EMPTY)

    def on_post(self, req: Request, resp: Response) -> None:
        """POST quick_shutdown, which toggles the quick-exit flag, or reconfig; empty text, JSON has what changed."""
        asked = self._answers.read(req, Parameter("action", params.word(*ACTIONS), required=True))
        self._answers.give(req, resp, asked, _wish(self._answers, ACTIONS[asked.given["action"]]), EMPTY)


class Settings:
    """The settings that verbs change, to be read and set to a value; v1 could do neither with quick exit."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_get(self, req: Request, resp: Response) -> None:
        """GET both settings as in force; null before the first start of the scheduler."""
        params.read(req)
        document = {name: limits.setting(self._answers.store, name) for name in ("log_level", "quick_exit")}
        reply(req, resp, "".join(f"{name}: {_shown(value)}\n" for name, value in document.items()), document)

    def on_put(self, req: Request, resp: Response) -> None:
        """PUT `quick_exit` or `log_level`, one of them."""
        asked = self._answers.read(req, Parameter("quick_exit", switch), Parameter("log_level", level))
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
