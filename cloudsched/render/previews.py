"""What a verb would do, as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from cloudsched.model.previews import Foreseen, Preview, RunningJob, StruckVM
from cloudsched.render.cells import cell

_SHOWN = 100
"""So many VMs and jobs are named in the text; the JSON has them all."""


def document(preview: Preview) -> dict[str, Any]:
    """A preview as JSON: its id, what would change, which VMs and running jobs it would hit, what that costs."""
    return {
        "preview": preview.id,
        "verb": preview.verb,
        "index": preview.index,
        "targets": [_target(each) for each in preview.targets],
        "vms": [_vm(each) for each in preview.vms],
        "jobs": [_job(each) for each in preview.jobs],
        "vms_hit": len(preview.vms),
        "jobs_hit": len(preview.jobs),
        "jobs_lost": len(preview.lost),
        "core_hours_lost": round(preview.core_hours_lost, 3),
    }


def text(preview: Preview) -> str:
    """A preview as lines: the sum, each target, VM and job, and how to have exactly this done."""
    lines = [summary(preview)]
    lines += _first(map(_target_line, preview.targets), len(preview.targets), "targets")
    lines += _first(map(_vm_line, preview.vms), len(preview.vms), "VMs")
    lines += _first(map(_job_line, preview.jobs), len(preview.jobs), "jobs")
    lines.append(f"To do exactly this: preview={preview.id}")
    return "".join(f"{cell(line)}\n" for line in lines)


def summary(preview: Preview) -> str:
    """What would be hit and lost, in one line."""
    fates = Counter(each.fate.value for each in preview.vms)
    vms = f" ({', '.join(f'{count} {fate}' for fate, count in sorted(fates.items()))})" if fates else ""
    return (
        f"{preview.verb} would hit {len(preview.vms)} VM(s){vms} and {len(preview.jobs)} running job(s);"
        f" {len(preview.lost)} of those lost, with {preview.core_hours_lost:.1f} core-hours."
    )


def _target(each: Foreseen) -> dict[str, Any]:
    names = [*each.after, *(name for name in each.before if name not in each.after)]
    changes = {name: {"before": each.before.get(name), "after": each.after.get(name)} for name in names}
    found = {"kind": each.kind, "name": each.label or each.name, "aspect": each.aspect, "changes": changes}
    return {**found, "problem": each.problem or None}


def _vm(each: StruckVM) -> dict[str, Any]:
    names = ("uid", "id", "cloud", "user", "status")
    return {**{name: getattr(each, name) for name in names}, "fate": each.fate.value}


def _job(each: RunningJob) -> dict[str, Any]:
    return {name: getattr(each, name) for name in ("id", "number", "user", "vm", "cores", "seconds", "lost")}


def _target_line(each: Foreseen) -> str:
    found = _target(each)
    what = " ".join(filter(None, (each.kind, found["name"])))
    told = [f"{name}: {_value(e['before'])} -> {_value(e['after'])}" for name, e in found["changes"].items()]
    told += [f"will fail: {each.problem}"] if each.problem else []
    return f"{what}: {each.aspect}{'; ' if told else ''}{'; '.join(told)}"


def _vm_line(each: StruckVM) -> str:
    return f"VM {each.id} of {each.user or 'nobody'} on {each.cloud}, {each.status}: {each.fate.value}"


def _job_line(each: RunningJob) -> str:
    fate = "lost" if each.lost else "may finish"
    return f"job {each.number} of {each.user}, {each.seconds} s on {each.cores} core(s): {fate}"


def _first(lines: Iterable[str], count: int, what: str) -> Iterator[str]:
    yield from (line for line, _ in zip(lines, range(_SHOWN), strict=False))
    if count > _SHOWN:
        yield f"... and {count - _SHOWN} more {what}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
