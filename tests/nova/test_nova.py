"""The OpenStack adapter on real services: what only a real Nova does."""

from __future__ import annotations

import base64
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudsched.clouds.openstack import OpenStackCloud
from cloudsched.errors import BadRequirement, CloudError, CredentialRefused, Outage, QuotaExceeded
from cloudsched.model.clouds import BootRequest, ObservedVM, VMStatus
from cloudsched.model.vms import VM
from tests.nova import gateway
from tests.nova.gateway import Moment
from tests.nova.services import Services, eventually
from tests.nova.settings import PAGE, REGION, ZONE

pytestmark = [pytest.mark.openstack, pytest.mark.real]

Make = Callable[..., OpenStackCloud]
SETTLED = {VMStatus.RUNNING, VMStatus.ERROR}


@pytest.fixture
def make(nova_site: Services) -> Iterator[Make]:
    """Adapters of one installation of this test's own; what they made is gone afterwards, and no quota is left."""
    installation = uuid.uuid4().hex
    made = []
    eventually(lambda: unused(nova_site), "what other tests made is gone and counts no more")

    def adapter(**options: Any) -> OpenStackCloud:
        made.append(OpenStackCloud("nova", installation, nova_site.login(**options)))
        return made[-1]

    yield adapter
    nova_site.set_quota(instances=-1, cores=-1, ram=-1)
    last = adapter()
    eventually(lambda: emptied(last), "every server is gone")


def request(uid: str, **fields: Any) -> BootRequest:
    given = {"image": "image", "flavor": "small", "memory": 512} | fields
    return BootRequest(uid, "Default-Image", "alice", "default", **given)


def requests(count: int) -> list[BootRequest]:
    return [request(f"nova-{uuid.uuid4()}") for _ in range(count)]


def emptied(cloud: OpenStackCloud) -> bool:
    there = [vm.id for vm in cloud.vms()]
    cloud.destroy(there)
    return not there


def unused(nova_site: Services) -> bool:
    """Whether the project's quota counts no server: it does for a while after a listing shows none."""
    return not nova_site.as_user().compute.get_limits().absolute.instances_used


def servers_for(nova_site: Services, wanted: list[BootRequest]) -> dict[str, int]:
    """How many servers there are for each uid, asked without the adapter; those being ended do not count."""
    names = {each.uid for each in wanted}
    there = [each for each in nova_site.as_user().compute.servers() if each.name in names]
    return Counter(each.name for each in there if each.task_state != "deleting")


def settled(cloud: OpenStackCloud, count: int) -> list[ObservedVM]:
    """The listing once it shows this many VMs, each running or failed."""

    def condition() -> list[ObservedVM]:
        there = cloud.vms()
        return there if len(there) == count and {vm.status for vm in there} <= SETTLED else []

    found: list[ObservedVM] = eventually(condition, f"{count} VMs are up or have failed")
    return found


def test_fifty_vms_go_up_and_down(make: Make, nova_site: Services) -> None:
    cloud = make(request_threads=4)
    wanted = requests(50)
    ids = {outcome.uid: outcome.id for outcome in cloud.boot(wanted)}
    there = settled(cloud, 50)
    assert Counter(vm.status for vm in there) == {VMStatus.RUNNING: 50}
    assert {vm.uid: vm.id for vm in there} == ids
    assert len(list(nova_site.as_user().compute.servers(paginated=False))) == PAGE, "so these were several pages"
    assert [outcome.error for outcome in cloud.destroy(list(ids.values()))] == [None] * 50
    eventually(lambda: cloud.vms() == [], "all are gone")


@pytest.mark.parametrize(("name", "most", "left"), [("instances", 1, 0), ("cores", 1, 0), ("ram", 600, 88)])
def test_a_full_quota_is_known_before_asking_and_told_when_asked(
    make: Make, nova_site: Services, name: str, most: int, left: int
) -> None:
    nova_site.set_quota(**{name: most})
    cloud = make()
    outcomes = cloud.boot(requests(2))
    (refused,) = [outcome.error for outcome in outcomes if outcome.error]
    assert isinstance(refused, QuotaExceeded) and f"quota of {name} leaves {left}," in str(refused)
    settled(cloud, 1)
    region = next(iter(cloud.regions.values()))
    late = requests(1)[0]
    with pytest.raises(QuotaExceeded, match=rf"Quota exceeded for {name}.*\(403, req-"):
        region.create(late, region.recipe(late, "none"), {})


def test_a_quota_that_another_took_meanwhile_is_the_failed_vms_reason(make: Make, nova_site: Services) -> None:
    """Nova counts once more when it builds: three are accepted while nothing is built, and one may live."""
    nova_site.set_quota(instances=1)
    cloud = make()
    nova_site.stop("nova-conductor")
    region = next(iter(cloud.regions.values()))
    try:
        for each in requests(3):
            assert region.create(each, region.recipe(each, "none"), {})
    finally:
        nova_site.restart("nova-conductor")
    there = settled(cloud, 3)
    faults = [vm.fault for vm in there if vm.status == VMStatus.ERROR]
    assert len(faults) >= 2 and all("uota" in fault for fault in faults), there
    assert all(outcome.error is None for outcome in cloud.destroy([vm.id for vm in there]))
    eventually(lambda: cloud.vms() == [], "the failed ones are gone too")


def test_no_valid_host_is_accepted_and_then_the_failed_vms_reason(make: Make) -> None:
    cloud = make()
    (outcome,) = cloud.boot([request("too-large", flavor="larger-than-any-host")])
    assert outcome.error is None
    (failed,) = settled(cloud, 1)
    assert (failed.uid, failed.status) == ("too-large", VMStatus.ERROR)
    assert failed.fault.startswith("No valid host was found.")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"image": "nope"}, "there is no image 'nope'"),
        ({"image": "twice"}, "image 'twice': More than one"),
        ({"flavor": "nope"}, "there is no flavor 'nope'"),
        ({"network": "nope"}, "there is no network 'nope'"),
        ({"key_name": "nope"}, "Invalid key_name"),
        ({"security_groups": ("nope",)}, "nope"),
        ({"location": "nope"}, "The requested availability zone is not available"),
    ],
)
def test_what_is_not_there_is_named(make: Make, nova_site: Services, fields: dict[str, Any], sentence: str) -> None:
    if fields.get("image") == "twice":
        about = {"disk_format": "raw", "container_format": "bare"}
        for _ in range(2):
            nova_site.as_user().image.create_image(name="twice", **about)
    (outcome,) = make().boot([request("a", **fields)])
    assert isinstance(outcome.error, BadRequirement) and sentence in str(outcome.error)


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_server_has_what_its_vm_was_asked_with(make: Make, nova_site: Services, by: str) -> None:
    api = nova_site.as_user()
    image, flavor = api.image.find_image("image"), api.compute.find_flavor("small")
    group, key = api.network.find_security_group("web"), api.compute.create_keypair(name=f"key-{by}")
    cloud = make(key_name=key.name, security_group=("default", group[by]), placement_zone=(ZONE,))
    (outcome,) = cloud.boot([request("u-1", image=image[by], flavor=flavor[by], user_data=b"#cloud-config\n")])
    assert outcome.error is None
    assert [vm.uid for vm in settled(cloud, 1)] == ["u-1"]
    server = nova_site.connection().compute.get_server(outcome.id)
    assert (server.name, server.image.id, server.flavor.name) == ("u-1", image.id, "small")
    assert (server.key_name, server.availability_zone) == (key.name, ZONE)
    assert base64.b64decode(server.user_data) == b"#cloud-config\n"
    installation = server.metadata["cloudsched_installation"]
    assert sorted(server.tags) == ["cloud=nova", f"installation={installation}", "uid=u-1"]
    assert server.metadata | {"cloudsched_uid": "u-1", "cloudsched_user": "alice"} == server.metadata


def test_a_region_is_where_keystones_catalogue_says(make: Make, nova_site: Services) -> None:
    """One Nova has both regions here: the second one's API is behind a gateway that tells what it is asked."""
    with gateway.before(nova_site.site.ports["nova"]) as front:
        nova_site.add_region("RegionTwo", compute=front.url)
        cloud = make(regions=(REGION, "RegionTwo"))
        seen: list[str] = []
        front.at(Moment.ANSWERED, lambda: seen.append("made"))
        first = cloud.boot([request("in-the-first")])[0]
        assert (first.error, seen) == (None, [])
        second = cloud.boot([request("in-the-second", location="RegionTwo")])[0]
        eventually(lambda: (second.error, seen) == (None, ["made"]), "it was asked of the second")
        assert sorted(vm.uid for vm in settled(cloud, 2)) == ["in-the-first", "in-the-second"]
    with pytest.raises(Outage, match="RegionThree"):
        make(regions=("RegionThree",)).vms()


def test_a_filter_by_tag_never_shows_what_has_ended(make: Make, nova_site: Services) -> None:
    """Why a listing is whole and does not ask for changes alone (decision 013)."""
    cloud, began = make(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    (outcome,) = cloud.boot(requests(1))
    (vm,) = settled(cloud, 1)
    cloud.destroy([vm.id])
    eventually(lambda: cloud.vms() == [], "it is gone")
    compute = nova_site.as_user().compute
    changed = {each.id: each.status for each in compute.servers(changes_since=began)}
    assert changed[outcome.id] == "DELETED"
    assert list(compute.servers(changes_since=began, tags="cloud=nova")) == []


def test_a_compute_node_killed_in_mid_boot_leaves_one_server_each(make: Make, nova_site: Services) -> None:
    cloud = make()
    wanted = requests(6)
    cloud.boot(wanted)
    nova_site.stop("nova-compute", sure=True)
    nova_site.restart("nova-compute")
    assert sorted(vm.uid for vm in cloud.vms()) == sorted(each.uid for each in wanted)
    assert [each.error for each in cloud.destroy([vm.id for vm in cloud.vms()])] == [None] * 6
    eventually(lambda: cloud.vms() == [], "what the node lost is gone too")


def test_an_api_killed_in_mid_boot_leaves_one_server_each(make: Make, nova_site: Services) -> None:
    """The answers are lost; the same requests once more give each VM one server."""
    wanted = requests(12)
    cloud = make(request_threads=4)
    cloud.vms()
    with ThreadPoolExecutor(1) as pool:
        booting = pool.submit(cloud.boot, wanted)
        eventually(lambda: nova_site.as_user().compute.get_limits().absolute.instances_used, "some are made")
        nova_site.stop("nova-api", sure=True)
        outcomes = booting.result()
    assert all(outcome.id or isinstance(outcome.error, CloudError) for outcome in outcomes)
    nova_site.restart("nova-api")
    again = make(request_threads=4)
    eventually(lambda: all(each.id for each in again.boot(wanted)), "all are booted")
    eventually(lambda: len(again.vms()) == 12, "all are listed")
    assert servers_for(nova_site, wanted) == dict.fromkeys((each.uid for each in wanted), 1)


def test_two_processes_that_ask_at_once_end_with_one_server_each(make: Make, nova_site: Services) -> None:
    wanted = requests(3)
    adapters = [make(), make()]
    start = threading.Barrier(2)

    def boot(cloud: OpenStackCloud) -> None:
        start.wait()
        cloud.boot(wanted)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(boot, adapters))

    def one_each() -> bool:
        listed = {vm.uid for vm in adapters[0].vms()}
        found = servers_for(nova_site, wanted)
        return listed == found.keys() and set(found.values()) == {1}

    eventually(one_each, "surplus servers are ended")


def test_a_revoked_token_is_renewed(make: Make, nova_site: Services) -> None:
    cloud = make()
    assert cloud.vms() == []
    token = token_of(cloud)
    keystone = f"{nova_site.site.auth_url}/auth/tokens"
    assert nova_site.connection().session.delete(keystone, headers={"X-Subject-Token": token}).status_code == 204
    eventually(lambda: is_refused(nova_site, token), "Nova refuses the old token")
    assert cloud.vms() == [] and token_of(cloud) != token


def test_an_expired_token_is_renewed(make: Make, nova_site: Services) -> None:
    cloud = make()
    with nova_site.tokens_that_last(20):
        assert cloud.vms() == []
        token = token_of(cloud)
        eventually(lambda: is_refused(nova_site, token), "Nova refuses the old token")
        assert cloud.vms() == [] and token_of(cloud) != token


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "wr0ng"},
        {"tenant_name": "nowhere"},
        {"user_domain_name": "nowhere"},
        {"project_domain_name": "nowhere"},
    ],
)
def test_a_login_that_keystone_does_not_know_is_refused_credentials(make: Make, wrong: dict[str, str]) -> None:
    with pytest.raises(CredentialRefused) as caught:
        make(**wrong).vms()
    assert "wr0ng" not in str(caught.value)
    assert isinstance(_booted(make(**wrong)), CredentialRefused)


def token_of(cloud: OpenStackCloud) -> str:
    """The token that the adapter uses now."""
    (region,) = cloud.regions.values()
    return str(region._connection.session.get_token())


def is_refused(nova_site: Services, token: str) -> bool:
    """Whether Nova takes a token no longer."""
    api = nova_site.connection()
    given = {"authenticated": False, "headers": {"X-Auth-Token": token}, "raise_exc": False}
    return bool(api.session.get(f"{api.compute.get_endpoint()}/servers", **given).status_code == 401)


def _booted(cloud: OpenStackCloud) -> object:
    try:
        return cloud.boot(requests(1))[0].error
    except CloudError as ex:
        return ex


def test_an_application_credential_boots_vms(make: Make, nova_site: Services) -> None:
    api = nova_site.as_user()
    about = {"name": f"test-{uuid.uuid4()}", "expires_at": "2099-01-01T00:00:00.000000"}
    secret = api.identity.create_application_credential(user=api.current_user_id, **about)
    options = nova_site.login() | {
        "application_credential_id": secret.id,
        "application_credential_secret": secret.secret,
    }
    cloud = OpenStackCloud("nova", uuid.uuid4().hex, options)
    assert cloud.boot([request("by-credential")])[0].error is None
    (vm,) = settled(cloud, 1)
    assert cloud.destroy([vm.id])[0].error is None
    eventually(lambda: cloud.vms() == [], "it is gone")
    assert cloud.credentials_expire_at() == datetime(2099, 1, 1, tzinfo=UTC).timestamp()


def test_a_server_of_another_scheduler_is_taken_over(make: Make, nova_site: Services) -> None:
    api = nova_site.as_user()
    image, flavor = api.image.find_image("image"), api.compute.find_flavor("small")
    server = api.compute.create_server(name="v1-vm", image_id=image.id, flavor_id=flavor.id, networks="none")
    cloud = make()
    assert cloud.vms() == []
    assert [each.error for each in cloud.adopt([VM("u-1", "nova", id=server.id, user="alice")])] == [None]
    (vm,) = settled(cloud, 1)
    assert (vm.uid, vm.id, vm.tags["user"]) == ("u-1", server.id, "alice")


def test_the_console_of_a_running_vm_is_read(make: Make) -> None:
    cloud = make()
    cloud.boot(requests(1))
    (vm,) = settled(cloud, 1)
    assert cloud.console(vm.id).startswith("FAKE CONSOLE OUTPUT")
