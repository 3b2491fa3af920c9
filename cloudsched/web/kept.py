"""Listings that are kept while somebody pages through them, so that all their pages are of one state index.

Kept for KEPT_SECONDS after a page was last asked for, and no more than KEPT_BYTES of them: the one asked for least
lately goes first. The newest is kept however long it is, or it could not be paged at all.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Generic, Protocol, TypeVar

from cloudsched.errors import PageExpired
from cloudsched.web.listing import Query

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

KEPT_SECONDS = 60.0
KEPT_BYTES = 64 << 20

HELD_ROW_BYTES = 2000
"""What a row takes that is held as it is: about what a VM does, in this interpreter."""

BLOCK_ROWS = 128


class Rows(Protocol[T_co]):
    """Rows in their order; `size` is about the bytes that they keep from being freed."""

    @property
    def size(self) -> int: ...
    def __len__(self) -> int: ...
    def some(self, start: int, end: int) -> Sequence[T_co]: ...


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """Rows as they are, for what is in memory anyway."""

    rows: Sequence[T]

    @property
    def size(self) -> int:
        """Roughly, in bytes."""
        return HELD_ROW_BYTES * len(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def some(self, start: int, end: int) -> Sequence[T]:
        """The rows of one page."""
        return self.rows[start:end]


@dataclass(frozen=True, slots=True)
class Packed(Generic[T]):
    """Rows as compressed JSON, block by block: jobs take a tenth so, or less. `places` is their order."""

    blocks: Sequence[bytes]
    places: Sequence[int]
    unpack: Callable[[Any], T]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(map(len, self.blocks)) + 4 * len(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def some(self, start: int, end: int) -> Sequence[T]:
        """The rows of one page."""
        places = self.places[start:end]
        wanted = {place // BLOCK_ROWS for place in places}
        opened = {block: json.loads(zlib.decompress(self.blocks[block])) for block in wanted}
        return [self.unpack(opened[place // BLOCK_ROWS][place % BLOCK_ROWS]) for place in places]


@dataclass(slots=True)
class Packing:
    """Packs rows one after the other, so that never all of them are in memory at once."""

    blocks: list[bytes] = field(default_factory=list)
    _open: list[Any] = field(default_factory=list)

    def add(self, row: Any) -> None:
        """Add a row, as anything JSON can hold."""
        self._open.append(row)
        if len(self._open) == BLOCK_ROWS:
            self._close()

    def packed(self, places: Iterable[int], unpack: Callable[[Any], T]) -> Packed[T]:
        """The rows added, in an order of their places."""
        if self._open:
            self._close()
        return Packed(tuple(self.blocks), array("I", places), unpack)

    def _close(self) -> None:
        self.blocks.append(zlib.compress(json.dumps(self._open).encode(), 1))
        self._open.clear()


@dataclass(frozen=True, slots=True)
class Shown(Generic[T]):
    """How rows are shown: the document of one, encoded, and the text of a page of so many in all."""

    encode: Callable[[T], str]
    text: Callable[[Sequence[T], int], str]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """Everything a query found at one state index, in its order.

    `place` is the URL's noun and names, `revision` the index at which any of it last changed; `lasts` where the same
    question is answered alike until that moves.
    """

    place: tuple[str, ...]
    query: Query
    revision: int
    lasts: bool
    rows: Rows[T]
    shown: Shown[T]


def name_of(place: tuple[str, ...], query: Query, version: object) -> str:
    """A listing's name, as page tokens have it: the same for the same question at the same version."""
    return sha256(repr((place, query, version)).encode(errors="backslashreplace")).hexdigest()[:16]


@dataclass(slots=True)
class _Entry:
    listing: Listing[Any]
    until: float


class Kept:
    """The listings that are kept, by name; safe to use from any thread. `clock` is monotonic seconds."""

    def __init__(self, most_bytes: int = KEPT_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most_bytes, clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._timer: threading.Timer | None = None

    def find(self, name: str) -> Listing[Any] | None:
        """The listing of that name, kept from now on; None when it is not there."""
        with self._lock:
            self._forget_old()
            entry = self._entries.pop(name, None)
            if entry is None:
                return None
            self._put(name, entry.listing)
            return entry.listing

    def get(self, name: str) -> Listing[Any]:
        """The same for a page token. Raises PageExpired."""
        found = self.find(name)
        if found is None:
            raise PageExpired("The listing of this page token is no longer kept: ask for its first page again.")
        return found

    def put(self, name: str, listing: Listing[Any]) -> None:
        """Keep a listing; the ones asked for least lately make room."""
        with self._lock:
            self._forget_old()
            self._entries.pop(name, None)
            self._put(name, listing)
            surplus = self.size() - self._most
            for each in list(self._entries)[:-1]:
                if surplus <= 0:
                    break
                surplus -= self._entries.pop(each).listing.rows.size
            if self._timer is None:
                self._wait()

    def size(self) -> int:
        """Bytes that are kept."""
        return sum(each.listing.rows.size for each in self._entries.values())

    def _put(self, name: str, listing: Listing[Any]) -> None:
        # A dictionary keeps the order of insertion: the last is the one asked for last.
        self._entries[name] = _Entry(listing, self._clock() + KEPT_SECONDS)

    def _forget_old(self) -> None:
        now = self._clock()
        for name in [name for name, each in self._entries.items() if each.until <= now]:
            del self._entries[name]

    def _wait(self) -> None:
        self._timer = threading.Timer(KEPT_SECONDS, self._tick)
        self._timer.name = "kept-listings"
        self._timer.daemon = True
        self._timer.start()

    def _tick(self) -> None:
        """Nothing is kept on for want of somebody who asks."""
        with self._lock:
            self._timer = None
            self._forget_old()
            if self._entries:
                self._wait()
