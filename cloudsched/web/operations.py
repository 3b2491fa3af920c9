"""`/operations` and `/operations/ID` on both daemons: verbs as they were asked and what has become of them."""

from __future__ import annotations

import re
from typing import Any

from cloudsched.errors import NotFound
from cloudsched.model.wishes import Operation, Target, Wish
from cloudsched.render.cells import cell
from cloudsched.render.journal import when
from cloudsched.store import Store, operation_pages, operations
from cloudsched.store.operation_pages import STATES, Asked, Filter
from cloudsched.store.pages import Page
from cloudsched.web import Request, Response, params
from cloudsched.web.journal import PAGING, next_page
from cloudsched.web.negotiate import is_known, reply_tagged, write_json
from cloudsched.web.params import Parameter
from cloudsched.web.times import moment

_ID = re.compile(r"[0-9]{1,18}", re.ASCII)

FILTERS = (
    Parameter("state", params.word(*STATES)),
    Parameter("verb"),
    Parameter("actor"),
    Parameter("noun"),
    Parameter("name"),
    Parameter("cloud", params.lowered),
    Parameter("user"),
    Parameter("request_id"),
    Parameter("since", moment),
    Parameter("until", moment),
)


def routes(store: Store) -> dict[str, object]:
    """The operations, and each of them."""
    listing = Operations(store)
    return {"/operations": listing, "/operations.json": listing, "/operations/{operation}": OneOperation(store)}


class Operations:
    """The resource; any number of daemons may serve it, it only reads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def on_get(self, req: Request, resp: Response) -> None:
        """GET a page of operations, newest first: 200, or 304."""
        given = params.read(req, *FILTERS, *PAGING)
        limit, token = given.pop("limit", 100), given.pop("page_token", "")
        revision = _revision(self._store)
        page = operation_pages.read(self._store, Asked(Filter(**given), limit, token))
        if page.token:
            resp.append_link(next_page(req, page.token), "next")
        if not (req.uri_template or "").endswith(".json"):
            reply_tagged(req, resp, revision, "".join(map(operation_line, page.rows)), page_document(page))
        elif not is_known(req, resp, revision):
            write_json(resp, page_document(page))


class OneOperation:
    """The resource of one of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def on_get(self, req: Request, resp: Response, operation: str) -> None:
        """GET one operation, by its number or as NUMBER.json: 200, 304, or 404."""
        params.read(req)
        name, revision = operation.removesuffix(".json"), _revision(self._store)
        found = operations.read(self._store, number(name))
        if name == operation:
            reply_tagged(req, resp, revision, operation_text(found), operation_document(found))
        elif not is_known(req, resp, revision):
            write_json(resp, operation_document(found))


def _revision(store: Store) -> int:
    """When operations last changed; read before they are, for a tag is never newer than what it is given with."""
    return store.state().verbs


def number(operation: str) -> int:
    """The number that an operation is named by. Raises NotFound for what names none."""
    if not _ID.fullmatch(operation):
        raise NotFound("operation", operation)
    return int(operation)


def page_document(page: Page[Operation]) -> dict[str, Any]:
    """The JSON form of a page of operations."""
    found = [operation_document(each) for each in page.rows]
    return {"operations": found, "total": page.total, "next_page_token": page.token or None}


def operation_line(operation: Operation) -> str:
    """An operation as one line of a list: when, its number, who asked for what, how far it is, and why."""
    ended = sum(each.outcome is not None for each in operation.targets)
    names = [" ".join(filter(None, (each.wish.kind, target_name(each.wish)))) for each in operation.targets]
    about = f" {names[0]}" if len(names) == 1 else f" {len(names)} targets"
    state = f"{operation.state} {ended}/{len(names)}" if operation.state == "running" else operation.state
    why = f"; {operation.reason}" if operation.reason else ""
    line = f"{when(operation.made_at)} {operation.id} {operation.actor} {operation.verb}{about}: {state}{why}"
    return f"{cell(line)}\n"


def operation_document(operation: Operation) -> dict[str, Any]:
    """The JSON form of an operation: what was asked by whom, its state and targets, each with its own state."""
    return {
        "id": operation.id,
        "verb": operation.verb,
        "state": operation.state,
        "actor": operation.actor,
        "made_at": operation.made_at,
        "reason": operation.reason,
        "request_id": operation.request_id,
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
        "settled_at": outcome.settled_at if outcome else None,
        "detail": dict(outcome.detail) if outcome else {},
    }


def _target_line(target: Target) -> str:
    document = _target_document(target)
    error = document["detail"].get("error", "")
    subject = " ".join(filter(None, (document["kind"], document["name"])))
    line = f"{subject}: {document['aspect']}, {document['state']}"
    return cell(f"{line}: {error}" if error else line)
