"""Giving memory back to the system: the allocator keeps what large documents were made of."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Collect garbage, and have glibc release its free pages (malloc_trim(3)); elsewhere only the former."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
