"""What the recordings cannot show: retired and released VMs, odd names and states, PARITY's worked examples."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cloudsched.model.clouds import Cloud, Request, Requested
from cloudsched.model.jobs import Job, Machine, Shape
from cloudsched.model.snapshot import Heartbeat
from cloudsched.model.troubles import CloudCall, Trouble, TroubleKind
from cloudsched.model.vms import VM
from cloudsched.render import clouds, documents, failures, heartbeats, jobs, shares, troubles, verbs, vms
from cloudsched.render.cells import cell
from cloudsched.render.fleet import fleet, remaining

MOUSE = Cloud("mouse", "OpenStackNative", "mouse.example.org", vm_slots=4, memory_mb=4096, storage_gb=40)
RAT = Cloud("rat-cloud", "AmazonEC2", "rat.example.org", position=1, vm_slots=5, priority=3)
COUNTED = VM("u1", "mouse", "abcdef", vmtype="blue", user="seb", hostname="host", memory=1024, storage=10)
RETIRED = replace(COUNTED, uid="u2", id="testvm", position=1, retired=True, override_status="Retiring")
RELEASED = replace(COUNTED, uid="u3", id="loose", position=2, released=True)


def test_cluster_reads_as_printed_in_parity_2_1() -> None:
    cloud = replace(MOUSE, network_address="https://mouse.example.org:5000/v3", vm_slots=10, enabled=True)
    light = replace(COUNTED, memory=0, storage=0)
    held = fleet([replace(cloud, memory_mb=59904, storage_gb=980)], [light, replace(light, uid="other")])
    assert clouds.cluster_info("mouse", held.active[0]) == (
        "Cluster Info: mouse\nCluster: mouse \n"
        "ADDRESS                      CLOUD TYPE         VMS/MAX         MEMORY        STORAGE    "
        "   PRIORITY     ENABLED   \n"
        "https://mouse.example.or   OpenStackNative      2 / 10           59904           980      "
        "      0           True    \n"
    )


def test_table_lists_retiring_vms_after_the_totals() -> None:
    *_, totals, retiring = vms.table(fleet([MOUSE, RAT], [COUNTED, RETIRED, RELEASED])).split("\n\n")
    assert totals == "Total VMs: 1. Total Clouds: 2"
    assert retiring == (
        "Retiring VMs from removing resources:\n"
        "testvm host                      blue                 seb        Retiring     mouse          \n"
    )


def test_released_vm_is_listed_nowhere_and_documented() -> None:
    held = fleet([MOUSE], [RELEASED])
    assert "loose" not in vms.table(held)
    document = json.loads(documents.cloud(held.active[0]))
    assert [vm["released"] for vm in document["released_vms"]] == [True]
    assert document["vms"] == document["retired_vms"] == []


def test_retired_and_released_vms_take_nothing_from_the_allowance() -> None:
    left = remaining(fleet([MOUSE], [COUNTED, RETIRED, RELEASED]).active[0])
    assert (left.vm_slots, left.memory, left.storage) == (3, 3072, 30)


def test_remaining_is_never_negative() -> None:
    many = [replace(COUNTED, uid=f"u{number}") for number in range(6)]
    left = remaining(fleet([MOUSE], many).active[0])
    assert (left.vm_slots, left.memory, left.storage) == (0, 0, 0)


REFUSED = Trouble(TroubleKind.CREDENTIAL, CloudCall.LISTING, "mouse: no.\nGo.", 1480000000.0, failures=2)


def test_how_clouds_answer_is_a_line_each() -> None:
    shown = troubles.table(
        [replace(MOUSE, trouble=REFUSED), RAT], {"rat-cloud": 1480000100.5}, {"rat-cloud": "limited: memory"}
    )
    assert shown == (
        "CLOUD           STATE        SINCE                NEXT TRY             LAST GOOD            CAUSE\n"
        "mouse           refused      2016-11-24T15:06:40Z -                    -                    mouse: no.?Go.\n"
        "rat-cloud       ok           -                    -                    2016-11-24T15:08:20Z\n"
        "\nrat-cloud: limited: memory\n"
    )


def test_how_a_cloud_answers_is_in_its_document() -> None:
    held = fleet([replace(MOUSE, trouble=REFUSED), RAT], [])
    assert [json.loads(documents.cloud(each))["health"] for each in held.active] == [
        {
            "state": "refused",
            "cause": "mouse: no.\nGo.",
            "since": 1480000000.0,
            "next_try": None,
            "failures": 2,
            "last_good": None,
        },
        {"state": "ok", "cause": "", "since": None, "next_try": None, "failures": 0, "last_good": None},
    ]


def test_removed_cloud_drains_under_its_own_key() -> None:
    held = fleet([MOUSE, replace(RAT, removed=True)], [replace(COUNTED, cloud="rat-cloud")])
    document = json.loads(documents.pool(held))
    assert [cloud["name"] for cloud in document["resources"]] == ["mouse"]
    assert [vm["id"] for cloud in document["retired_resources"] for vm in cloud["retired_vms"]] == ["abcdef"]
    assert "Retiring VMs from removing resources:\nabcdef" in vms.table(held)


def test_removed_cloud_is_drained_whatever_was_asked_of_it_before() -> None:
    asked = Request(Requested.ENABLED, since=5, by="ann", reason="ready", reached_at=6)
    held = fleet([replace(RAT, removed=True, request=asked)], [replace(COUNTED, cloud="rat-cloud")])
    (shown,) = json.loads(documents.pool(held))["retired_resources"]
    expected = {"requested": "drained", "state": "draining", "by": "", "reason": "", "since": None, "reached_at": None}
    assert expected.items() <= shown["fleet"].items()


def test_removed_cloud_without_vms_is_gone() -> None:
    assert fleet([replace(RAT, removed=True)], []).find("rat-cloud") is None


def test_name_is_found_exactly_before_any_case() -> None:
    held = fleet([MOUSE, replace(RAT, name="MOUSE")], [])
    found = [held.find(name) for name in ("mouse", "MOUSE", "Mouse", "mice")]
    assert [each.cloud.name if each else None for each in found] == ["mouse", "MOUSE", "mouse", None]


def test_vm_is_found_by_id_then_spot_request_then_uid() -> None:
    spot = replace(COUNTED, uid="u9", id="", spot_id="sir-1", position=3)
    held = fleet([MOUSE], [COUNTED, RETIRED, RELEASED, spot]).active[0]
    assert [vm.uid if vm else None for vm in map(held.vm, ("testvm", "loose", "sir-1", "u1", "nosuch"))] == [
        "u2",
        "u3",
        "u9",
        "u1",
        None,
    ]


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\x1bb", "a\x00b", "a\x85b", "a\u2028b", "a\ud800b", "a\tb"])
def test_control_characters_cannot_forge_a_line(name: str) -> None:
    assert cell(name) == "a?b"
    held = fleet([replace(MOUSE, name=name)], [replace(COUNTED, cloud=name, id=name, user=name, hostname=name)])
    assert vms.table(held).count("\n") == 3
    assert clouds.overview(held).count("\n") == 3
    assert verbs.say(verbs.ENABLED, cloud=name) == "Cloud: a?b enabled."
    assert documents.pool(held).isascii()


def test_long_cells_are_never_truncated() -> None:
    long = "x" * 60
    row = vms.info("i", replace(COUNTED, id=long, hostname=long, vmtype=long, user=long, status=long)).splitlines()[1]
    assert row.split(" ") == [long] * 5


def test_states_outside_v1s_seven_follow_by_name() -> None:
    shown = [replace(COUNTED, status=status) for status in ("Zoned", "BUILD", "Running", "Running", "Starting")]
    assert vms.condensed(shown) == "2 Running,1 Starting,1 BUILD,1 Zoned,"


@pytest.mark.parametrize(
    ("address", "listed"),
    [
        ("110.1.2.3", True),
        ("172.32.0.1", True),
        ("203.0.113.8", True),
        ("2001:db8::1", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("169.254.1.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("", False),
        ("host.example.org", False),
    ],
)
def test_ips_go_by_address_arithmetic(address: str, listed: bool) -> None:
    assert vms.ips([replace(COUNTED, ipaddress=address)]) == (f"[host]\n\taddress {address}\n" if listed else "")


def test_ips_name_a_vm_without_host_name_by_its_id() -> None:
    assert vms.ips([replace(COUNTED, hostname="", ipaddress="203.0.113.8")]).startswith("[abcdef]\n")


def test_startup_times_of_a_cloud_without_vms_have_no_average() -> None:
    timed = fleet([MOUSE, RAT], [replace(COUNTED, startup_time=93), replace(COUNTED, uid="u2")])
    assert vms.startup_times(timed.active) == "Cluster: mouse 93, 0,  Avg: 46 Cluster: rat-cloud "


def test_unknown_batch_status_is_shown_as_its_number() -> None:
    assert jobs.table([Job("j", Shape("u"), job_status=7)]).splitlines()[1].split()[3] == "7"


@pytest.mark.parametrize(("name", "number"), [("7.1", (7, 1)), ("a#7.1#9", None), ("7", None), ("7.1.json", None)])
def test_name_of_a_job_may_be_its_cluster_and_proc(name: str, number: tuple[int, int] | None) -> None:
    assert jobs.number(name) == number


def test_failures_show_a_bad_job_and_each_reason_once() -> None:
    job = Job("j#1", Shape("u"), problem="Memory is no number.", failed_boot_reason=("Quota", "Quota"))
    assert failures.boot([job, Job("j#2", Shape("u"))], {}) == (
        "Job Failure Reasons:\n   Job ID: j#1\n      Memory is no number.\n      Quota\n"
    )


def test_reasons_of_a_shape_count_while_the_job_waits() -> None:
    waiting = Job("j#1", Shape("u"), job_status=1, failed_boot_reason=("Quota",))
    held, served = replace(waiting, job_status=5), replace(waiting, status="Scheduled")
    of_shape = {waiting.shape.key: ["No cloud has room."]}
    assert failures.reasons(waiting, of_shape) == ("Quota", "No cloud has room.")
    assert failures.reasons(held, of_shape) == failures.reasons(served, of_shape) == ("Quota",)


def test_shares_are_sorted_with_six_decimals() -> None:
    text = shares.shares({"seb:blue": 1.0, "al:x": -0.75}, {}, {"al:x": 1 / 3})
    assert text.splitlines() == [
        "Diff Types dictionary",
        "type: al:x, dist: -0.750000",
        "type: seb:blue, dist: 1.000000",
        "Current Types (vms)",
        "Desired Types (jobs)",
        "type: al:x, dist: 0.333333",
    ]


def test_heartbeats_keep_v1s_order_and_are_never_negative() -> None:
    beats = [Heartbeat("MachinePoller", 7, 99.5), Heartbeat("Scheduler", 5, 101.0)]
    assert heartbeats.heartbeats(beats, 100.9).splitlines()[1:] == [
        "   Scheduler Thread(5): 0",
        "   MachinePoller Thread(7): 1",
    ]


def test_missing_machines_are_host_and_startd() -> None:
    machine = Machine("slot1@lost-host", "lost-host", address_startd="<10.9.9.9:40011>")
    assert vms.missing([machine]).splitlines()[1] == "lost-host : <10.9.9.9:40011>"
    assert documents.missing([machine])["machines"][0]["machine_name"] == "lost-host"  # type: ignore[index]


def test_listings_are_written_as_python_2_wrote_them() -> None:
    assert verbs.python2_mapping({"sharon": 5, "seb": 10}) == "{u'sharon': 5, u'seb': 10}"
    aliases = {"rodents": ("mouse", "rat-cloud"), "it's": ("caf\u00e9",)}
    assert verbs.python2_mapping(aliases) == "{u'rodents': [u'mouse', u'rat-cloud'], u\"it's\": [u'caf\\xe9']}"
    assert verbs.python2_mapping({}) == "{}"


def test_bulk_shutdown_answers_a_line_a_vm() -> None:
    assert verbs.destroyed_lines([("a", True), ("b", False)]) == (
        "VM a has been Destroyed.\nDestroying VM b failed. Leaving it for now.\n"
    )


def test_braces_in_a_name_are_only_text() -> None:
    assert verbs.say(verbs.RESET, cloud="{vm}", vm="{0.__class__}") == "Reset state of {vm} on {0.__class__}"
