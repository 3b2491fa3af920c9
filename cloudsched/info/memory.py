"""What the allocator does with the memory of large documents: kept for the next one, and given back when at rest."""

from __future__ import annotations

import contextlib
import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_KEPT = 1 << 30
"""mallopt(3), and how many bytes at the end of the heap stay there until they are given back."""


def keep_pages() -> None:
    """Have glibc take all memory from one heap and keep what is freed; call before there are threads.

    By itself it asks the system for the pages of each large document and returns them with it: at 10,000 VMs these
    page faults are three quarters of the time that a new `/clusters.json` takes. Other allocators are left alone.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEPT)):
            mallopt(option, value)


def give_back() -> None:
    """Collect garbage, and have glibc release its free pages (malloc_trim(3)); elsewhere only the former."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
