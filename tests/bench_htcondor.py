"""What following a long queue of a real schedd costs, against reading it whole, and what the engine keeps of it.

Run by `make bench`; each line is `name value unit limit ok|short`.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cloudsched.batch.htcondor import HTCondorBatch, Settings
from cloudsched.batch.htcondor_ads import Rules
from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.config.options import JobDefaults
from cloudsched.model.jobs import JobOrder
from tests.real.condor import CondorPool, condor_pool

JOBS = 10_000
CHANGES = 100
ROUNDS = 5


def resident_mb() -> float:
    """This process's memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def adapter(pool: CondorPool) -> HTCondorBatch:
    return HTCondorBatch(Bindings(pool.environment, 60.0), Settings(Rules(JobDefaults(), 3600)))


def fill(batch: HTCondorBatch) -> None:
    """Queue idle jobs that nothing can run."""
    text = 'executable = /bin/true\nrequirements = VMType =?= "none"\n+VMMem = 512\nqueue {}\n'
    payload = {"submit": text.format(JOBS), "initialdir": "/tmp", "owner": "alice"}
    (outcome,) = batch.act([JobOrder("fill", "submit", payload=payload)])
    assert (outcome.error, outcome.jobs) == ("", JOBS)


def measure(pool: CondorPool) -> dict[str, tuple[float, str, float]]:
    """The figures by name: value, unit, limit."""
    batch = adapter(pool)
    batch.jobs()
    batch.machines()
    gc.collect()
    before = resident_mb()
    fill(batch)
    assert len(batch.jobs().changed) == JOBS
    grown = resident_mb() - before
    steady, whole = [], []
    for number in range(ROUNDS):
        first = number * CHANGES
        chosen = f"ProcId >= {first} && ProcId < {first + CHANGES}"
        pool.run("condor_hold", "-constraint", chosen)
        # Changes of the second of the last reading are read twice.
        time.sleep(2)
        found: list[int] = []
        steady.append(timed(lambda found=found: found.append(len(batch.jobs().changed))))
        assert found == [CHANGES]
        reader = Bindings(pool.environment, 60.0)
        reader.size()
        whole.append(timed(lambda reader=reader: reader.jobs(lambda ad: None)))
        reader.close()
    batch.close()
    return {
        f"htcondor.poll.{JOBS}.changes{CHANGES}": (min(steady) / min(whole), "x-whole", 0.2),
        f"htcondor.memory.{JOBS}": (grown, "MB", 40.0),
    }


def main() -> int:
    """Print the figures; never fails on them."""
    with condor_pool() as pool:
        for name, (value, unit, limit) in measure(pool).items():
            sys.stdout.write(f"{name} {value:.3f} {unit} <={limit:g} {'ok' if value <= limit else 'short'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
