"""The two daemons as child processes: started together, restarted when they fail, gone when we are.

A child's standard input is a pipe from us. When we end, however we end, the pipe closes and the child stops, so no
daemon outlives its scheduler and keeps its port.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

log = logging.getLogger("cloudscheduler")

READY = "Listening on "
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_LONGEST_PAUSE = 60.0


@dataclass(slots=True)
class _Child:
    module: str
    argv: list[str]
    process: subprocess.Popen[str] | None = None
    url: str = ""
    ready: threading.Event = field(default_factory=threading.Event)
    failures: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0


class Daemons:
    """`argv` and `environment` are the options and variables that both daemons get."""

    def __init__(self, modules: Sequence[str], argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._environment = os.environ | environment
        command = [sys.executable, "-m"]
        self._children = [_Child(module, [*command, module, *argv, "--exit-with-parent"]) for module in modules]
        self._lock = threading.Lock()
        self._stopped = False

    def start(self) -> dict[str, str] | None:
        """Start the daemons; returns their URLs by module, None when one cannot: it has said why on standard error.

        One after the other, so that whoever starts us twice reads one sentence. After a failure none is left.
        """
        for child in self._children:
            self._spawn(child)
            if not child.ready.wait(_START_SECONDS) or not child.url:
                self.stop()
                return None
        return {child.module: child.url for child in self._children}

    def supervise(self) -> None:
        """Start again what has ended, after a pause that grows; call every now and then."""
        with self._lock:
            for child in self._children if not self._stopped else ():
                if child.process is not None and child.process.poll() is not None:
                    self._revive(child, child.process, time.time())

    def stop(self) -> None:
        """Ask the daemons to stop, and kill what does not."""
        with self._lock:
            self._stopped = True
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        for child in self._children:
            child.process = None

    def _revive(self, child: _Child, ended: subprocess.Popen[str], now: float) -> None:
        if not child.restart_at:
            quick = now - child.started_at < _LONGEST_PAUSE
            child.failures = child.failures + 1 if quick else 0
            child.restart_at = now + min(2.0**child.failures - 1, _LONGEST_PAUSE)
            log.error("%s ended with status %s; starting it again.", child.module, ended.returncode)
        if now >= child.restart_at:
            try:
                self._spawn(child)
            except OSError as ex:
                child.restart_at = now + _LONGEST_PAUSE
                log.error("%s cannot be started: %s", child.module, ex.strerror)

    def _spawn(self, child: _Child) -> None:
        child.restart_at, child.started_at = 0.0, time.time()
        child.ready.clear()
        if child.process is not None and child.process.stdin is not None:
            child.process.stdin.close()
        # A session of its own: Ctrl-C in a terminal reaches us alone, and we stop the daemons in our own order.
        child.process = subprocess.Popen(
            [*child.argv, *_same_port(child.url)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(child, child.process), name=child.module, daemon=True).start()

    def _read(self, child: _Child, process: subprocess.Popen[str]) -> None:
        """Wait for the child's word that it listens; its end counts as an answer too."""
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                _, found, url = line.strip().partition(READY)
                if found:
                    child.url = url.rstrip(".")
                    child.ready.set()
        child.ready.set()


def _same_port(url: str) -> list[str]:
    """A daemon that is started again listens where its clients know it, also when any port would have done at first."""
    port = urlsplit(url).port
    return ["--port", str(port)] if port is not None else []
