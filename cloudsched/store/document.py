"""The lines of a state document: their kinds, fields and types (docs/state-format.md).

A line is a JSON object whose `kind` names one of `KINDS`; its fields are those of a record here or in the model, under
v1's JSON names where v1 had them. Jobs carry the fields of their shape inline, as v1 showed them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, get_type_hints

from sqlalchemy import Table

from cloudsched.errors import DocumentError
from cloudsched.model.access import Token, TokenUse
from cloudsched.model.clouds import Cloud
from cloudsched.model.failures import VMFailure
from cloudsched.model.jobs import PROXY_FIELDS, SHAPE_FIELDS, Job, JobStatus, Machine, Shape
from cloudsched.model.snapshot import Heartbeat, Polled
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, Outcome
from cloudsched.store import tables, wish_values
from cloudsched.store.fitting import fits, words
from cloudsched.store.jobs import to_shape
from cloudsched.store.journal import Ends
from cloudsched.store.journal_lines import Line, of_chain
from cloudsched.store.keys import Kept
from cloudsched.store.rows import Row

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: the format's number, who made the document when, and the state index it shows."""

    cloudsched_state: int
    version: str
    made_at: int
    index: int
    secrets: bool


@dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class _UserLimit:
    user: str
    vms: int


@dataclass(frozen=True, slots=True)
class _CloudAlias:
    alias: str
    clouds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _BannedImage:
    image: str
    clouds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Departed:
    uid: str
    cloud: str
    departed_at: int


@dataclass(frozen=True, slots=True)
class _Tally:
    key: str
    value: float


@dataclass(frozen=True, slots=True)
class _Minute:
    minute: int
    counts: dict[str, float]


@dataclass(frozen=True, slots=True)
class _ShapeState:
    shape: Shape
    reasons: tuple[str, ...] = ()
    blocks: Mapping[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Operation:
    id: int
    verb: str
    actor: str = ""
    request_id: str = ""
    reason: str = ""
    made_at: int = 0


@dataclass(frozen=True, slots=True)
class _Wish:
    """`target` is the wish's kind, a word that the line itself needs."""

    id: int
    operation: int
    target: Literal["cloud", "vm", "job", "jobs", "user", "scheduler"]
    name: str
    aspect: Aspect
    value: Any = None
    made_at: int = 0
    reason: str = ""
    superseded_by: int | None = None


@dataclass(frozen=True, slots=True)
class _QueuedJob:
    id: str
    shape: Shape
    cluster_id: int
    proc_id: int
    spec: dict[str, Any]
    priority: int = 0
    job_status: JobStatus = JobStatus.IDLE
    hold_reason: str = ""
    exit_code: int | None = None
    submitted_at: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    vm: str | None = None
    slot: int | None = None
    attempt: int = 0
    proxy: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Queued:
    cluster: int
    jobs: int


@dataclass(frozen=True, slots=True)
class _Answered:
    error: str


@dataclass(frozen=True, slots=True)
class _QueueOrder:
    token: str
    answer: _Queued | _Answered
    made_at: int


@dataclass(frozen=True, slots=True)
class _Counter:
    name: Literal["cluster"]
    value: int


def _cloud_problem(values: Mapping[str, Any]) -> str:
    name = values["name"]
    return "" if name == name.lower() else f"the name of a cloud is lower case, not {name!r}"


def _queued_problem(values: Mapping[str, Any]) -> str:
    environment = values["spec"].get("environment", {})
    if not fits(environment, dict[str, str] | None):
        return "the 'environment' in 'spec' must be an object of texts, or null where it was left out"
    strange = sorted(set(values.get("proxy", {})) - set(PROXY_FIELDS))
    if strange:
        return f"'proxy' has no field {strange[0]!r}; it has {', '.join(PROXY_FIELDS)}"
    running = values.get("job_status", JobStatus.IDLE) == JobStatus.RUNNING
    leased = [values.get(name) is not None for name in ("vm", "slot")]
    return "" if leased == [running, running] else "a running job (job_status 2) has 'vm' and 'slot', any other neither"


def _no_problem(_values: Mapping[str, Any]) -> str:
    return ""


@dataclass(frozen=True)
class Kind:
    """One kind of line. `key` tells its lines apart; `shapes` is the table that its shapes are kept in.

    `renamed` are fields that the table calls otherwise, `derived` fields that are written and ignored on load.
    """

    name: str
    record: type
    table: Table
    key: str
    shapes: Table | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, Callable[[Mapping[str, Any]], Any]] = field(default_factory=dict)
    problem: Callable[[Mapping[str, Any]], str] = _no_problem

    @cached_property
    def hints(self) -> dict[str, Any]:
        """The type of each field, the shape's among them where lines carry one."""
        own = get_type_hints(self.record)
        if own.get("shape") is not Shape:
            return own
        del own["shape"]
        return own | get_type_hints(Shape)

    @cached_property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """The table's columns with the record's fields that they hold."""
        return tuple((self.renamed.get(each.name, each.name), each.name) for each in fields(self.record))

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Fields that have no default."""
        sources = (*fields(self.record), *(fields(Shape) if self.shapes is not None else ()))
        needed = {each.name for each in sources if each.default is MISSING and each.default_factory is MISSING}
        return tuple(name for name in self.hints if name in needed)


KINDS: tuple[Kind, ...] = (
    Kind("setting", _Setting, tables.settings, "name"),
    Kind("user_limit", _UserLimit, tables.user_limits, "user"),
    Kind("cloud_alias", _CloudAlias, tables.cloud_aliases, "alias"),
    Kind("banned_image", _BannedImage, tables.banned_images, "image"),
    Kind("heartbeat", Heartbeat, tables.heartbeats, "name"),
    Kind("poll", Polled, tables.polls, "name"),
    Kind("tally", _Tally, tables.tallies, "key"),
    Kind("history", _Minute, tables.history, "minute"),
    Kind("vm_failure", VMFailure, tables.vm_failures, "uid"),
    Kind("cloud", Cloud, tables.clouds, "name", problem=_cloud_problem),
    Kind("vm", VM, tables.vms, "uid", derived={"uservmtype": lambda line: f"{line['user']}:{line['vmtype']}"}),
    Kind("departed", _Departed, tables.departed, "uid"),
    Kind("shape", _ShapeState, tables.shapes, "key", shapes=tables.shapes, derived={"key": lambda line: line["key"]}),
    Kind(
        "job",
        Job,
        tables.jobs,
        "id",
        shapes=tables.shapes,
        derived={"uservmtype": lambda line: f"{line['user']}:{line['req_vmtype']}"},
    ),
    Kind("machine", Machine, tables.machines, "name"),
    Kind("operation", _Operation, tables.operations, "id"),
    Kind("wish", _Wish, tables.wishes, "id", renamed={"target": "kind"}, problem=wish_values.problem),
    Kind("outcome", Outcome, tables.outcomes, "wish"),
    Kind("idempotency_key", Kept, tables.idempotency_keys, "id"),
    Kind("token", Token, tables.tokens, "id"),
    Kind("token_use", TokenUse, tables.token_uses, "token"),
    Kind("journal", Line, tables.journal, "id", renamed={"entry": "kind"}),
    Kind("journal_ends", Ends, tables.journal_ends, "chain", problem=of_chain("admin")),
    Kind("act", Line, tables.acts, "id", renamed={"entry": "kind"}),
    Kind("acts_ends", Ends, tables.acts_ends, "chain", problem=of_chain("engine")),
    Kind("queued_job", _QueuedJob, tables.queue_jobs, "id", shapes=tables.queue_shapes, problem=_queued_problem),
    Kind("queue_order", _QueueOrder, tables.queue_orders, "token"),
    Kind("counter", _Counter, tables.queue_counters, "name"),
)
"""In the order they are written: what a line refers to comes before it."""

_BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line as read: the row of its table without revision, and the shape where the line carries one."""

    kind: Kind
    row: Row
    shape: Shape | None = None

    @property
    def key(self) -> Any:
        """What tells this entry from others of its kind."""
        return self.row[self.kind.key]


def parse(text: str) -> dict[str, Any]:
    """A line as a JSON object. Raises DocumentError."""
    try:
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_not_json)
        # What JSON can spell and no database or reader takes: half a surrogate pair, 1e999.
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as ex:
        raise DocumentError("this line is not UTF-8 text, or spells half a surrogate pair") from ex
    except (ValueError, RecursionError) as ex:
        raise DocumentError(f"this line is not JSON: {ex}") from ex
    if not isinstance(found, dict):
        raise DocumentError("this line is not a JSON object {...}")
    return found


def header(values: Mapping[str, Any]) -> Header:
    """The first line as a value. Raises DocumentError for another format."""
    number = values.get("cloudsched_state")
    if number is None:
        raise DocumentError('a state document begins with {"cloudsched_state": 1, ...}')
    if number != FORMAT:
        raise DocumentError(f"cloudsched_state is {number!r}: this program reads format {FORMAT}")
    hints = get_type_hints(Header)
    _check("the header", values, hints, tuple(hints))
    return Header(**values)


def entry(values: Mapping[str, Any]) -> Entry:
    """Any line between the header and the end. Raises DocumentError naming the field and what is accepted."""
    kind = _BY_NAME.get(str(values.get("kind")))
    if kind is None:
        raise DocumentError(f"the 'kind' of a line must be one of {', '.join(_BY_NAME)}, not {values.get('kind')!r}")
    given = _given(kind, values)
    _check(kind.name, given, kind.hints, kind.required)
    problem = _key_problem(kind, given) or kind.problem(given)
    if problem:
        raise DocumentError(problem)
    return _entry(kind, given)


def known(values: Mapping[str, Any]) -> Entry:
    """A line that `entry` has taken before."""
    kind = _BY_NAME[values["kind"]]
    return _entry(kind, _given(kind, values))


def end(values: Mapping[str, Any], lines: int) -> None:
    """Check the last line. Raises DocumentError unless it counts the `lines` between it and the header."""
    _check("end", {name: value for name, value in values.items() if name != "kind"}, {"lines": int}, ("lines",))
    if values["lines"] != lines:
        raise DocumentError(f"the end counts {values['lines']} lines and {lines} came: something is missing or added")


def line(kind: Kind, row: Mapping[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a line; `shape` is the stored shape of a kind that carries one."""
    flat = asdict(to_shape(shape)) if kind.shapes is not None else {}
    found = {name: flat[name] if name in flat else row[kind.renamed.get(name, name)] for name in kind.hints}
    derived = {name: make({**row, **found}) for name, make in kind.derived.items()}
    return {"kind": kind.name, **found, **derived}


def _given(kind: Kind, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "kind" and name not in kind.derived}


def _entry(kind: Kind, given: Mapping[str, Any]) -> Entry:
    shape = None
    own = dict(given)
    if kind.shapes is not None:
        shape = to_shape({name: own.pop(name) for name in SHAPE_FIELDS if name in own})
        own["shape"] = shape
    value = kind.record(**own)
    row = {column: getattr(value, name) for column, name in kind.columns}
    if shape is not None:
        row |= {"key": shape.key} if kind.name == "shape" else {"shape": shape.key}
    return Entry(kind, row, shape)


def _check(name: str, given: Mapping[str, Any], hints: Mapping[str, Any], required: tuple[str, ...]) -> None:
    for each, value in given.items():
        if each not in hints:
            raise DocumentError(f"{name} has no field {each!r}; its fields are {', '.join(hints)}")
        if not fits(value, hints[each]):
            shown = json.dumps(value, ensure_ascii=False)
            raise DocumentError(f"{name}: {each!r} must be {words(hints[each])}, not {shown[:60]}")
    missing = [each for each in required if each not in given]
    if missing:
        raise DocumentError(f"{name} needs {', '.join(map(repr, missing))}")


def _key_problem(kind: Kind, given: Mapping[str, Any]) -> str:
    """Names that no URL can hold are refused where they are defined (DESIGN 6)."""
    name = given.get(kind.key)
    if isinstance(name, str) and (name in ("", ".", "..") or "\0" in name):
        return f"{kind.name}: {kind.key!r} must be a name, and not empty, '.', '..' or with a NUL: {name!r}"
    return ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice in one object")
    return found


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
