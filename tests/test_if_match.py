"""If-Match on every write that the contract declares it for, with the tags of the pages that show its subject."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from admin_bench import JSON, make_config, make_store
from contract import contract
from sqlalchemy import func, select
from wsgi import Client

from cloudsched import admin, info
from cloudsched.info import picture
from cloudsched.model.clouds import Cloud
from cloudsched.store import Store, clouds, tables
from cloudsched.web.token_file import read_token

DECLARED = [
    f"{method.upper()} {path}"
    for method, path, operation in contract("admin").operations()
    if any(contract("admin").resolve(each)["name"] == "If-Match" for each in operation.get("parameters", ()))
]
"""Every write with If-Match, as `METHOD TEMPLATE`."""

LOCAL = {"cloud_type": "local", "vm_slots": 3}
ABOUT: dict[str, tuple[str, str, Any, str]] = {
    "PUT /": ("/", "/settings", {"log_level": "DEBUG"}, "limits"),
    "POST /": ("/", "/settings", {"action": "quick_shutdown"}, "limits"),
    "PUT /settings": ("/settings", "/settings", {"quick_exit": "true"}, "limits"),
    "POST /user-limits": ("/user-limits", "/user-limits", {}, "limits"),
    "POST /cloud-aliases": ("/cloud-aliases", "/cloud-aliases", {}, "limits"),
    "PUT /clouds/{cloud}": ("/clouds/mouse", "/clusters/mouse", {"action": "enable"}, "vms"),
    "PATCH /clouds/{cloud}": ("/clouds/lynx", "/clusters.json", {"vm_slots": 5}, "clouds"),
    "DELETE /clouds/{cloud}": ("/clouds/lynx", "/clusters", None, "vms"),
    "PUT /clouds/{cloud}/vms": ("/clouds/mouse/vms", "/clusters/mouse/vms", {"action": "force_retire"}, "vms"),
    "POST /clouds/{cloud}/vms": ("/clouds/mouse/vms", "/vms?cloud=mouse", {"action": "force_retire"}, "clouds"),
    "DELETE /clouds/{cloud}/vms": ("/clouds/mouse/vms", "/vms.json", None, "vms"),
    "PUT /clouds/{cloud}/vms/{vm}": (
        *("/clouds/mouse/vms/testvm", "/clusters/mouse/vms/testvm"),
        *({"action": "force_retire"}, "vms"),
    ),
    "POST /clouds/{cloud}/vms/{vm}": (
        *("/clouds/mouse/vms/testvm", "/clusters/mouse/vms/testvm.json"),
        *({"action": "force_retire"}, "vms"),
    ),
    "DELETE /clouds/{cloud}/vms/{vm}": ("/clouds/mouse/vms/testvm", "/vms?host=206.12.154.10", None, "vms"),
    "POST /users/{user}": ("/users/alice", "/jobs?user=alice", {"refresh": "job_proxy"}, "jobs"),
    "POST /jobs": (
        *("/jobs", "/jobs?state=new"),
        *({"submit": "executable = /bin/true\nqueue", "initialdir": "/tmp", "owner": "nobody"}, "shapes"),
    ),
    "PUT /jobs/{job}": ("/jobs/job-7", "/jobs/job-7", {"action": "hold"}, "jobs"),
    "DELETE /jobs/{job}": ("/jobs/job-7", "/jobs/job-7.json", None, "jobs"),
    "POST /operations/{operation}/undo": ("/operations/1/undo", "/clusters/mouse", {}, "clouds"),
}
"""By write: where it goes, a page that shows what it is about, what it says, a topic that both are made of."""

TOKENS = {"POST /tokens": ("/tokens", {"role": "reader"}), "DELETE /tokens/{token}": ("/tokens/{token}", None)}
"""Writes that no page with a tag shows."""


@dataclass
class Pair:
    """Both daemons over one state, which nobody settles."""

    store: Store
    admin: Client
    info: Client

    def tag(self, url: str) -> str:
        """The ETag of a page, of whichever daemon has it."""
        daemon = self.admin if url in ("/settings", "/user-limits", "/cloud-aliases") else self.info
        answer = daemon.get(url)
        assert answer.status_int == 200, answer.text
        assert daemon.get(url, headers={"If-None-Match": answer.headers["ETag"]}).status_int == 304
        return str(answer.headers["ETag"])

    def ask(self, write: str, url: str, given: Any, tag: str) -> Any:
        """The answer to a write that is meant for the picture of a tag."""
        method, headers = write.split()[0], {**JSON, "If-Match": tag}
        if method == "PATCH":
            return self.admin.patch(url, json.dumps(given), headers=headers, content_type="application/json")
        return self.admin.request(url, method=method, headers=headers, **({"POST": given} if given is not None else {}))

    def change(self, topic: str) -> None:
        """Have something that a topic stands for change."""
        with self.store.writing() as writing:
            writing.touch(topic)

    def recorded(self) -> int:
        """How much was asked for and journaled so far."""
        with self.store.reading() as connection:
            counts = (select(func.count()).select_from(each) for each in (tables.operations, tables.journal))
            return sum(connection.execute(each).scalar_one() for each in counts)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("pair")
    store, config = make_store(directory), make_config(directory, verb_wait_seconds=0, admin_auth="token")
    made = Pair(store, Client(admin.create_app(store, config)), Client(info.create_app(store, config)))
    made.admin.authorization = ("Bearer", read_token(config.global_.admin_token_file))
    assert made.admin.put("/clouds/mouse", {"allocations": "1"}, headers=JSON).json["id"] == 1
    made.admin.put("/clouds/lynx", json.dumps(LOCAL), content_type="application/json")
    with store.writing() as writing:
        known = clouds.all_clouds(writing.connection)
        clouds.record_clouds(writing, [*known, Cloud("empty", "local", position=99)])
    with pytest.MonkeyPatch.context() as patched:
        # Mere observations are published at once.
        patched.setattr(picture, "PUBLISH_SECONDS", 0.0)
        yield made
    store.close()


def test_every_write_is_held() -> None:
    assert {*ABOUT, *TOKENS} == set(DECLARED)
    writes = {f"{m.upper()} {path}" for m, path, _ in contract("admin").operations() if m != "get"}
    assert set(DECLARED) == writes


@pytest.mark.parametrize("write", ABOUT)
def test_write_counts_while_its_page_is_as_it_was_and_is_412_afterwards(pair: Pair, write: str) -> None:
    url, page, given, topic = ABOUT[write]
    seen = pair.tag(page)
    pair.change(topic)
    # What the page does not show changes it for nobody.
    pair.change("machines")
    before = pair.recorded()
    refused = pair.ask(write, url, given, seen)
    assert (refused.status_int, refused.json["code"], pair.recorded()) == (412, "precondition-failed", before)
    now = pair.tag(page)
    pair.change("machines")
    taken = pair.ask(write, url, given, now)
    assert (taken.status_int, pair.recorded() > before) == (202, True), taken.text


def test_verb_for_a_cloud_without_vms_is_held_against_the_cloud(pair: Pair) -> None:
    seen, verb = pair.tag("/clusters/empty"), ("PUT", "/clouds/empty/vms", {"action": "shutdown"})
    pair.change("machines")
    assert pair.ask(*verb, seen).status_int == 200
    pair.change("clouds")
    assert pair.ask(*verb, seen).status_int == 412


def test_what_is_so_already_is_not_held_against_anything(pair: Pair) -> None:
    asked = pair.ask("PUT", "/clouds/cheetah", {"allocations": "10", "dry_run": "true"}, '"1"')
    assert asked.status_int == 412
    with pair.store.reading() as connection:
        slots = clouds.find(connection, "cheetah").vm_slots
    asked = pair.ask("PUT", "/clouds/cheetah", {"allocations": str(slots), "dry_run": "true"}, '"1"')
    assert (asked.status_int, asked.json["targets"]) == (200, [])


@pytest.mark.parametrize("write", TOKENS)
def test_token_has_no_tag_that_could_fit(pair: Pair, write: str) -> None:
    made = pair.admin.post("/tokens", {"role": "reader"}, headers=JSON).json["id"]
    url, given = TOKENS[write]
    before = pair.recorded()
    refused = pair.ask(write, url.format(token=made), given, f'"{pair.store.state().index}"')
    assert (refused.status_int, refused.json["code"], pair.recorded()) == (412, "precondition-failed", before)
    assert pair.ask(write, url.format(token=made), given, "*").status_int in (200, 201)
