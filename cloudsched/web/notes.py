"""What a daemon has seen of tokens, for the engine to read: their last use, and what was refused (DESIGN 2).

Counted in memory and appended to one small file of JSON lines per daemon, by a thread of its own: neither a request nor
a flood of wrong tokens ever waits for a disk or the state's lock. `kill -9` loses the last seconds.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_log = logging.getLogger("cloudscheduler.http")

FLUSH_SECONDS = 5.0
MOST_CLIENTS = 100
"""Addresses told apart between two writes; the others are counted together."""

LARGEST = 1 << 20
"""Bytes that wait for an engine which does not run; what comes then is lost."""

OTHERS = "others"


class Notes:
    """One object per daemon, for any thread; the file's directory is made when it is needed."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        self._lock = threading.Lock()
        self._minutes: dict[str, int] = {}
        self._uses: dict[str, tuple[int, str]] = {}
        self._refused: Counter[tuple[str, str, str]] = Counter()
        self._writer: threading.Thread | None = None

    def used(self, token: str, address: str) -> None:
        """A token was used; only the first time in a minute counts."""
        minute = int(self._now()) // 60 * 60
        if self._minutes.get(token) == minute:
            return
        with self._lock:
            self._minutes[token] = minute
            self._uses[token] = minute, address
            self._start()

    def refused(self, why: str, token: str, address: str) -> None:
        """A token was refused; `token` is its public part, where it has one."""
        with self._lock:
            key = why, token, address
            if key not in self._refused and len(self._refused) >= MOST_CLIENTS:
                key = why, "", OTHERS
            self._refused[key] += 1
            self._start()

    def flush(self) -> None:
        """Append what has come since the last time; on a full disk it is lost, which the log tells."""
        with self._lock:
            lines = list(self._lines())
            self._uses.clear()
            self._refused.clear()
        if not lines:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "a", encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_size < LARGEST:
                    file.writelines(json.dumps(each) + "\n" for each in lines)
        except OSError as ex:
            _log.warning("What was seen of tokens could not be noted: %s", ex.strerror)

    def _lines(self) -> Iterator[dict[str, Any]]:
        at = int(self._now())
        for token, (minute, address) in self._uses.items():
            yield {"note": "use", "token": token, "at": minute, "address": address}
        for (why, token, address), count in self._refused.items():
            yield {"note": "refusal", "why": why, "token": token, "address": address, "at": at, "count": count}

    def _start(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="notes", daemon=True)
            self._writer.start()

    def _write(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            self.flush()
