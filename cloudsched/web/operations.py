"""`/operations/ID` on both daemons: a verb as it was asked and what has become of it."""

from __future__ import annotations

import re
from typing import Any

from cloudsched.errors import NotFound
from cloudsched.model.wishes import Operation, Target, Wish
from cloudsched.render.cells import cell
from cloudsched.store import Store, operations
from cloudsched.web import Request, Response, params
from cloudsched.web.negotiate import reply, write_json

_ID = re.compile(r"[0-9]{1,18}", re.ASCII)


class Operations:
    """The resource; any number of daemons may serve it, it only reads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def on_get(self, req: Request, resp: Response, operation: str) -> None:
        """GET one operation, by its number or as NUMBER.json: 200, or 404."""
        params.read(req)
        number = operation.removesuffix(".json")
        if not _ID.fullmatch(number):
            raise NotFound("operation", operation)
        found = operations.read(self._store, int(number))
        if number != operation:
            write_json(resp, operation_document(found))
        else:
            reply(req, resp, operation_text(found), operation_document(found))


def operation_document(operation: Operation) -> dict[str, Any]:
    """The JSON form of an operation: id, verb, state and targets, each with its own state and detail."""
    return {
        "id": operation.id,
        "verb": operation.verb,
        "state": operation.state,
        "targets": [_target_document(target) for target in operation.targets],
    }


def operation_text(operation: Operation) -> str:
    """The text form: one line for the operation and one per target."""
    lines = [f"Operation {operation.id}: {operation.verb}, {operation.state}"]
    lines += [_target_line(target) for target in operation.targets]
    return "".join(f"{line}\n" for line in lines)


def target_name(wish: Wish) -> str:
    """A target as operators know it: a VM by its cloud's id, everything else by its name."""
    return str(wish.value.get("id") or wish.name) if wish.kind == "vm" and isinstance(wish.value, dict) else wish.name


def _target_document(target: Target) -> dict[str, Any]:
    wish, outcome = target.wish, target.outcome
    return {
        "kind": wish.kind,
        "name": target_name(wish),
        "aspect": wish.aspect.value,
        "state": outcome.state.value if outcome else "running",
        "detail": dict(outcome.detail) if outcome else {},
    }


def _target_line(target: Target) -> str:
    document = _target_document(target)
    error = document["detail"].get("error", "")
    subject = " ".join(filter(None, (document["kind"], document["name"])))
    line = f"{subject}: {document['aspect']}, {document['state']}"
    return cell(f"{line}: {error}" if error else line)
