"""How the engine comes to HTCondor: by which way, with which environment, and what it says when that cannot be."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.batch.htcondor_commands import Commands
from cloudsched.config.load import Config
from cloudsched.config.options import Global
from cloudsched.engine.htcondor import environment, way
from cloudsched.engine.observe import CREDENTIALS, JOINING_SECONDS, Observer
from cloudsched.engine.polls import Poll, PollResult
from cloudsched.engine.scheduler import Options, Scheduler
from cloudsched.errors import BatchError
from cloudsched.store import Store, limits, polls

STAND_IN = '''
"""The bindings' names, and a schedd of another age that takes no question."""
import enum, sys
class HTCondorException(Exception): pass
class AdType(enum.Enum):
    Schedd = 1; Collector = 2
class DaemonType(enum.Enum):
    Schedd = 1
class QueryOpt: SummaryOnly = 1
param = {"COLLECTOR_HOST": "127.0.0.1:%d", "SCHEDD_HOST": "old"}
def version(): return "$CondorVersion: 25.14.1 2026-09-24 $"
AD = {"Name": "old", "MyAddress": "<127.0.0.1:%d>", "CondorVersion": "$CondorVersion: 8.8.15 2021-07-27 $"}
class Collector:
    def query(self, kind, constraint="true", projection=()): return [AD]
    def locate(self, kind, name): return AD
class Schedd:
    def __init__(self, location): pass
    def query(self, *arguments, **options): raise HTCondorException("Protocol\\nmismatch")
'''


@pytest.fixture
def listener() -> Iterator[int]:
    """A port where something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_only_htcondors_part_of_the_environment_is_passed_on() -> None:
    settings = Global(
        condor_config=Path("/c"), condor_collector="cm:1", condor_schedd="s", condor_token_directory=Path("/t")
    )
    inherited = {"PATH": "/bin", "SECRET": "x", "_CONDOR_LOG": "/l", "CLOUDSCHED_GLOBAL_DATABASE_URL": "y"}
    assert environment(settings, inherited) == {
        "PATH": "/bin",
        "_CONDOR_LOG": "/l",
        "CONDOR_CONFIG": "/c",
        "_CONDOR_COLLECTOR_HOST": "cm:1",
        "_CONDOR_SCHEDD_HOST": "s",
        "_CONDOR_SEC_TOKEN_DIRECTORY": "/t",
        "_CONDOR_SEC_TOKEN_SYSTEM_DIRECTORY": "/t",
        "_CONDOR_CONDOR_Q_ONLY_MY_JOBS": "False",
    }


def test_a_configured_condor_q_wins_over_the_bindings() -> None:
    pytest.importorskip("htcondor2")
    assert isinstance(way(Global()), Bindings)
    assert isinstance(way(Global(condor_q_command="ssh cm condor_q -l")), Commands)


def test_commands_that_are_absent_are_one_sentence() -> None:
    found = way(Global(condor_q_command="/nowhere/condor_q -l"))
    with pytest.raises(BatchError, match="^/nowhere/condor_q is not here, and neither are the bindings: pip install"):
        found.jobs(lambda ad: None)
    assert found.settings() == {"COLLECTOR_HOST": "localhost", "TRUST_DOMAIN": "localhost"}


def test_a_schedd_of_another_age_is_one_sentence(tmp_path: Path, listener: int) -> None:
    (tmp_path / "htcondor2.py").write_text(STAND_IN % (listener, listener))
    (tmp_path / "classad2.py").write_text("def quote(text): return repr(text)\n")
    bindings = Bindings({"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"}, 15.0)
    try:
        with pytest.raises(BatchError) as caught:
            bindings.jobs(lambda ad: None)
    finally:
        bindings.close()
    assert str(caught.value) == (
        "The schedd old is HTCondor 8, our bindings are 25: install htcondor==8.* or the condor_* commands "
        "(Protocol mismatch)."
    )


def test_a_child_that_dies_is_one_sentence_and_started_again(tmp_path: Path) -> None:
    (tmp_path / "htcondor2.py").write_text("import os; os._exit(3)")
    bindings = Bindings({"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"}, 15.0)
    for _ in range(2):
        with pytest.raises(BatchError, match="The process of the HTCondor bindings ended with status "):
            bindings.size()
    bindings.close()


def test_what_keeps_vms_from_joining_is_told_once_until_it_is_mended(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("cloudscheduler").propagate = True
    caplog.set_level(logging.WARNING, "cloudscheduler")
    observer, poll = Observer(), Poll(CREDENTIALS, "", lambda: "", JOINING_SECONDS)

    def told(**brought: Any) -> dict[str, str]:
        with store.writing() as writing:
            observer.record(writing, PollResult(poll, 1000.0, **brought), 1000)
        with store.reading() as connection:
            assert polls.all_polls(connection) == [], "it is no part of the readiness"
            found: dict[str, str] = limits.read_settings(connection).get(limits.PROBLEMS, {})
            return found

    assert told(value="") == {}
    for _ in range(2):
        assert told(value="No VM can join.") == {CREDENTIALS: "No VM can join."}
    assert told(error=BatchError("The collector does not answer.")) == {CREDENTIALS: "No VM can join."}
    assert [record.message for record in caplog.records] == ["No VM can join."]
    assert told(value="") == {}


def test_the_troubles_of_an_engine_end_with_it(store: Store) -> None:
    with store.writing() as writing:
        limits.record_setting(writing, limits.PROBLEMS, {"JobPoller": "The schedd gave no answer within 5 seconds."})
    scheduler = Scheduler(store, Config(Global(state_dir=store.directory)), Options(simulate=True))
    scheduler.start()
    scheduler.close()
    assert limits.setting(store, limits.PROBLEMS) == {}
