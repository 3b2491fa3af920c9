"""One piece of work for many callers at once, without ever handing anyone a result from before they asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Calls `run` so that each caller gets the outcome of a run that began after the caller came.

    At most one run is under way; those who come meanwhile wait for it and share the next one, its exception too.
    """

    def __init__(self, run: Callable[[], T]) -> None:
        self._run = run
        self._changed = threading.Condition()
        self._begun = self._ended = 0
        self._result: T | None = None
        self._error: Exception | None = None

    def __call__(self) -> T:
        """The outcome of a run that began after this call."""
        with self._changed:
            mine = self._begun + 1
            while self._begun != self._ended and self._ended < mine:
                self._changed.wait()
            leads = self._ended < mine
            if leads:
                self._begun = mine
        if leads:
            self._lead()
        return self._outcome()

    def _lead(self) -> None:
        result, error = None, None
        try:
            result = self._run()
        except Exception as ex:
            error = ex
        with self._changed:
            self._result, self._error = result, error
            self._ended = self._begun
            self._changed.notify_all()

    def _outcome(self) -> T:
        with self._changed:
            result, error = self._result, self._error
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
