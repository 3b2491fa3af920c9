"""Fixtures for the tests that speak to a real HTCondor pool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cloudsched.batch.htcondor import HTCondorBatch, Settings
from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.batch.htcondor_pool import HTCondorPool
from tests.real.condor import CondorPool
from tests.real.condor_adapters import RULES, Make


@pytest.fixture
def make(pool: CondorPool) -> Iterator[Make]:
    """Makes adapters for the pool, which has no jobs at first."""
    pool.clear()
    made: list[HTCondorBatch] = []

    def adapter(way: HTCondorPool | None = None, **settings: Any) -> HTCondorBatch:
        made.append(HTCondorBatch(way or Bindings(pool.environment, 15.0), Settings(RULES, **settings)))
        return made[-1]

    yield adapter
    for each in made:
        each.close()
