"""A page of a listing: its rows, or some of their fields, with how many there are on all pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudsched.render.cells import cell
from cloudsched.render.documents import encode


@dataclass(frozen=True, slots=True)
class Place:
    """Of how many rows in all a page is, at which state index; `token` asks for the next page, empty on the last."""

    total: int
    index: int
    token: str = ""


def document(key: str, rows: Iterable[str], fields: Sequence[str], place: Place) -> str:
    """A page as JSON, of encoded documents, or of `fields` of them."""
    shown = map(encode, selected(rows, fields)) if fields else rows
    about = {"total": place.total, "index": place.index, "next_page_token": place.token or None}
    return f'{{"{key}": [{", ".join(shown)}], {encode(about)[1:]}'


def columns(rows: Iterable[str], fields: Sequence[str]) -> str:
    """Fields of encoded documents as text: a heading, then a line for each, in columns that are wide enough."""
    lines = [[field.upper() for field in fields]]
    lines += [[_word(row.get(field)) for field in fields] for row in selected(rows, fields)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        " ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def selected(rows: Iterable[str], fields: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    """These fields of encoded documents; a document that lacks one stays without it."""
    for row in rows:
        found = json.loads(row)
        yield {field: found[field] for field in fields if field in found}


def _word(value: Any) -> str:
    """A value in one column: `-` where there is none, so that no column is ever empty."""
    text = value if isinstance(value, str) else "" if value is None else encode(value)
    return cell(text) or "-"
