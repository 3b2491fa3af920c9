"""HTCondor adapters for a test's pool, and jobs through them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from cloudsched.batch.htcondor import HTCondorBatch
from cloudsched.batch.htcondor_ads import Rules
from cloudsched.batch.htcondor_tokens import read_key
from cloudsched.config.options import JobDefaults
from cloudsched.model.jobs import JobOrder
from tests.real.condor import DOMAIN, CondorPool

RULES = Rules(JobDefaults(), 3600)
Make = Callable[..., HTCondorBatch]


def joining(pool: CondorPool) -> dict[str, Any]:
    """The settings of an adapter that makes tokens for VMs."""
    return {"collector": pool.collector, "domain": DOMAIN, "key": lambda: read_key(pool.key_file)}


def submit(adapter: HTCondorBatch, text: str = "queue", owner: str = "alice", **payload: str) -> list[str]:
    """Submit; the jobs as CLUSTER.PROC."""
    description = f"executable = /bin/sleep\narguments = 1000\n{text}\n"
    given = {"submit": description, "initialdir": "/tmp", "owner": owner, **payload}
    (outcome,) = adapter.act(
        [JobOrder(f"{os.environ['PYTEST_CURRENT_TEST']} {time.monotonic_ns()}", "submit", payload=given)]
    )
    assert outcome.error == ""
    return [f"{outcome.cluster}.{number}" for number in range(outcome.jobs)]
