"""When each token was last used: the engine's, from the daemons' notes; outside the index, as heartbeats are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, exists, insert, select

from cloudsched.model.access import TokenUse
from cloudsched.store import rows, tables
from cloudsched.store.connect import Writing


def all_uses(connection: Connection) -> dict[str, TokenUse]:
    """The last use of each token that was ever used, by its id."""
    found = connection.execute(select(tables.token_uses)).mappings()
    return {row["token"]: rows.from_row(TokenUse, row) for row in found}


def record_uses(writing: Writing, uses: Sequence[TokenUse]) -> None:
    """Record uses where they are later than what is known; forget those of tokens that are no more."""
    if not uses:
        return
    table, known = tables.token_uses, all_uses(writing.connection)
    newest: dict[str, TokenUse] = {}
    for each in sorted(uses, key=lambda use: use.used_at):
        if each.token not in known or known[each.token].used_at < each.used_at:
            newest[each.token] = each
    if newest:
        writing.connection.execute(delete(table).where(table.c.token.in_(sorted(newest))))
        writing.connection.execute(insert(table), [asdict(each) for each in newest.values()])
    orphaned = ~exists().where(tables.tokens.c.id == table.c.token)
    writing.connection.execute(delete(table).where(orphaned))
