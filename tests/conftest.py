"""Fixtures for every test file, and the rule that CI has every real peer."""

from __future__ import annotations

import os
import re
import runpy
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import databases
import openstack_api
import pytest
from postgresql import Server, postgresql_server

from cloudsched.store import Store
from tests.nova.services import Services, running
from tests.real.condor import CondorPool, condor_pool

SLOW = re.compile(
    r"test_(whole|kill|v1_clients|client_script|clients_daemons|local|worker|store_processes|store_postgresql"
    r"|upgrade|upgrade_page|failover|postgresql_page|policy_parity|admin_server|info_server|takeover|shown_commands"
    r"|engine|docs|secrets|dump|store_rows|ec2|embedded|cloud_contract|batch_contract).*"
)
"""Files whose tests start processes or take their time: `make check` leaves them out."""


def pytest_configure(config: pytest.Config) -> None:
    """The contract's JSON is of the YAML as it is now, also where only the tests are run."""
    if not hasattr(config, "workerinput"):
        runpy.run_path(str(Path(__file__).parent.parent / "contrib" / "contract.py"), run_name="__main__")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow files' tests `slow`."""
    for item in items:
        if SLOW.fullmatch(item.path.stem):
            item.add_marker(pytest.mark.slow)


ON_BOTH = re.compile(
    r"test_(store|store_following|store_groups|store_prepared|store_rows|store_verbs|queue|quickexit|dump|engine|engine_\w+"
    r"|embedded|boots|whole|whole_definitions|health|metrics|status_page|clients_daemons|explain|journal|journal_pages"
    r"|admin_(clouds|definitions|jobs|limits|operations|previews|root|tokens|vms|waiting)"
    r"|info|info_golden|info_listings|info_news|info_picture|permissions|takeover|web_auth)"
)
"""Files whose tests run on SQLite and on PostgreSQL, but for those marked `sqlite`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of ON_BOTH once for each database."""
    if ON_BOTH.fullmatch(metafunc.definition.path.stem) and not metafunc.definition.get_closest_marker("sqlite"):
        each = ["sqlite", pytest.param("postgresql", marks=[pytest.mark.real, pytest.mark.slow])]
        metafunc.parametrize("database", each, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The database that holds the states of a file's tests: `sqlite` unless it is asked for the other."""
    kind = getattr(request, "param", "sqlite")
    if kind == "sqlite":
        yield kind
    else:
        with databases.on(request.getfixturevalue("postgresql")):
            yield kind


@pytest.fixture(autouse=True)
def _own_states(database: str) -> Iterator[None]:
    """The states of one test end with it."""
    with databases.cleared():
        yield


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state directory of this test's own; what it holds is made by whoever opens the store."""
    return tmp_path / "state"


@pytest.fixture
def store(state_dir: Path) -> Iterator[Store]:
    """A new, empty state in a real database."""
    opened = databases.open_store(state_dir)
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


@pytest.fixture
def nova_api() -> Iterator[openstack_api.Cloud]:
    """A stand-in for the OpenStack APIs that answers as it is told."""
    with openstack_api.serving() as cloud:
        yield cloud


@pytest.fixture(scope="session")
def nova_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Real OpenStack services; `make test-openstack` installs them."""
    with running(tmp_path_factory.mktemp("openstack")) as services:
        yield services


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Under CI, where every peer can be had, a `real` test that skips has failed."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and item.get_closest_marker("real") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped, which CI does not allow: {report.longrepr[-1]}"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Under CI a file of tests that skips as a whole, for want of a library, has failed as well."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skipped, which CI does not allow: {report.longrepr}"
    return report
