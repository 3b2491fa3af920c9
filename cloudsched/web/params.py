"""A request's parameters, from the query and from a form or JSON body, checked against what a resource declares.

A value in the query goes before the same one in the body, as in v1 (PARITY 1.1); twice in one place is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import falcon
from falcon import Request
from falcon.media.multipart import MultipartFormHandler

from cloudsched.errors import BadRequest

BODY_LIMIT = 1 << 20
"""The largest body accepted, in bytes."""

_WHOLE = 2.0**53
"""Up to here every whole number is a float of its own."""

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*", re.ASCII)


def text(value: str) -> str:
    """Any text that is not empty and holds no NUL, which neither a database nor a command line can hold."""
    if not value or "\0" in value:
        raise ValueError("must not be empty or hold a NUL")
    return value


def lowered(value: str) -> str:
    """The same in small letters, as the names of clouds are kept."""
    return text(value).lower()


def word(*accepted: str) -> Callable[[str], str]:
    """A parser for one of a few words, exactly as written."""

    def parse(value: str) -> str:
        if value not in accepted:
            raise ValueError(f"must be {' or '.join(accepted)}, not {value!r}")
        return value

    return parse


def switch(value: str) -> bool:
    """`true` or `false`."""
    return word("true", "false")(value) == "true"


def integer(lowest: int, highest: int) -> Callable[[str], int]:
    """A parser for a decimal integer between two bounds."""

    def parse(value: str) -> int:
        number = to_integer(value)
        if number is None or not lowest <= number <= highest:
            raise ValueError(f"must be an integer from {lowest} to {highest}, not {value!r}")
        return number

    return parse


def to_integer(value: str) -> int | None:
    """What v1's `int()` made of a decimal number of at most 18 digits, or None."""
    return int(value) if _INTEGER.fullmatch(value) else None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter; `parse` raises ValueError, whose text completes "The parameter 'x' ...".

    One for `many` words may stand in a query several times: it is read as if its values were one, with commas between.
    """

    name: str
    parse: Callable[[str], Any] = text
    required: bool = False
    many: bool = False


def read(req: Request, *declared: Parameter) -> dict[str, Any]:
    """The values of the declared parameters that were given, parsed.

    Raises BadRequest naming the parameters that are missing or unknown, or one that is repeated or malformed, or for a
    body that cannot be read; falcon's errors for a body that is too large (413) or neither form nor JSON (415).
    """
    given = {} if req.method in ("GET", "HEAD") else _body(req)
    return _checked(given | _query(req, declared), declared)


def read_query(req: Request, *declared: Parameter) -> dict[str, Any]:
    """`read` for a request whose body is a document: the parameters are in the query alone."""
    return _checked(_query(req, declared), declared)


def given_in_query(req: Request) -> frozenset[str]:
    """The names of the parameters in the query. Raises BadRequest for a query that cannot be read."""
    return frozenset(_query(req))


def has_json(req: Request) -> bool:
    """Whether the body is said to be JSON, and there is one."""
    return _media_type(req) == "application/json" and bool(_content(req))


def document(req: Request, *kinds: str) -> dict[str, Any]:
    """The JSON object in a body of one of these media types.

    Raises BadRequest for what is no JSON object, or names something twice; falcon's errors for one that is too large
    (413) or of another type (415).
    """
    body = _content(req)
    if _media_type(req) not in kinds:
        raise falcon.HTTPUnsupportedMediaType(description=f"The body must be {' or '.join(kinds)}.")
    try:
        found = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_no_number)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRequest("The JSON body holds half of a surrogate pair.", code="bad-encoding") from None
    except (ValueError, RecursionError):
        raise BadRequest("The body is not valid JSON in UTF-8.", code="bad-json") from None
    if not isinstance(found, dict):
        raise BadRequest("The JSON body must be an object.", code="bad-json")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadRequest(f"The field {name!r} is given twice.", parameter=name, code="repeated-parameter")
        found[name] = value
    return found


def _no_number(constant: str) -> Any:
    raise ValueError(constant)


def _checked(given: Mapping[str, str], declared: Sequence[Parameter]) -> dict[str, Any]:
    accepted = {each.name for each in declared}
    if unknown := [name for name in given if name not in accepted]:
        known = f"accepted: {', '.join(sorted(accepted))}" if accepted else "none is accepted here"
        raise BadRequest(f"{_named(unknown)} unknown; {known}.", *unknown, code="unknown-parameter")
    if missing := [each.name for each in declared if each.required and each.name not in given]:
        raise BadRequest(f"{_named(missing)} missing.", *missing, code="missing-parameter")
    return {each.name: _parsed(each, given[each.name]) for each in declared if each.name in given}


def _named(names: Sequence[str]) -> str:
    """The beginning of a sentence about one or several parameters."""
    if len(names) == 1:
        return f"The parameter {names[0]!r} is"
    return f"The parameters {', '.join(map(repr, names[:-1]))} and {names[-1]!r} are"


def _parsed(parameter: Parameter, value: str) -> Any:
    try:
        return parameter.parse(value)
    except ValueError as ex:
        raise BadRequest(f"The parameter {parameter.name!r} {ex}.", parameter=parameter.name) from None


def _query(req: Request, declared: Sequence[Parameter] = ()) -> dict[str, str]:
    many = {each.name for each in declared if each.many}
    return _unique(_pairs(req.query_string.encode("latin-1", "replace"), "query"), many)


def _content(req: Request) -> bytes:
    """The body, which may be asked for more than once."""
    found: bytes | None = getattr(req.context, "content", None)
    if found is None:
        if (req.content_length or 0) > BODY_LIMIT:
            raise _too_large()
        found = req.context.content = req.bounded_stream.read(BODY_LIMIT + 1)
    if len(found) > BODY_LIMIT:
        raise _too_large()
    return found


def _media_type(req: Request) -> str:
    return (req.content_type or "").partition(";")[0].strip().lower()


def _body(req: Request) -> dict[str, str]:
    body, kind = _content(req), _media_type(req)
    if not body:
        return {}
    if kind not in _READERS:
        raise falcon.HTTPUnsupportedMediaType(description=f"The body must be {', '.join(_READERS)}.")
    return _unique(_READERS[kind](body, req.content_type or ""))


def _too_large() -> falcon.HTTPError:
    return falcon.HTTPContentTooLarge(description=f"The body must not be larger than {BODY_LIMIT} bytes.")


def _unique(pairs: Iterable[tuple[str, str]], many: Container[str] = ()) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values and name not in many:
            raise BadRequest(f"The parameter {name!r} is given twice.", parameter=name, code="repeated-parameter")
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def _pairs(encoded: bytes, place: str) -> list[tuple[str, str]]:
    try:
        decoded = encoded.decode()
        if _BROKEN_ESCAPE.search(decoded):
            raise ValueError("a '%' without two hexadecimal digits")
        return parse_qsl(decoded, keep_blank_values=True, errors="strict", max_num_fields=100)
    except UnicodeDecodeError:
        raise BadRequest(f"The {place} is not UTF-8.", code="bad-encoding") from None
    except ValueError as ex:
        raise BadRequest(f"The {place} cannot be read: {ex}.", code="bad-encoding") from None


def _form(body: bytes, content_type: str) -> list[tuple[str, str]]:
    return _pairs(body, "form body")


def _multipart(body: bytes, content_type: str) -> list[tuple[str, str]]:
    form = MultipartFormHandler().deserialize(BytesIO(body), content_type, len(body))
    try:
        return [(part.name or "", part.get_data().decode()) for part in form]
    except ValueError:
        raise BadRequest("The multipart body is not UTF-8.", code="bad-encoding") from None


def _json(body: bytes, content_type: str) -> list[tuple[str, str]]:
    try:
        pairs = json.loads(body.decode(), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not valid JSON in UTF-8.", code="bad-json") from None
    if not isinstance(pairs, tuple):
        raise BadRequest("The JSON body must be an object of parameters.", code="bad-json")
    return [(name, _scalar(name, value)) for name, value in pairs]


def _scalar(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise BadRequest(f"The parameter {name!r} must be a text or a number.", parameter=name)
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        # JSON knows one kind of number: 3.0 is 3.
        value = int(value)
    try:
        name.encode()
        return str(value).encode().decode()
    except ValueError:
        raise BadRequest("The JSON body holds half of a surrogate pair.", code="bad-encoding") from None


_READERS: dict[str, Callable[[bytes, str], list[tuple[str, str]]]] = {
    "application/x-www-form-urlencoded": _form,
    "multipart/form-data": _multipart,
    "application/json": _json,
}
