"""Does a JSON value fit a type annotation, and what would, in words."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

_LARGEST = 2**63


def _is_integer(value: Any) -> bool:
    return type(value) is int and -_LARGEST <= value < _LARGEST


_SIMPLE: Mapping[Any, tuple[Callable[[Any], bool], str]] = {
    Any: (lambda value: True, "anything"),
    str: (lambda value: isinstance(value, str), "a text"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_is_integer, "a whole number of 64 bits"),
    float: (lambda value: isinstance(value, float) or _is_integer(value), "a number"),
    types.NoneType: (lambda value: value is None, "null"),
}


def fits(value: Any, hint: Any) -> bool:
    """Is `value`, as JSON gave it, one of the type `hint`? Lists stand for tuples, objects for mappings and records."""
    if hint in _SIMPLE:
        return _SIMPLE[hint][0](value)
    return _composed(hint)[0](value, hint)


def words(hint: Any) -> str:
    """What fits `hint`, as words that follow "must be"."""
    if hint in _SIMPLE:
        return _SIMPLE[hint][1]
    return _composed(hint)[1](hint)


def _composed(hint: Any) -> tuple[Callable[[Any, Any], bool], Callable[[Any], str]]:
    return _COMPOSED[get_origin(hint) or ("record" if is_dataclass(hint) else "choice")]


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) or tuple(each.value for each in hint)


def _is_choice(value: Any, hint: Any) -> bool:
    return any(type(value) is type(each) and value == each for each in _choices(hint))


def _choice_words(hint: Any) -> str:
    return "one of " + ", ".join(map(str, _choices(hint)))


def _is_tuple(value: Any, hint: Any) -> bool:
    inner = get_args(hint)
    if not isinstance(value, list):
        return False
    if inner[-1] is Ellipsis:
        return all(fits(each, inner[0]) for each in value)
    return len(value) == len(inner) and all(map(fits, value, inner))


def _tuple_words(hint: Any) -> str:
    return "a list, each " + " then ".join(words(each) for each in get_args(hint) if each is not Ellipsis)


def _is_mapping(value: Any, hint: Any) -> bool:
    return isinstance(value, dict) and all(fits(each, get_args(hint)[1]) for each in value.values())


def _mapping_words(hint: Any) -> str:
    inner = get_args(hint)[1]
    return "an object" if inner is Any else f"an object whose values are each {words(inner)}"


def _is_record(value: Any, hint: Any) -> bool:
    hints = get_type_hints(hint)
    return isinstance(value, dict) and value.keys() == hints.keys() and all(fits(value[n], hints[n]) for n in hints)


def _record_words(hint: Any) -> str:
    return "an object of " + ", ".join(f"{name!r} ({words(each)})" for name, each in get_type_hints(hint).items())


_COMPOSED: Mapping[Any, tuple[Callable[[Any, Any], bool], Callable[[Any], str]]] = {
    types.UnionType: (
        lambda value, hint: any(fits(value, each) for each in get_args(hint)),
        lambda hint: " or ".join(words(each) for each in get_args(hint)),
    ),
    tuple: (_is_tuple, _tuple_words),
    Mapping: (_is_mapping, _mapping_words),
    dict: (_is_mapping, _mapping_words),
    Literal: (_is_choice, _choice_words),
    "choice": (_is_choice, _choice_words),
    "record": (_is_record, _record_words),
}
