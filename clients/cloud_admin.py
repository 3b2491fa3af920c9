"""`cloud_admin`: operators' verbs, with v1's options, order of evaluation and printed text (PARITY 4.3).

Unlike v1 the exit status is 1 when what was asked was not done, and the log does not claim that it was.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from string import Formatter
from typing import Any

from cloudsched.client import Answer, Ask
from cloudsched.config.load import Config
from cloudsched.errors import BadRequest

from . import adminlog, definition, invocation, patience
from .cases import CASES, ENFORCED, NO_COMMENT, NOTHING, Case
from .invocation import Option

_LEVELS = ("VERBOSE", "DEBUG", "WARNING", "ERROR", "INFO", "CRITICAL")
_ROLES = ("reader", "operator", "admin")
_STATES = ("running", "done", "failed")
_LONGEST_WAIT = 300

OPTIONS = (
    Option("-f", "--config-file", "FILE", "Read this configuration file"),
    Option("-s", "--server-hostname", "HOSTNAME", "Speak to the admin server on this machine, or at unix:PATH"),
    Option("-P", "--port", "PORT", "Speak to the admin server on this port"),
    Option("-a", "--all", "", "Act on all VMs of the cloud"),
    Option("-k", "--kill-vm", "", "Shut VMs down. Requires -c and one of -n, -a, -b"),
    Option("-c", "--cloud", "NAME", "The cloud to act on"),
    Option("-n", "--vm-id", "ID", "The VM to act on"),
    Option("-b", "--number", "NUM", "How many VMs to act on"),
    Option("-p", "--refresh-proxy", "PROXYTYPE", "Refresh a user's proxies [vm, job]. Requires -u", ("vm", "job")),
    Option("-u", "--user", "USER", "The user to act for"),
    Option("-r", "--reconfig", "", "Disabled: use 'quickrestart'"),
    Option(
        "-l",
        "--log-level",
        "LOG_LEVEL",
        f"Change the log level [{', '.join(_LEVELS)}]",
        tuple(spelt for level in _LEVELS for spelt in (level, level.lower(), level.capitalize())),
    ),
    Option("-e", "--enable", "NAME", "Enable cloud NAME"),
    Option("-d", "--disable", "NAME", "Disable cloud NAME"),
    Option("-m", "--remove", "", "Forget VMs, which run on. Requires -c and one of -n, -a"),
    Option("-q", "--quick-exit", "", "Toggle the quick-exit flag: when on, VMs survive the scheduler"),
    Option("-i", "--reload-limits", "", "Reload the user limits file"),
    Option("-j", "--list-limits", "", "List the user limits"),
    Option("-o", "--force-retire", "", "Retire VMs. Requires -c and one of -n, -a, -b"),
    Option("-x", "--reset-vm-state", "", "Give a VM back to automatic control. Requires -c and -n"),
    Option("-t", "--reload-target-alias", "", "Reload the target cloud alias file"),
    Option("-y", "--list-alias", "", "List the target cloud aliases"),
    Option("-v", "--vm-allocation", "NUM", "Change how many VMs a cloud may have. Requires -c"),
    Option(
        "", "--journal", "", "Show the journal: of all, a cloud (-c), a VM (-c -n) or a user (-u); the last -b entries"
    ),
    Option("", "--cloud-put", "FILE", "Make a cloud, or replace its definition, by the JSON in FILE, or - for stdin"),
    Option("", "--cloud-patch", "FILE", "Change parts of a cloud's definition by the JSON in FILE, or - for stdin"),
    Option("", "--cloud-delete", "NAME", "Let a cloud that was made by API drain, and forget it"),
    Option("", "--until", "TIME", "With -e or -d: when it ends by itself, e.g. 90m, 1d12h or 2026-01-31T12:00:00Z"),
    Option("", "--retain", "NUM", "With -k or -o and -c: all but so many VMs; idle ones go first, then the newest"),
    Option("", "--token-create", "ROLE", "Make a token [reader, operator, admin] and print it, once", _ROLES),
    Option("", "--token-clouds", "NAMES", "Limit the new token to these clouds, separated by commas"),
    Option("", "--token-users", "NAMES", "Limit the new token to what is these users'"),
    Option("", "--token-days", "NUM", "Let the new token expire after so many days"),
    Option("", "--token-description", "TEXT", "Say what the new token is for"),
    Option("", "--token-list", "", "List the tokens, without their texts; those limited to a cloud (-c), a user (-u)"),
    Option("", "--token-revoke", "ID", "Revoke a token, by the ID that the list shows"),
    Option("", "--operations", "", "List what was asked: of a cloud (-c), a user (-u), in a --state; the last -b"),
    Option("", "--operation", "ID", "Show one operation, target by target"),
    Option("", "--state", "STATE", "Which operations to list [running, done, failed]", _STATES),
    Option("", "--undo", "ID", "Have things as they were before an operation"),
    Option("", "--partial", "", "Undo what can be undone where some of it cannot"),
    Option("-C", "--comment", "COM", "Why this is done; logged, and required where the site enforces comments"),
    Option("", "--reason", "TEXT", "The same as -C; it is kept in the journal"),
    Option("", "--dry-run", "", "Show what would be done: VMs, running jobs hit, core-hours lost; do nothing"),
    Option("", "--confirm", "COUNT", "Do it only if it hits just so many VMs, also where that needs a confirmation"),
    Option("", "--preview", "ID", "Do it only if it would still do just what that preview told"),
    Option("", "--wait", "SECONDS", "Wait so long for the outcome, 0 to 300"),
    Option("", "--idempotency-key", "KEY", "Name this request: sent again under the same key it is not done again"),
    Option("", "--json", "", "Print the answer's JSON"),
)


def chosen(given: Mapping[str, str], comment_missing: bool) -> tuple[int, Case]:
    """The case to carry out, and how many actions before it were refused for want of a comment."""
    present = invocation.present(given)
    refused = 0
    for action, cases in groupby(CASES, key=lambda case: case.action):
        if action not in present:
            continue
        if comment_missing and action in ENFORCED:
            refused += 1
            continue
        return refused, next(case for case in cases if present.issuperset(case.needs.split()))
    return refused, NOTHING


COMMON = ("reason={comment}", "dry_run={dry_run}", "confirm={confirm}", "preview={preview}")
"""What every verb takes, where its option is given."""


def _perform(config: Config, case: Case, given: Mapping[str, str], document: dict[str, Any] | None) -> Answer:
    """Ask for what a case stands for, and print the answer; `document` is the body of some."""
    client = invocation.connect("admin", config, given)
    method, path, *fields = case.request.split()
    path_segments = invocation.segments(path, given)
    fields += () if method == "GET" else COMMON
    form = dict(field.format_map(given).partition("=")[::2] for field in fields if _is_given(field, given))
    is_bare = "json" in given or "dry_run" in given
    if case.before and not is_bare:
        print(case.before.format_map({**given, "url": client.url(path_segments)}))
    verb = Ask(method, path_segments, form, document, as_json="json" in given)
    verb = replace(verb, key=given.get("idempotency_key", verb.key))
    answer = patience.ask(client, verb, _seconds(given), config.global_.verb_wait_seconds)
    for line in [answer.text] if is_bare else _printed(case, answer):
        print(line)
    invocation.hint(answer)
    return answer


def _seconds(given: Mapping[str, str]) -> int | None:
    """How long to wait for the outcome, None where that is left to the daemon. Raises BadRequest."""
    text = given.get("wait")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) <= _LONGEST_WAIT):
        raise BadRequest(f"--wait takes a number of seconds from 0 to {_LONGEST_WAIT}, not {text!r}.", parameter="wait")
    return int(text)


def _is_given(field: str, given: Mapping[str, str]) -> bool:
    return all(name is None or name in given for _, name, _, _ in Formatter().parse(field))


def _printed(case: Case, answer: Answer) -> list[str]:
    if answer.accepted:
        return [answer.text]
    if case.replies:
        good, bad = case.replies
        return [good] if answer.text == "True" else [bad] if answer.text == "False" else [bad, answer.text]
    lines = [] if case.silent and not answer.failed else [answer.text]
    return lines + [case.after] if case.after and not answer.failed else lines


def _record(log: logging.Logger, case: Case, given: Mapping[str, str], answer: Answer) -> None:
    what = adminlog.one_line(case.log.format_map(given))
    if answer.failed:
        log.error("%s Failed: %s %s", what, answer.status, adminlog.one_line(answer.text))
    elif "dry_run" in given:
        log.debug("Previewed: %s", what)
    else:
        log.log(logging.DEBUG if case.request.startswith("GET") else logging.INFO, "%s", what)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cloud_admin`; the exit status is 1 when the verb failed, 2 for a usage error."""
    given = invocation.parse(OPTIONS, sys.argv[1:] if argv is None else argv)
    return invocation.run(lambda: _administer(given))


def _administer(given: Mapping[str, str]) -> int:
    config = invocation.load_config("admin", given, invocation.main_file(given))
    with adminlog.opened(config.logging) as log:
        return _decide(config, given, log)


def _decide(config: Config, given: Mapping[str, str], log: logging.Logger) -> int:
    given = _spelt(given)
    enforced, comment = config.logging.admin_log_comments, given.get("comment", "")
    refused, case = chosen(given, comment_missing=enforced and not comment and "dry_run" not in given)
    for _ in range(refused):
        print(NO_COMMENT)
        log.debug("Attempted to perform action without required comment.")
    if case.say:
        print(case.say)
        log.debug("%s", case.say)
        return int(case is not NOTHING or refused > 0)
    if enforced and comment and case.action in ENFORCED:
        log.info("Comment: %s", adminlog.one_line(comment))
    document = definition.read(given[case.document]) if case.document else None
    if document is not None:
        given["cloud"] = definition.name(document, given.get("cloud"), given[case.document])
    answer = _perform(config, case, given, document)
    _record(log, case, given, answer)
    return int(answer.failed)


def _spelt(given: Mapping[str, str]) -> dict[str, str]:
    """The options as requests spell them: flags as `true`, and one word for why."""
    flags = {name: "true" for name in ("dry_run", "partial") if name in given}
    why = {"comment": given["reason"]} if "reason" in given and "comment" not in given else {}
    return {**given, **flags, **why}


if __name__ == "__main__":
    sys.exit(main())
