"""The whole state as JSON Lines, and back (docs/state-format.md).

A dump is one read transaction, a load one write transaction: neither a reader nor a `kill -9` sees half a state.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from sqlalchemy import Connection, Select, func, insert, select, update

from cloudsched.errors import Conflict, DocumentError
from cloudsched.model.jobs import JobStatus, Shape
from cloudsched.model.wishes import Aspect, OutcomeState
from cloudsched.store import document, groups, locks, place, tables
from cloudsched.store.connect import Store, Writing, state_row
from cloudsched.store.document import KINDS, Entry, Kind
from cloudsched.store.retention import forget_everything
from cloudsched.store.rows import Row

ENVIRONMENT_LEFT_OUT = "Its environment was left out of the dump."
SUBMIT_LEFT_OUT = "Its submit description was left out of the dump."
_CHUNK = 500
_FINISHED = (JobStatus.REMOVED, JobStatus.COMPLETE)


def dump(store: Store, out: IO[str], *, with_secrets: bool, version: str, now: int) -> None:
    """Write the whole state, of one index, to `out`; `version` is this program's, `now` in Unix seconds.

    Without secrets the environments of queued jobs, the texts of submits, the credentials of clouds and the digests of
    tokens are left out.
    Raises StateUnavailable.
    """
    with store.reading() as connection:
        index = state_row(connection).index
        out.write(_text(asdict(document.Header(document.FORMAT, version, now, index, with_secrets))))
        lines = 0
        for kind in KINDS:
            for row in _rows(connection, kind):
                kept = row if with_secrets else _LEAVE_OUT.get(kind.name, dict)(row)
                out.write(_text(document.line(kind, kept, kept.get("shape_values", {}))))
                lines += 1
        out.write(_text({"kind": "end", "lines": lines}))


def load(store: Store, lines: Iterable[str], *, path: str, replace: bool) -> dict[str, int]:
    """Make a dump the whole state; returns how many lines of each kind came. `path` is for complaints.

    Everything is checked before anything is changed. Raises DocumentError with the line and what is accepted, Conflict
    when the state is not empty and `replace` is false, StateHeld while an engine runs, StateUnavailable.
    """
    with closing(place.hold(store)), TemporaryFile("w+", encoding="utf-8") as checked:
        counts, index = _check(lines, path, checked)
        checked.seek(0)
        with store.writing() as writing:
            # What comes after must not bear an index that entries of the journal bear already.
            writing.index = max(writing.index, index + 1)
            _make_room(writing, replace, locks.note(store.directory))
            _Loader(writing).load(document.known(json.loads(text)) for text in checked)
    return counts


def open_private(path: str) -> IO[str]:
    """Open a file for a dump that only its owner can read. Raises DocumentError when it cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            # An older file may be open to others: close it to them before it holds anything.
            os.fchmod(descriptor, 0o600)
            os.ftruncate(descriptor, 0)
    except OSError as ex:
        raise DocumentError(f"cannot be written: {ex.strerror}", path=path) from ex
    return os.fdopen(descriptor, "w", encoding="utf-8")


def open_document(path: str) -> IO[str]:
    """Open a dump for `load`; bytes that are not UTF-8 are left for it to complain of. Raises DocumentError."""
    try:
        return Path(path).open(encoding="utf-8", errors="surrogateescape")
    except OSError as ex:
        raise DocumentError(f"cannot be read: {ex.strerror}", path=path) from ex


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":")) + "\n"


def _rows(connection: Connection, kind: Kind) -> Iterator[Mapping[str, Any]]:
    if kind.name == "counter":
        counters = connection.execute(select(tables.queue_counters)).mappings().one()
        yield {"name": "cluster", "value": counters["cluster"]}
        return
    found = connection.execute(_query(kind), execution_options={"yield_per": _CHUNK})
    yield from (row._asdict() for row in found)


def _query(kind: Kind) -> Select[Any]:
    """Every row of a kind in the order of its key, with its shape where lines carry one."""
    table, shapes = kind.table, kind.shapes
    query: Select[Any] = select(table).order_by(*table.primary_key.columns)
    if kind.name == "outcome":
        # An outcome outlives its wish for a while; without it, it says nothing.
        return query.join(tables.wishes, tables.wishes.c.id == table.c.wish)
    if shapes is table:
        return query.add_columns(table.c.shape.label("shape_values"))
    if shapes is not None:
        return query.add_columns(shapes.c.shape.label("shape_values")).join(shapes, shapes.c.key == table.c.shape)
    return query


def _without_environment(row: Mapping[str, Any]) -> dict[str, Any]:
    spec = row["spec"]
    return {**row, "spec": {**spec, "environment": None} if spec.get("environment") else spec}


def _without_value(row: Mapping[str, Any]) -> dict[str, Any]:
    name = _SECRET_VALUES.get(row["aspect"])
    return {**row, "value": {**row["value"], name: None} if name and row["value"][name] else row["value"]}


def _without_digest(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "digest": None}


_SECRET_VALUES: Mapping[str, str] = {Aspect.SUBMIT: "submit", Aspect.DEFINE: "secrets"}
"""Where the values of wishes hold secrets."""

_LEAVE_OUT = {"queued_job": _without_environment, "wish": _without_value, "token": _without_digest}


def _check(lines: Iterable[str], path: str, checked: IO[str]) -> tuple[dict[str, int], int]:
    """Check every line and write the good ones, without header and end, to `checked`.

    Returns counts by kind, and the highest state index that was met.
    """
    checking = _Checking()
    try:
        for text in lines:
            checking.line += 1
            if text.strip() and checking.take(document.parse(text)):
                checked.write(json.dumps(checking.last) + "\n")
        checking.close()
    except DocumentError as ex:
        raise DocumentError(ex.problem, path=path, line=checking.line) from ex
    except UnicodeDecodeError as ex:
        raise DocumentError("this line is not UTF-8 text", path=path, line=checking.line + 1) from ex
    return {kind.name: checking.counts[kind.name] for kind in KINDS if checking.counts[kind.name]}, checking.index


class _Checking:
    """What has come of a document so far: enough to refuse repetitions, dangling references and a missing end."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last: Mapping[str, Any] = {}
        self.line = self.index = 0
        self._keys: dict[str, set[Any]] = defaultdict(set)
        self._began = self._ended = False

    def take(self, values: Mapping[str, Any]) -> bool:
        """Check one line; true when it is an entry, and not the header or the end. Raises DocumentError."""
        if not self._began:
            self.index = document.header(values).index
            self._began = True
            return False
        if self._ended:
            raise DocumentError("the document has ended, and another line came")
        if values.get("kind") == "end":
            document.end(values, self.counts.total())
            self._ended = True
            return False
        self._take_entry(document.entry(values))
        self.last = values
        return True

    def close(self) -> None:
        """Check that the document is whole. Raises DocumentError."""
        if not self._ended:
            raise DocumentError('the document is cut off: it must end with {"kind": "end", "lines": N}')

    def _take_entry(self, entry: Entry) -> None:
        name = entry.kind.name
        if entry.key in self._keys[name]:
            raise DocumentError(f"this {name} has come before: {entry.kind.key} {entry.key!r}")
        column, target = _REFERENCES.get(name, ("", ""))
        if target and entry.row[column] not in self._keys[target]:
            raise DocumentError(f"this {name} belongs to {target} {entry.row[column]}, which must come before it")
        self._keys[name].add(entry.key)
        self.index = max(self.index, entry.row.get("index", 0))
        self.counts[name] += 1


_REFERENCES = {"wish": ("operation", "operation"), "outcome": ("wish", "wish")}


def _make_room(writing: Writing, replace: bool, note: str) -> None:
    found = {kind.name: _count(writing.connection, kind) for kind in KINDS if kind.name != "counter"}
    there = ", ".join(f"{rows} {name}" for name, rows in found.items() if rows)
    if there and not replace:
        raise Conflict(f"The state is not empty ({there}): --replace loads over it.", code="not-empty")
    forget_everything(writing)
    # On another database than SQLite an engine of another host may be running: it must stop.
    epoch = tables.state.c.engine_epoch
    writing.connection.execute(update(tables.state).values(engine_epoch=epoch + 1, engine=note))


def _count(connection: Connection, kind: Kind) -> int:
    return int(connection.execute(select(func.count()).select_from(kind.table)).scalar_one())


class _Loader:
    """Writes checked entries into an empty state, some hundred rows at a time."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._rows: dict[str, list[Row]] = defaultdict(list)
        self._shapes: dict[str, dict[str, Row]] = {"job": {}, "queued_job": {}}
        self._cluster = self._queued = 0
        self._textless: dict[int, int] = {}
        counters = tables.queue_counters
        self._change = int(writing.connection.execute(select(counters.c.change)).scalar_one()) + 1

    def load(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            adapt = _ADAPT.get(entry.kind.name)
            row = adapt(self, entry) if adapt else entry.row
            if row is not None:
                self._add(entry.kind, row)
        self._end()

    def shape(self, entry: Entry) -> None:
        """Keep a shape, with its reasons, until all jobs have told theirs."""
        self._shapes["job"][entry.key] = {**entry.row, "shape": _values(entry.shape)}

    def job(self, entry: Entry) -> Row:
        key = entry.row["shape"]
        if key not in self._shapes["job"]:
            self._shapes["job"][key] = {"key": key, "shape": _values(entry.shape), "reasons": [], "blocks": {}}
        return entry.row

    def wish(self, entry: Entry) -> Row:
        if entry.row["aspect"] == Aspect.SUBMIT and entry.row["value"]["submit"] is None:
            self._textless[entry.key] = entry.row["made_at"]
        return entry.row

    def outcome(self, entry: Entry) -> Row:
        self._textless.pop(entry.key, None)
        return entry.row

    def queued_job(self, entry: Entry) -> Row:
        key = entry.row["shape"]
        if key not in self._shapes["queued_job"]:
            self._shapes["queued_job"][key] = {"key": key, "shape": _values(entry.shape)}
        self._queued += 1
        self._cluster = max(self._cluster, entry.row["cluster_id"])
        return {**_held_without_environment(entry.row), "seq": self._queued, "change": self._change}

    def counter(self, entry: Entry) -> None:
        self._cluster = max(self._cluster, entry.row["value"])

    def _add(self, kind: Kind, row: Row) -> None:
        waiting = self._rows[kind.name]
        waiting.append(row | {"revision": self._writing.index} if "revision" in kind.table.c else row)
        if len(waiting) >= _CHUNK:
            self._insert(kind, waiting)

    def _insert(self, kind: Kind, waiting: list[Row]) -> None:
        if waiting:
            self._writing.connection.execute(insert(kind.table), waiting)
            waiting.clear()

    def _end(self) -> None:
        """Write what could only be known at the end."""
        kinds = {kind.name: kind for kind in KINDS}
        failed = {"state": OutcomeState.FAILED.value, "detail": {"error": SUBMIT_LEFT_OUT}}
        for wish, made_at in self._textless.items():
            self._add(kinds["outcome"], {"wish": wish, "settled_at": made_at, **failed})
        for row in self._shapes["job"].values():
            self._add(kinds["shape"], row)
        for name, waiting in self._rows.items():
            self._insert(kinds[name], waiting)
        groups.count_again(self._writing)
        if self._shapes["queued_job"]:
            self._writing.connection.execute(insert(tables.queue_shapes), list(self._shapes["queued_job"].values()))
        counters = tables.queue_counters
        present = self._writing.connection.execute(select(counters.c.cluster)).scalar_one()
        values = {"cluster": max(self._cluster, present), "change": self._change}
        self._writing.connection.execute(update(counters).values(values))


_ADAPT = {
    "shape": _Loader.shape,
    "job": _Loader.job,
    "wish": _Loader.wish,
    "outcome": _Loader.outcome,
    "queued_job": _Loader.queued_job,
    "counter": _Loader.counter,
}
"""Kinds whose rows are more than their line; those that return nothing are written at the end."""


def _values(shape: Shape | None) -> dict[str, Any]:
    return {} if shape is None else asdict(shape)


def _held_without_environment(row: Row) -> Row:
    """A queued job as it was, or held when its environment is not there to run it with."""
    if row["spec"].get("environment", {}) is not None:
        return row
    whole = {**row, "spec": {**row["spec"], "environment": {}}}
    if row["job_status"] in _FINISHED:
        return whole
    reason = f"{row['hold_reason']} {ENVIRONMENT_LEFT_OUT}".strip()
    return {**whole, "job_status": JobStatus.HELD, "hold_reason": reason, "vm": None, "slot": None, "started_at": None}
