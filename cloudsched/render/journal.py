"""The journal in words: whether it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloudsched.model.journal import Checked


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


def _chain(each: Checked) -> str:
    span = f"entries {each.first} to {each.last}" if each.last >= each.first else "no entry"
    if not each.problem:
        return f"{each.chain} has {span}"
    return f"of {each.chain} {span if each.last >= each.first else 'nothing'} can be trusted, for {each.problem}"
