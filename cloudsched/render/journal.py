"""The journal in words and as JSON: its entries, and whether it is whole."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from cloudsched.model.journal import Checked, EntryKind, Recorded
from cloudsched.render.cells import cell


def entry_document(recorded: Recorded) -> dict[str, Any]:
    """An entry as JSON: all that its hash is made of, the hash, and the chain's name (docs/journal.md)."""
    own = {name: getattr(recorded, name) for name in ("chain", "id", "index", "previous", "hash")}
    return own | asdict(recorded.entry)


def page_document(entries: Sequence[Recorded], total: int, index: int, token: str) -> dict[str, Any]:
    """A page of entries as JSON, of so many in all; `index` is the journal's newest, `token` asks for the next page."""
    found = [entry_document(each) for each in entries]
    return {"entries": found, "total": total, "index": index, "next_page_token": token or None}


def entry_line(recorded: Recorded) -> str:
    """An entry as one line: when, its number, what was done by whom to what, what changed, and why."""
    entry = recorded.entry
    who = entry.actor + (f"@{entry.address}" if entry.address else "")
    parts = [when(entry.at), f"{recorded.chain}:{recorded.id}", who, *_what(recorded)]
    return cell(f"{' '.join(parts)}{_told(recorded)}")


def lines(entries: Iterable[Recorded]) -> str:
    """Entries as lines."""
    return "".join(f"{entry_line(each)}\n" for each in entries)


def target(recorded: Recorded) -> str:
    """What an entry is about, as operators know it."""
    entry = recorded.entry
    return entry.label or entry.name


def told(recorded: Recorded) -> str:
    """What changed, how it ended, and why, in a few words."""
    entry = recorded.entry
    changes = [f"{name}: {_value(entry.before.get(name))} -> {_value(value)}" for name, value in entry.after.items()]
    words = [str(entry.detail[name]) for name in ("state", "error") if entry.detail.get(name)]
    return "; ".join(filter(None, (*changes, *words, entry.reason)))


def when(at: float) -> str:
    """A time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def verified(chains: Sequence[Checked]) -> str:
    """One sentence: what of the journal is whole, and where the first break of each chain is."""
    whole = not any(each.problem for each in chains)
    return f"The journal is {'whole' if whole else 'broken'}: {'; '.join(map(_chain, chains))}."


def ends(chains: Sequence[Checked]) -> list[str]:
    """The ends of the chains that are whole, each as it can be noted and given to a later check."""
    return [f"{each.chain}:{each.last}:{each.hash}" for each in chains if each.hash and not each.problem]


def verified_document(chains: Sequence[Checked]) -> dict[str, Any]:
    """The same as JSON."""
    names = ("chain", "first", "last", "hash", "problem")
    found = [{name: getattr(each, name) for name in names} for each in chains]
    return {"whole": not any(each.problem for each in chains), "chains": found}


def _what(recorded: Recorded) -> list[str]:
    entry = recorded.entry
    about = [entry.noun, target(recorded)] if entry.name else [entry.noun]
    place = [f"on {entry.cloud}"] if entry.noun == "vm" and entry.cloud else []
    return [*(["ended"] if entry.kind is EntryKind.OUTCOME else []), entry.verb, *about, *place]


def _told(recorded: Recorded) -> str:
    words = told(recorded)
    return f": {words}" if words else ""


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _chain(each: Checked) -> str:
    span = f"entries {each.first} to {each.last}" if each.last >= each.first else "no entry"
    if not each.problem:
        return f"{each.chain} has {span}"
    return f"of {each.chain} {span if each.last >= each.first else 'nothing'} can be trusted, for {each.problem}"
