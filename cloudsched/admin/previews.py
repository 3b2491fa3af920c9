"""How a dry run is answered, and a verb that must be confirmed first: with what would happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloudsched.errors import Unconfirmed
from cloudsched.render import previews
from cloudsched.store.wishes import Previewed
from cloudsched.web import Request, Response, errors
from cloudsched.web.negotiate import reply


def told(req: Request, resp: Response, ex: Previewed, params: Mapping[str, Any]) -> None:
    """200 with the preview."""
    reply(req, resp, previews.text(ex.preview), previews.document(ex.preview))


def demanded(req: Request, resp: Response, ex: Unconfirmed, params: Mapping[str, Any]) -> None:
    """409 with the preview that is to be confirmed."""
    problem = errors.problem_of(ex)
    members = {**problem.members, "preview": previews.document(ex.preview)}
    text = f"{problem.detail}\n{previews.text(ex.preview)}"
    errors.answer(req, resp, replace(problem, text=text, members=members))
