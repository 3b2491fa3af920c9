"""PUT, PATCH and DELETE of a cloud's definition, held against the state; the engine has tests of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from admin_bench import JSON, Bench, bench
from sqlalchemy import select

from cloudsched.admin.clouds import MERGE_PATCH
from cloudsched.config.secrets import MASK
from cloudsched.model.access import Role
from cloudsched.model.clouds import Cloud, Origin
from cloudsched.model.journal import Entry, EntryKind
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect
from cloudsched.store import clouds, definitions, tables, tokens, vms
from cloudsched.store.tokens import Grant

LOCAL = {"cloud_type": "local", "vm_slots": 3}
OPENSTACK = {
    "cloud_type": "OpenStackNative",
    "vm_slots": 3,
    "auth_url": "https://cloud.example/v3",
    "regions": ["west"],
    "application_credential_id": "planted-id",
    "application_credential_secret": "planted-secret",
}
URL = "/clouds/lynx"


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def put(admin: Bench, document: Any, url: str = URL, **headers: str) -> Any:
    return admin.client.put(url, json.dumps(document), content_type="application/json", headers=headers)


def patch(admin: Bench, document: Any, url: str = URL, kind: str = MERGE_PATCH, **headers: str) -> Any:
    return admin.client.patch(url, json.dumps(document), content_type=kind, headers=headers)


def recorded(admin: Bench, **fields: Any) -> None:
    """Have the engine's row of the cloud, as it would record it."""
    with admin.store.writing() as writing:
        made = Cloud("lynx", "local", **{"vm_slots": 3, "origin": Origin.API, "position": 99, **fields})
        clouds.record_clouds(writing, [*(c for c in clouds.all_clouds(writing.connection) if c.name != "lynx"), made])


def with_vm(admin: Bench) -> None:
    with admin.store.writing() as writing:
        vms.record_vms(writing, [VM("lynx-vm", "lynx", position=999)])


def defined(admin: Bench) -> dict[str, definitions.Definition]:
    with admin.store.reading() as connection:
        return definitions.all_definitions(connection)


def asked(admin: Bench) -> list[Entry]:
    """What the journal says was asked for, the newest last."""
    with admin.store.reading() as connection:
        rows = connection.execute(select(tables.journal).order_by(tables.journal.c.id)).mappings().all()
    return [Entry(**{name: row[name] for name in Entry.__dataclass_fields__}) for row in rows]


def everything(admin: Bench) -> str:
    """Every row of every table that others may see, which is all but the wish in force."""
    with admin.store.reading() as connection:
        shown = [table for table in tables.metadata.sorted_tables if table is not tables.wishes]
        return "".join(str(row) for table in shown for row in connection.execute(select(table)))


def test_new_cloud_is_201_and_asked_of_the_engine(admin: Bench) -> None:
    answer = put(admin, LOCAL)
    assert (answer.status_int, answer.text) == (201, "Cloud: lynx created.")
    (kind, name, aspect, value), *_ = admin.asked()
    assert (kind, name, aspect) == ("cloud", "lynx", "define")
    assert value == {
        "options": {"cloud_type": "local", "vm_slots": "3"},
        "secrets": {},
        "enabled": None,
        "warnings": [],
    }


def test_json_form_is_the_operation(admin: Bench) -> None:
    document = put(admin, LOCAL, **JSON).json
    target = {"kind": "cloud", "name": "lynx", "aspect": "define", "state": "done", "detail": {}}
    assert (document["verb"], document["state"], len(document["targets"])) == ("create", "done", 1)
    assert target.items() <= document["targets"][0].items()


def test_awkward_name_is_taken_in_lower_case(admin: Bench) -> None:
    assert put(admin, LOCAL, "/clouds/Test%2Fname%3Fx%23y%20100%25").status_int == 201
    assert list(defined(admin)) == ["test/name?x#y 100%"]


def test_v1_parameters_are_v1_verbs_in_a_json_body_too(admin: Bench) -> None:
    assert put(admin, {"action": "enable"}, "/clouds/mouse").text == "Cloud: mouse enabled."
    assert put(admin, {"allocations": 5}, "/clouds/mouse").status_int == 200
    assert put(admin, LOCAL, "/clouds/mouse?action=enable").status_int == 400
    assert [each[2] for each in admin.asked()] == ["enabled", "vm_slots"]


def test_what_is_wrong_is_400_with_all_complaints_and_asks_nothing(admin: Bench) -> None:
    answer = put(admin, {**OPENSTACK, "vm_slots": "many", "colour": "red"}, **JSON)
    assert (answer.status_int, answer.json["code"]) == (400, "bad-definition")
    found = [(each["level"], each["code"], each["field"]) for each in answer.json["complaints"]]
    assert found == [
        ("error", "bad-value", "vm_slots"),
        ("error", "unknown-option", "colour"),
        ("warning", "no-slots", "vm_slots"),
    ]
    text = put(admin, {"cloud_type": "cirrus"}).text
    assert text.startswith("error: cloud_type: cloud_type cirrus is not known; available are ")
    assert admin.asked() == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("[]", "application/json", 400),
        ('{"a": 1, "a": 2}', "application/json", 400),
        ('{"a": NaN}', "application/json", 400),
        ('{"a": "\\ud800"}', "application/json", 400),
        ("{", "application/json", 400),
        ("cloud_type: local", "application/yaml", 415),
        ("x" * 1_100_000, "application/json", 413),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_body_that_is_no_json_object_is_refused(admin: Bench, method: str, body: str, kind: str, status: int) -> None:
    answer = admin.client.request(URL, method=method, body=body.encode(), content_type=kind)
    assert answer.status_int == status


def test_unknown_parameters_in_the_query_are_refused_by_name(admin: Bench) -> None:
    assert put(admin, LOCAL, f"{URL}?colour=red", **JSON).json["parameter"] == "colour"
    assert patch(admin, {}, f"{URL}?until=1h", **JSON).json["parameter"] == "until"
    assert admin.client.delete(f"{URL}?force=true", headers=JSON).json["parameter"] == "force"


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_cloud_of_the_file_is_409_and_stays_as_it_is(admin: Bench, method: str) -> None:
    send = {"put": put, "patch": patch}.get(method)
    url = "/clouds/mouse"
    answer = send(admin, LOCAL, url, **JSON) if send else admin.client.delete(url, headers=JSON)
    assert (answer.status_int, answer.json["code"]) == (409, "in-file")
    assert "cloud_resources.conf" in answer.json["detail"]
    assert admin.asked() == []


def test_cloud_of_the_file_that_drains_is_told_to_be_so(admin: Bench) -> None:
    recorded(admin, origin=Origin.FILE, removed=True)
    answer = put(admin, LOCAL, **JSON)
    assert (answer.status_int, answer.json["code"]) == (409, "draining")


def test_unknown_cloud_is_404_for_patch_and_delete(admin: Bench) -> None:
    assert patch(admin, {"vm_slots": 1}).status_int == 404
    assert admin.client.delete(URL).status_int == 404


def test_replacing_and_changing_say_what_changes_field_by_field(admin: Bench) -> None:
    put(admin, {**OPENSTACK, "priority": 1})
    recorded(admin)
    assert put(admin, {**OPENSTACK, "vm_slots": 5}).text == "Cloud: lynx replaced."
    answer = patch(admin, {"priority": 2, "application_credential_secret": "planted-new"}, f"{URL}?reason=moved")
    assert (answer.status_int, answer.text) == (200, "Cloud: lynx changed.")
    created, replaced, changed = [entry for entry in asked(admin) if entry.name == "lynx"]
    assert (created.verb, dict(created.before)) == ("create", {})
    assert created.after["application_credential_secret"] == MASK
    assert (replaced.verb, replaced.before, replaced.after) == (
        "replace",
        {"priority": "1", "vm_slots": "3"},
        {"vm_slots": "5"},
    )
    assert (changed.verb, changed.reason) == ("change", "moved")
    assert changed.before == {"application_credential_secret": MASK}
    assert changed.after == {"application_credential_secret": MASK, "priority": "2"}


def test_what_changes_nothing_is_done_and_asks_nothing(admin: Bench) -> None:
    put(admin, OPENSTACK)
    recorded(admin)
    before = len(admin.asked())
    for answer in (put(admin, OPENSTACK), patch(admin, {"vm_slots": 3})):
        assert (answer.status_int, answer.text) == (200, "Cloud: lynx is defined so already. Nothing to do.")
    assert put(admin, OPENSTACK, **JSON).json["state"] == "done"
    assert len(admin.asked()) == before


def test_quota_and_switch_are_compared_with_what_is_in_force(admin: Bench) -> None:
    put(admin, {**LOCAL, "enabled": True})
    recorded(admin, vm_slots=9, enabled=False)
    assert put(admin, {**LOCAL, "enabled": True}).text == "Cloud: lynx replaced."
    entry = asked(admin)[-1]
    assert entry.before == {"enabled": "false", "vm_slots": "9"}
    assert entry.after == {"enabled": "true", "vm_slots": "3"}


def test_definition_replaces_quota_and_switch_by_verb_where_it_names_them(admin: Bench) -> None:
    put(admin, LOCAL)
    recorded(admin)
    admin.client.put(f"{URL}?action=enable")
    admin.client.put(f"{URL}?allocations=7")
    patch(admin, {"priority": 1})
    assert lasting(admin) == {"define", "enabled", "vm_slots"}
    put(admin, {**LOCAL, "priority": 2})
    assert lasting(admin) == {"define", "enabled"}
    patch(admin, {"enabled": True})
    assert lasting(admin) == {"define"}


def lasting(admin: Bench) -> set[str]:
    """The aspects of the wishes in force for the cloud."""
    table = tables.wishes
    with admin.store.reading() as connection:
        query = select(table.c.aspect).where(table.c.name == "lynx", table.c.superseded_by.is_(None))
        return set(connection.execute(query).scalars())


def test_kind_stays_while_vms_live(admin: Bench) -> None:
    put(admin, LOCAL)
    recorded(admin)
    with_vm(admin)
    answer = put(admin, OPENSTACK, **JSON)
    assert (answer.status_int, answer.json["code"]) == (409, "kind-in-use")
    assert put(admin, {**LOCAL, "vm_slots": 1}).status_int == 200


def test_if_match_and_if_none_match_hold_definitions_to_a_picture(admin: Bench) -> None:
    put(admin, LOCAL)
    recorded(admin)
    row = admin.store.state()
    stale = {"If-Match": f'"{row.clouds - 1}"'}
    assert put(admin, {**LOCAL, "vm_slots": 4}, **stale).status_int == 412
    assert patch(admin, {"vm_slots": 4}, **stale).status_int == 412
    assert admin.client.delete(URL, headers=stale).status_int == 412
    assert put(admin, {**LOCAL, "vm_slots": 4}, **{"If-None-Match": "*"}).status_int == 412
    assert put(admin, LOCAL, "/clouds/mouse", **{"If-None-Match": "*"}).status_int == 412
    assert put(admin, LOCAL, "/clouds/bobcat", **{"If-None-Match": "*"}).status_int == 201
    now = {"If-Match": f'"{admin.store.state().clouds}-json"'}
    assert put(admin, {**LOCAL, "vm_slots": 4}, **now).status_int == 200


def test_deleted_cloud_is_gone_and_may_be_made_again_as_new(admin: Bench) -> None:
    put(admin, OPENSTACK)
    admin.client.put(f"{URL}?action=enable")
    answer = admin.client.delete(f"{URL}?reason=moved")
    assert (answer.status_int, answer.text) == (200, "Cloud: lynx deleted.")
    assert defined(admin) == {}
    assert admin.client.delete(URL).status_int == 404
    assert patch(admin, {"vm_slots": 1}).status_int == 404
    assert put(admin, LOCAL).status_int == 201
    assert lasting(admin) == {"define"}, "what was asked of the one before counts no more"


def test_draining_cloud_is_not_put_again_but_takes_new_credentials(tmp_path: Path) -> None:
    with bench(tmp_path, verb_wait_seconds=0, wait_seats=0) as admin:
        put(admin, OPENSTACK)
        recorded(admin)
        with_vm(admin)
        admin.settle()
        admin.settle = lambda: None  # type: ignore[method-assign]
        first = admin.client.delete(URL, headers=JSON)
        assert first.status_int == 202
        again = admin.client.delete(URL, headers=JSON)
        assert (again.status_int, again.headers["Location"]) == (202, first.headers["Location"])
        answer = put(admin, OPENSTACK, **JSON)
        assert (answer.status_int, answer.json["code"]) == (409, "draining")
        assert patch(admin, {"application_credential_secret": "planted-new"}).status_int == 202
        found = defined(admin)["lynx"]
        assert found.leaving is not None
        assert found.draft.secrets["application_credential_secret"] == "planted-new"


def test_secrets_are_in_the_wish_in_force_alone(admin: Bench) -> None:
    shown = [put(admin, OPENSTACK, **JSON).text, put(admin, {**OPENSTACK, "vm_slots": 9}).text]
    shown += [patch(admin, {"application_credential_secret": "planted-new"}, **JSON).text]
    shown += [admin.client.get(f"/operations/{number}.json").text for number in (1, 2, 3)]
    shown += [admin.client.get("/journal", headers=JSON).text]
    assert "planted" not in "".join(shown) + everything(admin)
    assert "planted" not in repr(admin.seen) + repr(defined(admin))
    assert secrets_kept(admin) == [None, None, {**_SECRETS, "application_credential_secret": "planted-new"}]
    admin.client.delete(URL)
    assert secrets_kept(admin) == [None, None, None]


_SECRETS = {name: str(text) for name, text in OPENSTACK.items() if name.startswith("application")}


def secrets_kept(admin: Bench) -> list[Any]:
    """What is left of the secrets in each definition that was asked for."""
    table = tables.wishes
    with admin.store.reading() as connection:
        query = select(table.c.value).where(table.c.aspect == Aspect.DEFINE.value).order_by(table.c.id)
        return [value["secrets"] for value in connection.execute(query).scalars()]


def test_preview_tells_the_change_set_and_what_would_drain_and_does_nothing(admin: Bench) -> None:
    new = put(admin, OPENSTACK, f"{URL}?dry_run=true", **JSON)
    assert (new.status_int, new.json["verb"], defined(admin)) == (200, "create", {})
    changes = new.json["targets"][0]["changes"]
    assert changes["vm_slots"] == {"before": None, "after": "3"}
    assert changes["application_credential_secret"] == {"before": None, "after": MASK}
    put(admin, OPENSTACK)
    recorded(admin)
    with_vm(admin)
    for answer in (
        patch(admin, {"vm_slots": 0}, f"{URL}?dry_run=true", **JSON),
        admin.client.delete(f"{URL}?dry_run=true", headers=JSON),
    ):
        assert [(each["uid"], each["fate"]) for each in answer.json["vms"]] == [("lynx-vm", "drained")]
    same = put(admin, OPENSTACK, f"{URL}?dry_run=true", **JSON)
    assert (same.status_int, same.json["targets"]) == (200, [])
    assert "planted" not in new.text + same.text
    assert [each[2] for each in admin.asked()] == ["define"]


def test_key_replays_the_answer_and_is_refused_for_another_definition(admin: Bench) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = put(admin, OPENSTACK, **JSON, **key)
    again = put(admin, OPENSTACK, **JSON, **key)
    assert (first.status_int, again.status_int, again.json) == (201, 201, first.json)
    for other in ({**OPENSTACK, "vm_slots": 4}, {**OPENSTACK, "application_credential_secret": "planted-x"}):
        answer = put(admin, other, **JSON, **key)
        assert (answer.status_int, answer.json["code"]) == (409, "idempotency-key-reused")


def test_definition_and_deletion_cannot_be_undone_and_say_why(admin: Bench) -> None:
    number = put(admin, OPENSTACK, **JSON).json["id"]
    answer = admin.client.post(f"/operations/{number}/undo", headers=JSON)
    assert (answer.status_int, answer.json["code"]) == (409, "cannot-undo")
    assert "credentials are never told again" in answer.json["detail"]


def test_to_define_takes_the_role_admin_and_v1_verbs_do_not(tmp_path: Path) -> None:
    with bench(tmp_path, admin_auth="token") as admin:
        made = Entry(EntryKind.ASKED, "token_create", int(time.time()), "test")
        admin.client.authorization = ("Bearer", tokens.make(admin.store, Grant(Role.OPERATOR), made)[0])
        answer = put(admin, LOCAL)
        assert (answer.status_int, "takes the role admin; yours is operator" in answer.text) == (403, True)
        assert patch(admin, LOCAL).status_int == admin.client.delete(URL).status_int == 403
        assert admin.client.put("/clouds/mouse?action=enable").status_int == 200


@pytest.mark.parametrize("until", ["90m", "1d12h", "PT2H", "P1DT1M", "2000000000", "2035-01-01T00:00:00Z"])
def test_until_is_a_moment_or_a_duration_and_says_what_comes_after(admin: Bench, until: str) -> None:
    now = time.time()
    given = {"action": "disable", "until": until, "reason": "power work"}
    answer = admin.client.put("/clouds/mouse", given)
    assert (answer.status_int, answer.text) == (200, "Cloud: mouse disabled.")
    wish = admin.seen[-1]
    assert (wish.value["enabled"], wish.value["then"], wish.reason) == (False, True, "power work")
    assert now < wish.value["until"] < now + 10 * 366 * 86400
    assert asked(admin)[-1].after == {"enabled": False, "until": wish.value["until"]}


@pytest.mark.parametrize("until", ["", "soon", "-5", "0s", "2020-01-01", "P", "P1M", "1h30", "99999w", "1" * 18])
def test_until_that_is_no_time_ahead_is_400(admin: Bench, until: str) -> None:
    answer = admin.client.put("/clouds/mouse", {"action": "disable", "until": until}, headers=JSON)
    assert (answer.status_int, answer.json["parameter"]) == (400, "until")
    assert admin.asked() == []


def test_until_goes_with_action_only(admin: Bench) -> None:
    answer = admin.client.put("/clouds/mouse", {"allocations": "3", "until": "1h"}, headers=JSON)
    assert (answer.status_int, answer.json["parameter"]) == (400, "until")


def test_second_time_goes_back_to_what_was_before_the_first(admin: Bench) -> None:
    admin.settle = lambda: None  # type: ignore[method-assign]
    admin.client.put("/clouds/mouse?action=disable&until=1h&wait=0")
    admin.client.put("/clouds/mouse?action=disable&until=2h&wait=0")
    with admin.store.reading() as connection:
        value = connection.execute(select(tables.wishes.c.value).order_by(tables.wishes.c.id.desc())).scalars().first()
    assert value["then"] is True
