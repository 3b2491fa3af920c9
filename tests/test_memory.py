"""The info daemon's memory: large documents take the pages of those before them, and give them back at rest."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_SCRIPT = """
import os, resource, sys
from cloudsched.info import memory

if sys.argv[1] == "kept":
    memory.keep_pages()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
shown = b""
for _ in range(3):
    shown = b"".join([b"x" * 1000] * 40_000)
before = faults()
for _ in range(5):
    shown = b"".join([b"x" * 1000] * 40_000)
took, full = faults() - before, resident()
del shown
memory.give_back()
print(took, full - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_documents_take_the_pages_of_those_before_and_give_them_back() -> None:
    def run(how: str) -> tuple[int, int]:
        done = subprocess.run([sys.executable, "-c", _SCRIPT, how], capture_output=True, text=True, check=True)
        faults, freed = map(int, done.stdout.split())
        return faults, freed

    (usual, _), (kept, freed) = run("usual"), run("kept")
    # Five times 40 MB are 49,000 pages of 4 kB.
    assert (kept < 500, usual > 20_000, freed > 60_000_000) == (True, True, True), (kept, usual, freed)
