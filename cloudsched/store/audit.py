"""Whether the journal is still what was written: each chain followed from its oldest entry to its end."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, RowMapping, select

from cloudsched.model.journal import Checked, Noted
from cloudsched.store import journal
from cloudsched.store.connect import Store
from cloudsched.store.journal import Chain, Ends

_CHUNK = 1000


def verify(store: Store, noted: Mapping[str, Noted]) -> list[Checked]:
    """Follow every chain in one read transaction; `noted` are ends by the chain's name. Raises StateUnavailable."""
    with store.reading() as connection:
        return [_verify(connection, chain, noted.get(chain.name)) for chain in journal.CHAINS]


def _verify(connection: Connection, chain: Chain, noted: Noted | None) -> Checked:
    ends = chain.read_ends(connection)
    number, previous = ends.first - 1, ends.before
    table = chain.entries
    query = select(table).order_by(table.c.id).execution_options(yield_per=_CHUNK)
    with connection.execute(query) as rows:
        for row in rows.mappings():
            problem = _entry_problem(row, number, previous, noted)
            if problem:
                return Checked(chain.name, ends.first, number, previous, problem)
            number, previous = row["id"], row["hash"]
    return Checked(chain.name, ends.first, number, previous, _end_problem(ends, number, previous, noted))


def _entry_problem(row: RowMapping, number: int, previous: str, noted: Noted | None) -> str:
    """What is wrong with an entry that comes after the entry `number`, whose hash is `previous`; empty for nothing."""
    if row["id"] != number + 1:
        return f"entry {number + 1} is missing"
    if row["previous"] != previous:
        return f"entry {row['id']} does not follow the one before it"
    if row["hash"] != journal.digest(dict(row)):
        return f"entry {row['id']} is not what was written"
    if noted is not None and noted.id == row["id"] and noted.hash != row["hash"]:
        return f"entry {row['id']} is another one than the one noted"
    return ""


def _end_problem(ends: Ends, number: int, previous: str, noted: Noted | None) -> str:
    if number < ends.last:
        return f"entries {number + 1} to {ends.last} are missing"
    if (number, previous) != (ends.last, ends.hash):
        return f"entry {number} came after the end that was recorded, which is entry {ends.last}"
    if noted is None:
        return ""
    if noted.id > number:
        return f"entry {noted.id}, which was noted, is missing"
    if noted.id == ends.first - 1 and noted.hash != ends.before:
        return f"entry {noted.id}, forgotten since, was another one than the one noted"
    return ""
