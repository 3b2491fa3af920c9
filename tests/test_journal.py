"""The journal: what is written when, that nothing of it can be changed unseen, and how it is forgotten."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import databases
import pytest
from sqlalchemy import delete, insert, select, update

from cloudsched.__main__ import main
from cloudsched.errors import Conflict
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Job, Shape
from cloudsched.model.journal import Checked, Entry, EntryKind, Noted
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, Outcome, OutcomeState
from cloudsched.render import journal as words
from cloudsched.store import Store, audit, clouds, jobs, journal, limits, operations, tables, verbs, vms, wishes
from cloudsched.store.retention import prune_engine, prune_operations

DAY = 86400
BY = wishes.By("root@192.0.2.7", "request-1", "because", at=1000, address="192.0.2.7")
SECRET = "executable = /bin/run\nenvironment = PASSWORD=swordfish\nqueue\n"


@pytest.fixture
def fleet(store: Store) -> Store:
    """A cloud with two VMs, an empty one, and a job."""
    with store.writing() as writing:
        clouds.record_clouds(writing, [Cloud("mouse", "local", vm_slots=5), Cloud("empty", "local")])
        known = [VM("one", "mouse", id="i-1", position=1, user="alice", status="Running"), VM("two", "mouse", id="i-2")]
        vms.record_vms(writing, known)
        jobs.record_jobs(writing, [Job("host#1.0#9", Shape("bob"), cluster_id=1, job_status=2)])
        limits.record_setting(writing, "log_level", "INFO")
        limits.record_setting(writing, "quick_exit", False)
    return store


def entries(store: Store, chain: journal.Chain = journal.ADMIN) -> list[Entry]:
    with store.reading() as connection:
        rows = connection.execute(select(chain.entries).order_by(chain.entries.c.id)).mappings()
        return [journal.recorded(chain.name, dict(row)).entry for row in rows]


def checked(store: Store, **noted: Noted) -> list[Checked]:
    return audit.verify(store, noted)


def problems(store: Store, **noted: Noted) -> list[str]:
    return [each.problem for each in checked(store, **noted)]


def fill(store: Store, count: int = 5) -> None:
    """As many entries in each chain."""
    for number in range(count):
        made = verbs.wish_enabled(store, replace(BY, at=1000 + number), "mouse", number % 2 == 0)
        operations.settle(store, [(made.targets[0].wish.id, OutcomeState.DONE, {"number": number})])


ASKED: dict[str, tuple[Callable[[Store], Any], list[dict[str, Any]]]] = {
    "enable": (
        lambda s: verbs.wish_enabled(s, BY, "MOUSE", True),
        [
            {
                "verb": "enable",
                "noun": "cloud",
                "name": "mouse",
                "cloud": "mouse",
                "before": {"enabled": False},
                "after": {"enabled": True},
            }
        ],
    ),
    "quota": (
        lambda s: verbs.wish_vm_slots(s, BY, "mouse", 9),
        [{"verb": "allocations", "name": "mouse", "before": {"vm_slots": 5}, "after": {"vm_slots": 9}}],
    ),
    "shutdown": (
        lambda s: verbs.wish_vms(s, BY, "mouse", Aspect.SHUTDOWN, None),
        [
            {"verb": "shutdown", "noun": "vm", "name": "two", "label": "i-2", "cloud": "mouse", "user": ""},
            {"noun": "vm", "name": "one", "label": "i-1", "user": "alice", "before": {"status": "Running"}},
        ],
    ),
    "no target": (
        lambda s: verbs.wish_vms(s, BY, "empty", Aspect.RETIRE, 3),
        [{"verb": "retire", "noun": "cloud", "name": "empty", "cloud": "empty", "wish": None}],
    ),
    "hold": (
        lambda s: verbs.wish_job(s, BY, "1.0", Aspect.HOLD),
        [{"verb": "hold", "noun": "job", "name": "host#1.0#9", "label": "1.0", "user": "bob"}],
    ),
    "submit": (
        lambda s: verbs.wish_submit(s, BY, "bob", SECRET, "/home/bob"),
        [{"verb": "submit", "noun": "jobs", "name": "bob", "user": "bob"}],
    ),
    "log level": (
        lambda s: verbs.wish_setting(s, BY, Aspect.LOG_LEVEL, "DEBUG"),
        [{"noun": "scheduler", "name": "", "before": {"log_level": "INFO"}, "after": {"log_level": "DEBUG"}}],
    ),
    "toggle": (
        lambda s: verbs.wish_setting(s, BY, Aspect.QUICK_EXIT),
        [{"before": {"quick_exit": False}, "after": {"quick_exit": True}}],
    ),
    "reload": (
        lambda s: verbs.wish_setting(s, BY, Aspect.USER_LIMITS),
        [{"verb": "user_limits", "noun": "scheduler", "before": {}, "after": {}}],
    ),
    "proxy": (
        lambda s: verbs.wish_proxy(s, BY, "bob", Aspect.JOB_PROXY),
        [{"verb": "job_proxy", "noun": "user", "name": "bob", "user": "bob"}],
    ),
}


@pytest.mark.parametrize("what", ASKED)
def test_a_verb_is_written_down_with_its_wishes(fleet: Store, what: str) -> None:
    ask, expected = ASKED[what]
    operation = ask(fleet)
    found = entries(fleet)
    assert [each.wish for each in found] == [each.wish.id for each in operation.targets] or expected[0]["wish"] is None
    for entry, values in zip(found, expected, strict=True):
        assert (entry.kind, entry.operation, entry.at) == (EntryKind.ASKED, operation.id, 1000)
        assert (entry.actor, entry.address, entry.request_id) == ("root", "192.0.2.7", "request-1")
        assert entry.reason == "because"
        assert {name: getattr(entry, name) for name in values} == values
    with fleet.reading() as connection:
        rows = connection.execute(select(tables.journal.c.index)).scalars()
        assert set(rows) == {fleet.state().index}


def test_a_submits_text_is_only_recognised(fleet: Store) -> None:
    verbs.wish_submit(fleet, BY, "bob", SECRET, "/home/bob")
    (entry,) = entries(fleet)
    assert entry.after["initialdir"] == "/home/bob"
    assert len(entry.after["submit_sha256"]) == 64
    assert "swordfish" not in repr(entry)


def test_a_refused_verb_leaves_no_entry(fleet: Store) -> None:
    with pytest.raises(Conflict):
        verbs.wish_vm_slots(fleet, BY, "mouse", 5)
    assert entries(fleet) == []


def test_before_is_what_was_asked_last_and_not_yet_done(fleet: Store) -> None:
    verbs.wish_enabled(fleet, BY, "mouse", True)
    verbs.wish_enabled(fleet, BY, "mouse", False)
    assert entries(fleet)[1].before == {"enabled": True}


def test_an_outcome_is_a_further_entry_of_the_engines(fleet: Store) -> None:
    made = verbs.wish_vm(fleet, BY, "mouse", "i-1", Aspect.SHUTDOWN)
    wish = made.targets[0].wish.id
    operations.settle(fleet, [(wish, OutcomeState.FAILED, {"error": "no answer"})])
    operations.settle(fleet, [(wish, OutcomeState.DONE, {})])
    (entry,) = entries(fleet, journal.ENGINE)
    assert (entry.kind, entry.actor, entry.verb) == (EntryKind.OUTCOME, "engine", "shutdown")
    assert (entry.noun, entry.name, entry.label, entry.cloud, entry.user) == ("vm", "one", "i-1", "mouse", "alice")
    assert (entry.operation, entry.wish, entry.request_id) == (made.id, wish, "request-1")
    assert entry.detail == {"error": "no answer", "state": "failed"}
    assert len(entries(fleet)) == 1


def test_a_wish_older_than_the_journal_has_an_outcome_too(fleet: Store) -> None:
    made = verbs.wish_vm(fleet, BY, "mouse", "i-1", Aspect.SHUTDOWN)
    with fleet.writing() as writing:
        writing.connection.execute(delete(tables.journal))
        writing.connection.execute(delete(tables.journal_ends))
    operations.settle(fleet, [(made.targets[0].wish.id, OutcomeState.DONE, {})])
    (entry,) = entries(fleet, journal.ENGINE)
    assert (entry.verb, entry.noun, entry.name, entry.request_id) == ("shutdown", "vm", "one", "request-1")


def test_what_is_rolled_back_is_not_in_the_journal(fleet: Store) -> None:
    fill(fleet, 2)
    with pytest.raises(RuntimeError), fleet.writing() as writing:
        journal.ENGINE.record(writing, [Entry(EntryKind.ACT, "boot", 1)])
        operations.record_outcomes(writing, [Outcome(1, OutcomeState.DONE)])
        raise RuntimeError
    assert [each.verb for each in entries(fleet, journal.ENGINE)] == ["enable", "disable"]
    assert problems(fleet) == ["", ""]


def test_one_commit_may_hold_many_entries_in_order(fleet: Store) -> None:
    before = fleet.state().index
    with fleet.writing() as writing:
        for number in range(3):
            journal.ENGINE.record(
                writing, [Entry(EntryKind.ACT, f"act-{number}", 1, detail={"ü": ("a", 1.5, None)})] * 2
            )
    assert [each.verb for each in entries(fleet, journal.ENGINE)] == [
        "act-0",
        "act-0",
        "act-1",
        "act-1",
        "act-2",
        "act-2",
    ]
    assert fleet.state().index == before + 1
    assert problems(fleet) == ["", ""]


def test_half_a_surrogate_pair_does_not_stop_the_engine(fleet: Store) -> None:
    with fleet.writing() as writing:
        journal.ENGINE.record(
            writing, [Entry(EntryKind.ACT, "boot", 1, reason="no file \udcff", detail={"x": "\ud800"})]
        )
    assert entries(fleet, journal.ENGINE)[0].reason == "no file ?"
    assert problems(fleet) == ["", ""]


def test_an_entry_is_hashed_as_it_will_be_read(fleet: Store) -> None:
    """Keys that are sorted in another order once they are text, and what JSON does not know."""
    told: dict[Any, Any] = {"slots": {10: "ten", 9: "nine"}, "pair": (1, "two"), "sorted\ud800": 0, "sorted>": 1}
    with fleet.writing() as writing:
        journal.ENGINE.record(writing, [Entry(EntryKind.ACT, "boot", 1, detail=told)])
    found = entries(fleet, journal.ENGINE)[0].detail
    assert found == {"slots": {"10": "ten", "9": "nine"}, "pair": [1, "two"], "sorted?": 0, "sorted>": 1}
    assert problems(fleet) == ["", ""]


def test_several_admin_daemons_extend_one_chain(fleet: Store) -> None:
    other = databases.open_store(fleet.directory)
    for number in range(4):
        verbs.wish_enabled((fleet, other)[number % 2], BY, "mouse", True)
    other.close()
    assert [each.last for each in checked(fleet)] == [4, 0]
    assert problems(fleet) == ["", ""]


def test_an_untouched_journal_is_whole(fleet: Store) -> None:
    assert words.verified(checked(fleet)) == "The journal is whole: admin has no entry; engine has no entry."
    fill(fleet)
    found = checked(fleet)
    assert words.verified(found) == "The journal is whole: admin has entries 1 to 5; engine has entries 1 to 5."
    admin, engine = words.ends(found)
    assert (admin[:8], engine[:9], len(engine)) == ("admin:5:", "engine:5:", 9 + 64)


def _change(table: Any, number: int, **values: Any) -> Callable[[Any], Any]:
    return lambda connection: connection.execute(update(table).where(table.c.id == number).values(**values))


def _delete(table: Any, *numbers: int) -> Callable[[Any], Any]:
    return lambda connection: connection.execute(delete(table).where(table.c.id.in_(numbers)))


def _rewrite(connection: Any) -> None:
    """A careful forger: changes an entry and gives all that follow new hashes, the end too."""
    table, previous = tables.journal, None
    for row in connection.execute(select(table).order_by(table.c.id)).mappings().all():
        values = dict(row)
        if values["id"] >= 3:
            values |= {"actor": "nobody", "previous": previous}
            values["hash"] = journal.digest(values)
            connection.execute(update(table).where(table.c.id == values["id"]).values(values))
        previous = values["hash"]
    connection.execute(update(tables.journal_ends).values(hash=previous))


def _insert(connection: Any) -> None:
    row = connection.execute(select(tables.acts).where(tables.acts.c.id == 5)).mappings().one()
    values = {**row, "id": 6, "previous": row["hash"]}
    connection.execute(insert(tables.acts).values({**values, "hash": journal.digest(values)}))


TAMPERED: dict[str, tuple[Callable[[Any], Any], int, str, int]] = {
    "actor": (_change(tables.journal, 3, actor="nobody"), 0, "entry 3 is not what was written", 2),
    "time": (_change(tables.journal, 1, at=5), 0, "entry 1 is not what was written", 0),
    "index": (_change(tables.acts, 5, index=5), 1, "entry 5 is not what was written", 4),
    "after": (_change(tables.journal, 2, after={"enabled": 1}), 0, "entry 2 is not what was written", 1),
    "hash": (_change(tables.acts, 4, hash="0" * 64), 1, "entry 4 is not what was written", 3),
    "link": (_change(tables.acts, 4, previous="0" * 64), 1, "entry 4 does not follow the one before it", 3),
    "first gone": (_delete(tables.journal, 1), 0, "entry 1 is missing", 0),
    "middle gone": (_delete(tables.acts, 2, 3), 1, "entry 2 is missing", 1),
    "last gone": (_delete(tables.journal, 4, 5), 0, "entries 4 to 5 are missing", 3),
    "all gone": (_delete(tables.acts, 1, 2, 3, 4, 5), 1, "entries 1 to 5 are missing", 0),
    "one more": (_insert, 1, "entry 6 came after the end that was recorded, which is entry 5", 6),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_every_change_behind_our_back_is_found(fleet: Store, what: str) -> None:
    tamper, chain, problem, last = TAMPERED[what]
    fill(fleet)
    with fleet.writing() as writing:
        tamper(writing.connection)
    found = checked(fleet)
    assert found[chain].problem == problem
    assert found[chain].last == last
    assert found[1 - chain].problem == ""
    assert words.verified(found).startswith("The journal is broken: ")
    assert len(words.ends(found)) == 1


def test_a_chain_written_anew_differs_from_a_noted_end(fleet: Store) -> None:
    fill(fleet, 4)
    noted = Noted(4, checked(fleet)[0].hash)
    fill(fleet, 2)
    assert problems(fleet, admin=noted) == ["", ""]
    with fleet.writing() as writing:
        _rewrite(writing.connection)
    assert problems(fleet) == ["", ""]
    assert problems(fleet, admin=noted) == ["entry 4 is another one than the one noted", ""]
    assert problems(fleet, engine=Noted(99, "0" * 64)) == ["", "entry 99, which was noted, is missing"]


def test_what_is_forgotten_leaves_a_chain_that_can_be_followed(fleet: Store) -> None:
    fill(fleet, 6)
    noted = Noted(3, entries_hash(fleet, 3))
    with fleet.writing() as writing:
        prune_operations(writing, 1003 + DAY, 1)
        journal.ENGINE.prune(writing, 0)
    assert [(each.first, each.last, each.problem) for each in checked(fleet)] == [(4, 6, ""), (1, 6, "")]
    assert problems(fleet, admin=noted) == ["", ""]
    assert problems(fleet, admin=Noted(3, "0" * 64))[0].startswith("entry 3, forgotten since, was another one")
    fill(fleet, 1)
    assert [(each.first, each.last, each.problem) for each in checked(fleet)] == [(4, 7, ""), (1, 7, "")]
    with fleet.writing() as writing:
        writing.connection.execute(delete(tables.journal).where(tables.journal.c.id == 4))
    assert problems(fleet) == ["entry 4 is missing", ""]


def entries_hash(store: Store, number: int) -> str:
    with store.reading() as connection:
        found = select(tables.journal.c.hash).where(tables.journal.c.id == number)
        return str(connection.execute(found).scalar_one())


def test_everything_may_be_forgotten_and_the_chain_goes_on(fleet: Store) -> None:
    fill(fleet, 3)
    with fleet.writing() as writing:
        prune_engine(writing, 10**11, 1)
    assert [(each.first, each.last, each.problem) for each in checked(fleet)] == [(1, 3, ""), (4, 3, "")]
    fill(fleet, 1)
    assert [(each.first, each.last, each.problem) for each in checked(fleet)] == [(1, 4, ""), (4, 4, "")]


def test_forgetting_nothing_changes_nothing(fleet: Store) -> None:
    fill(fleet)
    index = fleet.state().index
    with fleet.writing() as writing:
        journal.ADMIN.prune(writing, 1000)
        journal.ENGINE.prune(writing, 1000)
    assert fleet.state().index == index
    assert [each.first for each in checked(fleet)] == [1, 1]


def test_a_clock_set_back_forgets_no_entry_in_between(fleet: Store) -> None:
    for at in (1000, 5000, 1001):
        verbs.wish_enabled(fleet, replace(BY, at=at), "mouse", True)
    with fleet.writing() as writing:
        journal.ADMIN.prune(writing, 2000)
    assert [each.at for each in entries(fleet)] == [5000, 1001]
    assert problems(fleet) == ["", ""]


@pytest.mark.real
@pytest.mark.skipif(not shutil.which("jq"), reason="needs Debian's package jq")
def test_the_documented_recipe_gives_the_hash(fleet: Store) -> None:
    verbs.wish_vm(fleet, replace(BY, reason='ü "quoted" \\ \n \U0001f42d'), "mouse", "i-1", Aspect.SHUTDOWN)
    with fleet.reading() as connection:
        row = dict(connection.execute(select(tables.journal)).mappings().one())
    recipe = "jq -jcS 'del(.hash, .chain, .outcome)' | sha256sum"
    found = subprocess.run(recipe, shell=True, input=json.dumps(row), capture_output=True, text=True, check=True)
    assert found.stdout.split()[0] == row["hash"]


def test_the_command_says_in_a_sentence_what_is_whole(
    fleet: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in databases.options(fleet.directory).items():
        monkeypatch.setenv(f"CLOUDSCHED_GLOBAL_{name.upper()}", value)
    command = ["--state-dir", str(fleet.directory), "journal", "verify"]
    fill(fleet, 2)
    assert main(command) == 0
    sentence, admin, engine = capsys.readouterr().out.splitlines()
    assert sentence == "The journal is whole: admin has entries 1 to 2; engine has entries 1 to 2."
    assert main([*command, "--noted", admin, "--noted", engine, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["whole"] is True
    assert main([*command, "--noted", f"admin:2:{'0' * 64}"]) == 1
    assert capsys.readouterr().out.startswith(
        "The journal is broken: of admin entries 1 to 1 can be trusted, for entry 2 is another one than the one noted; "
        "engine has entries 1 to 2.\n"
    )
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--noted", "admin:2"])
    assert "'admin:2' is not admin:ID:HASH or engine:ID:HASH" in capsys.readouterr().err
