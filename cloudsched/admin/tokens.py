"""`/tokens` and `/tokens/ID`: who may ask the daemons for what (docs/security.md)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from cloudsched.admin.answers import Answers
from cloudsched.errors import BadRequest, NotFound, PictureChanged
from cloudsched.model.access import Role, Token
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.render import tokens as texts
from cloudsched.store import token_uses, tokens
from cloudsched.store.wishes import By
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply
from cloudsched.web.params import Parameter

MOST_DAYS = 36500
_DAY_SECONDS = 86400
_LONGEST = 200


def names(value: str) -> tuple[str, ...]:
    """Names separated by commas, or a JSON list of them, which may hold any character."""
    found = _json_list(value) if value.lstrip().startswith("[") else [each.strip() for each in value.split(",")]
    if not found or any(not each.strip() or "\0" in each for each in found):
        raise ValueError("must be names separated by commas, or a JSON list of names")
    return tuple(dict.fromkeys(found))


def _json_list(value: str) -> list[str]:
    """The list, empty for what is no list of texts."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else []


def description(value: str) -> str:
    """One line of at most 200 characters."""
    if len(value) > _LONGEST or not value.isprintable():
        raise ValueError(f"must be one line of at most {_LONGEST} printable characters")
    return value


CREATE = (
    Parameter("role", params.word(*Role), required=True),
    Parameter("clouds", names),
    Parameter("users", names),
    Parameter("days", params.integer(1, MOST_DAYS)),
    Parameter("description", description),
)


FILTERS = (
    Parameter("role", params.word(*Role)),
    Parameter("state", params.word("active", "expired", "revoked", "unusable")),
    Parameter("cloud", params.lowered),
    Parameter("user"),
)


def _fits(token: Token, given: Mapping[str, Any], now: int) -> bool:
    """Whether a token is all that is wanted; `cloud` and `user` are names that limit it."""
    shown = {"role": (token.role,), "state": (token.state(now),), "cloud": token.clouds, "user": token.users}
    return all(value in shown[name] for name, value in given.items())


class Tokens:
    """All tokens."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_get(self, req: Request, resp: Response) -> None:
        """GET every token that is not forgotten yet and fits, never its text: 200."""
        given, now = params.read(req, *FILTERS), int(time.time())
        with self._answers.store.reading() as connection:
            known, uses = tokens.all_tokens(connection), token_uses.all_uses(connection)
        found = [each for each in known if _fits(each, given, now)]
        documents = [texts.document(each, uses.get(each.id), now) for each in found]
        reply(req, resp, texts.table(found, uses, now), {"tokens": documents})

    def on_post(self, req: Request, resp: Response) -> None:
        """POST `role`, and `clouds`, `users`, `days`, `description` as needed: 201 with the token's text, once."""
        asked = self._answers.read(req, *CREATE)
        _refuse_tags(asked.by)
        now = asked.by.at
        grant = _grant(asked.given, now)
        try:
            text, made = tokens.make(self._answers.store, grant, _entry(asked.by, "token_create"), asked.by.terms)
        except NotFound as ex:
            raise BadRequest(
                f"The parameter 'clouds' names {ex.name!r}: there is no such cloud.", parameter="clouds"
            ) from ex
        resp.status = HTTPStatus.CREATED
        resp.set_header("Location", f"/tokens/{made.id}")
        resp.set_header("Cache-Control", "no-store")
        reply(req, resp, text, {"token": text, **texts.document(made, None, now)})


def _refuse_tags(by: By) -> None:
    """Raise PictureChanged for If-Match with a tag: token pages have none, as last uses are outside the index."""
    if by.seen is not None:
        raise PictureChanged("Pages of tokens have no ETag that If-Match could name.")


def _entry(by: By, verb: str) -> Entry:
    """What the journal says of a verb on a token: who asked, from where, in which request, why."""
    return Entry(EntryKind.ASKED, verb, by.at, by.actor, by.address, by.request_id, by.reason)


def _grant(given: Mapping[str, Any], now: int) -> tokens.Grant:
    role, limits = Role(given["role"]), [each for each in ("clouds", "users") if each in given]
    if role is Role.ADMIN and limits:
        problem = f"The parameter {limits[0]!r} cannot limit the role admin, which concerns everything."
        raise BadRequest(problem, parameter=limits[0])
    return tokens.Grant(
        role,
        clouds=given.get("clouds", ()),
        users=given.get("users", ()),
        description=given.get("description", ""),
        expires_at=now + given["days"] * _DAY_SECONDS if "days" in given else None,
    )


class OneToken:
    """One token, by the public part of its text."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def on_get(self, req: Request, resp: Response, token: str) -> None:
        """GET a token: 200, or 404."""
        params.read(req)
        now = int(time.time())
        with self._answers.store.reading() as connection:
            found, uses = tokens.find(connection, token), token_uses.all_uses(connection)
        reply(req, resp, texts.table([found], uses, now), texts.document(found, uses.get(token), now))

    def on_delete(self, req: Request, resp: Response, token: str) -> None:
        """DELETE: revoke it, on both daemons from the answer on: 200, also when it was revoked before, or 404."""
        by = self._answers.read(req).by
        _refuse_tags(by)
        now = by.at
        found = tokens.revoke(self._answers.store, token, _entry(by, "token_revoke"), by.terms)
        with self._answers.store.reading() as connection:
            use = token_uses.all_uses(connection).get(token)
        reply(req, resp, f"Token {token} revoked.", texts.document(found, use, now))
