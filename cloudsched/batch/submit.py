"""HTCondor's submit language, the subset that jobs on VMs need: text in, queued jobs out.

A file that is accepted here means the same to `condor_submit`. What is not in the table of commands is refused by name
and line, never ignored: a job that runs without what its owner asked for is worse than one that is not queued.
Differences: no file is transferred, so jobs run in `initialdir` itself; an undefined macro is an error.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cloudsched.batch import requirements
from cloudsched.batch.arguments import arguments, environment
from cloudsched.batch.attributes import ATTRIBUTES, PREFIX, Attribute, boolean, unquoted, whole
from cloudsched.batch.defaults import shape_defaults
from cloudsched.batch.description import (
    BROKEN,
    QUEUE,
    Setting,
    Statement,
    expand,
    referenced,
    refers_to_itself,
    statements,
    substitute_self,
)
from cloudsched.config.options import JobDefaults
from cloudsched.errors import SubmitError
from cloudsched.model.adapters import QueuedJob
from cloudsched.model.jobs import SHAPE_FIELDS, Job, JobStatus, Shape

MOST_JOBS = 50_000

_UNITS_KB = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT])?B?", re.IGNORECASE)
_PER_PROCESS = re.compile(r"\$\(\s*(process|procid|step)\s*[:)]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Command:
    """One accepted command: what it accepts, in words, and its reading, which raises ValueError."""

    accepted: str
    read: Callable[[str], Any]


def _size(unit: str, result_kb: int) -> Callable[[str], int]:
    """Read a size given in `unit` unless it says otherwise, as whole multiples of `result_kb`, rounded up."""

    def read(text: str) -> int:
        size = _SIZE.fullmatch(text)
        kilobytes = float(size[1]) * _UNITS_KB[(size[2] or unit).upper()] if size else 0
        if kilobytes <= 0:
            raise ValueError
        return math.ceil(kilobytes / result_kb)

    return read


def _word(*accepted: str) -> Command:
    def read(text: str) -> str:
        if text.lower() not in accepted:
            raise ValueError
        return text.lower()

    return Command(" or ".join(accepted), read)


def _priority(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,9}", text):
        raise ValueError
    return int(text)


def _getenv(text: str) -> bool | list[str]:
    if text.lower() in ("true", "false"):
        return boolean(text)
    names = [name.strip() for name in text.split(",")]
    if not all(re.fullmatch(r"!?[\w*?]+", name) for name in names):
        raise ValueError
    return names


_SECONDS = Command("whole seconds from 1", whole(1))
_PATH = Command("a path", str)
COMMANDS: Mapping[str, Command] = {
    "universe": _word("vanilla"),
    "executable": _PATH,
    "arguments": Command("a b c, or \"a 'b c'\"", arguments),
    "environment": Command("\"NAME=value NAME='a b'\", or NAME=value;NAME=value", environment),
    "getenv": Command("true, false, or a list of names, where * stands for anything and ! excludes", _getenv),
    "initialdir": _PATH,
    "input": _PATH,
    "output": _PATH,
    "error": _PATH,
    "log": _PATH,
    "request_cpus": Command("a whole number from 1", whole(1)),
    "request_memory": Command("MB, or a number with K, M, G or T", _size("M", 1024)),
    "request_disk": Command("KB, or a number with K, M, G or T", _size("K", 1)),
    "requirements": Command(requirements.ACCEPTED, requirements.needs),
    "priority": Command("a whole number", _priority),
    "should_transfer_files": _word("yes", "no", "if_needed"),
    "when_to_transfer_output": _word("on_exit", "on_exit_or_evict", "on_success"),
    "notification": _word("always", "complete", "error", "never"),
    "allowed_execute_duration": _SECONDS,
    "allowed_job_duration": _SECONDS,
}
# HTCondor's own commands cannot double as macros: a file that sets one of these asks for what is not available.
_ELSEWHERE = re.compile(
    r"accounting_\w+|append_files|batch_name|concurrency_limits|container_\w+|coresize|cron_\w+|deferral_\w+|docker_\w+"
    r"|dont_encrypt\w+|encrypt_\w+|grid_resource|hold|image_size|input_files|job_\w+|keep_claim_idle|kill_sig\w*"
    r"|leave_in_queue|machine_count|max_retries|max_idle|max_materialize|max_transfer_\w+|nice_user|next_job_\w+"
    r"|noop_job\w*|notify_user|on_exit_\w+|output_destination|periodic_\w+|preserve_\w+|rank|remote_\w+|request_gpus"
    r"|require_gpus|retry_until|skip_\w+|stack_size|stream_\w+|submit_\w+|success_exit_code|transfer_\w+|use_\w+"
    r"|want_\w+|x509userproxy|include|if|elif|else|endif"
)


@dataclass(frozen=True, slots=True)
class _Description:
    """What a whole description is read against; `settings` grow as its statements are met."""

    owner: str
    initialdir: str
    defaults: JobDefaults
    now: int
    macros: frozenset[str]
    settings: dict[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Values:
    """The values in force for one job: commands and known attributes read, other attributes as text."""

    commands: Mapping[str, Any]
    attributes: Mapping[str, Any]
    texts: Mapping[str, str]
    lines: Mapping[str, int]


def parse(text: str, *, owner: str, initialdir: str, defaults: JobDefaults, now: int) -> list[QueuedJob]:
    """Read a submit description into the jobs it queues, in order, with `proc_id` 0, 1, ...

    `owner` is the account that submits, `initialdir` the absolute directory it submits from, `now` Unix seconds.
    `$(Cluster)` stays in the specs for the queue to replace. Raises SubmitError with the line, what is wrong there
    and what is accepted; the caller, who knows the file's name, adds it.
    """
    if not owner:
        raise SubmitError("a job needs an owner.")
    if not posixpath.isabs(initialdir) or BROKEN.search(initialdir):
        raise SubmitError(f"initialdir is {initialdir!r}; accepted is an absolute path.")
    description = _Description(owner, initialdir, defaults, now, referenced(text))
    varies = bool(_PER_PROCESS.search(text))
    jobs: list[QueuedJob] = []
    queued = False
    for statement in statements(text):
        if statement.name == QUEUE:
            jobs += _queue(description, statement, len(jobs), varies)
            queued = True
        else:
            _assign(description, statement)
    if not queued:
        raise SubmitError("there is no queue statement; 'queue' or 'queue N' submits the job.")
    return jobs


def _assign(description: _Description, statement: Statement) -> None:
    name, settings = statement.name, description.settings
    known = name in COMMANDS or name.startswith(PREFIX)
    if not known and (name not in description.macros or _ELSEWHERE.fullmatch(name)):
        raise SubmitError(
            f"{statement.spelled} is not available; accepted are {', '.join(COMMANDS)}, +Attribute, queue "
            "and macros that the description uses.",
            line=statement.line,
        )
    value = statement.value
    if refers_to_itself(name, value):
        value = substitute_self(name, value, settings[name].value if name in settings else "")
    settings[name] = Setting(value, statement.line, statement.spelled)


def _queue(description: _Description, statement: Statement, first: int, varies: bool) -> list[QueuedJob]:
    written = Setting(statement.value, statement.line, statement.spelled)
    count_text = expand(written, description.settings, {}).strip() or "1"
    if not re.fullmatch(r"\d{1,9}", count_text) or not 1 <= int(count_text) <= MOST_JOBS - first:
        raise SubmitError(
            f"queue {count_text} is not available; accepted is 'queue' or 'queue N', up to {MOST_JOBS} jobs together.",
            line=statement.line,
        )
    count = int(count_text)
    if varies:
        return [_job(description, statement.line, first + step, step) for step in range(count)]
    one = _job(description, statement.line, first, 0)
    return [replace(one, job=replace(one.job, proc_id=first + step)) for step in range(count)]


def _job(description: _Description, line: int, process: int, step: int) -> QueuedJob:
    values = _values(description, {"process": str(process), "procid": str(process), "step": str(step)})
    if not values.commands.get("executable"):
        raise SubmitError("there is no executable; 'executable = PATH' names the program to run.", line=line)
    shape = _shape(description, values)
    spec = _spec(description.initialdir, values, shape)
    own = {name: value for name, value in values.attributes.items() if name not in SHAPE_FIELDS}
    job = Job(
        id="",
        shape=shape,
        proc_id=process,
        priority=spec["priority"],
        job_status=JobStatus.IDLE,
        spool_dir=spec["initialdir"],
        submitted_at=description.now,
        **own,
    )
    return QueuedJob(job, spec)


def _values(description: _Description, builtins: Mapping[str, str]) -> _Values:
    commands: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    for name, setting in description.settings.items():
        if not (name in COMMANDS or name.startswith(PREFIX)):
            continue
        text = expand(setting, description.settings, builtins).strip()
        if name in COMMANDS:
            commands[name] = _read(COMMANDS[name], setting, text) if text else None
            lines[name] = setting.line
            continue
        text = _read(Command("a ClassAd literal", unquoted), setting, text)
        texts[setting.spelled.lstrip("+").split(".", 1)[-1]] = text
        known = ATTRIBUTES.get(name)
        if known:
            attributes[known.field] = _known(known, setting, text)
            lines[known.field] = setting.line
    return _Values(commands, attributes, texts, lines)


def _known(attribute: Attribute, setting: Setting, text: str) -> Any:
    if "$(Cluster)" in text:
        raise SubmitError(f"{setting.spelled} uses $(Cluster), whose number is not known yet.", line=setting.line)
    return _read(Command(attribute.accepted, attribute.read), setting, text)


def _read(command: Command, setting: Setting, text: str) -> Any:
    try:
        return command.read(text)
    except ValueError as ex:
        why = f": {ex}" if ex.args else ""
        raise SubmitError(
            f"{setting.spelled} is {text[:200]!r}{why}; accepted is {command.accepted}.", line=setting.line
        ) from None


def _shape(description: _Description, values: _Values) -> Shape:
    needs = values.commands.get("requirements") or requirements.Needs()
    chosen = {name: value for name, value in values.attributes.items() if name in SHAPE_FIELDS}
    if needs.vmtype:
        chosen["req_vmtype"] = needs.vmtype
    disk_kb = max(values.commands.get("request_disk") or 0, needs.disk_kb)
    asked = {
        "req_memory": max(values.commands.get("request_memory") or 0, needs.memory),
        "req_cpucores": max(values.commands.get("request_cpus") or 0, needs.cpus),
        "req_storage": math.ceil(disk_kb / 10**6),
    }
    for name, least in asked.items():
        if least > chosen.setdefault(name, least or shape_defaults(description.defaults)[name]):
            raise SubmitError(
                f"the job asks for {least} {_ASKED[name]} and for a VM that has {chosen[name]}.",
                line=values.lines[name],
            )
    return Shape(**{**shape_defaults(description.defaults), "user": description.owner, **chosen})


_ASKED = {"req_memory": "MB (VMMem)", "req_cpucores": "cpus (VMCPUCores)", "req_storage": "GB (VMStorage)"}


def _spec(submitted_from: str, values: _Values, shape: Shape) -> dict[str, Any]:
    commands = values.commands
    initialdir = _path(submitted_from, commands.get("initialdir")) or submitted_from
    limits = [commands[name] for name in _DURATIONS if commands.get(name)]
    durations = {attribute: str(commands[name]) for name, attribute in _DURATIONS.items() if commands.get(name)}
    return {
        "executable": posixpath.join(submitted_from, commands["executable"]),
        "arguments": commands.get("arguments") or [],
        "environment": commands.get("environment") or {},
        "getenv": commands.get("getenv") or False,
        "initialdir": initialdir,
        **{name: _path(initialdir, commands.get(name)) for name in ("input", "output", "error", "log")},
        "request_cpus": commands.get("request_cpus") or (1 if shape.job_per_core else shape.req_cpucores),
        "request_memory_mb": commands.get("request_memory") or 0,
        "request_disk_kb": commands.get("request_disk") or 0,
        "wall_seconds": min(limits, default=None),
        "priority": commands.get("priority") or 0,
        "attributes": {**values.texts, **durations},
    }


_DURATIONS = {"allowed_execute_duration": "AllowedExecuteDuration", "allowed_job_duration": "AllowedJobDuration"}


def _path(initialdir: str, path: str | None) -> str | None:
    return posixpath.join(initialdir, path) if path else None
