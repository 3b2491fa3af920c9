"""What the daemon knows of the state and of itself, as text and documents (PARITY 2.13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cloudsched.model.snapshot import HEARTBEATS
from cloudsched.render.cells import cell
from cloudsched.render.documents import Document

_POOL = ("clouds", "vms", "machines")
_JOBS = ("jobs", "shapes")
_SEEN_BY = dict.fromkeys(HEARTBEATS, (_POOL, _JOBS)) | {"JobPoller": ((), _JOBS), "MachinePoller": (_POOL, ())}


@dataclass(frozen=True, slots=True)
class SharedState:
    """The state row, how many rows of each kind this picture of it holds, and what polls fail of, by stage."""

    index: int
    revisions: Mapping[str, int]
    rows: Mapping[str, int]
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Process:
    """One process: memory in kB, None where the system does not tell; threads by name."""

    pid: int
    python: str
    resident_kb: int | None
    peak_kb: int | None
    threads: Sequence[str]
    pages: int
    page_bytes: int


def shared_objects(state: SharedState) -> str:
    """v1's layout, by stage of the engine, then what they share: one state, `GET /shared-objs` (PARITY 2.13)."""
    stages = "".join(f"{name} Thread:\n{_objects(state, *seen)}\n" for name, seen in _SEEN_BY.items())
    return f"{stages}State:\nIndex: {state.index}\nRevisions: {_listed(state.revisions)}\nRows: {_listed(state.rows)}\n"


def _objects(state: SharedState, pool: Sequence[str], jobs: Sequence[str]) -> str:
    shown = {"Resource Pool": pool, "Job Pool": jobs}
    return "".join(
        f"{title}: <state {state.index}: {_listed({topic: state.revisions[topic] for topic in topics})}>\n"
        for title, topics in shown.items()
        if topics
    )


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def shared_objects_document(state: SharedState) -> Document:
    """The same as an object."""
    return {"index": state.index, "revisions": dict(state.revisions), "rows": dict(state.rows)}


def developer_information(state: SharedState, process: Process) -> str:
    """Memory and threads of the daemon and what it holds, `GET /developer-info` (PARITY 1.3, I16)."""
    memory = f"resident {_kilobytes(process.resident_kb)}, at most {_kilobytes(process.peak_kb)}"
    threads = "".join(f"   {cell(name)}\n" for name in process.threads)
    problems = "".join(f"   {name}: {cell(sentence)}\n" for name, sentence in sorted(state.problems.items()))
    return (
        f"Process: {process.pid}, Python {process.python}\nMemory: {memory}\n"
        f"State: index {state.index}, {_listed(state.rows)}\n"
        f"Pages: {process.pages}, {process.page_bytes} bytes\n"
        f"Threads: {len(process.threads)}\n{threads}"
        f"Problems: {len(state.problems)}\n{problems}"
    )


def _kilobytes(number: int | None) -> str:
    return "unknown" if number is None else f"{number} kB"


def developer_document(state: SharedState, process: Process) -> Document:
    """The same as an object."""
    return {
        "pid": process.pid,
        "python": process.python,
        "memory": {"resident_kb": process.resident_kb, "peak_kb": process.peak_kb},
        "state": shared_objects_document(state),
        "pages": {"count": process.pages, "bytes": process.page_bytes},
        "threads": list(process.threads),
        "problems": dict(state.problems),
    }
