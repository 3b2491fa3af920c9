"""Fixtures for every test file, and the rule that CI has every real peer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudsched.store import Store
from tests.postgresql import Server, postgresql_server
from tests.real.condor import CondorPool, condor_pool

SLOW = re.compile(
    r"test_(whole|kill|v1_clients|client_script|clients_daemons|local_cloud|worker|store_processes|store_postgresql|upgrade|upgrade_page"
    r"|policy_parity|admin_server|info_server|takeover|shown_commands|engine|docs|dump|store_rows|embedded|cloud_contract|batch_contract).*"
)
"""Files whose tests start processes or take their time: `make check` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow files' tests `slow`."""
    for item in items:
        if SLOW.fullmatch(item.path.stem):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state directory of this test's own; what it holds is made by whoever opens the store."""
    return tmp_path / "state"


@pytest.fixture
def store(state_dir: Path) -> Iterator[Store]:
    """A new, empty state in a real SQLite file."""
    opened = Store.open(f"sqlite:///{state_dir / 'state.db'}", state_dir)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A real PostgreSQL server of this process's own."""
    with postgresql_server() as running:
        yield running


@pytest.fixture(scope="session")
def pool() -> Iterator[CondorPool]:
    """A real HTCondor pool; its tests belong to the xdist group `htcondor`, so that there is one."""
    with condor_pool() as running:
        yield running


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Under CI, where every peer can be had, a `real` test that skips has failed."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and item.get_closest_marker("real") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped, which CI does not allow: {report.longrepr[-1]}"
