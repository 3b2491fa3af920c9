"""The scheduler in process: its files, its settings, its start and its end. Clouds and jobs are played."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import databases
import pytest

from cloudsched.config.clouds import with_clouds
from cloudsched.config.load import load
from cloudsched.engine.scheduler import Options, Scheduler
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import JobStatus
from cloudsched.model.wishes import Aspect, Operation
from cloudsched.store import clouds, jobs, limits, operations, verbs, vms, wishes
from tests.patience import eventually as eventually

BY = wishes.By("tester")
CLOUDS = """[mouse]
cloud_type: fake
vm_slots: 3
enabled: true
[Cheetah]
cloud_type: fake
vm_slots: 2
"""


class Site:
    """Configuration files, and the schedulers that run on them one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.resources = directory / "cloud_resources.conf"
        self.resources.write_text(CLOUDS)
        self.store = databases.open_store(directory / "state")

    @contextmanager
    def running(self, *, simulate: bool = True, **options: Any) -> Iterator[Scheduler]:
        """A scheduler until the block ends; it is left as if it had been killed."""
        given = {"state_dir": self.store.directory, "cloud_resource_config": self.resources, **options}
        given |= databases.options(self.store.directory)
        config = load({("global", name): str(value) for name, value in given.items()}, {})
        scheduler = Scheduler(self.store, with_clouds(config, simulated=simulate), Options(simulate=simulate))
        scheduler.start()
        stop = threading.Event()
        thread = threading.Thread(target=scheduler.run, args=(stop,))
        thread.start()
        try:
            yield scheduler
        finally:
            stop.set()
            thread.join()
            scheduler.close()

    def ended(self, operation: Operation) -> tuple[str, dict[str, Any]]:
        """How an operation with one wish ended: its state and its detail."""
        found = eventually(lambda: self._settled(operation), operation.verb)
        return found.state, dict(found.targets[0].outcome.detail)

    def _settled(self, operation: Operation) -> Operation | None:
        found = operations.read(self.store, operation.id)
        return None if found.state == "running" else found

    def ask(self, aspect: Aspect, value: Any = None) -> tuple[str, dict[str, Any]]:
        return self.ended(verbs.wish_setting(self.store, BY, aspect, value))

    def clouds(self) -> dict[str, Cloud]:
        with self.store.reading() as connection:
            return {cloud.name: cloud for cloud in clouds.all_clouds(connection)}

    def file(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def run_jobs(self, count: int) -> None:
        """Have this many jobs run."""
        text = f"executable = /bin/true\nqueue {count}"
        self.ended(verbs.wish_submit(self.store, BY, "alice", text, "/tmp"))

        def running() -> bool:
            with self.store.reading() as connection:
                found = [job.job_status for job in jobs.all_jobs(connection)]
            return found.count(JobStatus.RUNNING) == count

        eventually(running, f"{count} jobs run")

    def vms(self) -> int:
        with self.store.reading() as connection:
            return len(vms.all_vms(connection))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    with ExitStack() as stack:
        stack.callback(made.store.close)
        stack.callback(logging.getLogger("cloudscheduler").setLevel, logging.NOTSET)
        yield made


FAST = {"job_poller_interval": 1, "vm_poller_interval": 1, "machine_poller_interval": 1}


def test_quota_by_verb_survives_a_restart_until_the_file_changes(site: Site) -> None:
    with site.running():
        assert site.ended(verbs.wish_vm_slots(site.store, BY, "mouse", 7)) == ("done", {})
    with site.running():
        assert site.clouds()["mouse"].vm_slots == 7
        assert site.ask(Aspect.RECONFIG) == ("done", {"changes": []})
    site.resources.write_text(CLOUDS.replace("vm_slots: 3", "vm_slots: 4"))
    with site.running():
        assert site.clouds()["mouse"].vm_slots == 4
    site.resources.write_text(CLOUDS)
    with site.running():
        assert site.clouds()["mouse"].vm_slots == 3, "the wish ended when the file said something else"
    with site.running():
        assert site.clouds()["mouse"].vm_slots == 3


def test_quotas_asked_for_in_turn_survive_where_no_option_says_one(site: Site) -> None:
    """As on the default cloud, which is as large as its host: the second quota remembered the first as the file's."""
    site.resources.write_text(CLOUDS.replace("vm_slots: 3\n", ""))
    with site.running():
        of_host = site.clouds()["mouse"].vm_slots
        for slots in (of_host + 5, of_host + 2):
            assert site.ended(verbs.wish_vm_slots(site.store, BY, "mouse", slots)) == ("done", {})
    with site.running():
        assert site.clouds()["mouse"].vm_slots == of_host + 2
        assert site.ask(Aspect.RECONFIG) == ("done", {"changes": []})
    site.resources.write_text(CLOUDS.replace("vm_slots: 3", f"vm_slots: {of_host + 1}"))
    with site.running():
        assert site.clouds()["mouse"].vm_slots == of_host + 1, "the file says another"
        assert site.ended(verbs.wish_vm_slots(site.store, BY, "mouse", 9)) == ("done", {})
    with site.running():
        assert site.clouds()["mouse"].vm_slots == 9


@pytest.mark.sqlite
def test_orderly_end_leaves_the_whole_state_in_one_file(site: Site) -> None:
    with site.running():
        site.run_jobs(1)
    site.store.close()
    assert [each.name for each in (site.directory / "state").glob("state.db*")] == ["state.db"]


def test_enabling_by_verb_survives_a_restart(site: Site) -> None:
    with site.running():
        assert site.ended(verbs.wish_enabled(site.store, BY, "cheetah", True)) == ("done", {})
        assert site.ended(verbs.wish_enabled(site.store, BY, "mouse", False)) == ("done", {})
    with site.running():
        assert {name: cloud.enabled for name, cloud in site.clouds().items()} == {"mouse": False, "cheetah": True}


def test_reconfig_answers_with_what_changed_in_one_commit(site: Site) -> None:
    with site.running():
        new = CLOUDS.replace("vm_slots: 3", "vm_slots: 5\npriority: 1").replace("[Cheetah]", "[lion #1]")
        site.resources.write_text(new)
        state, detail = site.ask(Aspect.RECONFIG)
        assert state == "done"
        assert sorted(detail["changes"]) == [
            "cheetah: removed",
            "lion #1: added",
            "mouse: priority 0 -> 1",
            "mouse: vm_slots 3 -> 5",
        ]
        assert {name: cloud.vm_slots for name, cloud in site.clouds().items()} == {"mouse": 5, "lion #1": 2}
        with site.store.reading() as connection:
            row = connection.exec_driver_sql("SELECT clouds, outcomes FROM state").one()
        assert row.clouds <= row.outcomes


def test_removed_cloud_drains_and_goes(site: Site) -> None:
    with site.running(**FAST):
        site.run_jobs(2)
        site.resources.write_text("[cheetah]\ncloud_type: fake\nvm_slots: 2\n")
        state, detail = site.ask(Aspect.RECONFIG)
        assert (state, detail["changes"]) == ("done", ["mouse: removed, its VMs drain"])
        assert (site.clouds()["mouse"].removed, site.clouds()["mouse"].enabled) == (True, False)
        assert site.vms() == 2, "running jobs are not killed"
        assert site.ask(Aspect.RECONFIG) == ("done", {"changes": []})


def test_broken_file_changes_nothing_and_says_where(site: Site) -> None:
    with site.running():
        before = site.clouds()
        site.resources.write_text(CLOUDS + "[mouse2\n")
        state, detail = site.ask(Aspect.RECONFIG)
        assert state == "failed"
        assert detail["error"].startswith(f"{site.resources}:8: ")
        site.resources.unlink()
        state, detail = site.ask(Aspect.RECONFIG)
        assert (state, str(site.resources) in detail["error"]) == ("failed", True)
        assert site.clouds() == before


def test_user_limits_and_aliases_are_reloaded_and_kept_when_the_file_is_bad(site: Site) -> None:
    users, aliases = site.file("users", '{"alice": 2}'), site.file("aliases", '{"west": ["mouse"]}')
    with site.running(user_limit_file=users, target_cloud_alias_file=aliases):
        assert limits.user_limits(site.store) == {"alice": 2}
        assert limits.cloud_aliases(site.store) == {"west": ("mouse",)}
        users.write_text('{"alice": 3, "bob": 1}')
        aliases.write_text('{"west": ["mouse", "cheetah"], "east": []}')
        assert site.ask(Aspect.USER_LIMITS) == ("done", {"loaded": 2})
        assert site.ask(Aspect.CLOUD_ALIASES) == ("done", {"loaded": 2})
        users.write_text('{"alice": "many"}')
        aliases.write_text("{")
        for aspect, path in ((Aspect.USER_LIMITS, users), (Aspect.CLOUD_ALIASES, aliases)):
            state, detail = site.ask(aspect)
            assert (state, detail["error"].startswith(f"{path}:1: ")) == ("failed", True)
        assert limits.user_limits(site.store) == {"alice": 3, "bob": 1}
        assert limits.cloud_aliases(site.store) == {"west": ("mouse", "cheetah"), "east": ()}
    with site.running(user_limit_file=users, target_cloud_alias_file=aliases):
        assert limits.user_limits(site.store) == {"alice": 3, "bob": 1}, "a start keeps them too"


def test_reloading_what_is_not_configured_says_so(site: Site) -> None:
    with site.running():
        assert site.ask(Aspect.USER_LIMITS) == ("failed", {"error": "No user_limit_file is configured."})
        assert site.ask(Aspect.CLOUD_ALIASES) == ("failed", {"error": "No target_cloud_alias_file is configured."})


def test_user_over_the_limit_gets_no_more_vms(site: Site) -> None:
    users = site.file("users", '{"alice": 1}')
    with site.running(user_limit_file=users, **FAST):
        text = "executable = /bin/true\nqueue 3"
        site.ended(verbs.wish_submit(site.store, BY, "alice", text, "/tmp"))
        eventually(lambda: site.vms() == 1, "one VM")
        users.write_text('{"alice": 2}')
        assert site.ask(Aspect.USER_LIMITS)[0] == "done"
        eventually(lambda: site.vms() == 2, "the new limit counts at once")


def test_log_level_by_verb_lasts_until_the_next_start(site: Site) -> None:
    with site.running():
        assert site.ask(Aspect.LOG_LEVEL, "DEBUG") == ("done", {})
        assert logging.getLogger("cloudscheduler").level == logging.DEBUG
        assert limits.setting(site.store, "log_level") == "DEBUG"
    with site.running():
        assert limits.setting(site.store, "log_level") == "INFO"


def test_quick_exit_is_toggled_by_verb_and_by_signal_and_begins_as_off(site: Site) -> None:
    with site.running() as scheduler:
        assert site.ask(Aspect.QUICK_EXIT) == ("done", {"quick_exit": True})
        assert site.ask(Aspect.QUICK_EXIT) == ("done", {"quick_exit": False})
        assert site.ask(Aspect.QUICK_EXIT, True) == ("done", {"quick_exit": True})
        scheduler.toggle_quick_exit()
        assert limits.setting(site.store, "quick_exit") is False
        scheduler.toggle_quick_exit()
        assert limits.setting(site.store, "quick_exit") is True
    with site.running():
        assert limits.setting(site.store, "quick_exit") is False


@pytest.mark.parametrize("quick", [False, True])
def test_end_destroys_vms_unless_quick_exit_is_on(site: Site, quick: bool) -> None:
    with site.running(**FAST) as scheduler:
        site.run_jobs(3)
        site.ask(Aspect.QUICK_EXIT, quick)
    scheduler.stop(threading.Event())
    assert site.vms() == (3 if quick else 0)


def test_second_signal_gives_up_on_the_vms(site: Site) -> None:
    with site.running(**FAST) as scheduler:
        site.run_jobs(3)
    abort = threading.Event()
    abort.set()
    scheduler.stop(abort)
    assert site.vms() == 3


def test_proxies_are_refused_with_a_reason(site: Site) -> None:
    with site.running(**FAST):
        site.run_jobs(1)
        state, detail = site.ended(verbs.wish_proxy(site.store, BY, "alice", Aspect.JOB_PROXY))
        assert state == "failed"
        assert detail["error"].startswith("User alice has no proxy to refresh")


def test_cloud_whose_adapter_cannot_be_made_is_listed_with_the_reason(site: Site) -> None:
    broken = "[den]\ncloud_type: local\nvm_slots: 1\nenabled: yes\ncommand: {python} {nonsense}\n"
    site.resources.write_text(broken)
    with site.running(simulate=False):
        den = site.clouds()["den"]
        assert den.enabled is False
        assert den.unusable is not None
        assert "{nonsense}" in den.unusable
        state, detail = site.ended(verbs.wish_enabled(site.store, BY, "den", True))
        assert (state, "{nonsense}" in detail["error"]) == ("failed", True)
        site.resources.write_text(broken.replace(" {nonsense}", ""))
        assert site.ask(Aspect.RECONFIG)[0] == "done"
        assert (site.clouds()["den"].unusable, site.clouds()["den"].enabled) == (None, True)


def test_cloud_of_a_kind_without_an_adapter_is_listed_and_cannot_be_enabled(site: Site) -> None:
    site.resources.write_text(
        "[den]\ncloud_type: StratusLab\ncontextualization: c\nhost: h\nvm_slots: 1\nenabled: yes\n"
    )
    with site.running(simulate=False):
        assert (site.clouds()["den"].enabled, site.clouds()["den"].vm_slots) == (False, 1)
        state, detail = site.ended(verbs.wish_enabled(site.store, BY, "den", True))
        assert state == "failed"
        assert "cloud_type StratusLab has no adapter; available are amazonec2, " in detail["error"]
