"""Bearer tokens: made and revoked by the admin daemon, read by both; the state keeps a digest of each, never its text.

The text is 256 random bits, so nobody can try them all and a plain SHA-256 is enough: slow password hashes protect
what people choose, and would here only let a flood of wrong tokens cost more than it does.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, replace

from sqlalchemy import Connection, RowMapping, delete, select, update

from cloudsched.errors import NotFound
from cloudsched.model.access import Role, Token
from cloudsched.model.journal import Entry
from cloudsched.model.previews import Foreseen, Preview
from cloudsched.store import clouds, journal, keys, rows, tables
from cloudsched.store.connect import Store, Writing, state_row
from cloudsched.store.rows import Row
from cloudsched.store.wishes import Terms, hold_to

_TEXT = re.compile(r"cs_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)


def digest(text: str) -> str:
    """What the state keeps of a token's text: SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def id_of(text: str) -> str:
    """The public part of a token's text; empty for what is no token of ours."""
    found = _TEXT.fullmatch(text)
    return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a new token is to be: its role, its limits, what it is for, and when it ends (Unix seconds)."""

    role: Role
    clouds: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    description: str = ""
    expires_at: int | None = None


def make(store: Store, grant: Grant, asked: Entry, terms: Terms | None = None) -> tuple[str, Token]:
    """Make a token; returns its text, which is kept nowhere, and the token as kept.

    `asked` says for the journal who asked, when and from where, `terms` on which terms. Raises NotFound for a cloud
    that is not there, Previewed, Unconfirmed, and Conflict for a key that is known: the text cannot be told again.
    """
    token_id = secrets.token_hex(6)
    text = f"cs_{token_id}_{secrets.token_urlsafe(32)}"
    with store.writing() as writing:
        names = tuple(clouds.find(writing.connection, name).name for name in grant.clouds)
        token = Token(
            id=token_id,
            digest=digest(text),
            role=grant.role,
            clouds=names,
            users=grant.users,
            description=grant.description,
            created_by=asked.actor,
            created_at=asked.at,
            expires_at=grant.expires_at,
        )
        granted: Row = {"role": token.role.value, "clouds": list(token.clouds), "users": list(token.users)}
        granted |= {"expires_at": token.expires_at, "description": token.description}
        # When a preview is made is no part of what it tells.
        lasts = {"days": None if token.expires_at is None else (token.expires_at - asked.at) // 86400}
        told = {name: value for name, value in granted.items() if name != "expires_at"} | lasts
        _settle(writing, terms, asked, Foreseen("token", "", "", "create", dict.fromkeys(told), told), token_id)
        rows.save(writing, tables.tokens, [rows.to_row(token) | {"role": token.role.value}], topic="tokens")
        journal.ADMIN.record(writing, [replace(asked, noun="token", name=token.id, after=granted)])
    return text, token


def revoke(store: Store, token_id: str, asked: Entry, terms: Terms | None = None) -> Token:
    """End a token for good; one that was revoked before stays as it is. Raises NotFound, and what `make` raises."""
    with store.writing() as writing:
        token = find(writing.connection, token_id)
        ends = Foreseen("token", token_id, "", "revoke", {"revoked": False}, {"revoked": True})
        _settle(writing, terms, asked, ends if token.revoked_at is None else None)
        if token.revoked_at is not None:
            return token
        values = {"revoked_at": asked.at, "revision": writing.index}
        writing.connection.execute(update(tables.tokens).where(tables.tokens.c.id == token_id).values(values))
        writing.touch("tokens")
        ended = {"revoked_at": asked.at}
        journal.ADMIN.record(
            writing, [replace(asked, noun="token", name=token_id, before={"revoked_at": None}, after=ended)]
        )
        return replace(token, revoked_at=asked.at)


def _settle(writing: Writing, terms: Terms | None, asked: Entry, change: Foreseen | None, made: str = "") -> None:
    """Hold a verb to its terms, and keep its key; `made` is the token that it makes."""
    if terms is None:
        return
    targets = (change,) if change else ()
    if terms.key is not None and not terms.dry_run:
        keys.find(writing.connection, terms.key, asked.at)
    if terms.look_ahead:
        hold_to(terms, Preview(asked.verb, state_row(writing.connection).index, targets))
    if terms.key is not None:
        keys.record(writing, terms.key, None, asked.at, made)


def find(connection: Connection, token_id: str) -> Token:
    """One token by its id. Raises NotFound."""
    found = connection.execute(select(tables.tokens).where(tables.tokens.c.id == token_id)).mappings().first()
    if found is None:
        raise NotFound("token", token_id)
    return _token(found)


def all_tokens(connection: Connection) -> list[Token]:
    """Every token, oldest first, those too that have ended and are not forgotten yet."""
    table = tables.tokens
    return [
        _token(row) for row in connection.execute(select(table).order_by(table.c.created_at, table.c.id)).mappings()
    ]


def forget_old(writing: Writing, now: int, days: int) -> None:
    """Admin: forget the tokens that were revoked or expired more than `days` ago."""
    table, before = tables.tokens, now - days * 86400
    ended = (table.c.revoked_at < before) | (table.c.expires_at < before)
    if writing.connection.execute(delete(table).where(ended)).rowcount:
        writing.touch("tokens")


def _token(row: RowMapping) -> Token:
    found = rows.from_row(Token, row)
    return replace(found, role=Role(found.role))
