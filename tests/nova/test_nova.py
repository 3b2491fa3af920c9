"""The OpenStack adapter on real services: what only a real Nova does."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudsched.clouds.openstack import OpenStackCloud
from cloudsched.errors import BadRequirement, CloudError, CredentialRefused, QuotaExceeded
from cloudsched.model.clouds import BootRequest, ObservedVM, VMStatus
from cloudsched.model.vms import VM
from tests.nova.services import Services, eventually

pytestmark = [pytest.mark.openstack, pytest.mark.real]

Make = Callable[..., OpenStackCloud]
SETTLED = {VMStatus.RUNNING, VMStatus.ERROR}


@pytest.fixture
def make(nova_site: Services) -> Iterator[Make]:
    """Adapters of one installation of this test's own; what they made is gone afterwards, and no quota is left."""
    installation = uuid.uuid4().hex
    made = []

    def adapter(**options: Any) -> OpenStackCloud:
        made.append(OpenStackCloud("nova", installation, nova_site.login(**options)))
        return made[-1]

    yield adapter
    nova_site.set_quota(instances=-1)
    last = adapter()
    eventually(lambda: emptied(last), "every server is gone")


def request(uid: str, flavor: str = "small", image: str = "image") -> BootRequest:
    return BootRequest(uid, "Default-Image", "alice", "default", image=image, flavor=flavor, memory=512)


def requests(count: int) -> list[BootRequest]:
    return [request(f"nova-{uuid.uuid4()}") for _ in range(count)]


def emptied(cloud: OpenStackCloud) -> bool:
    there = [vm.id for vm in cloud.vms()]
    cloud.destroy(there)
    return not there


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


def test_fifty_vms_go_up_and_down(make: Make) -> None:
    cloud = make(request_threads=4)
    wanted = requests(50)
    ids = {outcome.uid: outcome.id for outcome in cloud.boot(wanted)}
    there = settled(cloud, 50)
    assert Counter(vm.status for vm in there) == {VMStatus.RUNNING: 50}
    assert {vm.uid: vm.id for vm in there} == ids
    assert [outcome.error for outcome in cloud.destroy(list(ids.values()))] == [None] * 50
    eventually(lambda: cloud.vms() == [], "all are gone")


def test_a_full_quota_is_known_before_asking_and_told_when_asked(make: Make, nova_site: Services) -> None:
    nova_site.set_quota(instances=1)
    cloud = make()
    outcomes = cloud.boot(requests(2))
    (refused,) = [outcome.error for outcome in outcomes if outcome.error]
    assert isinstance(refused, QuotaExceeded) and "quota of instances leaves 0" in str(refused)
    settled(cloud, 1)
    region = next(iter(cloud.regions.values()))
    late = requests(1)[0]
    with pytest.raises(QuotaExceeded, match=r"Quota exceeded for instances.*\(403, req-"):
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


def test_unknown_images_and_flavors_are_named(make: Make) -> None:
    errors = [each.error for each in make().boot([request("a", image="nope"), request("b", flavor="nope")])]
    assert [type(error) for error in errors] == [BadRequirement, BadRequirement]
    assert "no image 'nope'" in str(errors[0]) and "no flavor 'nope'" in str(errors[1])


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
    session = nova_site.connection().session
    token = token_of(cloud)
    keystone = f"{nova_site.site.auth_url}/auth/tokens"
    assert session.delete(keystone, headers={"X-Subject-Token": token}).status_code == 204
    nova = nova_site.connection().compute.get_endpoint()

    def refused() -> bool:
        answer = session.get(f"{nova}/servers", authenticated=False, headers={"X-Auth-Token": token}, raise_exc=False)
        return bool(answer.status_code == 401)

    eventually(refused, "Nova refuses the old token")
    assert cloud.vms() == [] and token_of(cloud) != token


def test_a_wrong_password_and_an_unknown_project_are_refused_credentials(make: Make) -> None:
    for wrong in ({"password": "wr0ng"}, {"tenant_name": "nowhere"}):
        with pytest.raises(CredentialRefused) as caught:
            make(**wrong).vms()
        assert "wr0ng" not in str(caught.value)
        outcome = _booted(make(**wrong))
        assert isinstance(outcome, CredentialRefused)


def token_of(cloud: OpenStackCloud) -> str:
    """The token that the adapter uses now."""
    (region,) = cloud.regions.values()
    return str(region._connection.session.get_token())


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
