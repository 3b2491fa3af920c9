"""How the tables of `store/tables.py` spell their columns, the same on every database."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Dialect, Float, Index, Integer, MetaData, Table, Text
from sqlalchemy.types import TypeDecorator

_read = json.JSONDecoder().raw_decode
_written = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=asdict).encode


class Json(TypeDecorator[Any]):
    """A JSON value as canonical text: equal values are equal strings, on every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return _written(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if value == "[]":
            return []
        # What `process_bind_param` wrote has no white space around it, which json.loads looks for first.
        return None if value is None else _read(value)[0]


metadata = MetaData()

_BIG = BigInteger().with_variant(Integer, "sqlite")


def table(name: str, *columns: Column[Any] | Index) -> Table:
    return Table(name, metadata, *columns)


def text(name: str, **options: Any) -> Column[Any]:
    return Column(name, Text, nullable=options.pop("nullable", False), **options)


def integer(name: str, **options: Any) -> Column[Any]:
    return Column(name, _BIG, nullable=options.pop("nullable", False), **options)


def number(name: str, **options: Any) -> Column[Any]:
    return Column(name, Float(53), nullable=options.pop("nullable", False), **options)


def truth(name: str, **options: Any) -> Column[Any]:
    return Column(name, Boolean, nullable=False, **options)


def json_value(name: str, **options: Any) -> Column[Any]:
    return Column(name, Json, nullable=options.pop("nullable", False), **options)


def revision() -> Column[Any]:
    return integer("revision", index=True)
