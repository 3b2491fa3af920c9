"""Taking v1's VMs over: what its /clusters.json says, the marks at the cloud, the records, and the life afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import databases
import pytest
from golden_state import DIRECTORY
from openstack_api import Cloud, Told, serving

from cloudsched.__main__ import main
from cloudsched.clouds.fake import FakeCloud, Script
from cloudsched.errors import BadRequirement, DocumentError
from cloudsched.model.vms import VM
from cloudsched.store import locks, v1, vms
from tests.whole_bench import Site, a_site, eventually, stopped

ANSWERS = json.loads((DIRECTORY / "answers.json").read_text())
RECORDED = next(each["body"] for each in ANSWERS.values() if each["url"] == "/clusters.json")
MANY = {"id": "i-1", "user": "alice", "vmtype": "big", "status": "Running", "uservmtype": "alice:big"}


SIZE = {"cpucores": 2, "memory": 4096}


def document(*clouds: tuple[str, list[dict[str, Any]]]) -> str:
    """What v1 answered, with the fields that matter here."""
    return json.dumps({"resources": [{"name": name, "vms": vms} for name, vms in clouds]})


# -- what v1 says --------------------------------------------------------------------------------------------------


def test_v1s_recorded_answer_is_read_whole() -> None:
    found = v1.read(RECORDED, "clusters.json")
    told = {vm["id"]: (cloud["name"], vm) for cloud in json.loads(RECORDED)["resources"] for vm in cloud["vms"]}
    told.pop("", None)
    assert [vm.id for vm in found] == list(told)
    assert len({vm.uid for vm in found}) == len(found) > 5
    for vm in found:
        cloud, values = told[vm.id]
        assert vm.cloud == cloud
        assert (vm.user, vm.vmtype, vm.status, vm.override_status) == (
            *(values["user"], values["vmtype"], values["status"]),
            values["override_status"],
        )
        assert (vm.hostname, vm.condorname, vm.cpucores) == (
            values["hostname"],
            values["condorname"],
            values["cpucores"],
        )
        assert (vm.initialize_time, list(vm.job_run_times)) == (values["initialize_time"], values["job_run_times"])


def test_a_vm_has_the_same_name_whenever_it_is_read() -> None:
    first, again = (v1.read(document(("Mouse", [MANY])), "f")[0] for _ in range(2))
    assert first == again
    assert first.cloud == "mouse"
    assert v1.read(document(("mouse", [{**MANY, "id": "i-2"}])), "f")[0].uid != first.uid


def test_a_vm_that_v1_had_only_asked_for_is_left_out() -> None:
    assert v1.read(document(("mouse", [{**MANY, "id": ""}, {**MANY, "id": None}])), "f") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "f: this is not JSON: "),
        ("[" * 100_000, "f: this is not JSON: "),
        ("[]", "f: this is not v1's /clusters.json: it holds no list of 'resources'"),
        ('{"resources": 1}', "f: this is not v1's /clusters.json"),
        ('{"resources": [{"name": "c"}]}', "f: a cloud has a 'name' and a list of 'vms', and one here has not"),
        ('{"resources": [{"name": "c", "vms": [7]}]}', "f: VM 1 of cloud 'c' is no object"),
        (
            document(("c", [MANY, {**MANY, "cpucores": "4"}])),
            "f: VM 2 of cloud 'c': vm: 'cpucores' must be a whole num",
        ),
        (document(("c", [{**MANY, "id": 5}])), "f: VM 1 of cloud 'c': vm: 'id' must be a text, not 5"),
    ],
)
def test_what_is_not_v1s_document_is_named(text: str, sentence: str) -> None:
    with pytest.raises(DocumentError) as caught:
        v1.read(text, "f")
    assert str(caught.value).startswith(sentence)


# -- at the cloud --------------------------------------------------------------------------------------------------


def test_a_fake_takes_over_what_its_script_says_is_there() -> None:
    cloud = FakeCloud("one", script=Script(foreign=frozenset({"i-1"})))
    for _ in range(2):
        here, absent = cloud.adopt([VM("u-1", "one", id="i-1", status="Running"), VM("u-2", "one", id="i-2")])
    assert (here.error, type(absent.error)) == (None, BadRequirement)
    assert [(seen.uid, seen.id, seen.status) for seen in cloud.vms()] == [("u-1", "i-1", "Running")]


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def nova() -> Iterator[Cloud]:
    with serving() as cloud:
        yield cloud


def booted(nova: Cloud, name: str, region: str = "one", **metadata: str) -> str:
    """A server that v1 has booted: nothing on it says whose it is."""
    server_id = f"00000000-0000-4000-8000-{len(nova.servers):012}"
    nova.servers[server_id] = {
        **{"id": server_id, "name": name, "metadata": metadata, "tags": [], "status": "ACTIVE", "region": region},
        **{"created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z", "addresses": {}},
        "OS-EXT-AZ:availability_zone": "nova",
    }
    return server_id


def running(server_id: str, name: str) -> dict[str, Any]:
    """The same VM in v1's words."""
    return {**MANY, "id": server_id, "hostname": name, **SIZE, "keep_alive": 3600, "initialize_time": 1480000000}


@pytest.fixture
def site(nova: Cloud, tmp_path: Path) -> Iterator[Site]:
    """An installation with one OpenStack cloud."""
    clouds = tmp_path / "cloud_resources.conf"
    clouds.write_text(
        f"[mouse]\ncloud_type = OpenStackNative\nauth_url = {nova.url}/v3\nregions = one, two\nvm_slots = 9\n"
        "username = operator\npassword = right\ntenant_name = tenant\nenabled = true\n"
    )
    with a_site(tmp_path / "home", CLOUD_RESOURCE_CONFIG=str(clouds)) as made:
        yield made


Load = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def load(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Load:
    """`cloud_scheduler state load --from-v1`: its exit status and what it says."""
    for name, value in site.environment().items():
        monkeypatch.setenv(name, value)

    def loaded(text: str) -> tuple[int, str, str]:
        file = tmp_path / "clusters.json"
        file.write_text(text)
        capfd.readouterr()
        status = main(["state", "load", "--from-v1", str(file)])
        said = capfd.readouterr()
        return status, said.out.strip(), said.err.strip()

    return loaded


def recorded(site: Site) -> list[VM]:
    with closing(databases.open_store(site.state, read_only=True)) as store, store.reading() as connection:
        return vms.all_vms(connection)


def test_vms_are_marked_at_the_cloud_and_recorded_once(nova: Cloud, site: Site, load: Load) -> None:
    one, two = booted(nova, "v1-a"), booted(nova, "v1-b", region="two")
    text = document(("mouse", [running(one, "v1-a"), running(two, "v1-b")]))
    assert load(text) == (0, "Took 2 of 2 VMs over: 2 on mouse.", "")
    assert [(vm.id, vm.user, vm.vmtype, vm.position) for vm in recorded(site)] == [
        (one, "alice", "big", 1),
        (two, "alice", "big", 2),
    ]
    assert [nova.servers[vm.id]["metadata"]["cloudsched_uid"] for vm in recorded(site)] == nova.uids()
    asked = len(nova.asked)
    assert load(text) == (0, "Took 0 of 2 VMs over.", "")
    assert len(nova.asked) == asked
    assert len(recorded(site)) == 2


def test_what_cannot_be_taken_over_is_told_and_the_rest_is(nova: Cloud, site: Site, load: Load) -> None:
    here, theirs = booted(nova, "v1-a"), booted(nova, "other", cloudsched_installation="another")
    gone = "00000000-0000-4000-8000-999999999999"
    text = document(("mouse", [running(here, "v1-a"), running(theirs, "v1-b"), running(gone, "v1-c")]))
    status, said, problems = load(text)
    assert (status, said) == (1, "Took 1 of 3 VMs over: 1 on mouse.")
    assert f"mouse: {theirs}: mouse one: the server '{theirs}' belongs to another installation." in problems
    assert f"mouse: {gone}: mouse one, mouse two: there is no server '{gone}' to take over." in problems
    assert [vm.id for vm in recorded(site)] == [here]


def test_an_interrupted_take_over_is_finished_by_the_next(nova: Cloud, site: Site, load: Load) -> None:
    one, two = booted(nova, "v1-a"), booted(nova, "v1-b")
    text = document(("mouse", [running(one, "v1-a"), running(two, "v1-b")]))
    nova.tell(Told("PUT", rf"/one/v2\.1/servers/{two}/tags/.*", 503, times=9))
    assert load(text)[:2] == (1, "Took 1 of 2 VMs over: 1 on mouse.")
    nova.told.clear()
    assert load(text)[:2] == (0, "Took 1 of 2 VMs over: 1 on mouse.")
    assert [vm.id for vm in recorded(site)] == [one, two]


def test_a_cloud_that_is_not_configured_stops_everything(nova: Cloud, site: Site, load: Load) -> None:
    one = booted(nova, "v1-a")
    text = document(("mouse", [running(one, "v1-a")]), ("cat", [{**MANY, "id": "i-9"}]))
    status, said, problems = load(text)
    assert (status, said) == (1, "")
    assert problems.endswith("v1 has VMs on cloud 'cat', which is not configured here: add its section.")
    assert nova.servers[one]["tags"] == []


def test_a_running_engine_is_named(nova: Cloud, site: Site, load: Load) -> None:
    text = document(("mouse", [running(booted(nova, "v1-a"), "v1-a")]))
    load(document())
    with locks.hold_engine(site.state):
        status, _, problems = load(text)
    assert status == 1
    assert f"The state in {site.state} is held by " in problems


def test_the_engine_goes_on_with_vms_of_v1(nova: Cloud, site: Site, load: Load) -> None:
    one, two = booted(nova, "v1-a"), booted(nova, "v1-b")
    stranger = booted(nova, "of nobody")
    load(document(("mouse", [running(one, "v1-a"), running(two, "v1-b")])))
    scheduler = site.start()
    eventually(lambda: site.get("/developer-info.json")["problems"] == {} and len(site.vms()) == 2, "all was polled")
    time.sleep(3)
    assert "v1-a" in site.said("cloud_status", "-m")
    status, answer = site.ask("admin", "PUT", f"/clouds/mouse/vms/{one}?action=shutdown")
    assert status == 200, answer
    eventually(lambda: set(nova.servers) == {two, stranger}, "the VM is gone, and no other")
    site.said("cloud_admin", "-q")
    assert stopped(scheduler) == 0
    assert set(nova.servers) == {two, stranger}
