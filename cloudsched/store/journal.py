"""The journal: one chain of entries per writer role, each bound to the one before it by a hash (docs/journal.md).

An entry is written in the transaction of what it tells of, never changed, and forgotten only from the oldest on. The
ends row of a chain is read and written in that transaction too, so any number of admin daemons extend one chain.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from cloudsched.model.journal import Entry, EntryKind, Recorded
from cloudsched.store import tables
from cloudsched.store.connect import Writing
from cloudsched.store.prepared import Prepared
from cloudsched.store.rows import Row

_written = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_FIELDS = tuple(each.name for each in fields(Entry))
_STEP = 500


@dataclass(frozen=True, slots=True)
class Ends:
    """The oldest entry kept and the hash before it, the newest entry and its hash; `last` is 0 before the first."""

    chain: str
    first: int = 1
    before: str = ""
    last: int = 0
    hash: str = ""


_ENDS = tuple(each.name for each in fields(Ends))
_KEPT = _ENDS[1:]
"""All but the key: to set that, to the same too, is one more page to write."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """One writer role's entries; `name` is the role."""

    name: str
    entries: Table
    ends: Table

    def record(self, writing: Writing, entries: Iterable[Entry]) -> None:
        """Write entries with the rest of the transaction, in this order."""
        writing.collect(self._extend, entries)

    def read_ends(self, connection: Connection) -> Ends:
        """Where the chain begins and ends."""
        for row in _ends(self.ends).rows(connection, of=self.name):
            return Ends(*row)
        return Ends(self.name)

    def _extend(self, writing: Writing, entries: list[Entry]) -> None:
        if not entries:
            return
        ends = self.read_ends(writing.connection)
        number, previous, found = ends.last, ends.hash, []
        for entry in entries:
            number += 1
            values = {name: getattr(entry, name) for name in _FIELDS} | {"kind": entry.kind.value}
            kept, previous = _hashed({**values, "id": number, "index": writing.index, "previous": previous})
            found.append({**kept, "hash": previous})
        _adding(self.entries).run_each(writing.connection, found)
        self._keep(writing, replace(ends, last=number, hash=previous))
        writing.touch("index")

    def _keep(self, writing: Writing, ends: Ends) -> None:
        values = {name: getattr(ends, name) for name in _KEPT}
        if not _keeping(self.ends).run(writing.connection, **values, of=self.name):
            writing.connection.execute(insert(self.ends), {**values, "chain": self.name})

    def prune(self, writing: Writing, before: int) -> None:
        """Forget some of the oldest entries, those made before a time in Unix seconds."""
        table = self.entries
        oldest = select(table.c.id, table.c.at, table.c.hash).order_by(table.c.id).limit(_STEP)
        gone = None
        for row in writing.connection.execute(oldest):
            if row.at >= before:
                break
            gone = row
        if gone is not None:
            ends = self.read_ends(writing.connection)
            writing.connection.execute(delete(table).where(table.c.id <= gone.id))
            self._keep(writing, replace(ends, first=gone.id + 1, before=gone.hash))


@cache
def _adding(entries: Table) -> Prepared:
    return Prepared(insert(entries), (*_FIELDS, "id", "index", "previous", "hash"))


@cache
def _ends(ends: Table) -> Prepared:
    return Prepared(select(*(ends.c[name] for name in _ENDS)).where(ends.c.chain == bindparam("of")))


@cache
def _keeping(ends: Table) -> Prepared:
    return Prepared(update(ends).where(ends.c.chain == bindparam("of")), _KEPT)


ADMIN = Chain("admin", tables.journal, tables.journal_ends)
ENGINE = Chain("engine", tables.acts, tables.acts_ends)
CHAINS = (ADMIN, ENGINE)


def asked(connection: Connection, wishes: Sequence[int]) -> dict[int, Entry]:
    """What was asked with each wish; a wish older than its journal is told from its own record."""
    table, operations = tables.journal, tables.operations
    rows = connection.execute(select(table).where(table.c.wish.in_(wishes))).mappings()
    found = {row["wish"]: recorded(ADMIN.name, dict(row)).entry for row in rows}
    rest = [wish for wish in wishes if wish not in found]
    if rest:
        known = tables.wishes
        query = select(known, operations.c.verb, operations.c.request_id)
        joined = query.join(operations, operations.c.id == known.c.operation).where(known.c.id.in_(rest))
        for row in connection.execute(joined):
            about = {"noun": row.kind, "name": row.name, "wish": row.id, "operation": row.operation}
            found[row.id] = Entry(EntryKind.ASKED, row.verb, row.made_at, request_id=row.request_id, **about)
    return found


def canonical(values: Mapping[str, Any]) -> bytes:
    """What the hash of an entry is made of: all of it but the hash, as JSON of one spelling (docs/journal.md)."""
    return _written({name: value for name, value in values.items() if name != "hash"}).encode(errors="replace")


def digest(values: Mapping[str, Any]) -> str:
    """The hash of an entry: SHA-256 in lower-case hexadecimal digits."""
    return sha256(canonical(values)).hexdigest()


def _hashed(values: Row) -> tuple[Row, str]:
    """Values as they are kept, and their hash: a database takes no half of a surrogate pair."""
    try:
        return values, sha256(_written(values).encode()).hexdigest()
    except UnicodeEncodeError:
        kept: Row = json.loads(canonical(values))
        return kept, digest(kept)


def recorded(chain: str, row: Mapping[str, Any]) -> Recorded:
    """A row of a chain's table as a value."""
    entry = Entry(**{name: row[name] for name in _FIELDS if name != "kind"}, kind=EntryKind(row["kind"]))
    return Recorded(chain, row["id"], row["index"], row["previous"], row["hash"], entry)
