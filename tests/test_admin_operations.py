"""Operations: asked for once, waited for as long as wanted, listed on both daemons, and undone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import databases
import pytest
from admin_bench import JSON, Bench, bench, failed, make_config, make_store
from test_admin_previews import VERBS
from wsgi import Client

from cloudsched import admin as admin_daemon
from cloudsched import info as info_daemon
from cloudsched.config.options import Logging
from cloudsched.model.access import Role
from cloudsched.model.actions import Retire, SetCloud, SetVM
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, OutcomeState, Wish
from cloudsched.policy.wishes import wishes as planned
from cloudsched.store import Store, clouds, jobs, keys, limits, operations, place, tokens, verbs, vms, wishes
from cloudsched.store.snapshot import Seen, SnapshotReader
from cloudsched.store.tokens import Grant
from cloudsched.web.token_file import read_token

DAY = 86400


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, admin_auth="token") as made:
        yield made


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Client]:
    """A daemon whose verbs nobody settles."""
    with closing(make_store(tmp_path)) as store:
        yield Client(admin_daemon.create_app(store, make_config(tmp_path)))


def put(client: Any, url: str, key: str = "", **given: str) -> Any:
    headers = {**JSON, **({"Idempotency-Key": key} if key else {})}
    return client.put(url, given, headers=headers)


def undo(client: Any, operation: int, **given: str) -> Any:
    return client.post(f"/operations/{operation}/undo", given, headers=JSON)


# -- Idempotency-Key ---------------------------------------------------------------------------------------------------


def test_same_key_is_answered_with_the_first_operation_and_done_once(admin: Bench) -> None:
    first = admin.client.post("/", {"action": "quick_shutdown"}, headers={**JSON, "Idempotency-Key": "a"})
    again = admin.client.post("/", {"action": "quick_shutdown"}, headers={**JSON, "Idempotency-Key": '"a"'})
    assert again.json == first.json
    assert [wish[2:] for wish in admin.asked()] == [("quick_exit", True)]
    other = admin.client.post("/", {"action": "quick_shutdown"}, headers={**JSON, "Idempotency-Key": "b"})
    assert other.json["id"] != first.json["id"]
    assert limits.setting(admin.store, "quick_exit") is False


def test_repeated_shutdown_finds_its_answer_though_the_vm_is_gone(admin: Bench) -> None:
    first = put(admin.client, "/clouds/mouse/vms/testvm", "k", action="shutdown")
    with admin.store.writing() as writing:
        vms.forget(writing, ["vm-mouse-5"])
    assert put(admin.client, "/clouds/mouse/vms/testvm", "other", action="shutdown").status_int == 404
    again = put(admin.client, "/clouds/mouse/vms/testvm", "k", action="shutdown")
    assert (again.status_int, again.json) == (200, first.json)


def test_failure_is_repeated_as_it_was(admin: Bench) -> None:
    admin.endings["retire"] = failed("No machine has joined.")
    first = put(admin.client, "/clouds/mouse/vms/testvm", "k", action="force_retire")
    again = put(admin.client, "/clouds/mouse/vms/testvm", "k", action="force_retire")
    assert (first.status_int, again.status_int, len(admin.seen)) == (409, 409, 1)
    assert again.json["operation"] == first.json["operation"]


@pytest.mark.parametrize(
    ("url", "given", "status"),
    [
        ("/clouds/mouse/vms/new-vm", {"action": "shutdown"}, 404),
        ("/clouds/mouse/vms/testvm", {"action": "explode"}, 400),
        ("/clouds/mouse/vms", {"action": "force_retire", "confirm": "1"}, 409),
        ("/clouds/mouse/vms/testvm", {"action": "shutdown", "dry_run": "true"}, 200),
    ],
)
def test_key_names_nothing_before_something_is_recorded_under_it(
    admin: Bench, url: str, given: dict[str, str], status: int
) -> None:
    """A refusal is made anew each time, and leaves the key to the request that is done at last."""
    assert put(admin.client, url, "k", **given).status_int == status
    with admin.store.writing() as writing:
        vms.record_vms(writing, [*vms.all_vms(writing.connection), VM("new", "mouse", id="new-vm", position=900)])
    again = put(admin.client, url, "k", **given)
    assert again.status_int == (200 if status == 404 else status)
    other = put(admin.client, "/clouds/mouse", "k", action="disable")
    assert (other.status_int, len(admin.seen)) == ((409, 1) if status == 404 else (200, 1))


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("/clouds/mouse", {"action": "enable"}),
        ("/clouds/mouse", {"action": "disable", "reason": "other"}),
        ("/clouds/cheetah", {"action": "disable"}),
        ("/settings", {"quick_exit": "true"}),
    ],
)
def test_same_key_with_another_request_is_409(admin: Bench, url: str, given: dict[str, str]) -> None:
    assert put(admin.client, "/clouds/mouse", "k", action="disable").status_int == 200
    answer = put(admin.client, url, "k", **given)
    assert (answer.status_int, answer.json["code"]) == (409, "idempotency-key-reused")
    assert len(admin.seen) == 1


def test_how_long_to_wait_is_no_part_of_the_request(admin: Bench) -> None:
    first = put(admin.client, "/clouds/mouse", "k", action="disable")
    assert put(admin.client, "/clouds/mouse", "k", action="disable", wait="5").json == first.json


def test_key_of_another_caller_is_another_key(admin: Bench) -> None:
    put(admin.client, "/clouds/mouse", "k", action="disable")
    asked = Entry(EntryKind.ASKED, "token_create", 1)
    text, _ = tokens.make(admin.store, Grant(Role.OPERATOR), asked)
    headers = {**JSON, "Idempotency-Key": "k", "Authorization": f"Bearer {text}"}
    answer = Client(admin.client.app).put("/clouds/mouse", {"action": "enable"}, headers=headers)
    assert (answer.status_int, len(admin.seen)) == (200, 2)


@pytest.mark.parametrize("key", ["", "two words", "x" * 201, '""'])
def test_what_is_no_key_is_refused_by_name(admin: Bench, key: str) -> None:
    answer = admin.client.put("/clouds/mouse", {"action": "enable"}, headers={**JSON, "Idempotency-Key": key})
    assert (answer.status_int, answer.json["parameters"]) == (400, ["Idempotency-Key"])


def test_key_survives_a_restart_and_is_forgotten_after_a_day(store: Store) -> None:
    by = wishes.By("root", at=1000, terms=wishes.Terms(key=keys.Key.of("root", "k", {"a": 1})))
    first = verbs.wish_setting(store, by, Aspect.LOG_LEVEL, "INFO")
    assert verbs.wish_setting(store, replace(by, at=1000 + DAY - 1), Aspect.LOG_LEVEL, "INFO").id == first.id
    late = verbs.wish_setting(store, replace(by, at=1000 + DAY), Aspect.LOG_LEVEL, "INFO")
    assert late.id != first.id
    verbs.forget_old(store, 1000 + 2 * DAY, 30)
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM idempotency_keys").scalar() == 0


def test_requests_under_one_key_at_the_same_time_are_one_operation(admin: Bench) -> None:
    answers: list[Any] = []

    def ask() -> None:
        client = Client(admin.client.app)
        client.authorization = admin.client.authorization
        answers.append(put(client, "/clouds/mouse", "k", action="disable"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {answer.json["id"] for answer in answers} == {1}
    assert len(admin.seen) == 1


def test_token_is_made_once_under_a_key_and_its_text_not_told_again(admin: Bench) -> None:
    headers = {**JSON, "Idempotency-Key": "k"}
    made = admin.client.post("/tokens", {"role": "reader"}, headers=headers)
    again = admin.client.post("/tokens", {"role": "reader"}, headers=headers)
    assert (made.status_int, again.status_int, again.json["code"]) == (201, 409, "token-shown-once")
    assert made.json["id"] in again.json["detail"]
    assert len(admin.client.get("/tokens", headers=JSON).json["tokens"]) == 1
    url = f"/tokens/{made.json['id']}"
    assert [admin.client.delete(url, headers={**JSON, "Idempotency-Key": "r"}).status_int for _ in "ab"] == [200, 200]
    assert admin.client.delete("/tokens/x", headers={**JSON, "Idempotency-Key": "r"}).status_int == 404


# -- wait --------------------------------------------------------------------------------------------------------------


def test_wait_of_none_is_answered_at_once_with_where_to_look(idle: Client, tmp_path: Path) -> None:
    with closing(place.hold(databases.open_store(tmp_path))):
        answer = put(idle, "/clouds/mouse", action="disable", wait="0")
        assert (answer.status_int, answer.headers["Location"]) == (202, f"/operations/{answer.json['id']}")


def test_wait_ends_with_the_outcome_and_is_bounded(admin: Bench, idle: Client) -> None:
    assert put(admin.client, "/clouds/mouse", action="disable", wait="300").json["state"] == "done"
    assert put(idle, "/clouds/mouse", action="disable", wait="301").json["parameters"] == ["wait"]


# -- reasons -----------------------------------------------------------------------------------------------------------


def test_reason_is_journaled_with_every_verb(admin: Bench) -> None:
    put(admin.client, "/clouds/mouse", action="disable", reason="new kernel")
    entry = admin.client.get("/journal.json?kind=asked").json["entries"][0]
    assert (entry["reason"], entry["verb"]) == ("new kernel", "disable")
    assert admin.client.get("/operations/1.json").json["reason"] == "new kernel"


# -- the list ----------------------------------------------------------------------------------------------------------


def listed(client: Client, **given: str) -> list[int]:
    query = "&".join(f"{name}={value}" for name, value in given.items())
    return [each["id"] for each in client.get(f"/operations.json?{query}").json["operations"]]


@pytest.fixture
def several(idle: Client) -> Client:
    """Five operations: one done, one failed, three running."""
    put(idle, "/clouds/mouse", action="disable", reason="maintenance")
    put(idle, "/clouds/mouse/vms", action="force_retire", count="2")
    put(idle, "/clouds/cheetah", action="enable")
    put(idle, "/settings", log_level="DEBUG")
    put(idle, "/clouds/mouse/vms/testvm", action="shutdown")
    return idle


def settle(store: Store, operation: int, ending: Any) -> None:
    found = operations.read(store, operation)
    operations.settle(store, [(each.wish.id, *ending) for each in found.targets])


def test_operations_are_listed_on_both_daemons_target_by_target(several: Client, tmp_path: Path) -> None:
    with closing(databases.open_store(tmp_path)) as store:
        settle(store, 1, (OutcomeState.DONE, {}))
        settle(store, 2, failed("No machine."))
        info = Client(info_daemon.create_app(store, make_config(tmp_path, info_auth="none")))
        for client in (several, info):
            assert listed(client) == [5, 4, 3, 2, 1]
            assert listed(client, state="running") == [5, 4, 3]
            assert listed(client, state="done") == [1]
            assert listed(client, state="failed") == [2]
            found = client.get("/operations", headers=JSON).json["operations"][3]
            assert [(each["state"], each["detail"]) for each in found["targets"]] == [
                ("failed", {"error": "No machine."})
            ] * 2
        text = several.get("/operations?state=done").text
        assert text.endswith(" UTC 1 anonymous@127.0.0.1 disable cloud mouse: done; maintenance\n")
        assert several.get("/operations?state=running").text.count("running 0/1") == 3


FILTERED: list[tuple[dict[str, str], list[int]]] = [
    ({"verb": "disable"}, [1]),
    ({"cloud": "Mouse"}, [5, 2, 1]),
    ({"noun": "vm"}, [5, 2]),
    ({"name": "testvm"}, [5]),
    ({"name": "vm-mouse-1"}, [2]),
    ({"actor": "anonymous"}, [5, 4, 3, 2, 1]),
    ({"actor": "anonymou"}, []),
    ({"actor": "anon%25"}, []),
    ({"since": "4000000000"}, []),
    ({"until": "4000000000", "verb": "enable"}, [3]),
    ({"cloud": "mouse", "noun": "cloud"}, [1]),
]


def test_every_filter_must_fit(several: Client) -> None:
    assert [(given, listed(several, **given)) for given, _ in FILTERED] == FILTERED


def test_pages_hold_still_while_operations_are_made(several: Client) -> None:
    first = several.get("/operations.json?limit=2").json
    put(several, "/settings", log_level="INFO")
    second = several.get(f"/operations.json?limit=2&page_token={first['next_page_token']}")
    assert [each["id"] for each in second.json["operations"]] == [3, 2]
    assert (first["total"], second.json["total"]) == (5, 5)
    assert "rel=next" in second.headers["Link"]
    last = several.get(f"/operations.json?limit=2&page_token={second.json['next_page_token']}").json
    assert ([each["id"] for each in last["operations"]], last["next_page_token"]) == ([1], None)
    assert several.get("/operations?page_token=nonsense", headers=JSON).json["parameters"] == ["page_token"]


# -- undo --------------------------------------------------------------------------------------------------------------


def engine(store: Store) -> None:
    """What the policy makes of the wishes, as far as it is a record alone; everything else is done."""
    snapshot = SnapshotReader(store).snapshot(Seen(now=0))
    with store.writing() as writing:
        for action in planned(snapshot):
            match action:
                case SetCloud(name, fields):
                    clouds.record_fields(writing, name, fields)
                case SetVM(uid, fields):
                    vms.record_fields(writing, [{"uid": uid, **fields}])
                case Retire(uid):
                    vms.record_fields(writing, [{"uid": uid, "override_status": "Retiring", "force_retire": True}])
                case _:
                    pass
        for wish in snapshot.wishes:
            _settle_one(writing, wish)
    operations.settle(store, [(wish.id, OutcomeState.DONE, {}) for wish in snapshot.wishes])


def _settle_one(writing: Any, wish: Wish) -> None:
    statuses = {Aspect.HOLD: 5, Aspect.RELEASE: 1}
    if wish.aspect in statuses:
        found = jobs.find(writing.connection, wish.name)
        jobs.record_jobs(writing, [replace(found, job_status=statuses[wish.aspect])])
    if wish.aspect in (Aspect.LOG_LEVEL, Aspect.QUICK_EXIT):
        limits.record_setting(writing, wish.aspect.value, wish.value)


def state(store: Store) -> Any:
    """All that verbs can change and undo."""
    with store.reading() as connection:
        return (
            {each.name: (each.enabled, each.vm_slots) for each in clouds.all_clouds(connection)},
            {vm.uid: (vm.shown_status, vm.retired, vm.released) for vm in vms.all_vms(connection)},
            {job.id: job.job_status for job in jobs.all_jobs(connection)},
            limits.read_settings(connection),
        )


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    """A daemon that waits for nobody, and its state, in which a VM runs and a job waits."""
    with closing(make_store(tmp_path)) as store:
        with store.writing() as writing:
            waiting = next(job for job in jobs.all_jobs(writing.connection) if job.job_status == 1)
            jobs.record_jobs(writing, [replace(waiting, id="waits#77.0#1", cluster_id=77, proc_id=0)])
            limits.record_setting(writing, "log_level", "INFO")
            limits.record_setting(writing, "quick_exit", False)
        config = make_config(tmp_path, verb_wait_seconds=0)
        yield Client(admin_daemon.create_app(store, config)), store


REVERSIBLE = [
    ("PUT", "/clouds/mouse", {"action": "disable"}),
    ("PUT", "/clouds/mouse", {"allocations": "1"}),
    ("PUT", "/clouds/mouse/vms/vm-mouse-1", {"action": "force_retire"}),
    ("DELETE", "/clouds/mouse/vms/vm-mouse-1", {}),
    ("PUT", "/jobs/77.0", {"action": "hold"}),
    ("PUT", "/settings", {"log_level": "ERROR"}),
    ("POST", "/", {"action": "quick_shutdown"}),
]


@pytest.mark.parametrize(("method", "url", "given"), REVERSIBLE)
@pytest.mark.parametrize("settled", [True, False], ids=["settled", "at once"])
def test_undo_brings_back_what_was_and_can_be_undone(
    quiet: tuple[Client, Store], method: str, url: str, given: dict[str, str], settled: bool
) -> None:
    client, store = quiet
    before = state(store)
    first = client.request(url, method=method, headers=JSON, **({"POST": given} if given else {})).json["id"]
    if settled:
        engine(store)
        assert state(store) != before
    told = undo(client, first, dry_run="true")
    assert (told.status_int, told.json["verb"]) == (200, "undo")
    second = undo(client, first, reason="a mistake")
    assert (second.status_int, second.json["verb"], second.json["reason"]) == (202, "undo", "a mistake")
    engine(store)
    assert state(store) == before
    entry = client.get(f"/journal.json?operation={second.json['id']}&kind=asked").json["entries"][0]
    assert entry["detail"] == {"undoes": first}
    again = undo(client, first)
    assert (again.status_int, again.json["code"]) == (409, "cannot-undo")
    if settled:
        assert undo(client, second.json["id"]).status_int == 202
        engine(store)
        assert state(store) != before


@pytest.mark.parametrize(
    ("method", "url", "given", "why"),
    [
        ("PUT", "/clouds/mouse/vms/testvm", {"action": "shutdown"}, "vm testvm: a VM that was shut down does not"),
        ("DELETE", "/jobs/77.0", {}, "job 77.0: a job that was removed does not come back"),
        ("POST", "/", {"action": "reconfig"}, "scheduler: what a file says is changed in the file."),
        ("PUT", "/clouds/mouse", {"action": "enable"}, "cloud mouse: it changed nothing."),
        ("PUT", "/clouds/mouse/vms", {"action": "shutdown", "count": "0"}, "it had no target."),
    ],
)
def test_what_cannot_be_undone_says_why(
    quiet: tuple[Client, Store], method: str, url: str, given: dict[str, str], why: str
) -> None:
    client, store = quiet
    with store.writing() as writing:
        clouds.record_fields(writing, "mouse", {"enabled": True})
    made = client.request(url, method=method, headers=JSON, **({"POST": given} if given else {})).json["id"]
    engine(store)
    answer = undo(client, made)
    assert (answer.status_int, answer.json["code"]) == (409, "cannot-undo")
    assert f"Operation {made} cannot be undone: {why}" in answer.json["detail"]


def test_what_has_changed_since_is_not_undone(quiet: tuple[Client, Store]) -> None:
    client, store = quiet
    first = put(client, "/clouds/mouse", allocations="1").json["id"]
    engine(store)
    put(client, "/clouds/mouse", allocations="2")
    engine(store)
    detail = undo(client, first).json["detail"]
    assert detail == f"Operation {first} cannot be undone: cloud mouse: it has changed since: vm_slots is 2 now."


def test_failed_verb_has_nothing_to_undo(quiet: tuple[Client, Store]) -> None:
    client, store = quiet
    made = put(client, "/clouds/mouse", action="disable").json["id"]
    settle(store, made, failed("It is on fire."))
    assert undo(client, made).json["detail"].endswith("cloud mouse: it failed.")


def test_bulk_is_undone_as_a_whole_or_in_part_as_asked(quiet: tuple[Client, Store]) -> None:
    client, store = quiet
    made = put(client, "/clouds/mouse/vms", action="force_retire", count="2").json["id"]
    engine(store)
    with store.writing() as writing:
        vms.forget(writing, ["vm-mouse-1"])
    whole = undo(client, made)
    assert whole.status_int == 409
    assert whole.json["detail"].endswith("-000000000001: it is gone. With partial=true the other 1 are undone.")
    part = undo(client, made, partial="true")
    assert [each["aspect"] for each in part.json["targets"]] == ["reset"]


def test_undo_of_an_unknown_operation_is_404(quiet: tuple[Client, Store]) -> None:
    assert [undo(quiet[0], each).status_int for each in (99, "x", "1.json")] == [404] * 3


def test_undo_takes_the_role_that_the_verb_took(admin: Bench) -> None:
    operation = put(admin.client, "/settings", log_level="DEBUG").json["id"]
    text, _ = tokens.make(admin.store, Grant(Role.OPERATOR), Entry(EntryKind.ASKED, "token_create", 1))
    client = Client(admin.client.app)
    client.authorization = ("Bearer", text)
    assert undo(client, operation).json["detail"] == (
        "Undoing what concerns the scheduler takes the role admin; yours is operator."
    )
    mine = put(client, "/clouds/cheetah", allocations="3").json["id"]
    assert undo(client, mine).status_int in (200, 409)


@pytest.fixture
def demanding(tmp_path: Path) -> Iterator[tuple[Client, Store]]:
    """A daemon of a site that demands a reason for every verb."""
    with closing(make_store(tmp_path)) as store:
        config = make_config(tmp_path, verb_wait_seconds=0, admin_auth="token")
        config = replace(config, logging=Logging(admin_log_comments=True))
        client = Client(admin_daemon.create_app(store, config))
        client.authorization = ("Bearer", read_token(config.global_.admin_token_file))
        yield client, store


def test_demanded_reason_is_demanded_of_every_verb(demanding: tuple[Client, Store]) -> None:
    client, store = demanding
    for method, url, given in VERBS:
        for query in ("", "?reason=%20"):
            asked = url.format(job="245.0", user="sharon", token="x", operation="1") + query
            answer = client.request(asked, method=method, headers=JSON, **({"POST": given} if given else {}))
            assert (answer.status_int, answer.json["code"]) == (400, "missing-parameter"), (method, url)
            assert answer.json["parameters"] == ["reason"]
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM operations").scalar() == 0


def test_demanded_reason_lets_verbs_and_previews_pass_and_speaks_as_v1(demanding: tuple[Client, Store]) -> None:
    client, _ = demanding
    assert client.put("/clouds/mouse?action=disable").text == (
        "Admin comments being enforced. Please use -C 'reason for command' when performing this option."
    )
    assert put(client, "/clouds/mouse", action="disable", dry_run="true").status_int == 200
    assert put(client, "/clouds/mouse", action="disable", reason="storm").status_int == 202
    assert client.get("/settings").status_int == 200
