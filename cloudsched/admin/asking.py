"""What every verb may bring beside its own parameters: on which terms it is asked, why, and under which key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudsched.errors import BadRequest
from cloudsched.store.keys import Key
from cloudsched.store.wishes import By, Terms
from cloudsched.web import Request, params
from cloudsched.web.params import Parameter
from cloudsched.web.routing import raw_path

LONGEST_WAIT = 300
KEY_HEADER = "Idempotency-Key"
NO_REASON = "Admin comments being enforced. Please use -C 'reason for command' when performing this option."
"""v1's sentence, which its client said (PARITY 4.3)."""

_TAG = re.compile(r'(?<!W/)"([0-9]{1,18})(?:-[a-z-]+)?"')
_KEY = re.compile(r'"?([!#-~]{1,200})"?', re.ASCII)
_PREVIEW = re.compile(r"[0-9a-f]{32}", re.ASCII)
_LARGEST = 2**31 - 1


def preview(value: str) -> str:
    """The id of a preview."""
    if not _PREVIEW.fullmatch(value):
        raise ValueError(f"must be the 32 hexadecimal digits that a preview told, not {value!r}")
    return value


PARAMETERS = (
    Parameter("dry_run", params.switch),
    Parameter("wait", params.integer(0, LONGEST_WAIT)),
    Parameter("confirm", params.integer(0, _LARGEST)),
    Parameter("preview", preview),
    Parameter("reason"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What an installation asks of every verb: more than `guard_vms` VMs confirmed, a reason for each."""

    guard_vms: int = 0
    reasons: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A verb's own parameters, who asks for it on which terms, and how many seconds the answer is waited for."""

    by: By
    given: dict[str, Any] = field(default_factory=dict)
    wait_seconds: int | None = None


def read(req: Request, rules: Rules, *declared: Parameter) -> Asked:
    """A verb as it is asked. Raises BadRequest, also for want of a reason where the installation demands one."""
    return _asked(req, rules, params.read(req, *declared, *PARAMETERS), {})


def read_beside(req: Request, rules: Rules, document: Mapping[str, Any]) -> Asked:
    """`read` for a verb whose body is a document: the parameters of all verbs are in the query beside it."""
    return _asked(req, rules, params.read_query(req, *PARAMETERS), document)


def _asked(req: Request, rules: Rules, given: dict[str, Any], document: Mapping[str, Any]) -> Asked:
    common = {each.name: given.pop(each.name, None) for each in PARAMETERS}
    reason, is_dry = common["reason"] or "", bool(common["dry_run"])
    if rules.reasons and not reason.strip() and not is_dry:
        problem = "The parameter 'reason' is missing: admin_log_comments is set, so every verb needs one."
        raise BadRequest(problem, parameter="reason", code="missing-parameter", v1_text=NO_REASON)
    terms = Terms(
        is_dry, rules.guard_vms, common["confirm"], common["preview"] or "", _key(req, {**given, **document}, reason)
    )
    by = By(
        req.context.actor,
        req.context.request_id,
        reason,
        address=req.context.address,
        seen=_seen(req.get_header("If-Match")),
        terms=terms,
    )
    return Asked(by, given, common["wait"])


def _key(req: Request, given: dict[str, Any], reason: str) -> Key | None:
    """The request's key, if it has one: of this client, for this method, path and parameters."""
    header = req.get_header(KEY_HEADER)
    if header is None:
        return None
    found = _KEY.fullmatch(header.strip())
    if found is None:
        problem = f"The header {KEY_HEADER} must be 1 to 200 printable ASCII characters without spaces."
        raise BadRequest(problem, parameter=KEY_HEADER)
    asked = {"method": req.method, "path": raw_path(req.env), "given": json.dumps(given, sort_keys=True, default=str)}
    # The name, which is not kept, keeps whoever reads the digest from trying what a short secret in `given` may be.
    return Key.of(req.context.caller.name, found[1], {**asked, "reason": reason, "name": found[1]})


def _seen(if_match: str | None) -> frozenset[int] | None:
    """The state indexes of If-Match, in whatever form the page was (RFC 9110 13.1.1); None for `*` and no header."""
    if if_match is None or if_match.strip() == "*":
        return None
    return frozenset(map(int, _TAG.findall(if_match)))
