"""Statements that requests run one by one: compiled once by SQLAlchemy, then handed to the driver as they are.

SQLAlchemy looks for the compiled form of a statement at each execution, which takes longer than a small statement
itself (docs/performance.md). What is said in the statement, its types and its errors are SQLAlchemy's all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Select, TextClause, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

Statement = Select[Any] | Insert | Update | Delete | TextClause
_Process = Callable[[Any], Any]
_Results = Sequence[tuple[int, _Process]]
"""What makes values of a row's, by their places."""


class Prepared:
    """One statement of fixed form, for connections of any database; lists of unknown length are not for it.

    `columns` are those that an INSERT, or an UPDATE without values of its own, sets.
    """

    def __init__(self, statement: Statement, columns: Sequence[str] | None = None) -> None:
        self._statement, self._columns = statement, columns
        self._forms: dict[str, _Form] = {}
        self._results: dict[str, _Results] = {}

    def rows(self, connection: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """What a query finds. Raises the errors of SQLAlchemy, as does `run`."""
        form = self._form(connection.dialect)
        cursor = form.executed(connection, values)
        try:
            found = cursor.fetchall()
        except connection.dialect.loaded_dbapi.Error as ex:
            raise form.error(connection, cursor, ex) from ex
        results = self._results.get(connection.dialect.name)
        if results is None:
            # Some drivers' types decide what is to be done to their values.
            self._results[connection.dialect.name] = results = _results(self._statement, connection, cursor)
        cursor.close()
        return [_row(each, results) for each in found] if results else found

    def run(self, connection: Connection, **values: Any) -> int:
        """Do what the statement says; returns how many rows it hit."""
        cursor = self._form(connection.dialect).executed(connection, values)
        count: int = cursor.rowcount
        cursor.close()
        return count

    def run_each(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Do it for each of several rows of values."""
        self._form(connection.dialect).executed(connection, *rows).close()

    def _form(self, dialect: Dialect) -> _Form:
        found = self._forms.get(dialect.name)
        if found is None:
            self._forms[dialect.name] = found = _formed(self._statement, self._columns, dialect)
        return found


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement as one database takes it; `order` gives its parameters in turn where they have no names there."""

    sql: str
    defaults: dict[str, Any]
    order: Callable[[dict[str, Any]], Sequence[Any]] | None
    binds: Sequence[tuple[str, _Process]]

    def executed(self, connection: Connection, *rows: Mapping[str, Any]) -> Any:
        """A cursor that has run it, for each of the rows of values."""
        # The driver's own connection: SQLAlchemy's stand-in for it would only hand the call on.
        driver: Any = connection.connection.dbapi_connection
        cursor = driver.cursor()
        try:
            if len(rows) == 1:
                cursor.execute(self.sql, self._bound(rows[0]))
            else:
                cursor.executemany(self.sql, [self._bound(values) for values in rows])
        except connection.dialect.loaded_dbapi.Error as ex:
            raise self.error(connection, cursor, ex) from ex
        return cursor

    def error(self, connection: Connection, cursor: Any, ex: Any) -> BaseException:
        """SQLAlchemy's error for the driver's."""
        dialect = connection.dialect
        lost = dialect.is_disconnect(ex, connection.connection.driver_connection, cursor)
        found: BaseException = DBAPIError.instance(
            self.sql, None, ex, dialect.loaded_dbapi.Error, connection_invalidated=lost
        )
        return found

    def _bound(self, values: Mapping[str, Any]) -> Any:
        bound = {**self.defaults, **values}
        for name, process in self.binds:
            bound[name] = process(bound[name])
        return bound if self.order is None else self.order(bound)


def _formed(statement: Statement, columns: Sequence[str] | None, dialect: Dialect) -> _Form:
    compiled = statement.compile(dialect=dialect, column_keys=list(columns) if columns is not None else None)
    assert isinstance(compiled, SQLCompiler)
    binds = {
        compiled.bind_names[bind]: process
        for bind in compiled.bind_names
        if (process := bind.type.dialect_impl(dialect).bind_processor(dialect))
    }
    order = _in_turn(compiled.positiontup or ()) if compiled.positional else None
    return _Form(compiled.string, dict(compiled.params), order, list(binds.items()))


def _in_turn(names: Sequence[str]) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """What takes the values of these names from a row: of one name `itemgetter` would give its value alone."""
    return itemgetter(*names) if len(names) > 1 else lambda values: [values[name] for name in names]


def _results(statement: Statement, connection: Connection, cursor: Any) -> _Results:
    dialect, selected = connection.dialect, statement.selected_columns if isinstance(statement, Select) else ()
    made = (
        (place, each.type.dialect_impl(dialect).result_processor(dialect, described[1]))
        for place, (each, described) in enumerate(zip(selected, cursor.description, strict=True))
    )
    return [(place, process) for place, process in made if process]


def _row(found: Sequence[Any], results: _Results) -> tuple[Any, ...]:
    """A row with its values as the columns' types have them."""
    values = list(found)
    for place, process in results:
        values[place] = process(values[place])
    return tuple(values)
