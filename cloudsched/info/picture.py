"""One published picture for all documents, so that no two of them disagree or go backwards (DESIGN 6)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cloudsched.errors import StateError
from cloudsched.info.contents import NOTHING, Contents, read
from cloudsched.info.freshness import Shared
from cloudsched.model.jobs import Job, JobGroup, Machine
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy.machines import slots_by_vm
from cloudsched.render import documents
from cloudsched.render.fleet import Fleet, fleet
from cloudsched.store import StateRow, Store
from cloudsched.store.glance import Glance
from cloudsched.web.negotiate import JSON, TEXT
from cloudsched.web.ready import SMALLEST_GZIP, Environ, Form, Key, Ready, asked, compressed, ready

PUBLISH_SECONDS = 0.2
"""Commits of mere observations are published no more often than this."""

MOST_ASKED = 512
"""How many ways of asking for a page are remembered."""


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """The form a client asks for; `mark` tells forms of one URL apart in the tag."""

    as_json: bool
    gzip: bool = False
    mark: str = ""


@dataclass(slots=True)
class _Kept:
    """Something rendered, for as long as the topics it was made of stay as they are."""

    topics: tuple[str, ...]
    made: Any


class Picture:
    """The state at one index, and what has been rendered of it; safe to use from any thread."""

    def __init__(self, contents: Contents, before: Picture | None = None) -> None:
        self.contents = contents
        self._rendering = threading.Lock()
        self._bodies: dict[tuple[object, ...], _Kept] = {}
        self._asked: dict[Key, _Kept] = {}
        self._vm_texts: dict[str, tuple[VM, str]] = {}
        if before is not None:
            self._inherit(before)

    def _inherit(self, before: Picture) -> None:
        """Take over what is still true; the other picture may be rendering meanwhile."""
        now, then = self.contents.row, before.contents.row
        same = {topic for topic in StateRow.__dataclass_fields__ if getattr(now, topic) == getattr(then, topic)}
        self._bodies = {key: kept for key, kept in before._bodies.copy().items() if same.issuperset(kept.topics)}
        self._asked = {key: kept for key, kept in before._asked.copy().items() if same.issuperset(kept.topics)}
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

    def revision(self, topics: Iterable[str]) -> int:
        """The state index at which one of the topics last changed; this picture's for none."""
        return max((getattr(self.contents.row, topic) for topic in topics), default=self.index)

    def made(self, page: Page, wanted: Wanted) -> Ready:
        """A page in the form asked for, rendered if it has not been since its topics changed."""
        body, encoding = self.body(page, wanted.as_json), ""
        if wanted.gzip and len(body) >= SMALLEST_GZIP:
            body, encoding = self._compressed(page, wanted.as_json, body), "gzip"
        content_type = JSON if wanted.as_json else page.text_type
        return ready(body, Form(content_type, self.revision(page.topics), wanted.mark, encoding))

    def _compressed(self, page: Page, as_json: bool, body: bytes) -> bytes:
        if not page.key:
            return compressed(body)
        return self._once((page.key, as_json, "gzip"), page.topics, lambda: compressed(body))

    def body(self, page: Page, as_json: bool) -> bytes:
        """A page in one of its forms, as UTF-8."""
        if not page.key:
            return page.body(as_json)
        return self._once((page.key, as_json), page.topics, lambda: page.body(as_json))

    def _once(self, key: tuple[object, ...], topics: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
        if key not in self._bodies:
            with self._rendering:
                if key not in self._bodies:
                    self._bodies[key] = _Kept(topics, make())
        made: bytes = self._bodies[key].made
        return made

    def keep(self, environ: Environ, made: Ready, topics: tuple[str, ...]) -> None:
        """Keep an answer for who asks for it in the same words; when too many are kept, all are forgotten."""
        key = asked(environ)
        if key is not None:
            if len(self._asked) >= MOST_ASKED:
                self._asked.clear()
            self._asked[key] = _Kept(topics, made)

    def answer(self, environ: Environ) -> Ready | None:
        """What has been kept for a request."""
        key = asked(environ)
        kept = None if key is None else self._asked.get(key)
        return None if kept is None else kept.made

    def rendered(self) -> tuple[int, int]:
        """How many rendered pages are kept, and how many bytes they are."""
        kept = [each.made for each in self._bodies.copy().values()]
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
        self._glance = Glance(store, clock)
        self._published: Picture | None = None
        self._published_at = 0.0
        self._looked = Shared(self._fresh)

    def current(self) -> Picture:
        """The picture to answer with: it never shows less than what was committed by a verb before the call.

        Observations are no older than PUBLISH_SECONDS. Raises StateUnavailable.
        """
        if self._published is not None and self._glance.is_current():
            return self._published
        return self._looked()

    def answer(self, environ: Environ) -> Ready | None:
        """What is ready for a request; None also while the state cannot be read, which is somebody else's to say."""
        try:
            return self.current().answer(environ)
        except StateError:
            return None

    def _fresh(self) -> Picture:
        row, shown = self._glance.row(), self._published
        if shown is None or self._is_due(row, shown.contents.row):
            contents = read(self._store, shown.contents if shown else NOTHING)
            self._published = shown = Picture(contents, shown)
            self._published_at = self._clock()
        self._glance.trust()
        return shown

    def _is_due(self, row: StateRow, shown: StateRow) -> bool:
        if row.verbs != shown.verbs or row.index < shown.index:
            return True
        return row.index != shown.index and self._clock() - self._published_at >= PUBLISH_SECONDS
