"""The status page: one picture of the moment as HTML, complete without a script.

Everything that comes from a state is escaped here; style and script are the caller's, in the head.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from cloudsched.model.failures import VMFailure
from cloudsched.model.jobs import JobStatus
from cloudsched.model.journal import EntryKind, Recorded
from cloudsched.model.snapshot import Heartbeat
from cloudsched.model.troubles import state
from cloudsched.render import heartbeats, journal, vms
from cloudsched.render.fleet import CloudVMs, Fleet
from cloudsched.render.plots import History, plot

_MOST = 50
_FEW = 10
_PLOTS = (
    ("VMs", {"vms": "all", "vms_running": "running"}),
    ("Jobs", {"jobs_running": "running", "jobs_waiting": "waiting"}),
    ("Idle cores", {"idle_cores": "cores"}),
)
_QUEUE = {
    "waiting": (JobStatus.NEW, JobStatus.IDLE),
    "running": (JobStatus.RUNNING,),
    "held": (JobStatus.HELD, JobStatus.ERROR),
    "finished": (JobStatus.COMPLETE, JobStatus.REMOVED),
}
_SECTIONS = ("Fleet", "Queue", "Heartbeats", "Failures", "Journal", "History")
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%230066cc'"
    " d='M4 13a3 3 0 0 1-.4-6A4.5 4.5 0 0 1 12.3 6a3.5 3.5 0 0 1-.3 7z'/%3E%3C/svg%3E"
)
"""A cloud. Without an icon of its own a browser asks for /favicon.ico, each time in vain."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the page shows; `now` in Unix seconds, `journal` its latest entries, newest first.

    `jobs` counts by job_status and user, `why` jobs by each reason to have no VM; `failures` are of VMs, newest first.
    `late_after` are the seconds by stage after which its heartbeat is late.
    """

    version: str
    index: int
    now: float
    fleet: Fleet
    jobs: Mapping[tuple[int, str], int]
    why: Mapping[str, int]
    beats: Sequence[Heartbeat]
    late_after: Mapping[str, float]
    failures: Sequence[VMFailure]
    journal: Sequence[Recorded]
    history: History


def page(status: Status, style: str, script: str) -> str:
    """The whole document."""
    links = " ".join(f'<a href="#{name.lower()}">{name}</a>' for name in _SECTIONS)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Cloud Scheduler</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel=icon href="{_ICON}"><style>{style}</style></head>\n'
        '<body><a class=skip href="#main">Skip to the figures</a>'
        f"<header><h1>Cloud Scheduler <small>{escape(status.version)}</small></h1>"
        f"<nav aria-label=Sections>{links}</nav>"
        f"<p id=live><noscript>A picture of {journal.when(status.now)}; reload for another.</noscript></p>"
        "</header>\n"
        f"<main id=main tabindex=-1>{_main(status)}</main>\n<script>{script}</script></body></html>\n"
    )


def _main(status: Status) -> str:
    parts = (
        _fleet(status.fleet),
        _queue(status.jobs),
        _beats(status),
        _failures(status),
        _journal(status.journal),
        "".join(plot(title, names, status.history, int(status.now // 60)) for title, names in _PLOTS),
    )
    sections = map(_section, _SECTIONS, parts)
    return f"<p class=index>State index {status.index}</p>{''.join(sections)}"


def _section(name: str, content: str) -> str:
    key = name.lower()
    return f"<section id={key} aria-labelledby={key}-title><h2 id={key}-title>{name}</h2>{content}</section>"


def _fleet(fleet: Fleet) -> str:
    states = list(vms.states(fleet.vms))
    rows = [_cloud_row(each, states) for each in (*fleet.active, *fleet.removed)]
    return _table("Clouds and their VMs by state", ("Cloud", "Condition", "VMs", "Quota", *states, "Draining"), rows)


def _cloud_row(each: CloudVMs, states: Sequence[str]) -> list[object]:
    counts = vms.states(each.vms)
    shown = [counts.get(state, 0) for state in states]
    return [each.cloud.name, _condition(each), len(each.vms), each.cloud.vm_slots, *shown, len(each.retired)]


def _condition(each: CloudVMs) -> str:
    cloud = each.cloud
    words = {
        "removed": cloud.removed,
        "unusable": cloud.unusable is not None,
        "unread": cloud.stale,
        state(cloud.trouble): cloud.trouble is not None,
        "no connection": cloud.connection_problem,
        "disabled": not cloud.enabled and cloud.unusable is None,
    }
    return ", ".join(word for word, holds in words.items() if holds) or "enabled"


def _queue(jobs: Mapping[tuple[int, str], int]) -> str:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    columns: dict[int, str] = {status: word for word, statuses in _QUEUE.items() for status in statuses}
    for (status, user), number in jobs.items():
        counts[user][columns.get(status, "waiting")] += number
    users = sorted(counts, key=lambda user: (-counts[user]["waiting"] - counts[user]["running"], user))
    rows = [[user, *(counts[user][word] for word in _QUEUE)] for user in users[:_MOST]]
    rest = sum((counts[user] for user in users[_MOST:]), Counter[str]())
    rows += [[f"{len(users) - _MOST} others", *(rest[word] for word in _QUEUE)]] if users[_MOST:] else []
    return _table("Jobs by user", ("User", *_QUEUE), rows) if rows else "<p>No jobs.</p>"


def _beats(status: Status) -> str:
    rows = [_beat(b, int(status.late_after[b.name]), status.now) for b in heartbeats.in_order(status.beats)]
    headings = ("Stage", "Condition", "Ago, s", "Every, s", "Late after, s")
    table = _table("Seconds since each stage ended a cycle", headings, rows)
    checks = '<p><a href="/health/ready">Every check</a></p>'
    return (table if rows else "<p>No scheduler has ever run on this state.</p>") + checks


def _beat(beat: Heartbeat, limit: int, now: float) -> list[object]:
    age = heartbeats.age_seconds(beat, now)
    return [beat.name, "late" if age > limit else "on time", age, beat.interval_seconds, limit]


def _journal(entries: Sequence[Recorded]) -> str:
    rows = [
        [
            journal.when(each.entry.at),
            _verb(each),
            journal.target(each),
            journal.told(each),
            _link(each),
        ]
        for each in entries
    ]
    return _table("The latest entries", ("When", "Verb", "For", "What", "More"), rows) if rows else "<p>None yet.</p>"


def _verb(recorded: Recorded) -> str:
    ended = " ended" if recorded.entry.kind is EntryKind.OUTCOME else ""
    return f"{recorded.entry.verb}{ended}"


def _link(recorded: Recorded) -> str:
    operation = recorded.entry.operation
    return f"/journal/{recorded.chain}:{recorded.id}" if operation is None else f"/operations/{operation}"


def _failures(status: Status) -> str:
    clouds = [each.cloud for each in status.fleet.active]
    rows = [[count, reason] for reason, count in Counter(status.why).most_common(_FEW)]
    jobs = (
        _table("Why jobs have no VM", ("Jobs", "Reason"), rows)
        if rows
        else "<p>Every job has a VM or waits its turn.</p>"
    )
    errors = [[each.name, each.unusable or each.last_error] for each in clouds if each.unusable or each.last_error]
    images = [[each.name, image] for each in clouds for image in each.failed_images]
    lost = [[journal.when(each.failed_at), each.cloud, each.uid, each.reason] for each in status.failures[:_FEW]]
    return (
        jobs
        + (_table("What clouds last complained of", ("Cloud", "Error"), errors) if errors else "")
        + (_table("Images that fail", ("Cloud", "Image"), images) if images else "")
        + (_table("VMs that were of no use", ("When", "Cloud", "VM", "Reason"), lost) if lost else "")
    )


def _table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in a box of its own that scrolls, by keyboard too."""
    numbers = [isinstance(each, int) for each in rows[0]] if rows else [False] * len(headings)
    head = "".join(map(_heading, headings, numbers))
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div role=region aria-label="{escape(caption)}" tabindex=0><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _heading(text: str, is_number: bool) -> str:
    return f"<th scope=col{' class=number' if is_number else ''}>{escape(text)}</th>"


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"<td class=number>{value}</td>"
    text = escape(str(value))
    return (
        f'<td><a href="{text}">{text}</a></td>'
        if text.startswith(("/operations/", "/journal/"))
        else f"<td>{text}</td>"
    )
