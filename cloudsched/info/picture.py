"""One published picture for all documents, so that no two of them disagree or go backwards (DESIGN 6)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from cloudsched.info import memory
from cloudsched.info.contents import NOTHING, Contents, Wanted, read
from cloudsched.info.forms import Asked, Page
from cloudsched.info.freshness import Shared
from cloudsched.info.news import Awaited, News
from cloudsched.info.queue import Queue, groups
from cloudsched.model.jobs import Job, Machine, Shape
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.policy.machines import slots_by_vm
from cloudsched.render import documents, jobs, vms
from cloudsched.render.fleet import CloudVMs, Fleet, cloud_vms, fleet_of
from cloudsched.store import StateRow, Store, queues, state_row
from cloudsched.store.glance import Glance
from cloudsched.store.queues import Census
from cloudsched.web.negotiate import JSON
from cloudsched.web.ready import SMALLEST_GZIP, Environ, Form, Key, Ready, asked, compressed, ready

T = TypeVar("T")

PUBLISH_SECONDS = 0.2
"""Commits of mere observations are published no more often than this."""

MOST_ASKED = 512
"""How many ways of asking for a page are remembered."""

FEW = 100
"""Texts of VMs that are gone are kept until there are more of them than this and than a quarter of the others."""

REST_SECONDS = 2.0
"""How long nobody must ask until memory is given back."""

KEPT_AT_REST = 32 << 20
"""Bytes of queues that are kept all the same, the short ones first: to read them again would take its time."""

MOST_UNREAD = 50
"""After how many changes of the jobs a queue is forgotten that nobody reads."""


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
        self._pieces: dict[tuple[str, str], tuple[CloudVMs, Any]] = {}
        self._clouds: dict[str, CloudVMs] = {}
        if before is not None:
            self._inherit(before)

    def _inherit(self, before: Picture) -> None:
        """Take over what is still true; the other picture may be rendering meanwhile."""
        now, then = self.contents.row, before.contents.row
        same = {topic for topic in StateRow.__dataclass_fields__ if getattr(now, topic) == getattr(then, topic)}
        self._bodies = {key: kept for key, kept in before._bodies.copy().items() if same.issuperset(kept.topics)}
        self._asked = {key: kept for key, kept in before._asked.copy().items() if same.issuperset(kept.topics)}
        self._vm_texts, self._pieces = before._vm_texts, before._pieces
        count = sum(map(len, self.contents.vms.values()))
        if len(self._vm_texts) > count + count // 4 + FEW:
            self._tidy()
        self._clouds = {
            name: each
            for name, each in before._clouds.copy().items()
            if self.contents.clouds.get(name) is each.cloud
            and self.contents.vms.get(name) is before.contents.vms.get(name)
        }

    def _tidy(self) -> None:
        """Forget the texts of VMs and clouds that are gone; the other picture may be adding to them."""
        known = {uid for vms in self.contents.vms.values() for uid in vms}
        for uid in self._vm_texts.copy().keys() - known:
            self._vm_texts.pop(uid, None)
        for key in [key for key in self._pieces.copy() if key[1] not in self.contents.clouds]:
            self._pieces.pop(key, None)

    @property
    def index(self) -> int:
        """The state index this picture shows."""
        return self.contents.row.index

    @cached_property
    def fleet(self) -> Fleet:
        """Clouds with their VMs, in v1's order."""
        contents, clouds = self.contents, self._clouds
        for name, cloud in contents.clouds.items():
            if name not in clouds:
                clouds[name] = cloud_vms(cloud, contents.vms.get(name, {}).values())
        return fleet_of(clouds[name] for name in contents.clouds)

    @property
    def is_sorted(self) -> bool:
        """Whether `fleet` is there already; to make it of 100,000 VMs takes a while."""
        return "fleet" in self.__dict__

    def listed(self, word: str, as_json: bool) -> Iterator[str]:
        """The encoded jobs of a queue in the order of submission."""
        return self.contents.listings[Queue(word, as_json)].texts()

    @property
    def census(self) -> Census:
        """How many jobs of each kind there are."""
        assert self.contents.census is not None
        return self.contents.census

    @cached_property
    def reasons(self) -> Mapping[str, tuple[str, ...]]:
        """Why the waiting jobs of each shape have no VM."""
        return {key: explained.reasons for key, explained in self.contents.shapes.items() if explained.reasons}

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The shapes of the jobs, by their keys."""
        return {key: explained.shape for key, explained in self.contents.shapes.items()}

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
            vms=tuple(sorted(self._ours(), key=lambda vm: vm.position)),
            shapes=self.shapes,
            groups=tuple(groups(contents.census or {})),
            machines=tuple(contents.machines[name] for name in sorted(contents.machines)),
            user_limits=contents.user_limits,
            cloud_aliases=contents.cloud_aliases,
            jobs_known=True,
            machines_known=True,
        )

    def _ours(self) -> Iterator[VM]:
        return (vm for vms in self.contents.vms.values() for vm in vms.values() if not vm.released)

    def piece(self, kind: str, each: CloudVMs, make: Callable[[CloudVMs], T]) -> T:
        """Something made of one cloud and its VMs, made once for as long as they stay as they are."""
        key = kind, each.cloud.name
        known = self._pieces.get(key)
        if known is None or known[0] is not each:
            self._pieces[key] = known = (each, make(each))
        found: T = known[1]
        return found

    def cloud_body(self, each: CloudVMs) -> bytes:
        """A cloud's document with those of its VMs, encoded once for as long as they stay as they are."""
        return self.piece("document", each, lambda each: documents.cloud(each, self.vm_text))

    def vm_rows(self, each: CloudVMs) -> vms.Rows:
        """A cloud's VMs as rows of text."""
        return self.piece("rows", each, vms.rows)

    def vm_text(self, vm: VM) -> str:
        """A VM's document, encoded once for as long as the VM stays as it is."""
        known = self._vm_texts.get(vm.uid)
        if known is None or known[0] is not vm:
            self._vm_texts[vm.uid] = known = (vm, documents.encode_vm(vm))
        return known[1]

    def revision(self, topics: Iterable[str]) -> int:
        """The state index at which one of the topics last changed; this picture's for none."""
        return max((getattr(self.contents.row, topic) for topic in topics), default=self.index)

    def made(self, page: Page, wanted: Asked) -> Ready:
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

    def at_rest(self) -> Picture:
        """The same without what is quickly made again, and without long queues."""
        contents, kept, size = self.contents, {}, 0
        for queue, listing in sorted(contents.listings.items(), key=lambda each: each[1].size):
            size += listing.size
            if size <= KEPT_AT_REST:
                kept[queue] = listing
        found = Picture(replace(contents, listings=kept, census=None))
        found._vm_texts, found._pieces, found._clouds = self._vm_texts, self._pieces, self._clouds.copy()
        return found

    def holds(self, wanted: Wanted) -> bool:
        """Whether it has what is wanted of the jobs."""
        has_census = self.contents.census is not None or not wanted.census
        return has_census and wanted.queues <= self.contents.listings.keys()

    def has(self, page: Page, as_json: bool) -> bool:
        """Whether a page has been rendered."""
        return (page.key, as_json) in self._bodies

    def rendered(self) -> tuple[int, int]:
        """How many rendered pages are kept, and how many bytes they are."""
        kept = [each.made for each in self._bodies.copy().values()]
        return len(kept), sum(map(len, kept))


class Pictures:
    """Publishes pictures of a store; one object per process."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic, seats: int = 24) -> None:
        self._store, self._clock = store, clock
        self.news = News(self.current, seats)
        self._glance = Glance(store, clock)
        self._publishing = threading.Lock()
        self._published: Picture | None = None
        self._published_at = 0.0
        self._unread: dict[Queue, int] = {}
        self._was_asked = False
        self._timer: threading.Timer | None = None
        self._looked = Shared(self._fresh)

    def current(self) -> Picture:
        """The picture to answer with: it never shows less than what was committed by a verb before the call.

        Observations are no older than PUBLISH_SECONDS. Raises StateUnavailable.
        """
        self._was_asked = True
        shown = self._published if self._glance.is_current() else None
        return shown or self._looked()

    def at_hand(self) -> Picture | None:
        """The same where it takes no look at the database, which is left to who asks for the current one."""
        self._was_asked = True
        return self._published if self._glance.is_trusted() else None

    def after(self, awaited: Awaited, topics: tuple[str, ...], has_left: Callable[[], bool]) -> Picture:
        """A picture in which one of the topics changed after an index, or the current one when waiting is over.

        A state whose index is below the client's is another state, which is news. Raises StateUnavailable, also when
        there is no seat.
        """

        def is_there() -> bool:
            picture = self.current()
            return picture.index < awaited.index or picture.revision(topics) > awaited.index

        self.news.wait(is_there, awaited.seconds, has_left)
        return self.current()

    def holding(self, wanted: Wanted) -> Picture:
        """The current picture, or a newer one, that holds of the jobs what is wanted. Raises StateUnavailable."""
        self._unread.update(dict.fromkeys(wanted.queues, 0))
        picture = self.current()
        if picture.holds(wanted):
            return picture
        with self._publishing:
            # Whoever waited here may find that another one has read it.
            shown = self._published
            if shown is None or not shown.holds(wanted):
                shown = self._publish(wanted.census)
        return shown

    def reach(self, index: int) -> None:
        """Publish a newer picture where the current one shows less than this. Raises StateUnavailable."""
        if self.current().index < index:
            with self._publishing:
                if self._published is None or self._published.index < index:
                    self._publish()

    def job(self, *references: str) -> tuple[Picture, Job | None]:
        """The first of some jobs that there is, and a picture of the same moment. Raises StateUnavailable.

        A reference is an id, or else CLUSTER.PROC.
        """
        numbers = jobs.numbers(references)
        picture = self.current()
        with self._store.looking() as connection:
            found = queues.job(connection, references, numbers, picture.shapes)
        if found and found.revision <= picture.index:
            return picture, found.job
        while True:
            with self._store.reading() as connection:
                found = queues.job(connection, references, numbers)
                row = None if found and found.revision <= picture.index else state_row(connection)
            if row is None or row.jobs <= picture.contents.row.jobs:
                return picture, found.job if found else None
            # The job has changed, or gone, since the picture was made.
            with self._publishing:
                picture = self._publish()

    def _fresh(self) -> Picture:
        with self._publishing:
            row, shown = self._glance.row(), self._published
            if shown is None or self._is_due(row, shown.contents.row):
                shown = self._publish()
            self._glance.trust()
            if self._timer is None:
                self._wait_for_rest()
            return shown

    def _wait_for_rest(self) -> None:
        self._was_asked = False
        self._timer = threading.Timer(REST_SECONDS, self._rest_now)
        self._timer.name = "memory-rest"
        self._timer.daemon = True
        self._timer.start()

    def _rest_now(self) -> None:
        """Give memory back when nobody has asked for a while; the next one who asks starts the wait again."""
        with self._publishing:
            self._timer = None
            if self._was_asked:
                self._wait_for_rest()
                return
            if self._published is not None:
                self._published = self._published.at_rest()
                self._unread = {each: self._unread.get(each, 0) for each in self._published.contents.listings}
        memory.give_back()

    def _publish(self, census: bool = False) -> Picture:
        """Read what has changed and show it; for one thread at a time."""
        shown = self._published
        read_lately = frozenset(each for each, times in self._unread.items() if times <= MOST_UNREAD)
        contents = read(self._store, shown.contents if shown else NOTHING, Wanted(read_lately, census))
        if shown is None or contents.row.jobs != shown.contents.row.jobs:
            self._unread = {each: self._unread[each] + 1 for each in read_lately}
        self._published = shown = Picture(contents, shown)
        self._published_at = self._clock()
        return shown

    def _is_due(self, row: StateRow, shown: StateRow) -> bool:
        if row.verbs != shown.verbs or row.index < shown.index:
            return True
        return row.index != shown.index and self._clock() - self._published_at >= PUBLISH_SECONDS
