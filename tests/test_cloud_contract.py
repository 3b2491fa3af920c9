"""Every cloud adapter keeps the promises of CloudAdapter; the fake also obeys its script."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import openstack_api
import pytest
import whole_bench

from cloudsched import clouds
from cloudsched.clouds.fake import FakeCloud, Script, observed
from cloudsched.clouds.local import LocalCloud
from cloudsched.clouds.openstack import OpenStackCloud
from cloudsched.errors import BadRequirement, CredentialRefused, Outage, QuotaExceeded, Transient
from cloudsched.model.adapters import CloudAdapter
from cloudsched.model.clouds import BootRequest, VMStatus
from cloudsched.model.vms import VM
from tests.ec2_cloud import Endpoint
from tests.ec2_cloud import ec2 as ec2
from tests.ec2_cloud import running as running
from tests.nova.services import Services

Make = Callable[[str], CloudAdapter]


def request(uid: str, image: str = "image") -> BootRequest:
    return BootRequest(uid, "Default-Image", "alice", "default", image=image, flavor="small", memory=512)


OPENSTACK = pytest.param("openstack", marks=[pytest.mark.openstack, pytest.mark.real])


KINDS = ["local", "fake", "fake with lag", "ec2", "ec2 that is slow", "stand-in for openstack", OPENSTACK]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes clouds of one kind under the names given; a new kind is a line in `makers`."""
    made: list[CloudAdapter] = []
    installation = uuid.uuid4().hex

    def openstack(name: str) -> CloudAdapter:
        services: Services = request.getfixturevalue("nova_site")
        return OpenStackCloud(name, installation, services.login())

    def played(name: str) -> CloudAdapter:
        api: openstack_api.Cloud = request.getfixturevalue("nova_api")
        return OpenStackCloud(name, installation, api.login())

    def ec2(name: str, **behaviour: float) -> CloudAdapter:
        endpoint: Endpoint = request.getfixturevalue("ec2")
        endpoint.script(**behaviour)
        return endpoint.cloud(name)

    makers: dict[str, Make] = {
        "local": lambda name: LocalCloud(name, installation, tmp_path, "/bin/sleep 600"),
        "fake": FakeCloud,
        "fake with lag": lambda name: FakeCloud(name, script=Script(lag=3)),
        "ec2": ec2,
        "ec2 that is slow": lambda name: ec2(name, boot_seconds=0.2),
        "stand-in for openstack": played,
        "openstack": openstack,
    }

    def kept(name: str) -> CloudAdapter:
        made.append(makers[request.param](name))
        return made[-1]

    yield kept
    for cloud in made:
        cloud.destroy([vm.id for vm in cloud.vms()])


def eventually(condition: Callable[[], object]) -> None:
    """Wait as long as a slow cloud may need on a busy machine."""
    whole_bench.eventually(condition, seconds=300.0)


def uids(cloud: CloudAdapter) -> list[str]:
    return sorted(vm.uid for vm in cloud.vms())


def test_a_new_cloud_lists_nothing(make: Make) -> None:
    assert make("one").vms() == []


def test_outcomes_come_in_order_one_per_request(make: Make) -> None:
    cloud = make("one")
    outcomes = cloud.boot([request("b"), request("a")])
    assert [(outcome.uid, bool(outcome.id), outcome.error) for outcome in outcomes] == [
        ("b", True, None),
        ("a", True, None),
    ]
    assert [outcome.id for outcome in cloud.destroy([outcomes[1].id, "unknown"])] == [outcomes[1].id, "unknown"]
    assert cloud.boot([]) == [] and cloud.destroy([]) == []


def test_booted_vms_appear_and_run(make: Make) -> None:
    cloud = make("one")
    ids = {outcome.uid: outcome.id for outcome in cloud.boot([request("a"), request("b")])}
    eventually(lambda: [vm.status for vm in cloud.vms()] == [VMStatus.RUNNING] * 2)
    assert {vm.uid: vm.id for vm in cloud.vms()} == ids


def test_boot_is_idempotent_by_uid(make: Make) -> None:
    cloud = make("one")
    first = cloud.boot([request("a")])[0]
    assert cloud.boot([request("a"), request("a")]) == [first, first]
    eventually(lambda: uids(cloud) == ["a"])


def test_destroyed_vms_leave_the_listing_and_may_be_destroyed_again(make: Make) -> None:
    cloud = make("one")
    kept, ended = cloud.boot([request("kept"), request("ended")])
    for _ in range(2):
        assert [outcome.error for outcome in cloud.destroy([ended.id])] == [None]
    eventually(lambda: uids(cloud) == ["kept"])
    assert kept.error is None


def test_a_uid_may_be_destroyed_before_its_id_is_known(make: Make) -> None:
    cloud = make("one")
    cloud.boot([request("a")])
    assert cloud.destroy(["a"])[0].error is None
    eventually(lambda: cloud.vms() == [])
    for _ in range(5):
        assert cloud.vms() == []


def test_clouds_do_not_see_each_other(make: Make) -> None:
    one, other = make("one"), make("other")
    one.boot([request("a")])
    other.boot([request("b")])
    eventually(lambda: uids(one) == ["a"] and uids(other) == ["b"])
    other.destroy(["a"])
    assert uids(one) == ["a"]


def test_kinds_are_found_by_name() -> None:
    assert clouds.load("local") is LocalCloud
    assert clouds.load("fake") is FakeCloud
    assert clouds.load("ec2").__name__ == "EC2Cloud"
    with pytest.raises(KeyError):
        clouds.load("unheard-of")


def test_a_fake_lags_as_told() -> None:
    cloud = FakeCloud("one", script=Script(lag=2))
    cloud.boot([request("a")])
    assert [[vm.status for vm in cloud.vms()] for _ in range(4)] == [[], [], ["Starting"], ["Running"]]


def test_a_fake_fails_as_told() -> None:
    cloud = FakeCloud(
        "one", script=Script(boot_failures=(None, Transient("busy")), bad_images=frozenset({"bad"}), quota=1)
    )
    outcomes = cloud.boot([request("a"), request("b"), request("c", "bad"), request("d"), request("a")])
    kinds = [type(outcome.error) for outcome in outcomes]
    assert kinds == [type(None), Transient, BadRequirement, QuotaExceeded, type(None)]
    cloud.script = Script(destroy_fails=frozenset({outcomes[0].id}))
    assert isinstance(cloud.destroy([outcomes[0].id])[0].error, Transient)
    assert uids(cloud) == ["a"]


@pytest.mark.parametrize("failure", [Outage("no answer"), CredentialRefused("wrong password")])
def test_a_fake_that_is_out_raises_everywhere(failure: Outage | CredentialRefused) -> None:
    cloud = FakeCloud("one", script=Script(failure=failure))
    for call in (cloud.vms, lambda: cloud.boot([request("a")]), lambda: cloud.destroy(["a"])):
        with pytest.raises(type(failure)):
            call()
    cloud.script = Script()
    assert cloud.vms() == []


def test_a_fake_is_seeded_from_recorded_vms_and_can_change_them() -> None:
    recorded = [VM("u1", "one", id="i-1", status="Error", hostname="h1"), VM("u2", "one")]
    cloud = FakeCloud("one", map(observed, recorded))
    assert [(vm.uid, vm.id, vm.status, vm.hostname) for vm in cloud.vms()] == [
        ("u1", "i-1", "Error", "h1"),
        ("u2", "u2", "Starting", ""),
    ]
    cloud.set_status("u1", "Running")
    cloud.vanish("u2")
    assert [(vm.uid, vm.status) for vm in cloud.vms()] == [("u1", "Running")]
