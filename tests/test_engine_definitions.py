"""Clouds made by API in a scheduler: recorded, kept, changed, drained, and never mixed up with those of the file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import databases
import pytest
from sqlalchemy import select
from test_engine_scheduler import BY, CLOUDS, FAST, Site, eventually

from cloudsched.config.clouds import HostSize
from cloudsched.config.definitions import Document
from cloudsched.config.options import Global
from cloudsched.engine.scheduler import Scheduler
from cloudsched.errors import Conflict
from cloudsched.model.clouds import Cloud, Origin, Requested
from cloudsched.model.jobs import JobStatus
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.store import cloud_verbs, definitions, dump, jobs, operations, tables, verbs, vms

HOST = HostSize(8, 16000, 100)
LOCAL: dict[str, Any] = {"cloud_type": "local", "vm_slots": 3, "memory": 100_000, "storage": 1000, "cpu_cores": 8}
EC2: dict[str, Any] = {
    "cloud_type": "AmazonEC2",
    "access_key_id": "planted-id",
    "secret_access_key": "planted-secret",
    "host": "https://127.0.0.1:1/",
    "memory": 1000,
    "regions": "x",
    "security_group": "default",
    "vm_slots": 3,
}


class Clouds(Site):
    """A site with the verbs on clouds made by API."""

    def put(self, name: str, values: Mapping[str, Any]) -> Operation:
        document = Document(name, values)
        return cloud_verbs.wish_put(self.store, BY, name, lambda before: document.draft(before, Global(), HOST))

    def patch(self, name: str, values: Mapping[str, Any]) -> Operation:
        document = Document(name, values, partial=True)
        return cloud_verbs.wish_patch(self.store, BY, name, lambda before: document.draft(before, Global(), HOST))

    def made(self) -> set[str]:
        return {name for name, cloud in self.clouds().items() if cloud.origin is Origin.API}

    def reached(self, name: str) -> Cloud | None:
        """The cloud once it is as it was asked to be."""
        found = self.clouds()[name]
        return found if found.request and found.request.reached_at else None

    def vms_on(self, name: str) -> list[str]:
        with self.store.reading() as connection:
            return [vm.uid for vm in vms.all_vms(connection) if vm.cloud == name]

    def acts(self, cloud: str) -> list[tuple[str, str]]:
        """What the engine did to a cloud by itself: verb and reason."""
        table = tables.acts
        with self.store.reading() as connection:
            query = select(table.c.verb, table.c.reason).where(table.c.kind == "act", table.c.cloud == cloud)
            return [tuple(row) for row in connection.execute(query.where(table.c.noun == "cloud").order_by(table.c.id))]

    def dumped(self, *, with_secrets: bool) -> str:
        out = StringIO()
        dump.dump(self.store, out, with_secrets=with_secrets, version="test", now=0)
        return out.getvalue()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Clouds]:
    made = Clouds(tmp_path)
    with ExitStack() as stack:
        stack.callback(lambda: made.store.close())
        stack.callback(logging.getLogger("cloudscheduler").setLevel, logging.NOTSET)
        yield made


def test_cloud_made_by_api_is_recorded_and_survives_reconfig_and_restart(site: Clouds) -> None:
    before = site.resources.read_text()
    with site.running():
        state, detail = site.ended(site.put("lynx", {**LOCAL, "priority": 5, "enabled": True}))
        assert (state, detail) == ("done", {"changes": ["lynx: added"], "warnings": []})
        lynx = eventually(lambda: site.reached("lynx"), "it is as it was asked to be")
        assert (lynx.origin, lynx.enabled, lynx.vm_slots, lynx.priority, lynx.position) == (Origin.API, True, 3, 5, 2)
        assert (lynx.request and lynx.request.by) == "tester"
        assert site.ask(Aspect.RECONFIG) == ("done", {"changes": []})
        assert site.acts("lynx") == [], "what somebody asked for is no act of ours"
    with site.running():
        assert site.clouds()["lynx"] == lynx
        assert site.ended(site.patch("lynx", {"vm_slots": 5, "priority": None}))[1]["changes"] == [
            "lynx: vm_slots 3 -> 5",
            "lynx: priority 5 -> 0",
        ]
    with site.running():
        assert (site.clouds()["lynx"].vm_slots, site.clouds()["lynx"].enabled) == (5, True)
    assert site.resources.read_text() == before, "files are never rewritten"


def test_definition_recorded_while_no_engine_runs_is_taken_at_the_next_start(site: Clouds) -> None:
    with site.running():
        pass
    operation = site.put("lynx", LOCAL)
    with site.running():
        assert site.ended(operation)[0] == "done"
        assert site.made() == {"lynx"}


def test_quota_and_switch_by_verb_hold_until_a_definition_names_them(site: Clouds) -> None:
    with site.running():
        site.ended(site.put("lynx", LOCAL))
        site.ended(verbs.wish_vm_slots(site.store, BY, "lynx", 7))
        site.ended(verbs.wish_enabled(site.store, BY, "lynx", True))
        site.ended(site.patch("lynx", {"priority": 1}))
        assert (site.clouds()["lynx"].vm_slots, site.clouds()["lynx"].enabled) == (7, True)
    with site.running():
        assert (site.clouds()["lynx"].vm_slots, site.clouds()["lynx"].enabled) == (7, True)
        site.ended(site.put("lynx", {**LOCAL, "enabled": False}))
        assert (site.clouds()["lynx"].vm_slots, site.clouds()["lynx"].enabled) == (3, False)
    with site.running():
        assert (site.clouds()["lynx"].vm_slots, site.clouds()["lynx"].enabled) == (3, False)


def test_name_in_the_file_too_is_refused_by_reconfig_and_passed_over_at_a_start(
    site: Clouds, caplog: pytest.LogCaptureFixture
) -> None:
    both = CLOUDS + "[Lynx]\ncloud_type: fake\nvm_slots: 9\n[puma]\ncloud_type: fake\nvm_slots: 1\n"
    with site.running():
        site.ended(site.put("lynx", LOCAL))
        site.resources.write_text(both)
        state, detail = site.ask(Aspect.RECONFIG)
        assert (state, detail["error"].startswith(f"{site.resources}:8: A cloud 'lynx' was made by API")) == (
            "failed",
            True,
        )
        assert site.clouds().keys() == {"mouse", "cheetah", "lynx"}, "nothing of the file was taken"
    with site.running():
        assert (site.clouds()["lynx"].origin, site.clouds()["lynx"].vm_slots) == (Origin.API, 3)
        assert "puma" in site.clouds()
        assert f"{site.resources}:8: A cloud 'lynx' was made by API" in caplog.text


def test_deleted_cloud_keeps_running_jobs_and_goes_with_its_last_vm(site: Clouds) -> None:
    site.resources.write_text(CLOUDS.replace("enabled: true", "enabled: false"))
    with site.running(**FAST):
        site.ended(site.put("lynx", {**LOCAL, "enabled": True}))
        site.run_jobs(2)
        assert len(site.vms_on("lynx")) == 2
        operation = cloud_verbs.wish_delete(site.store, BY, "lynx")
        eventually(lambda: site.clouds()["lynx"].removed, "it drains")
        lynx = site.clouds()["lynx"]
        assert (lynx.enabled, lynx.request and lynx.request.requested) == (False, Requested.DRAINED)
        with pytest.raises(Conflict, match="is being deleted"):
            site.put("lynx", LOCAL)
        assert cloud_verbs.wish_delete(site.store, BY, "lynx").id == operation.id
    with site.running(**FAST):
        assert site.clouds()["lynx"].removed, "a restart drains on"
        assert operations.read(site.store, operation.id).state == "running"
        assert running(site) == 2, "running jobs are not killed"
        eventually(lambda: len(site.vms_on("lynx")) == 2 or running(site) < 2, "its VMs wait for their jobs")
        assert site.ended(verbs.wish_vms(site.store, BY, "lynx", Aspect.SHUTDOWN, None))[0] == "done"
        assert site.ended(operation) == ("done", {})
        assert "lynx" not in site.clouds()
        assert site.ended(site.put("lynx", LOCAL))[0] == "done"
        assert (site.clouds()["lynx"].enabled, site.clouds()["lynx"].removed) == (False, False)


def test_deletion_asked_for_while_no_scheduler_runs_is_told_from_its_first_record_on(
    site: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.resources.write_text(CLOUDS.replace("enabled: true", "enabled: false"))
    with site.running(**FAST):
        site.ended(site.put("lynx", {**LOCAL, "enabled": True}))
        site.run_jobs(1)
    cloud_verbs.wish_delete(site.store, BY, "lynx")
    with monkeypatch.context() as patch:
        # Only the start: no cycle follows it.
        patch.setattr(Scheduler, "run", lambda *_: None)
        with site.running(**FAST):
            lynx = site.clouds()["lynx"]
    assert (lynx.removed, lynx.enabled) == (True, False)
    assert lynx.request and (lynx.request.requested, lynx.request.by) == (Requested.DRAINED, "tester")


def running(site: Site) -> int:
    with site.store.reading() as connection:
        return [job.job_status for job in jobs.all_jobs(connection)].count(JobStatus.RUNNING)


def test_cloud_is_disabled_for_a_time_that_ends_by_itself_over_a_restart(site: Clouds) -> None:
    with site.running():
        until = int(time.time()) + 2
        by = type(BY)("ann", reason="power work")
        assert site.ended(verbs.wish_enabled(site.store, by, "mouse", False, until))[0] == "done"
        request = site.clouds()["mouse"].request
        assert request is not None
        assert (request.requested, request.until, request.then) == ("disabled", until, "enabled")
        assert (request.by, request.reason) == ("ann", "power work")
    with site.running():
        eventually(lambda: site.clouds()["mouse"].enabled, "it is enabled again")
        assert time.time() >= until
        eventually(
            lambda: ("enable", "It was disabled for a time that is over: power work") in site.acts("mouse"), "act"
        )
    with site.running():
        assert site.clouds()["mouse"].enabled


def test_end_that_passed_while_nobody_was_there_counts_at_the_start(site: Clouds) -> None:
    with site.running():
        site.ended(verbs.wish_enabled(site.store, BY, "cheetah", True, int(time.time()) + 1))
    eventually(lambda: time.time() > _until(site), "the time is over")
    with site.running():
        assert not site.clouds()["cheetah"].enabled


def _until(site: Clouds) -> float:
    request = site.clouds()["cheetah"].request
    return float(request.until or 0) if request else 0.0


def test_disabled_cloud_tells_since_when_it_is_empty(site: Clouds) -> None:
    with site.running(**FAST):
        site.run_jobs(1)
        site.ended(verbs.wish_enabled(site.store, BY, "mouse", False))
        request = site.clouds()["mouse"].request
        assert request is not None and request.reached_at is None
        site.ended(verbs.wish_vms(site.store, BY, "mouse", Aspect.SHUTDOWN, None))
        eventually(lambda: site.reached("mouse"), "it is empty")


def adapters(scheduler: Scheduler) -> dict[str, Any]:
    return scheduler._places.clouds()


def test_definition_leaves_the_adapters_of_other_clouds_alone(site: Clouds) -> None:
    site.resources.write_text("[here]\ncloud_type: local\nvm_slots: 1\nmemory: 10\nstorage: 1\ncpu_cores: 1\n")
    with site.running(simulate=False) as scheduler:
        before = adapters(scheduler)
        site.ended(site.put("lynx", LOCAL))
        first = adapters(scheduler)
        assert first["here"] is before["here"]
        site.ended(site.patch("lynx", {"vm_slots": 2}))
        second = adapters(scheduler)
        assert (second["here"] is first["here"], second["lynx"] is first["lynx"]) == (True, False)
        assert site.ended(cloud_verbs.wish_delete(site.store, BY, "lynx"))[0] == "done"
        assert adapters(scheduler) == {"here": before["here"]}
        assert site.ended(verbs.wish_enabled(site.store, BY, "here", True))[0] == "done"


def test_cloud_of_which_no_adapter_can_be_made_is_listed_with_the_reason_until_it_is_mended(site: Clouds) -> None:
    with site.running(simulate=False):
        state, detail = site.ended(site.put("lynx", {**EC2, "host": "ftp://nowhere", "enabled": True}))
        assert (state, "and cannot be used" in detail["error"]) == ("failed", True)
        lynx = site.clouds()["lynx"]
        assert (lynx.enabled, "host" in (lynx.unusable or "")) == (False, True)
        credentials = {name: EC2[name] for name in ("access_key_id", "secret_access_key")}
        state, detail = site.ended(site.patch("lynx", {"host": EC2["host"], **credentials}))
        assert (state, site.clouds()["lynx"].unusable) == ("done", None)


def test_secrets_are_in_no_row_but_the_wish_in_no_log_and_in_no_dump(
    site: Clouds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "cloudscheduler")
    with site.running(simulate=False, **FAST):
        site.ended(site.put("lynx", EC2))
        site.ended(site.patch("lynx", {"secret_access_key": "planted-new", "vm_slots": 4}))
    assert "planted" not in caplog.text + site.dumped(with_secrets=False)
    whole = site.dumped(with_secrets=True)
    assert whole.count("planted-new") == 1
    assert "planted-secret" not in whole, "what was replaced is forgotten"
    with site.store.reading() as connection:
        others = [table for table in tables.metadata.sorted_tables if table is not tables.wishes]
        assert "planted" not in "".join(str(row) for table in others for row in connection.execute(select(table)))


def test_dump_and_load_keep_clouds_made_by_api(site: Clouds) -> None:
    with site.running():
        site.ended(site.put("lynx", EC2))
        site.ended(site.put("puma", LOCAL))
        site.ended(verbs.wish_enabled(site.store, BY, "puma", True, int(time.time()) + 10_000))
        eventually(lambda: site.reached("puma"), "it is as it was asked to be")
        before = site.clouds()
    loaded(site, site.dumped(with_secrets=True))
    with site.running():
        assert site.clouds() == before
    loaded(site, site.dumped(with_secrets=False))
    with site.running():
        lynx = site.clouds()["lynx"]
        assert lynx.unusable == "its credentials were left out of a dump: give them again"
        assert site.clouds()["puma"] == before["puma"]
        credentials = {name: EC2[name] for name in ("access_key_id", "secret_access_key")}
        assert site.ended(site.patch("lynx", credentials))[0] == "done"
        assert site.clouds()["lynx"].unusable is None


def loaded(site: Clouds, text: str) -> None:
    """Load a dump over the site's state; what it says comes back."""
    site.store.close()
    site.store = databases.open_store(site.directory / "state")
    dump.load(site.store, StringIO(text), path="-", replace=True)
    again = site.dumped(with_secrets=True)
    assert [each for each in again.splitlines() if '"cloud"' in each] == [
        each for each in text.splitlines() if '"cloud"' in each
    ]


def test_cloud_deleted_to_the_end_leaves_no_secret_once_admin_has_tidied_up(site: Clouds) -> None:
    with site.running():
        site.ended(site.put("lynx", EC2))
        assert site.ended(cloud_verbs.wish_delete(site.store, BY, "lynx"))[0] == "done"
    verbs.forget_old(site.store, int(time.time()), 30)
    assert "planted" not in site.dumped(with_secrets=True)


@pytest.mark.sqlite
def test_released_vms_keep_a_deleted_cloud_while_it_can_be_listed(site: Clouds) -> None:
    site.resources.write_text(CLOUDS.replace("enabled: true", "enabled: false"))
    with site.running(**FAST):
        site.ended(site.put("lynx", {**LOCAL, "enabled": True}))
        site.run_jobs(1)
        site.ended(verbs.wish_vms(site.store, BY, "lynx", Aspect.RELEASED, None))
        operation = cloud_verbs.wish_delete(site.store, BY, "lynx")
        eventually(lambda: site.clouds()["lynx"].removed, "it drains")
        assert site.ask(Aspect.RECONFIG)[0] == "done"
        assert operations.read(site.store, operation.id).state == "running"


def test_definitions_are_the_same_on_every_database(site: Clouds) -> None:
    site.put("lynx", {**EC2, "enabled": True})
    with databases.open_store(site.directory / "state", read_only=True).reading() as connection:
        found = definitions.all_definitions(connection)["lynx"]
    assert (found.whole, found.leaving, found.draft.enabled) == (True, None, True)
    assert asdict(found.draft)["secrets"] == {
        "access_key_id": "planted-id",
        "secret_access_key": "planted-secret",
    }
