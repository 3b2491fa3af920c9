"""The HTCondor adapter on a real pool: what is told apart, what is noticed, what is said."""

from __future__ import annotations

import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cloudsched.batch.htcondor import HTCondorBatch, Settings
from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.batch.htcondor_tokens import SigningKey, read_key
from cloudsched.errors import BatchError
from cloudsched.model.jobs import JobOrder
from tests.real.condor import DOMAIN, CondorPool, commands
from tests.real.condor_adapters import RULES, Make, submit

pytest.importorskip("htcondor2")
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("htcondor")]


def test_jobs_that_end_unseen_are_explained_by_the_history(pool: CondorPool, make: Make) -> None:
    adapter = make()
    adapter.jobs()
    first, second = submit(adapter, "queue 2")
    adapter.jobs()
    pool.run("condor_rm", first, "-reason", "enough")
    (job,) = adapter.jobs().changed
    assert (job.job_status, job.hold_reason.split(" (")[0], job.finished_at is not None) == (3, "enough", True)
    again = adapter.jobs()
    assert (again.changed, again.gone, again.complete) == ((), (), False)
    assert second


def test_a_restarted_engine_learns_how_its_jobs_ended(pool: CondorPool, make: Make) -> None:
    before = make()
    submit(before, "queue 3")
    known = [job.id for job in before.jobs().changed]
    pool.run("condor_rm", known[0].split("#")[1], known[1].split("#")[1])
    after = make(known=lambda: known)
    delta = after.jobs()
    assert delta.complete
    assert {job.id: job.job_status for job in delta.changed} == {known[0]: 3, known[1]: 3, known[2]: 1}


def test_a_purged_history_leaves_jobs_gone(pool: CondorPool, make: Make) -> None:
    adapter = make()
    adapter.jobs()
    submit(adapter)
    (job,) = adapter.jobs().changed
    pool.clear()
    (pool.directory / "spool" / "history").write_text("")
    delta = adapter.jobs()
    assert (delta.changed, delta.gone) == ((), (job.id,))


def test_a_restarted_schedd_has_lost_nothing(pool: CondorPool, make: Make) -> None:
    adapter = make()
    submit(adapter, "queue 3")
    adapter.jobs()
    pool.signal("schedd", signal.SIGKILL)
    failures = 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            delta = adapter.jobs()
            if failures:
                break
        except BatchError:
            failures += 1
        time.sleep(0.1)
    assert failures
    assert (delta.changed, delta.gone, delta.complete) == ((), (), False)
    submit(adapter)
    assert len(adapter.jobs().changed) == 1


def test_an_edit_is_seen_by_the_whole_reading(pool: CondorPool) -> None:
    now = [time.time()]
    pool.clear()
    adapter = HTCondorBatch(Bindings(pool.environment, 15.0), Settings(RULES), lambda: now[0])
    try:
        (name,) = submit(adapter)
        adapter.jobs()
        pool.run("condor_prio", "-p", "7", name)
        now[0] += 61
        (job,) = adapter.jobs().changed
        assert job.priority == 7
    finally:
        adapter.close()


@pytest.mark.parametrize("ahead", [-86400, 86400], ids=["a day behind", "a day ahead"])
def test_what_changed_is_told_by_the_schedds_clock(pool: CondorPool, ahead: int) -> None:
    pool.clear()
    adapter = HTCondorBatch(Bindings(pool.environment, 30.0), Settings(RULES), lambda: time.time() + ahead)
    try:
        assert adapter.jobs().complete, "the queue is empty, and tells no time"
        first, second = submit(adapter, "queue 2")
        assert len(adapter.jobs().changed) == 2
        time.sleep(2)
        assert adapter.jobs().changed == (), "what changed in the second of the last reading is past"
        pool.run("condor_hold", first)
        delta = adapter.jobs()
        assert [(job.job_status, delta.complete) for job in delta.changed] == [(5, False)]
        pool.run("condor_rm", second)
        assert [job.job_status for job in adapter.jobs().changed if job.job_status != 5] == [3]
    finally:
        adapter.close()


def test_a_stopped_schedd_costs_a_deadline_and_no_machine(pool: CondorPool, make: Make) -> None:
    adapter = make(Bindings(pool.environment, 2.0))
    submit(adapter)
    adapter.jobs()
    pool.signal("schedd", signal.SIGSTOP)
    try:
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(BatchError, match="The schedd gave no answer within 2 seconds."):
                adapter.jobs()
            assert time.monotonic() - started < 20
        adapter.machines()
    finally:
        pool.signal("schedd", signal.SIGCONT)
    assert (adapter.jobs().changed, adapter.jobs().gone) == ((), ())


def token_directory(parent: Path, token: str) -> Path:
    """A directory that holds one token."""
    directory = Path(tempfile.mkdtemp(dir=parent))
    path = directory / "token"
    path.touch(mode=0o600)
    path.write_text(token + "\n")
    return directory


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"_CONDOR_SCHEDD_HOST": "nobody@lab.test"},
            "There is no schedd 'nobody@lab.test' at the collector 127.0.0.1:",
        ),
        ({"_CONDOR_COLLECTOR_HOST": "127.0.0.1:1"}, "The collector 127.0.0.1:1 does not answer (Connection refused)"),
        ({"_CONDOR_SEC_TOKEN_DIRECTORY": "/nowhere"}, "refuses us ("),
        ({"_CONDOR_SEC_TOKEN_DIRECTORY": "{strange}"}, "refuses us ("),
        ({"_CONDOR_SEC_TOKEN_DIRECTORY": "{ended}"}, "refuses us ("),
        ({"PYTHONPATH": "{broken}"}, "The HTCondor bindings cannot be imported (no such thing): mend them with pip"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    pool: CondorPool, make: Make, tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    (tmp_path / "htcondor2.py").write_text("raise ImportError('no such thing')")
    strange = SigningKey("POOL", b"another pool's").token(f"admin@{DOMAIN}", int(time.time()), 3600)
    ended = read_key(pool.key_file).token(f"admin@{DOMAIN}", int(time.time()) - 3600, 60)
    places = {"strange": token_directory(tmp_path, strange), "ended": token_directory(tmp_path, ended)}
    settings = {name: value.format(broken=tmp_path, **places) for name, value in changes.items()}
    for name in list(settings):
        if name == "_CONDOR_SEC_TOKEN_DIRECTORY":
            settings["_CONDOR_SEC_TOKEN_SYSTEM_DIRECTORY"] = settings[name]
    adapter = make(Bindings(pool.environment | settings, 15.0))
    with pytest.raises(BatchError) as caught:
        adapter.jobs()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_commands_are_one_sentence(pool: CondorPool, make: Make) -> None:
    way = commands(pool)
    way._lines = replace(way._lines, query=["condor_q_is_not_here"])
    with pytest.raises(BatchError, match="condor_q_is_not_here is not here, and neither are the bindings: pip install"):
        make(way).jobs()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"_CONDOR_SCHEDD_HOST": "nobody@lab.test"},
            "condor_q failed with status 1: Can't find address for schedd nobody@lab.test: set condor_schedd to one "
            "that the collector knows.",
        ),
        (
            {"_CONDOR_COLLECTOR_HOST": "127.0.0.1:1"},
            "condor_status failed with status 1: communication error CEDAR:6001:Failed to connect to <127.0.0.1:1>: "
            "check condor_collector and the network.",
        ),
        (
            dict.fromkeys(("_CONDOR_SEC_TOKEN_DIRECTORY", "_CONDOR_SEC_TOKEN_SYSTEM_DIRECTORY"), "/nowhere"),
            "condor_status failed with status 1: communication error AUTHENTICATE:1003:Failed to authenticate with any "
            "method AUTHENTICATE:1004:Failed to authenticate using IDTOKENS: check the token in condor_token_directory "
            "and the pool's ALLOW_READ.",
        ),
    ],
    ids=["schedd", "collector", "token"],
)
def test_what_is_wrong_is_one_sentence_by_commands_too(
    pool: CondorPool, make: Make, changes: dict[str, str], sentence: str
) -> None:
    way = commands(pool)
    way._environment.update(changes)
    with pytest.raises(BatchError) as caught:
        make(way).jobs()
    assert str(caught.value) == sentence


def test_commands_that_cannot_reach_the_schedd_never_mean_an_empty_queue(pool: CondorPool, make: Make) -> None:
    way = commands(pool)
    adapter = make(way)
    submit(adapter)
    adapter.jobs()
    way._environment["_CONDOR_SCHEDD_HOST"] = "nobody@lab.test"
    with pytest.raises(BatchError, match="condor_q failed with status 1"):
        adapter.jobs()


@pytest.mark.parametrize("by", ["bindings", "commands"])
def test_submitting_for_others_and_in_parts(pool: CondorPool, make: Make, tmp_path: Path, by: str) -> None:
    adapter = make(commands(pool) if by == "commands" else None)
    adapter.jobs()
    tmp_path.chmod(0o755)
    submit(adapter, "queue 2\narguments = 7\nqueue", owner="carol", initialdir=str(tmp_path))
    jobs = adapter.jobs().changed
    assert {(job.shape.user, job.spool_dir) for job in jobs} == {("carol", str(tmp_path))}
    assert len(jobs) == 3


@pytest.mark.parametrize("by", ["bindings", "commands"])
@pytest.mark.parametrize(
    ("text", "initialdir", "sentence"),
    [
        ("+VMMem = foo bar\nqueue", "/tmp", "HTCondor refuses the description: "),
        ("queue\nrequirements = ((\nqueue", "/tmp", "HTCondor refuses the description: "),
        ("queue", "/nowhere", "/nowhere"),
    ],
)
def test_what_htcondor_refuses_is_the_outcome_and_nothing_is_queued(
    make: Make, pool: CondorPool, by: str, text: str, initialdir: str, sentence: str
) -> None:
    adapter = make(commands(pool) if by == "commands" else None)
    adapter.jobs()
    payload = {"submit": f"executable = /bin/true\n{text}\n", "initialdir": initialdir, "owner": "alice"}
    (outcome,) = adapter.act([JobOrder(f"{time.monotonic_ns()}", "submit", payload=payload)])
    assert sentence in outcome.error
    assert pool.run("condor_q", "-allusers", "-af", "ClusterId").stdout.strip() == ""


def test_an_order_of_a_killed_engine_is_found_again(make: Make) -> None:
    token = f"wish {time.monotonic_ns()}"
    payload = {"submit": "executable = /bin/true\nqueue 2", "initialdir": "/tmp", "owner": "alice"}
    first, again = (make().act([JobOrder(token, "submit", payload=payload)])[0] for _ in range(2))
    assert again == first


def test_tokens_are_for_one_vm_and_expire() -> None:
    key = SigningKey("POOL", b"0123456789abcdef")
    assert key.derived("a").content != key.derived("b").content
    assert key.derived("a") == key.derived("a")
    assert key.token("condor@x", 1000, 60) != key.token("condor@x", 1000, 60)
