"""Whose token is this? The tokens of the state and the first one, checked without a read of the database.

A request costs one look at the state row's `tokens` column (10 microseconds on SQLite); the table is read again only
when that has moved, so a token that was revoked lets nobody in from the commit on, on both daemons.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloudsched.model.access import Caller, Role, Token
from cloudsched.store import Store, state_row, tokens
from cloudsched.store.watch import Watch

FIRST = "admin"
"""The name of whoever uses the first token."""

_SENTENCES = {
    "wrong": "The token is wrong.",
    "revoked": "The token was revoked.",
    "expired": "The token has expired.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a token lets nobody in: one word for the record, a sentence for the client; `token` is its public part.

    That a token was revoked or expired is told only to who knows its text.
    """

    word: str
    token: str = ""

    @property
    def sentence(self) -> str:
        """The reason for a person."""
        return _SENTENCES[self.word]


class Keyring:
    """Knows the tokens; one object per daemon, for any thread."""

    def __init__(self, store: Store, first: str = "", now: Callable[[], float] = time.time) -> None:
        """`first` is the text of the token in the file."""
        self._store, self._now = store, now
        self._first = tokens.digest(first) if first else ""
        self._watch = Watch(store)
        self._known: tuple[int, Mapping[str, Token]] = (-1, {})

    def caller(self, text: str) -> Caller | Refusal:
        """Who comes with this text. Raises StateUnavailable when it cannot be known now."""
        digest = tokens.digest(text)
        # Always the same comparison: how long it takes tells nothing about the token.
        if hmac.compare_digest(digest, self._first):
            return Caller(FIRST, Role.ADMIN)
        token_id = tokens.id_of(text)
        token = self._current().get(token_id) if token_id else None
        if token is None or not hmac.compare_digest(digest, token.digest or ""):
            return Refusal("wrong", token_id)
        state = token.state(self._now())
        if state != "active":
            return Refusal(state, token_id)
        return Caller(token.id, token.role, token.clouds, token.users)

    def _current(self) -> Mapping[str, Token]:
        index, known = self._known
        if self._watch.tokens() != index:
            with self._store.reading() as connection:
                known = {each.id: each for each in tokens.all_tokens(connection)}
                self._known = state_row(connection).tokens, known
        return known
