"""One published picture for all documents, so that no two of them disagree or go backwards (DESIGN 6)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from cloudsched.info.contents import NOTHING, Contents, read
from cloudsched.info.freshness import Shared
from cloudsched.model.jobs import Job, JobGroup, Machine
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy.machines import slots_by_vm
from cloudsched.render import documents
from cloudsched.render.fleet import Fleet, fleet
from cloudsched.store import StateRow, Store
from cloudsched.web.negotiate import TEXT

PUBLISH_SECONDS = 0.2
"""Commits of mere observations are published no more often than this."""


@dataclass(frozen=True, slots=True)
class Page:
    """Something a picture shows, in both its forms; `document` makes encoded JSON.

    A page with a `key` is rendered once, and again only after one of the `topics` it is made of has changed;
    `index` stands for all of them.
    """

    text: Callable[[], str]
    document: Callable[[], str]
    key: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    text_type: str = TEXT

    def body(self, as_json: bool) -> bytes:
        """The page in one of its forms, as UTF-8."""
        return (self.document if as_json else self.text)().encode(errors="replace")


class Picture:
    """The state at one index, and what has been rendered of it; safe to use from any thread."""

    def __init__(self, contents: Contents, before: Picture | None = None) -> None:
        self.contents = contents
        self._rendering = threading.Lock()
        self._bodies: dict[tuple[tuple[str, ...], bool], tuple[tuple[str, ...], bytes]] = {}
        self._vm_texts: dict[str, tuple[VM, str]] = {}
        if before is not None:
            self._inherit(before)

    def _inherit(self, before: Picture) -> None:
        """Take over what is still true; the other picture may be rendering meanwhile."""
        for key, (topics, body) in before._bodies.copy().items():
            if all(getattr(self.contents.row, topic) == getattr(before.contents.row, topic) for topic in topics):
                self._bodies[key] = topics, body
        self._vm_texts = {
            uid: (vm, text) for uid, (vm, text) in before._vm_texts.copy().items() if self.contents.vms.get(uid) is vm
        }

    @property
    def index(self) -> int:
        """The state index this picture shows."""
        return self.contents.row.index

    @cached_property
    def fleet(self) -> Fleet:
        """Clouds with their VMs, in v1's order."""
        return fleet(self.contents.clouds.values(), self.contents.vms.values())

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """Every job in the order of submission."""
        return tuple(sorted(self.contents.jobs.values(), key=lambda job: (job.cluster_id, job.proc_id, job.id)))

    @cached_property
    def reasons(self) -> Mapping[str, tuple[str, ...]]:
        """Why the waiting jobs of each shape have no VM."""
        return {key: explained.reasons for key, explained in self.contents.shapes.items() if explained.reasons}

    @cached_property
    def missing_machines(self) -> tuple[Machine, ...]:
        """Batch machines that belong to no VM of ours, by name."""
        return tuple(slots_by_vm(self.snapshot).get("", ()))

    @cached_property
    def snapshot(self) -> Snapshot:
        """What the planner's questions are asked of; it knows no time."""
        contents = self.contents
        return Snapshot(
            index=self.index,
            now=0,
            clouds=tuple(contents.clouds.values()),
            vms=tuple(sorted((vm for vm in contents.vms.values() if not vm.released), key=lambda vm: vm.position)),
            shapes={key: explained.shape for key, explained in contents.shapes.items()},
            groups=tuple(_groups(contents.jobs.values())),
            machines=tuple(contents.machines[name] for name in sorted(contents.machines)),
            user_limits=contents.user_limits,
            cloud_aliases=contents.cloud_aliases,
            jobs_known=True,
            machines_known=True,
        )

    def vm_text(self, vm: VM) -> str:
        """A VM's document, encoded once for as long as the VM stays as it is."""
        known = self._vm_texts.get(vm.uid)
        if known is None or known[0] is not vm:
            self._vm_texts[vm.uid] = known = (vm, documents.encode_vm(vm))
        return known[1]

    def body(self, page: Page, as_json: bool) -> bytes:
        """A page in one of its forms, as UTF-8."""
        if not page.key:
            return page.body(as_json)
        key = (page.key, as_json)
        if key not in self._bodies:
            with self._rendering:
                if key not in self._bodies:
                    self._bodies[key] = page.topics, page.body(as_json)
        return self._bodies[key][1]

    def rendered(self) -> tuple[int, int]:
        """How many rendered pages are kept, and how many bytes they are."""
        kept = [body for _, body in self._bodies.copy().values()]
        return len(kept), sum(map(len, kept))


def _groups(jobs: Iterable[Job]) -> list[JobGroup]:
    counts = Counter(
        (job.shape.key, job.priority, job.job_status, job.status, job.banned, job.blocked_clouds)
        for job in jobs
        if not job.problem
    )
    return [JobGroup(*kind, jobs=number) for kind, number in sorted(counts.items())]


class Pictures:
    """Publishes pictures of a store; one object per process."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._published: Picture | None = None
        self._published_at = 0.0
        self.current = Shared(self._fresh)
        """The picture to answer with: `current()` never shows less than what was committed by a verb before the call,
        nor observations older than PUBLISH_SECONDS. Raises StateUnavailable."""

    def _fresh(self) -> Picture:
        row, shown = self._store.state(), self._published
        if shown is None or self._is_due(row, shown.contents.row):
            contents = read(self._store, shown.contents if shown else NOTHING)
            self._published = shown = Picture(contents, shown)
            self._published_at = self._clock()
        return shown

    def _is_due(self, row: StateRow, shown: StateRow) -> bool:
        if row.verbs != shown.verbs or row.index < shown.index:
            return True
        return row.index != shown.index and self._clock() - self._published_at >= PUBLISH_SECONDS
