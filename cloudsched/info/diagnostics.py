"""For those who look into the daemon: what it shares with the others, its memory and threads (I16, I20)."""

from __future__ import annotations

import os
import platform
import threading
from dataclasses import asdict
from pathlib import Path

from cloudsched.info.forms import Page
from cloudsched.info.picture import Picture
from cloudsched.render import diagnostics, documents
from cloudsched.render.diagnostics import Process, SharedState

_STATUS = Path("/proc/self/status")


def shared_objects(picture: Picture) -> Page:
    """`GET /shared-objs`: v1's could only fail (B-06)."""
    state = _shared_state(picture)
    return Page(
        text=lambda: diagnostics.shared_objects(state),
        document=lambda: documents.encode(diagnostics.shared_objects_document(state)),
    )


def developer_information(picture: Picture) -> Page:
    """`GET /developer-info`."""
    state, process = _shared_state(picture), _process(picture)
    return Page(
        text=lambda: diagnostics.developer_information(state, process),
        document=lambda: documents.encode(diagnostics.developer_document(state, process)),
    )


def _shared_state(picture: Picture) -> SharedState:
    contents = picture.contents
    revisions = asdict(contents.row)
    index = revisions.pop("index")
    held = {
        name: len(getattr(contents, name)) for name in ("clouds", "shapes", "machines", "user_limits", "cloud_aliases")
    }
    held["vms"] = sum(map(len, contents.vms.values()))
    held["jobs"] = sum(len(each.rows) for each in contents.listings.values())
    return SharedState(index, revisions, held, contents.problems)


def _process(picture: Picture) -> Process:
    memory = _memory()
    pages, page_bytes = picture.rendered()
    return Process(
        pid=os.getpid(),
        python=platform.python_version(),
        resident_kb=memory.get("VmRSS"),
        peak_kb=memory.get("VmHWM"),
        threads=sorted(thread.name for thread in threading.enumerate()),
        pages=pages,
        page_bytes=page_bytes,
    )


def _memory() -> dict[str, int]:
    """Sizes in kB as Linux tells them (proc_pid_status(5)); nothing elsewhere."""
    try:
        lines = _STATUS.read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {name.removesuffix(":"): int(size) for name, size, _ in sizes}
