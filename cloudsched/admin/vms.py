"""`/clouds/CLOUD/vms` and `/clouds/CLOUD/vms/VM`: shut down, retire, forget, reset (PARITY 1.2, A7 to A15).

Both spellings work: the wiki's POST force_retire and DELETE, and v1's PUT for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any

from cloudsched.admin.answers import Answers, Wording, error_of, failures
from cloudsched.admin.asking import Asked
from cloudsched.errors import BadRequest
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.policy.selection import beyond
from cloudsched.render import verbs as texts
from cloudsched.render.verbs import destroyed_lines, say
from cloudsched.store import verbs
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, params
from cloudsched.web.operations import target_name
from cloudsched.web.params import Parameter

MOST_VMS = 2**31 - 1

COUNT = Parameter("count", str)
RETAIN = Parameter("retain", params.integer(0, MOST_VMS))


@dataclass(frozen=True, slots=True)
class Several:
    """What a verb on a cloud's VMs says.

    Without a sentence for a `count` that is no number it takes all or nothing; `least` is the smallest number.
    """

    aspect: Aspect
    no_cloud: str
    wording: Callable[[str, int | None], Wording]
    count_no_cloud: str = ""
    count_no_number: str = ""
    least: int | None = None
    count_is_required: bool = False


@dataclass(frozen=True, slots=True)
class One:
    """What a verb on one VM says; a failure without a text shows its reason."""

    aspect: Aspect
    no_cloud: str
    no_vm: str
    done: str
    failed: str = ""
    failed_status: HTTPStatus = HTTPStatus.CONFLICT


def _shut_down(cloud: str, count: int | None) -> Wording:
    return Wording(_destroyed, _destroyed, failed_status=HTTPStatus.BAD_GATEWAY)


def _destroyed(operation: Operation) -> str:
    failed = failures(operation)
    return destroyed_lines([(target_name(each.wish), each not in failed) for each in operation.targets])


def _retire(cloud: str, count: int | None) -> Wording:
    def retired(operation: Operation) -> str:
        return say(texts.RETIRED_COUNT, count=len(operation.targets) - len(failures(operation)), cloud=cloud)

    def failed(operation: Operation) -> str:
        lines = [f"Unable to retire VM {target_name(each.wish)}: {error_of(each)}" for each in failures(operation)]
        return "\n".join([retired(operation), *lines])

    return Wording(retired if count is not None else lambda _: say(texts.RETIRED_ALL, cloud=cloud), failed)


def _remove(cloud: str, count: int | None) -> Wording:
    return Wording(lambda _: say(texts.REMOVED_ALL, cloud=cloud))


SEVERAL = {
    "shutdown": Several(
        Aspect.SHUTDOWN,
        texts.SHUTDOWN_NO_CLOUD,
        _shut_down,
        texts.SHUTDOWN_COUNT_NO_CLOUD,
        texts.SHUTDOWN_COUNT_NO_NUMBER,
    ),
    "force_retire": Several(
        Aspect.RETIRE,
        texts.RETIRE_MANY_NO_CLOUD,
        _retire,
        texts.RETIRE_MANY_NO_CLOUD,
        texts.RETIRE_COUNT_NO_NUMBER,
        least=0,
    ),
    "remove": Several(Aspect.RELEASED, texts.REMOVE_NO_CLOUD, _remove, count_is_required=True),
}
ONE = {
    "shutdown": One(
        Aspect.SHUTDOWN,
        texts.SHUTDOWN_NO_CLOUD,
        texts.SHUTDOWN_NO_VM,
        texts.DESTROYED,
        texts.NOT_DESTROYED,
        HTTPStatus.BAD_GATEWAY,
    ),
    "force_retire": One(Aspect.RETIRE, texts.RETIRE_NO_CLOUD, texts.RETIRE_NO_VM, texts.RETIRED, texts.NOT_RETIRED),
    "remove": One(Aspect.RELEASED, texts.REMOVE_NO_CLOUD, texts.REMOVE_NO_VM, texts.REMOVED),
    "reset_override_state": One(Aspect.RESET, texts.RESET_NO_CLOUD, texts.RESET_NO_VM, texts.RESET),
}
POSTED = ("force_retire",)


def _action(*accepted: str) -> Parameter:
    return Parameter("action", params.word(*accepted), required=True)


def _count(verb: Several, text: str) -> int | None:
    """The `count` of a bulk verb, None for all; empty or malformed is refused, never taken for all (B-28)."""
    if text == "all":
        return None
    number = params.to_integer(text) if verb.count_no_number else None
    if number is not None and (verb.least is None or number >= verb.least):
        return number
    accepted = "'all' or a number" if verb.count_no_number else "'all'"
    problem = f"The parameter 'count' must be {accepted}, not {text!r}."
    raise BadRequest(problem, parameter="count", v1_text=say(verb.count_no_number, count=text))


def _retained(verb: Several, given: Mapping[str, Any]) -> int | None:
    """How many VMs shall stay, if that is what was said; where VMs are forgotten it means nothing."""
    if "retain" in given and (verb.count_is_required or "count" in given):
        other = "'action' remove" if verb.count_is_required else "'count'"
        raise BadRequest(f"The parameter 'retain' does not go with {other}.", parameter="retain")
    return given.get("retain")


class VMs:
    """The VMs of a cloud; a missing `count` means all of them where the wiki says so (B-28)."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_put(self, req: Request, resp: Response, cloud: str) -> None:
        """PUT shutdown, force_retire or remove."""
        asked = self._answers.read(req, _action(*SEVERAL), COUNT, RETAIN)
        verb = SEVERAL[asked.given["action"]]
        if verb.count_is_required and "count" not in asked.given:
            raise BadRequest(
                "The parameter 'count' is missing; 'all' is accepted.", parameter="count", code="missing-parameter"
            )
        self._ask(req, resp, cloud, (asked, verb))

    def on_post(self, req: Request, resp: Response, cloud: str) -> None:
        """POST force_retire, as the wiki has it."""
        asked = self._answers.read(req, _action(*POSTED), COUNT, RETAIN)
        self._ask(req, resp, cloud, (asked, SEVERAL[asked.given["action"]]))

    def on_delete(self, req: Request, resp: Response, cloud: str) -> None:
        """DELETE: remove, as the wiki has it."""
        self._ask(req, resp, cloud, (self._answers.read(req, COUNT), SEVERAL["remove"]))

    def _ask(self, req: Request, resp: Response, cloud: str, what: tuple[Asked, Several]) -> None:
        asked, verb = what
        retain, count = _retained(verb, asked.given), _count(verb, asked.given.get("count", "all"))
        number = count if retain is None else retain
        which = count if retain is None else partial(beyond, retain=retain)
        sentence = verb.no_cloud if number is None else verb.count_no_cloud

        def wish(by: By) -> Operation:
            return verbs.wish_vms(self._answers.store, by, cloud, verb.aspect, which)

        wording = replace(verb.wording(cloud, number), missing={"cloud": say(sentence, cloud=cloud)})
        self._answers.give(req, resp, asked, wish, wording)


class VM:
    """One VM, found by its cloud's id, spot id or our own name for it."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_put(self, req: Request, resp: Response, cloud: str, vm: str) -> None:
        """PUT shutdown, force_retire, remove or reset_override_state."""
        asked = self._answers.read(req, _action(*ONE))
        self._ask(req, resp, (asked, ONE[asked.given["action"]]), (cloud, vm))

    def on_post(self, req: Request, resp: Response, cloud: str, vm: str) -> None:
        """POST force_retire, as the wiki has it."""
        asked = self._answers.read(req, _action(*POSTED))
        self._ask(req, resp, (asked, ONE[asked.given["action"]]), (cloud, vm))

    def on_delete(self, req: Request, resp: Response, cloud: str, vm: str) -> None:
        """DELETE: remove, as the wiki has it."""
        self._ask(req, resp, (self._answers.read(req), ONE["remove"]), (cloud, vm))

    def _ask(self, req: Request, resp: Response, what: tuple[Asked, One], place: tuple[str, str]) -> None:
        (asked, verb), (cloud, vm) = what, place

        def words(template: str) -> str:
            return say(template, cloud=cloud, vm=vm)

        def wish(by: By) -> Operation:
            return verbs.wish_vm(self._answers.store, by, cloud, vm, verb.aspect)

        wording = Wording(
            lambda done: words(texts.REMOVED_RETIRED if _was_retired(done) else verb.done),
            failed_status=verb.failed_status,
            missing={"cloud": words(verb.no_cloud), "vm": words(verb.no_vm)},
        )
        if verb.failed:
            wording = replace(wording, failed=lambda _: words(verb.failed))
        self._answers.give(req, resp, asked, wish, wording)


def _was_retired(operation: Operation) -> bool:
    """Whether a VM that was forgotten drained outside its cloud's allowance: v1 then spoke of retired resources."""
    return any(each.wish.aspect is Aspect.RELEASED and each.wish.value.get("retired") for each in operation.targets)
