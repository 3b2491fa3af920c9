"""How each cloud answers: its state, why, since when, when it is tried next and when it last answered well.

Of clouds on the scheduler's own host also what stands between VMs and host (`enforced`), and what does not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from cloudsched.model.clouds import Cloud
from cloudsched.model.troubles import Trouble, state
from cloudsched.render.cells import cell

_HEADING = f"{'CLOUD':<15} {'STATE':<12} {'SINCE':<20} {'NEXT TRY':<20} {'LAST GOOD':<20} CAUSE\n"


def health(trouble: Trouble | None, last_good: float | None = None) -> dict[str, object]:
    """How a cloud answers; `last_good`, where it is known, is newer than what the trouble remembers."""
    if trouble is None:
        known = {"cause": "", "since": None, "next_try": None, "failures": 0}
    else:
        known = {name: getattr(trouble, name) for name in ("cause", "since", "next_try", "failures")}
    remembered = trouble.last_good if trouble is not None else None
    return {"state": state(trouble), **known, "last_good": last_good if last_good is not None else remembered}


def table(clouds: Iterable[Cloud], last_good: Mapping[str, float | None], enforced: Mapping[str, str]) -> str:
    """Every cloud in a line; times in UTC, `-` where there is none. Then what each enforces that is on this host."""
    known = list(clouds)
    rows = "".join(_row(cloud, health(cloud.trouble, last_good.get(cloud.name))) for cloud in known)
    said = [f"{cell(each.name)}: {cell(enforced[each.name])}\n" for each in known if each.name in enforced]
    return _HEADING + rows + "".join(["\n", *said] if said else [])


def document(
    clouds: Iterable[Cloud], last_good: Mapping[str, float | None], enforced: Mapping[str, str]
) -> dict[str, object]:
    """The same as an object; times in Unix seconds."""
    return {"clouds": [row(each, last_good, enforced) for each in clouds]}


def row(cloud: Cloud, last_good: Mapping[str, float | None], enforced: Mapping[str, str]) -> dict[str, object]:
    """A cloud's part of the document."""
    known = health(cloud.trouble, last_good.get(cloud.name))
    return {"name": cloud.name, **known, "enforced": enforced.get(cloud.name)}


def _row(cloud: Cloud, shown: Mapping[str, object]) -> str:
    times = " ".join(f"{_at(shown[name]):<20}" for name in ("since", "next_try", "last_good"))
    return f"{cell(cloud.name):<15} {shown['state']:<12} {times} {cell(shown['cause'])}".rstrip() + "\n"


def _at(at: object) -> str:
    return "-" if not isinstance(at, (int, float)) else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
