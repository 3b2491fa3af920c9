"""The official bindings from a safe distance: two child processes, a deadline for every call.

One child speaks to the schedd, one to the collector and the VMs' startds, so that a schedd that hangs keeps no machine
from being seen. A child that is not back in time is killed; the next call starts another.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cloudsched.batch.htcondor_ads import Ad
from cloudsched.errors import BatchError

_CHILD = "cloudsched.batch.htcondor_child"
_BLOCK = 1 << 16


class Bridge:
    """One child and the pipe to it. Calls of several threads take turns; `peer` names whom it speaks to."""

    def __init__(self, peer: str, environment: Mapping[str, str], seconds: float) -> None:
        self._peer, self._environment, self._seconds = peer, dict(environment), seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, name: str, each: Callable[[Ad], None] | None = None, **arguments: Any) -> Any:
        """Ask one question; `each` gets the ads of the answer as they come. Raises BatchError."""
        with self._lock:
            process = self._started()
            try:
                return self._answer(process, json.dumps({"call": name, "arguments": arguments}), each)
            except TimeoutError:
                self._end()
                raise BatchError(f"The {self._peer} gave no answer within {self._seconds:g} seconds.") from None
            except (BrokenPipeError, EOFError, json.JSONDecodeError):
                status = self._end()
                raise BatchError(f"The process of the HTCondor bindings ended with status {status}.") from None

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            # A session of its own: Ctrl-C in a terminal is for the engine, which ends its children in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
                bufsize=0,
            )
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], question: str, each: Callable[[Ad], None] | None) -> Any:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(question.encode() + b"\n")
        deadline = time.monotonic() + self._seconds
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            rest = b""
            while True:
                *lines, rest = (rest + _read(selector, process.stdout.fileno(), deadline)).split(b"\n")
                for line in lines:
                    answer = json.loads(line)
                    if "ad" not in answer:
                        return _result(answer)
                    if each is not None:
                        each(answer["ad"])

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return process.wait()


def _read(selector: selectors.BaseSelector, descriptor: int, deadline: float) -> bytes:
    if not selector.select(max(deadline - time.monotonic(), 0.0)):
        raise TimeoutError
    block = os.read(descriptor, _BLOCK)
    if not block:
        raise EOFError
    return block


def _result(answer: Mapping[str, Any]) -> Any:
    if "error" in answer:
        raise BatchError(answer["error"])
    return answer["done"]


class Bindings:
    """HTCondorPool over the bindings; see its promises there. `environment` is all the children get to see."""

    def __init__(self, environment: Mapping[str, str], seconds: float) -> None:
        self._schedd = Bridge("schedd", environment, seconds)
        self._pool = Bridge("collector", environment, seconds)
        self._settings: dict[str, str] | None = None

    def jobs(self, each: Callable[[Ad], None], constraint: str = "true") -> None:
        self._schedd.call("jobs", each, constraint=constraint)

    def size(self) -> tuple[int, int] | None:
        jobs, server_time = self._schedd.call("size")
        return int(jobs), int(server_time)

    def history(self, each: Callable[[Ad], None], constraint: str, since: str) -> None:
        self._schedd.call("history", each, constraint=constraint, since=since)

    def submit(self, sections: Sequence[str], initialdir: str, owner: str, token: str) -> tuple[int, int]:
        found = self._schedd.call("submit", sections=sections, initialdir=initialdir, owner=owner, token=token)
        return int(found[0]), int(found[1])

    def act(self, action: str, jobs: Sequence[str], reason: str) -> None:
        totals = self._schedd.call("act", action=action, jobs=jobs, reason=reason)
        if totals["TotalPermissionDenied"]:
            raise BatchError(
                f"The schedd does not let us {action} jobs of others: make our identity one of its QUEUE_SUPER_USERS."
            )

    def slots(self) -> list[Ad]:
        return self._listed("slots")

    def started_at(self) -> int | None:
        return int(self._pool.call("started_at")) or None

    def masters(self) -> list[Ad]:
        return self._listed("masters")

    def drain(self, slot: Ad, master: Ad | None, reason: str, token: str) -> None:
        self._pool.call("drain", address=slot.get("myaddress"), reason=reason, token=token)

    def undrain(self, slot: Ad, token: str) -> None:
        self._pool.call("undrain", address=slot.get("myaddress"), token=token)

    def stop_master(self, master: Ad, token: str) -> None:
        self._pool.call("stop_master", address=master.get("myaddress"), token=token)

    def start_startd(self, master: Ad, token: str) -> None:
        self._pool.call("start_startd", address=master.get("myaddress"), token=token)

    def invalidate(self, constraint: str) -> None:
        self._pool.call("invalidate", constraint=constraint)

    def allowed(self, token: str) -> tuple[str, str] | None:
        level, name = self._pool.call("allowed", token=token)
        return str(level), str(name)

    def settings(self) -> Mapping[str, str]:
        if self._settings is None:
            self._settings = dict(self._pool.call("settings"))
        return self._settings

    def close(self) -> None:
        self._schedd.close()
        self._pool.close()

    def _listed(self, call: str) -> list[Ad]:
        found: list[Ad] = []
        self._pool.call(call, found.append)
        return found
