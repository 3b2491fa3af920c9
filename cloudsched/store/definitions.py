"""Clouds made by API: they live in lasting wishes alone, which the engine makes clouds of (docs/decisions/016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select, update

from cloudsched.config.definitions import Draft
from cloudsched.model.wishes import Aspect, OutcomeState, Wish
from cloudsched.store import operations, tables
from cloudsched.store.connect import Writing


@dataclass(frozen=True, slots=True)
class Definition:
    """One cloud made by API, and the `wish` that defines it; `leaving` is the wish that it be gone, once there is one.

    Its `draft` lacks the secrets when a dump has left them out: then `whole` is false.
    """

    name: str
    draft: Draft
    wish: Wish
    whole: bool = True
    leaving: Wish | None = None
    warnings: Sequence[Mapping[str, str]] = field(default=())


def value_of(draft: Draft) -> dict[str, Any]:
    """A definition as the value of its wish."""
    warnings = [each.document for each in draft.warnings]
    given = {"options": draft.options, "secrets": draft.secrets}
    return {**given, "enabled": draft.enabled, "warnings": warnings}


def all_definitions(connection: Connection) -> dict[str, Definition]:
    """Every cloud made by API that is not gone yet, by name, the oldest first."""
    wishes = {(each.name, each.aspect): each for each in operations.lasting(connection) if each.kind == "cloud"}
    gone = _gone(connection)
    return {
        name: _definition(wish, wishes.get((name, Aspect.DELETE)))
        for (name, aspect), wish in wishes.items()
        if aspect is Aspect.DEFINE and name not in gone
    }


def find(connection: Connection, name: str) -> Definition | None:
    """The cloud of that name, in lower case, if it was made by API."""
    return all_definitions(connection).get(name)


def forget_secrets(writing: Writing) -> None:
    """Admin: take the secrets out of definitions that another has replaced and of clouds that are gone."""
    wishes = tables.wishes
    gone = _gone(writing.connection)
    query = select(wishes.c.id, wishes.c.name, wishes.c.value, wishes.c.superseded_by)
    for row in writing.connection.execute(query.where(wishes.c.aspect == Aspect.DEFINE.value)).all():
        is_over = row.superseded_by is not None or gone.get(row.name, 0) > row.id
        if row.value["secrets"] and is_over:
            bare = update(wishes).where(wishes.c.id == row.id).values(value={**row.value, "secrets": None})
            writing.connection.execute(bare)
            writing.touch("wishes")


def supersede(writing: Writing, name: str, aspects: Sequence[Aspect], wish: int) -> None:
    """Let a wish replace those before it for other aspects of the same cloud."""
    table = tables.wishes
    same = (table.c.kind == "cloud", table.c.name == name, table.c.id < wish, table.c.superseded_by.is_(None))
    statement = update(table).where(*same, table.c.aspect.in_([each.value for each in aspects]))
    writing.connection.execute(statement.values(superseded_by=wish))


def _gone(connection: Connection) -> dict[str, int]:
    """The clouds that have been deleted to the end and not been made again, with the wish for that."""
    wishes, outcomes = tables.wishes, tables.outcomes
    joined = select(wishes.c.name, wishes.c.id).join(outcomes, outcomes.c.wish == wishes.c.id)
    done = joined.where(wishes.c.aspect == Aspect.DELETE.value, outcomes.c.state == OutcomeState.DONE.value)
    return {row.name: row.id for row in connection.execute(done.where(wishes.c.superseded_by.is_(None)))}


def _definition(wish: Wish, leaving: Wish | None) -> Definition:
    value = wish.value
    given = frozenset() if value["enabled"] is None else frozenset({"enabled"})
    draft = Draft(value["options"], value["secrets"] or {}, given)
    return Definition(wish.name, draft, wish, value["secrets"] is not None, leaving, value["warnings"])
