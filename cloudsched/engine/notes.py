"""Reading what the daemons have noted of tokens: an observation like any other, in the engine's own tables.

A file is emptied after its lines are committed, so a `kill -9` in between tells some refusals twice and loses none.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from cloudsched.engine import acts
from cloudsched.model.access import TokenUse
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.store import Store, token_uses

log = logging.getLogger("cloudscheduler")

_FIELDS = {
    "use": {"note", "token", "at", "address"},
    "refusal": {"note", "why", "token", "address", "at", "count"},
}

DIRECTORY = "notes"
"""Where the files are, below the state directory."""


def take(store: Store) -> None:
    """Record every daemon's notes and empty their files. Raises StateUnavailable, with the files left as they are."""
    for path in sorted((store.directory / DIRECTORY).glob("*.jsonl")):
        if path.stat().st_size:
            with path.open("r+", encoding="ascii", errors="replace") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                _record(store, list(_notes(file)), path.stem)
                file.truncate(0)


def _notes(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict) and found.keys() == _FIELDS.get(str(found.get("note"))):
            yield found
        else:
            log.warning("A line of a daemon's notes cannot be read and is left out.")


def _record(store: Store, notes: list[dict[str, Any]], daemon: str) -> None:
    uses = [TokenUse(each["token"], each["at"], each["address"]) for each in notes if each["note"] == "use"]
    refusals = [_entry(each, daemon) for each in notes if each["note"] == "refusal"]
    with store.writing() as writing:
        token_uses.record_uses(writing, uses)
        acts.record(writing, *refusals)


def _entry(note: dict[str, Any], daemon: str) -> Entry:
    return Entry(
        EntryKind.ACT,
        "token_refused",
        note["at"],
        address=note["address"],
        reason=note["why"],
        noun="token",
        name=note["token"],
        detail={"count": note["count"], "daemon": daemon},
    )
