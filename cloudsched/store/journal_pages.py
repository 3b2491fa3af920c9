"""Reading the journal: both chains merged by state index, newest first, filtered, a page at a time.

Nothing of it is ever held in memory beyond a page: each page is a few lookups by index in the database.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from cloudsched.errors import NotFound
from cloudsched.model.journal import EntryKind, Recorded
from cloudsched.store import journal, pages
from cloudsched.store.connect import Store
from cloudsched.store.journal import CHAINS, Chain
from cloudsched.store.journal_subjects import Subject, everything
from cloudsched.store.pages import Page, Position

_LARGEST = (pages.LARGEST, len(CHAINS) - 1, pages.LARGEST)
"""An entry's place in the merged order: its index, its chain's rank, its number."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted; None admits all. `name` is a name or a label; times are Unix seconds, inclusive."""

    kind: EntryKind | None = None
    verb: str | None = None
    actor: str | None = None
    noun: str | None = None
    name: str | None = None
    cloud: str | None = None
    user: str | None = None
    request_id: str | None = None
    operation: int | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page is asked for: `wanted` narrowed to a `subject`, at most `limit` entries, after the page of `token`.

    `known` are the versions of it that the client has already.
    """

    wanted: Filter = field(default_factory=Filter)
    subject: Subject = everything
    limit: int = 100
    token: str = ""
    known: tuple[str, ...] = ()


def read(store: Store, asked: Asked) -> tuple[str, Page[Recorded] | None]:
    """The journal's version, another one whenever an entry has come or been forgotten, and the page asked for.

    No page for who has this version already. Raises NotFound for an unknown subject, BadRequest, StateUnavailable.
    """
    with store.reading() as connection:
        ends = [chain.read_ends(connection) for chain in CHAINS]
        version = "-".join(f"{each.first}.{each.last}" for each in ends)
        if version in asked.known or "*" in asked.known:
            return version, None
        wanted = replace(asked.wanted, **asked.subject(connection))
        return version, page(connection, wanted, asked.limit, asked.token)


def one(store: Store, chain: Chain, number: int) -> tuple[Recorded, Recorded | None]:
    """One entry by its chain and number, and how it ended if it was asked and has. Raises NotFound."""
    with store.reading() as connection:
        found = find(connection, chain, number)
        ended = found.entry.wish is not None and found.entry.kind is EntryKind.ASKED
        return found, outcome(connection, found.entry.wish) if ended else None


def page(connection: Connection, wanted: Filter, limit: int, token: str = "") -> Page[Recorded]:
    """A page of the entries that fit; `token` is the one of the page before. Raises BadRequest for another token."""
    begun = pages.position(token, *_LARGEST) if token else _first(connection, wanted)
    return pages.page(_merged(connection, wanted, begun, limit + 1), limit, begun, _order)


def _first(connection: Connection, wanted: Filter) -> Position:
    newest = (connection.execute(select(func.max(chain.entries.c.index))).scalar() for chain in CHAINS)
    counts = (select(func.count()).select_from(each.entries).where(*_conditions(each, wanted)) for each in CHAINS)
    total = sum(int(connection.execute(count).scalar_one()) for count in counts)
    return Position(max(each or 0 for each in newest), total)


def find(connection: Connection, chain: Chain, number: int) -> Recorded:
    """One entry by its chain and number. Raises NotFound."""
    table = chain.entries
    row = connection.execute(select(table).where(table.c.id == number)).mappings().first()
    if row is None:
        raise NotFound("journal entry", f"{chain.name}:{number}")
    return journal.recorded(chain.name, dict(row))


def outcome(connection: Connection, wish: int | None) -> Recorded | None:
    """The entry of how a wish ended, if it has."""
    table = journal.ENGINE.entries
    same = select(table).where(table.c.wish == wish, table.c.kind == EntryKind.OUTCOME)
    row = connection.execute(same).mappings().first()
    return None if row is None else journal.recorded(journal.ENGINE.name, dict(row))


def _merged(connection: Connection, wanted: Filter, begun: Position, limit: int) -> list[Recorded]:
    streams = []
    for rank, chain in enumerate(CHAINS):
        table = chain.entries
        conditions = [table.c.index <= begun.newest, *_conditions(chain, wanted)]
        if begun.last:
            conditions.append(_before(chain, rank, begun.last))
        query = select(table).where(*conditions).order_by(table.c.id.desc()).limit(limit)
        streams.append([journal.recorded(chain.name, dict(row)) for row in connection.execute(query).mappings()])
    return list(itertools.islice(heapq.merge(*streams, key=_order, reverse=True), limit))


def _order(entry: Recorded) -> tuple[int, int, int]:
    return entry.index, _rank(entry), entry.id


def _rank(entry: Recorded) -> int:
    return next(rank for rank, chain in enumerate(CHAINS) if chain.name == entry.chain)


def _before(chain: Chain, rank: int, last: tuple[int, ...]) -> ColumnElement[bool]:
    """What comes after an entry in the merged order, which goes backwards."""
    last_index, last_rank, last_id = last
    if rank == last_rank:
        return chain.entries.c.id < last_id
    index = chain.entries.c.index
    return index <= last_index if rank < last_rank else index < last_index


def _conditions(chain: Chain, wanted: Filter) -> list[ColumnElement[bool]]:
    table = chain.entries
    special: Mapping[str, Any] = {
        "name": or_(table.c.name == wanted.name, table.c.label == wanted.name),
        "since": table.c.at >= (wanted.since or 0),
        "until": table.c.at <= (wanted.until or 0),
    }
    return [special[name] if name in special else table.c[name] == value for name, value in pages.given(wanted).items()]
