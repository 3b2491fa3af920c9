"""What is kept of VMs that were of no use, and what their jobs are told."""

from __future__ import annotations

import json

import pytest
from engine_bench import World
from wsgi import Client

from cloudsched.clouds.fake import Script
from cloudsched.config import Config, Global
from cloudsched.errors import Transient
from cloudsched.info import create_app
from cloudsched.model.failures import LARGEST_CONSOLE, VMFailure
from cloudsched.render import failures
from cloudsched.store import Store, jobs, vm_failures


def kept(store: Store) -> list[VMFailure]:
    with store.reading() as connection:
        return vm_failures.read_failures(connection)


def reasons(store: Store) -> str:
    with store.reading() as connection:
        return failures.boot(jobs.all_jobs(connection), jobs.reasons(connection))


def test_a_vm_in_error_is_kept_with_its_fault_and_console_and_its_jobs_wait(store: Store) -> None:
    world = World(store, options={"polling_error_threshold": 2})
    fake = world.cloud()
    world.batch.step = lambda vms: None  # type: ignore[method-assign]
    fake.script = Script(console="x" * LARGEST_CONSOLE + "\nno root device\n")
    built = world.build()
    world.submit(1, '+VMAMI = "sl6"')
    uid = built.until(world.vms)[0].uid
    built.until(lambda: uid in {seen.uid for seen in fake.vms()})
    fake.set_status(uid, "Error")
    (failure,) = built.until(lambda: kept(store))
    assert (failure.uid, failure.cloud, failure.cause, failure.image) == (uid, "mouse", "error", "sl6")
    assert failure.reason == "VM is in an Error state."
    assert failure.console.endswith("xx\nno root device\n") and len(failure.console) == LARGEST_CONSOLE
    # Its successor was asked for by the same plan; the next one waits.
    built.until(lambda: world.vms()[0].status == "Running")
    fake.set_status(world.vm().uid, "Error")
    built.until(lambda: "mouse: VM is in an Error state." in reasons(store))
    built.until(lambda: not world.vms(), "it is destroyed")
    built.turns(0.2)
    assert world.vms() == []


@pytest.mark.parametrize("script", [Script(console="login:"), Script()])
def test_a_vm_that_never_joins_is_kept_with_what_there_is(store: Store, script: Script) -> None:
    world = World(store, options={"condor_register_time_limit": 0, "machine_poller_interval": 1000})
    world.cloud().script = script
    world.batch.machines = lambda: []  # type: ignore[method-assign]
    built = world.build()
    world.submit(1)
    (failure,) = built.until(lambda: kept(store))
    assert (failure.cause, failure.console) == ("unjoined", script.console)
    assert failure.reason == "VM has not joined the batch system within 0 s."


def test_a_cloud_that_gives_no_console_still_ends_its_vm(store: Store) -> None:
    world = World(store, options={"polling_error_threshold": 2})
    fake = world.cloud()

    def console(vm_id: str) -> str:
        raise Transient("mouse is busy.")

    fake.console = console  # type: ignore[method-assign]
    built = world.build()
    world.submit(1)
    uid = built.until(world.vms)[0].uid
    built.until(lambda: uid in {seen.uid for seen in fake.vms()})
    fake.set_status(uid, "Error")
    (failure,) = built.until(lambda: kept(store))
    assert failure.console == "" and uid not in world.listed()


def test_a_vm_that_no_listing_ever_shows_is_kept_as_lost(store: Store) -> None:
    world = World(store, options={"boot_deadline_seconds": 1})
    world.cloud().script = Script(lag=10**6)
    built = world.build()
    world.submit(1)
    (failure,) = built.until(lambda: kept(store))
    assert (failure.cause, failure.reason) == ("lost", "No listing of its cloud has shown the VM in time.")


def test_only_the_newest_are_kept(store: Store) -> None:
    with store.writing() as writing:
        for number in range(vm_failures.KEPT + 5):
            vm_failures.record_failure(writing, VMFailure(f"u-{number}", "mouse", number, "error", "why"))
        vm_failures.record_failure(writing, VMFailure("u-100", "mouse", 1000, "error", "again"))
    found = kept(store)
    assert (len(found), found[0].reason, found[1].uid) == (vm_failures.KEPT, "again", f"u-{vm_failures.KEPT + 4}")
    with store.writing() as writing:
        vm_failures.prune_failures(writing, 1000)
    assert [each.uid for each in kept(store)] == ["u-100"]


def test_the_page_shows_them_newest_first(store: Store) -> None:
    with store.writing() as writing:
        for number, console in enumerate(("", "1\n2\n3\n4\n5\n\x1b[31m6\n")):
            failure = VMFailure(f"u-{number}", "mouse", number, "unjoined", "It never joined.", console=console)
            vm_failures.record_failure(writing, failure)
    client = Client(create_app(store, Config(global_=Global(state_dir=store.directory))))
    assert client.get("/failures/vms").text == (
        "VM Failure List\n"
        "   VM: u-1\n      mouse: It never joined.\n"
        "      | 2\n      | 3\n      | 4\n      | 5\n      | ?[31m6\n"
        "   VM: u-0\n      mouse: It never joined.\n"
    )
    document = json.loads(client.get("/failures/vms.json").text)
    assert [(each["uid"], each["failed_at"]) for each in document["vms"]] == [("u-1", 1), ("u-0", 0)]
    assert document["vms"][0]["console"] == "1\n2\n3\n4\n5\n\x1b[31m6\n"
