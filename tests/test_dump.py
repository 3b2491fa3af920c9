"""State documents: the round trip, what is left out, and every way a document can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import fields, replace
from io import StringIO
from pathlib import Path
from typing import Any

import databases
import pytest
from golden_state import golden

from cloudsched.errors import Conflict, DocumentError, StateHeld
from cloudsched.model.access import Role, TokenUse
from cloudsched.model.adapters import QueuedJob
from cloudsched.model.clouds import Cloud
from cloudsched.model.failures import VMFailure
from cloudsched.model.jobs import SHAPE_FIELDS, Job, JobStatus, Machine, Shape
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.snapshot import Block, Polled
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, OutcomeState
from cloudsched.store import (
    Store,
    clouds,
    dump,
    heartbeats,
    history,
    jobs,
    keys,
    limits,
    machines,
    operations,
    place,
    polls,
    queue,
    rows,
    tables,
    tallies,
    token_uses,
    tokens,
    verbs,
    vm_failures,
    vms,
    wishes,
)
from cloudsched.store.document import KINDS
from cloudsched.store.tokens import Grant
from cloudsched.web.keyring import Keyring, Refusal

BY = wishes.By("root", "request-1", "because", 100)
SHAPE = Shape("alice", req_ami={"default": "i", "c": "j"}, maximum_price=0.5, target_clouds=("a", "b"))
SPEC = {"executable": "/bin/run", "arguments": ["$(Cluster)", "ü"], "environment": {"PASSWORD": "hunter2"}}
DOC = Path(__file__).parent.parent / "docs" / "state-format.md"


def fill(store: Store) -> None:
    """Something in every table that a dump shows."""
    known = golden()
    with store.writing() as writing:
        clouds.record_clouds(writing, known.clouds)
        vms.record_vms(writing, [*known.vms, VM("odd/ü 'name'", known.clouds[0].name, image={"c": ["x"]})])
        vms.record_departed(writing, [VM("gone", known.clouds[0].name)], 100, 600)
        jobs.record_jobs(writing, [*known.jobs, Job("a#1.0#1", SHAPE, failed_boot_reason=("quota",), exit_code=3)])
        jobs.record_reasons(writing, {SHAPE.key: ["no cloud has room", 'said "no"']})
        jobs.record_block(writing, Block(SHAPE.key, "c", 9000, "image failed"), 5)
        machines.record_machines(writing, [*known.machines, Machine("slot1@x", "x", retiring=True)])
        heartbeats.record_heartbeats(writing, known.heartbeats)
        limits.record_user_limits(writing, known.user_limits)
        limits.record_cloud_aliases(writing, known.cloud_aliases)
        limits.record_banned_images(writing, {"bad": ("c",)})
        limits.record_setting(writing, "log_level", "DEBUG")
        limits.record_setting(writing, "quick_exit", None)
        polls.record_polls(writing, [Polled("VMPoller:ü", 5.0, 99.5, 100.0, 0.25, "no answer")])
        tallies.add_tallies(writing, [(("cloudsched_boots_total", "ü"), 3.0), (("cloudsched_idle", "x"), 0.5)])
        vm_failures.record_failure(writing, VMFailure("u-9", "mouse", 100, "error", "No host.", console="ü\n"))
        history.record_minute(writing, 1000, {"vms": 3, "idle_cores": 0.5})
    _, token = tokens.make(
        store,
        Grant(Role.OPERATOR, users=("alice",), expires_at=5000),
        Entry(EntryKind.ASKED, "token_create", 1000, "admin@127.0.0.1"),
    )
    with store.writing() as writing:
        token_uses.record_uses(writing, [TokenUse(token.id, 1020, "127.0.0.1")])
    fill_queue(store)
    fill_wishes(store)


def fill_queue(store: Store) -> None:
    queued = queue.SQLQueue(store)
    job = Job("", SHAPE, priority=2)
    queued.add("wish-1", [QueuedJob(job, SPEC)] * 2, 100)
    queued.add("wish-2", [QueuedJob(replace(job, priority=1), {**SPEC, "environment": {}})], 101)
    queued.add("wish-3", [QueuedJob(replace(job, job_status=JobStatus.HELD, hold_reason="held"), SPEC)], 102)
    lease = queued.lease(VM("vm1", "c", user="alice", memory=4000), 1, 103.0, 60.0)
    assert lease is not None
    queued.add("wish-4", [QueuedJob(replace(job, priority=9), SPEC)], 104)
    done = queued.lease(VM("vm2", "c", user="alice", memory=4000), 1, 105.0, 60.0)
    assert done is not None
    assert queued.finish("vm2", done.job.job.id, done.attempt, {"exit_code": 0}, 106)


def fill_wishes(store: Store) -> None:
    cloud = golden().clouds[0].name
    verbs.wish_submit(store, BY, "alice", "executable = /bin/run\nenvironment = SECRET=swordfish\nqueue\n", "/home")
    verbs.wish_submit(store, BY, "alice", "executable = swordfish\nqueue\n", "/home")
    verbs.wish_enabled(store, BY, cloud, False)
    keyed = replace(BY, terms=wishes.Terms(key=keys.Key.of("root", "a-key", {"path": "/clouds"})))
    verbs.wish_enabled(store, keyed, cloud, True)
    verbs.wish_vm_slots(store, BY, cloud, 77)
    retired = verbs.wish_vms(store, BY, cloud, Aspect.RETIRE, None)
    ends = [(2, OutcomeState.DONE, {"cluster": 4}), (retired.targets[0].wish.id, OutcomeState.FAILED, {"error": "no"})]
    operations.settle(store, ends)


def text_of(store: Store, *, with_secrets: bool = True) -> str:
    out = StringIO()
    dump.dump(store, out, with_secrets=with_secrets, version="2.0", now=123)
    return out.getvalue()


def load(store: Store, text: str, *, replace: bool = False) -> dict[str, int]:
    return dump.load(store, text.splitlines(keepends=True), path="state.jsonl", replace=replace)


def of_kind(text: str, kind: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, text.splitlines()) if line.get("kind") == kind]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    """A second, empty state."""
    directory = tmp_path / "other"
    opened = databases.open_store(directory)
    yield opened
    opened.close()


def test_the_round_trip_is_the_identity(store: Store, other: Store) -> None:
    fill(store)
    first = text_of(store)
    counts = load(other, first)
    assert text_of(other).splitlines()[1:] == first.splitlines()[1:]
    assert list(counts) == [kind.name for kind in KINDS]
    assert sum(counts.values()) == len(first.splitlines()) - 2
    for topic in (vms.all_vms, jobs.all_jobs, clouds.all_clouds, machines.all_machines, operations.unsettled):
        with store.reading() as one, other.reading() as two:
            assert topic(one) == topic(two)
    assert queue.SQLQueue(store).leases() == queue.SQLQueue(other).leases()


def test_every_table_is_in_a_dump_or_rightly_not() -> None:
    shown = {kind.table.name for kind in KINDS} | {kind.shapes.name for kind in KINDS if kind.shapes is not None}
    assert set(tables.metadata.tables) - shown == {"state", "tombstones", "queue_gone", "job_groups"}


def test_every_column_is_a_field() -> None:
    ours = {"revision", "seq", "change"}
    for kind in KINDS:
        if kind.name == "counter":
            continue
        columns = set(kind.table.c.keys()) - ours
        expected = {kind.renamed.get(name, name) for name in kind.hints if name not in SHAPE_FIELDS or name in columns}
        carried = {"shape", "key"} & columns if kind.shapes is not None else set()
        assert columns == expected | carried, kind.name


def test_the_header_tells_what_it_is(store: Store) -> None:
    fill(store)
    header = json.loads(text_of(store, with_secrets=False).splitlines()[0])
    index = store.state().index
    assert header == {"cloudsched_state": 1, "version": "2.0", "made_at": 123, "index": index, "secrets": False}


def test_lines_carry_v1s_names(store: Store) -> None:
    fill(store)
    text = text_of(store)
    (job,) = [job for job in of_kind(text, "job") if job["id"] == "a#1.0#1"]
    assert job["uservmtype"] == "alice:default"
    assert job["req_ami"] == {"default": "i", "c": "j"}
    vm = of_kind(text, "vm")[0]
    assert vm["uservmtype"] == f"{vm['user']}:{vm['vmtype']}"
    assert {"idle_start", "initialize_time", "override_status"} < vm.keys()


def test_secrets_are_left_out(store: Store) -> None:
    fill(store)
    text = text_of(store, with_secrets=False)
    assert "hunter2" in text_of(store)
    assert "hunter2" not in text
    assert "swordfish" not in text
    environments = [job["spec"]["environment"] for job in of_kind(text, "queued_job")]
    assert environments.count(None) == 4
    assert environments.count({}) == 1


def test_a_token_whose_digest_was_left_out_lets_nobody_in(store: Store, other: Store) -> None:
    text, token = tokens.make(store, Grant(Role.ADMIN), Entry(EntryKind.ASKED, "token_create", 1000, "a"))
    load(other, text_of(store, with_secrets=False))
    assert tokens.digest(text) not in text_of(other)
    with other.reading() as connection:
        assert tokens.find(connection, token.id).state(2000) == "unusable"
    assert isinstance(Keyring(other, "the-first-token").caller(text), Refusal)


def test_jobs_whose_environment_was_left_out_are_held(store: Store, other: Store) -> None:
    fill(store)
    load(other, text_of(store, with_secrets=False))
    _, found, _ = queue.SQLQueue(other).changes(0)
    states = {(job.cluster_id, job.proc_id): (job.job_status, job.hold_reason) for job in found}
    left_out = "Its environment was left out of the dump."
    assert states == {
        (1, 0): (JobStatus.HELD, left_out),
        (1, 1): (JobStatus.HELD, left_out),
        (2, 0): (JobStatus.IDLE, ""),
        (3, 0): (JobStatus.HELD, f"held {left_out}"),
        (4, 0): (JobStatus.COMPLETE, ""),
    }
    assert queue.SQLQueue(other).leases() == []
    assert {json.dumps(job["spec"]["environment"]) for job in of_kind(text_of(other), "queued_job")} == {"{}"}


def test_a_submit_whose_text_was_left_out_has_failed(store: Store, other: Store) -> None:
    fill(store)
    load(other, text_of(store, with_secrets=False))
    assert operations.read(other, 1).state == "failed"
    (target,) = operations.read(other, 1).targets
    assert target.outcome is not None
    assert target.outcome.detail == {"error": "Its submit description was left out of the dump."}
    assert operations.read(other, 2).state == "done"


def test_a_state_that_is_not_empty_is_kept(store: Store, other: Store) -> None:
    fill(other)
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
        clouds.record_clouds(writing, [Cloud("c", "local")])
    before = text_of(store)
    with pytest.raises(Conflict, match=r"not empty \(1 user_limit, 1 cloud\): --replace"):
        load(store, text_of(other))
    assert text_of(store) == before
    load(store, text_of(other), replace=True)
    assert text_of(store).splitlines()[1:] == text_of(other).splitlines()[1:]


def test_a_loaded_state_goes_on_upward(store: Store, other: Store) -> None:
    fill(store)
    with other.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
    since = other.state().index
    document = text_of(store)
    load(other, document, replace=True)
    row = other.state()
    assert row.index == store.state().index + 1 > since
    assert {getattr(row, topic) for topic in (*tables.TOPICS, "verbs", "oldest")} == {row.index}
    with other.reading() as connection:
        found, _ = rows.changes(connection, tables.vms, "vms", since)
    assert len(found) == len(of_kind(document, "vm"))


def test_numbers_are_not_given_twice_after_a_load(store: Store, other: Store) -> None:
    fill(store)
    load(other, text_of(store))
    last = max(line["id"] for line in of_kind(text_of(store), "wish"))
    (target,) = verbs.wish_enabled(other, BY, golden().clouds[0].name, True).targets
    assert target.wish.id == last + 1
    assert queue.SQLQueue(other).add("new", [QueuedJob(Job("", SHAPE))], 200) == (5, 1)
    assert queue.SQLQueue(other).add("wish-1", [QueuedJob(Job("", SHAPE))], 200) == (1, 2)


def test_a_running_engine_keeps_its_state(store: Store) -> None:
    with closing(place.hold(store)), pytest.raises(StateHeld, match="is held by process"):
        load(store, text_of(store))


def test_an_engine_elsewhere_is_stopped(store: Store) -> None:
    before = store.begin_epoch()
    document = text_of(store)
    load(store, document)
    assert store.state().engine_epoch == before + 1


HEADER = {"cloudsched_state": 1, "version": "2", "made_at": 1, "index": 1, "secrets": True}
CLOUD = {"kind": "cloud", "name": "c", "cloud_type": "local"}
VM_LINE = {"kind": "vm", "uid": "u", "cloud": "c"}
JOB_LINE = {"kind": "job", "id": "j", "user": "alice"}
OPERATION = {"kind": "operation", "id": 1, "verb": "enable"}
WISH = {"kind": "wish", "id": 1, "operation": 1, "target": "cloud", "name": "c", "aspect": "enabled", "value": True}
QUEUED = {"kind": "queued_job", "id": "q", "cluster_id": 7, "proc_id": 0, "spec": {}, "user": "alice"}


def document(*lines: object, header: object = HEADER) -> str:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in (header, *lines)]
    return "\n".join([*texts, json.dumps({"kind": "end", "lines": len(lines)}), ""])


def without(line: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != name}


WRONG: dict[str, tuple[int, str, str]] = {
    "empty": (0, "", "cut off: it must end with"),
    "no header": (1, document(CLOUD).split("\n", 1)[1], 'begins with {"cloudsched_state": 1'),
    "another format": (1, document(header={**HEADER, "cloudsched_state": 2}), "is 2: this program reads format 1"),
    "header field": (1, document(header={**HEADER, "extra": 1}), "the header has no field 'extra'"),
    "header missing": (1, document(header=without(HEADER, "index")), "the header needs 'index'"),
    "header type": (1, document(header={**HEADER, "secrets": 1}), "'secrets' must be true or false, not 1"),
    "not JSON": (2, document("{,}"), "not JSON: Expecting property name"),
    "not an object": (2, document("[1]"), "not a JSON object"),
    "deep": (2, document("[" * 100_000), "not JSON"),
    "not a number": (2, document('{"kind": "setting", "name": "n", "value": NaN}'), "NaN is not a number"),
    "no number": (2, document('{"kind": "setting", "name": "n", "value": 1e999}'), "not JSON"),
    "half a pair": (2, document('{"kind": "setting", "name": "n", "value": "\\ud800"}'), "half a surrogate pair"),
    "twice in a line": (2, document('{"kind": "cloud", "name": "a", "name": "b"}'), "'name' occurs twice"),
    "no kind": (2, document(without(CLOUD, "kind")), "must be one of setting, user_limit"),
    "unknown kind": (3, document(CLOUD, {**CLOUD, "kind": "clod"}), "must be one of .* not 'clod'"),
    "odd kind": (2, document({**CLOUD, "kind": ["cloud"]}), "must be one of "),
    "unknown field": (2, document({**CLOUD, "colour": 1}), "cloud has no field 'colour'; its fields are name, cloud_"),
    "missing field": (2, document(without(VM_LINE, "cloud")), "vm needs 'cloud'"),
    "missing in shape": (2, document(without(JOB_LINE, "user")), "job needs 'user'"),
    "text for number": (2, document({**CLOUD, "vm_slots": "4"}), "'vm_slots' must be a whole number .* not \"4\""),
    "bool for number": (2, document({**CLOUD, "vm_slots": True}), "'vm_slots' must be a whole number"),
    "fraction": (2, document({**CLOUD, "vm_slots": 1.5}), "'vm_slots' must be a whole number"),
    "too large": (2, document({**CLOUD, "vm_slots": 2**63}), "'vm_slots' must be a whole number of 64 bits"),
    "number for bool": (2, document({**CLOUD, "enabled": 1}), "'enabled' must be true or false"),
    "null": (2, document({**CLOUD, "cloud_type": None}), "'cloud_type' must be a text, not null"),
    "not null": (2, document({**CLOUD, "tenant": 5}), "'tenant' must be a text or null, not 5"),
    "list": (2, document({**CLOUD, "failed_images": "x"}), "'failed_images' must be a list, each a text"),
    "in a list": (2, document({**JOB_LINE, "target_clouds": ["a", 1]}), "'target_clouds' must be a list, each a text"),
    "object": (2, document({**JOB_LINE, "req_ami": {"default": 1}}), "an object whose values are each a text"),
    "pair": (
        2,
        document({"kind": "shape", "user": "a", "blocks": {"c": [1]}}),
        "each a list, each a whole .* then a t",
    ),
    "number": (2, document({**JOB_LINE, "ban_time": "1"}), "'ban_time' must be a number or null"),
    "choice": (
        3,
        document(OPERATION, {**WISH, "target": "clod"}),
        "'target' must be one of cloud, vm, job, jobs, user",
    ),
    "aspect": (
        3,
        document(OPERATION, {**WISH, "aspect": "fly"}),
        "'aspect' must be one of enabled, vm_slots, def",
    ),
    "value": (3, document(OPERATION, {**WISH, "value": "yes"}), "the 'value' of 'enabled' must be true or false"),
    "record": (
        3,
        document(OPERATION, {**WISH, "aspect": "vm_slots", "value": {"slots": 1}}),
        r"must be an object of 'slots' \(a whole number of 64 bits\), 'file'",
    ),
    "proxy": (2, document({**QUEUED, "proxy": {"password": "x"}}), "'proxy' has no field 'password'; it has x509user"),
    "same key": (4, document(CLOUD, VM_LINE, CLOUD), "this cloud has come before: name 'c'"),
    "same shape": (3, document(*[{"kind": "shape", "user": "a"}] * 2), "this shape has come before"),
    "no operation": (2, document(WISH), "this wish belongs to operation 1, which must come before it"),
    "no wish": (2, document({"kind": "outcome", "wish": 5, "state": "done"}), "this outcome belongs to wish 5"),
    "upper case": (2, document({**CLOUD, "name": "C"}), "the name of a cloud is lower case, not 'C'"),
    "no name": (2, document({**CLOUD, "name": ""}), "'name' must be a name, and not empty"),
    "dots": (2, document({**JOB_LINE, "id": ".."}), "'id' must be a name, and not empty, '.', '..'"),
    "NUL": (2, document({**VM_LINE, "uid": "a\0b"}), "with a NUL"),
    "leased and idle": (2, document({**QUEUED, "vm": "u", "slot": 1}), r"a running job \(job_status 2\) has 'vm'"),
    "running nowhere": (2, document({**QUEUED, "job_status": 2}), r"a running job \(job_status 2\) has 'vm'"),
    "no such status": (2, document({**QUEUED, "job_status": 9}), "'job_status' must be one of 0, 1, 2"),
    "environment": (
        2,
        document({**QUEUED, "spec": {"environment": ["A=1"]}}),
        "'environment' in 'spec' must be an obj",
    ),
    "answer": (
        2,
        document({"kind": "queue_order", "token": "t", "answer": {"cluster": 1}, "made_at": 1}),
        "or an object",
    ),
    "no end": (2, document(CLOUD).rsplit("\n", 2)[0], "is cut off: it must end with"),
    "cut line": (2, document(CLOUD)[: len(document()) + 10], "not JSON"),
    "line lost": (3, document(CLOUD, VM_LINE).replace(json.dumps(VM_LINE) + "\n", ""), "counts 2 lines and 1 came"),
    "end's count": (3, document(CLOUD).replace('"lines": 1', '"lines": "1"'), "'lines' must be a whole number"),
    "more": (4, document(CLOUD) + json.dumps(VM_LINE), "has ended, and another line came"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_document_is_told_by_line_and_changes_nothing(store: Store, what: str) -> None:
    line, text, problem = WRONG[what]
    with store.writing() as writing:
        limits.record_user_limits(writing, {"alice": 1})
    before = text_of(store)
    with pytest.raises(DocumentError, match=problem) as caught:
        load(store, text, replace=True)
    assert (caught.value.path, caught.value.line) == ("state.jsonl", line)
    assert text_of(store) == before


def test_what_is_not_utf8_is_told_by_line(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "latin"
    path.write_bytes(document({**CLOUD, "last_error": "@"}).replace("@", "\xe9").encode("latin-1"))
    with dump.open_document(str(path)) as lines, pytest.raises(DocumentError, match="not UTF-8") as caught:
        dump.load(store, lines, path=str(path), replace=False)
    assert caught.value.line == 2


def test_a_document_by_hand_needs_little(store: Store) -> None:
    text = document(CLOUD, VM_LINE, JOB_LINE, OPERATION, WISH, "", QUEUED)
    text = text.replace('"lines": 7', '"lines": 6')
    counts = load(store, text)
    assert counts == {
        "cloud": 1,
        "vm": 1,
        "job": 1,
        "operation": 1,
        "wish": 1,
        "queued_job": 1,
    }
    with store.reading() as connection:
        assert vms.all_vms(connection) == [VM("u", "c")]
        assert clouds.all_clouds(connection) == [Cloud("c", "local")]
        assert jobs.find(connection, "j") == Job("j", Shape("alice"))
    assert queue.SQLQueue(store).add("t", [QueuedJob(Job("", SHAPE))], 1) == (8, 1)


def test_derived_fields_are_ignored(store: Store) -> None:
    load(store, document({**VM_LINE, "uservmtype": 5}, {**JOB_LINE, "uservmtype": "x:y"}))
    assert of_kind(text_of(store), "job")[0]["uservmtype"] == "alice:default"


def test_a_large_state_goes_through(store: Store, other: Store) -> None:
    with store.writing() as writing:
        shapes = [Shape(f"user{number % 700}") for number in range(1700)]
        jobs.record_jobs(writing, [Job(f"h#{n}.0#1", shape, cluster_id=n) for n, shape in enumerate(shapes)])
    counts = load(other, text_of(store))
    assert (counts["job"], counts["shape"]) == (1700, 700)
    assert text_of(other).splitlines()[1:] == text_of(store).splitlines()[1:]


@pytest.mark.parametrize("present", [True, False])
def test_a_private_file_is_its_owners(tmp_path: Path, present: bool) -> None:
    path = tmp_path / "dump"
    if present:
        path.write_text("a longer text that was there before")
        path.chmod(0o644)
    with dump.open_private(str(path)) as out:
        assert path.stat().st_mode & 0o777 == 0o600
        out.write("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("opened", [dump.open_private, dump.open_document])
def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path, opened: Callable[[str], object]) -> None:
    with pytest.raises(DocumentError, match=r"cannot be \w+: "):
        opened(str(tmp_path / "no" / "such"))


def test_the_format_is_documented_in_full() -> None:
    text = DOC.read_text()
    for kind in KINDS:
        section = text.split(f"### `{kind.name}`", 1)[1].split("\n###", 1)[0]
        for name in (*kind.hints, *kind.derived):
            inline = kind.shapes is not None and name in SHAPE_FIELDS
            assert ("the fields of a shape" if inline else f"`{name}`") in section, (kind.name, name)
    shape = text.split("## The fields of a shape", 1)[1].split("\n##", 1)[0]
    assert [each.name for each in fields(Shape) if f"`{each.name}`" not in shape] == []
