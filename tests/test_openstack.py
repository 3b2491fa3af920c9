"""The OpenStack adapter against a stand-in that answers as told: lost and late answers, quotas, regions, pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openstack_api import FLAVORS, IMAGES, NETWORKS, Cloud, Told

from cloudsched.clouds.openstack import OpenStackCloud
from cloudsched.errors import (
    BadRequirement,
    CloudError,
    ConfigError,
    CredentialRefused,
    Outage,
    QuotaExceeded,
    Transient,
)
from cloudsched.model.clouds import BootRequest, VMStatus

POLICY = "Policy doesn't allow os_compute_api:servers:detail to be performed."
SERVERS = r"/(one|two)/v2\.1/servers"


@pytest.fixture
def nova(nova_api: Cloud) -> Cloud:
    return nova_api


def adapter(nova: Cloud, name: str = "mouse", **options: Any) -> OpenStackCloud:
    return OpenStackCloud(name, "inst", nova.login(**options))


def request(uid: str, **fields: Any) -> BootRequest:
    return BootRequest(uid, "Default-Image", "alice", "default", **{"image": "tiny", "flavor": "small"} | fields)


def sent(nova: Cloud) -> dict[str, Any]:
    """The body of the latest request for a server."""
    return next(body["server"] for method, path, body in reversed(nova.asked) if method == "POST" and "servers" in path)


# -- what is sent --------------------------------------------------------------------------------------------------


def test_a_server_is_asked_for_with_names_resolved_and_our_marks(nova: Cloud) -> None:
    cloud = adapter(nova, networks=("private",), security_group=("default", "ssh"), key_name="ops")
    (outcome,) = cloud.boot([request("u-1", user_data=b"#cloud-config\n", memory=512, cpucores=1)])
    assert outcome.id in nova.servers
    body = sent(nova)
    assert (body["name"], body["imageRef"], body["flavorRef"]) == ("u-1", IMAGES["tiny"], FLAVORS["small"][0])
    assert body["networks"] == [{"uuid": NETWORKS["private"]}]
    assert (body["key_name"], body["security_groups"]) == ("ops", [{"name": "default"}, {"name": "ssh"}])
    assert body["user_data"] == "I2Nsb3VkLWNvbmZpZwo="
    assert body["tags"] == ["installation=inst", "cloud=mouse", "uid=u-1"]
    assert {body["metadata"][f"cloudsched_{name}"] for name in ("uid", "user", "vmtype")} == {"u-1", "alice", "default"}


def test_images_flavors_and_networks_may_be_ids(nova: Cloud) -> None:
    ids = {"image": IMAGES["tiny"], "flavor": FLAVORS["small"][0], "network": NETWORKS["private"]}
    adapter(nova).boot([request("u-1", **ids)])
    body = sent(nova)
    assert (body["imageRef"], body["flavorRef"], body["networks"][0]["uuid"]) == tuple(ids.values())


def test_the_jobs_key_and_groups_win_over_the_configured_ones(nova: Cloud) -> None:
    cloud = adapter(nova, security_group=("default",), key_name="ops")
    cloud.boot([request("u-1", key_name="alice", security_groups=("web",))])
    assert (sent(nova)["key_name"], sent(nova)["security_groups"]) == ("alice", [{"name": "web"}])


@pytest.mark.parametrize("uid", ["x" * 77, "a,b/c", "näme"])
def test_any_uid_is_found_again_by_its_tag(nova: Cloud, uid: str) -> None:
    first = adapter(nova).boot([request(uid)])
    assert all(len(tag) <= 60 and not set(tag) & {",", "/"} for tag in sent(nova)["tags"])
    assert adapter(nova).boot([request(uid)]) == first
    assert [vm.uid for vm in adapter(nova).vms()] == [uid]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"image": "nope"}, "mouse one: there is no image 'nope'; accepted are names and ids."),
        ({"image": ""}, "mouse one: the job and the configuration name no image."),
        ({"flavor": "nope"}, "mouse one: there is no flavor 'nope'; accepted are names and ids."),
        ({"network": "nope"}, "mouse one: there is no network 'nope'; accepted are names and ids."),
        ({"user_data": b"x" * 49152}, "mouse one: the user data has 49152 bytes; accepted are 49151."),
    ],
)
def test_what_can_never_work_says_what_is_accepted(nova: Cloud, fields: dict[str, Any], sentence: str) -> None:
    bad, good = adapter(nova).boot([request("bad", **fields), request("good")])
    assert (type(bad.error), str(bad.error)) == (BadRequirement, sentence)
    assert good.error is None and nova.uids() == ["good"]


# -- never two, never none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        Told("POST", SERVERS, do=True, lose=True),
        Told("POST", SERVERS, do=True, status=500, instead=True),
        Told("POST", SERVERS, do=True, status=504, body="<html>gateway</html>", instead=True),
    ],
)
def test_a_lost_answer_is_looked_up_and_no_second_server_is_made(nova: Cloud, told: Told) -> None:
    nova.tell(told)
    (outcome,) = adapter(nova).boot([request("u-1")])
    assert outcome.error is None and list(nova.servers) == [outcome.id]


@pytest.mark.parametrize(
    ("told", "kind"), [(Told("POST", SERVERS, lose=True), Outage), (Told("POST", SERVERS, status=500), Transient)]
)
def test_a_request_that_never_arrived_is_an_error_and_is_not_repeated(
    nova: Cloud, told: Told, kind: type[CloudError]
) -> None:
    nova.tell(told)
    (outcome,) = adapter(nova).boot([request("u-1")])
    assert isinstance(outcome.error, kind) and not nova.servers
    assert nova.times("POST", SERVERS) == 1


def test_an_answer_that_comes_too_late_is_looked_up(nova: Cloud) -> None:
    nova.tell(Told("POST", SERVERS, do=True, seconds=6.0))
    (outcome,) = adapter(nova, request_timeout=2).boot([request("u-1")])
    assert outcome.error is None and list(nova.servers) == [outcome.id]


def test_a_request_repeated_by_another_process_finds_the_first_server(nova: Cloud) -> None:
    first = adapter(nova).boot([request("u-1")])
    assert adapter(nova).boot([request("u-1"), request("u-1")]) == [first[0], first[0]]
    assert nova.uids() == ["u-1"]


def test_of_two_servers_for_one_request_the_later_is_ended(nova: Cloud) -> None:
    adapter(nova).boot([request("u-1")])
    (first,) = nova.servers.values()
    nova.servers["later"] = first | {"id": "later", "created": "2099-01-01T00:00:00Z"}
    nova.servers["earlier"] = first | {"id": "earlier", "created": "2000-01-01T00:00:00Z"}
    assert [vm.id for vm in adapter(nova).vms()] == ["earlier"]
    assert list(nova.servers) == ["earlier"]


def test_servers_of_others_are_neither_listed_nor_ended(nova: Cloud) -> None:
    adapter(nova, "other").boot([request("u-1")])
    (theirs,) = nova.servers
    cloud = adapter(nova)
    assert cloud.vms() == []
    assert [outcome.error for outcome in cloud.destroy([theirs, "u-1"])] == [None, None]
    assert list(nova.servers) == [theirs]


# -- listing -------------------------------------------------------------------------------------------------------


def test_a_listing_of_1000_servers_is_one_pass_of_pages(nova: Cloud) -> None:
    adapter(nova).boot([request("u-0")])
    (one,) = nova.servers.values()
    for number in range(1, 1000):
        marks = one["metadata"] | {"cloudsched_uid": f"u-{number}"}
        nova.servers[f"s-{number}"] = one | {"id": f"s-{number}", "metadata": marks}
    nova.page, nova.asked = 250, []
    assert len(adapter(nova).vms()) == 1000
    assert nova.times("GET", f"{SERVERS}.*") == 4


def test_servers_that_a_listing_leaves_out_stay_until_nova_denies_them(nova: Cloud) -> None:
    cloud = adapter(nova)
    kept, ended = (outcome.id for outcome in cloud.boot([request("kept"), request("ended")]))
    assert len(cloud.vms()) == 2
    nova.hidden = {kept, ended}  # as Nova does while a cell is down
    del nova.servers[ended]
    assert [(vm.id, vm.status) for vm in cloud.vms()] == [(kept, VMStatus.RUNNING)]
    nova.hidden = set()
    assert [vm.id for vm in cloud.vms()] == [kept]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("BUILD", "Starting"), ("SHUTOFF", "Shutdown"), ("PAUSED", "Paused"), ("RESCUE", "RESCUE"), ("DELETED", None)],
)
def test_states_become_v1s(nova: Cloud, theirs: str, ours: str | None) -> None:
    cloud = adapter(nova)
    cloud.boot([request("u-1")])
    next(iter(nova.servers.values()))["status"] = theirs
    assert [vm.status for vm in cloud.vms()] == ([ours] if ours else [])


def test_a_fault_becomes_the_vms_reason(nova: Cloud) -> None:
    cloud = adapter(nova)
    cloud.boot([request("u-1")])
    fault = {"code": 500, "message": "No valid host was found.\nThere are not enough hosts available."}
    next(iter(nova.servers.values())).update(status="ERROR", fault=fault)
    (vm,) = cloud.vms()
    assert (vm.status, vm.fault) == (
        VMStatus.ERROR,
        "No valid host was found. There are not enough hosts available. (fault 500)",
    )


def test_a_floating_address_comes_before_a_fixed_one(nova: Cloud) -> None:
    cloud = adapter(nova)
    cloud.boot([request("u-1")])
    assert [vm.ipaddress for vm in cloud.vms()] == ["10.0.0.9"]
    floating = {"addr": "192.0.2.1", "version": 4, "OS-EXT-IPS:type": "floating"}
    next(iter(nova.servers.values()))["addresses"]["private"].append(floating)
    assert [vm.ipaddress for vm in cloud.vms()] == ["192.0.2.1"]


def test_the_end_of_the_console_is_read(nova: Cloud) -> None:
    cloud = adapter(nova)
    (outcome,) = cloud.boot([request("u-1")])
    assert cloud.console(outcome.id) == "booting\nlogin:"
    assert cloud.console("unknown") == ""


# -- quotas, regions, zones ----------------------------------------------------------------------------------------


def test_a_full_quota_is_not_asked_beyond(nova: Cloud) -> None:
    nova.limits["maxTotalInstances"] = 2
    outcomes = adapter(nova).boot([request(each) for each in "abc"])
    errors = [str(outcome.error) for outcome in outcomes if outcome.error]
    assert errors == ["mouse one: the project's quota of instances leaves 0, needed are 1."]
    assert len(nova.servers) == nova.times("POST", SERVERS) == 2


@pytest.mark.parametrize(("limit", "name"), [("maxTotalCores", "cores"), ("maxTotalRAMSize", "ram")])
def test_cores_and_memory_are_quotas_too(nova: Cloud, limit: str, name: str) -> None:
    nova.limits[limit] = 10
    (outcome,) = adapter(nova).boot([request("u-1", flavor="huge")])
    assert isinstance(outcome.error, QuotaExceeded) and f"quota of {name} leaves 10" in str(outcome.error)


def test_what_one_region_has_no_room_for_goes_to_the_next(nova: Cloud) -> None:
    refusal = {"forbidden": {"code": 403, "message": "Quota exceeded for instances: Requested 1, but already used 5"}}
    nova.tell(Told("POST", "/one/v2.1/servers", status=403, body=refusal, times=9))
    cloud = adapter(nova, regions=("one", "two"))
    (outcome,) = cloud.boot([request("u-1")])
    assert outcome.error is None and nova.servers[outcome.id]["region"] == "two"
    assert [vm.uid for vm in cloud.vms()] == ["u-1"]
    assert cloud.destroy([outcome.id])[0].error is None and not nova.servers


def test_a_server_in_another_region_is_found_again(nova: Cloud) -> None:
    (first,) = adapter(nova, regions=("one", "two")).boot([request("u-1", location="two")])
    cloud = adapter(nova, regions=("one", "two"))
    assert cloud.boot([request("u-1")]) == [first]
    assert adapter(nova, regions=("one", "two")).destroy([first.id])[0].error is None
    assert not nova.servers


def test_zones_are_filled_evenly_and_a_job_may_name_one(nova: Cloud) -> None:
    cloud = adapter(nova, placement_zone=("a", "b"), request_threads=1)
    cloud.boot([request(f"u-{number}") for number in range(4)])
    zones = [each["asked"]["availability_zone"] for each in nova.servers.values()]
    assert sorted(zones) == ["a", "a", "b", "b"]
    cloud.boot([request("u-9", location="c")])
    assert sent(nova)["availability_zone"] == "c"


def test_requests_go_out_beside_each_other_up_to_the_configured_number(nova: Cloud) -> None:
    nova.tell(Told("POST", SERVERS, do=True, seconds=0.3, times=12))
    cloud = adapter(nova, request_threads=4)
    outcomes = cloud.boot([request(f"u-{number}") for number in range(12)])
    assert all(outcome.id for outcome in outcomes)
    assert 2 <= nova.most_at_once <= 4
    nova.most_at_once = 0
    nova.tell(Told("DELETE", f"{SERVERS}/.*", do=True, seconds=0.3, times=12))
    assert all(outcome.error is None for outcome in cloud.destroy([outcome.id for outcome in outcomes]))
    assert 2 <= nova.most_at_once <= 4


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (Told("GET", f"{SERVERS}/detail", status=500), Transient),
        (Told("GET", f"{SERVERS}/detail", status=503), Outage),
        (Told("GET", f"{SERVERS}/detail", status=429), Transient),
        (Told("GET", f"{SERVERS}/detail", status=403, body={"forbidden": {"message": POLICY}}), CredentialRefused),
        (Told("GET", f"{SERVERS}/detail", lose=True), Outage),
        (Told("GET", f"{SERVERS}/detail", status=200, body="<html>Log in!</html>"), Outage),
        (Told("POST", "/v3/auth/tokens", status=401), CredentialRefused),
        (Told("POST", "/v3/auth/tokens", status=503), Outage),
    ],
)
def test_errors_are_told_apart(nova: Cloud, told: Told, kind: type[CloudError]) -> None:
    nova.tell(told)
    with pytest.raises(kind, match=r"^mouse one: .*\.$"):
        adapter(nova).vms()


def test_what_one_job_may_not_have_is_not_the_clouds_trouble(nova: Cloud) -> None:
    body = {"forbidden": {"code": 403, "message": "It is not allowed to create an interface on external network x"}}
    nova.tell(Told("POST", SERVERS, status=403, body=body))
    assert isinstance(adapter(nova).boot([request("u-1")])[0].error, BadRequirement)


def test_a_hung_cloud_is_given_up_after_the_configured_time(nova: Cloud) -> None:
    nova.tell(Told("GET", f"{SERVERS}/detail", seconds=5.0))
    with pytest.raises(Outage):
        adapter(nova, request_timeout=1).vms()


def test_a_wrong_password_names_no_password(nova: Cloud) -> None:
    with pytest.raises(CredentialRefused) as caught:
        adapter(nova, password="s3cret").vms()
    assert "s3cret" not in str(caught.value) and "requires authentication" in str(caught.value)


def test_a_region_that_does_not_exist_and_an_old_nova_are_named(nova: Cloud) -> None:
    with pytest.raises(Outage, match="three"):
        adapter(nova, regions=("three",)).vms()
    nova.newest = "2.42"
    with pytest.raises(Outage, match=r"needed is microversion 2\.53 \(Pike\) or newer"):
        adapter(nova).vms()


@pytest.mark.parametrize("path", ["/v3/auth/tokens", "/one/v2.1/?"])
def test_a_cloud_that_was_down_at_first_is_found_later(nova: Cloud, path: str) -> None:
    cloud = adapter(nova)
    nova.tell(*(Told(method, path, status=503, times=9) for method in ("GET", "POST")))
    with pytest.raises(CloudError):
        cloud.vms()
    nova.told.clear()
    assert cloud.boot([request("u-1")])[0].error is None


def test_an_expired_token_is_renewed(nova: Cloud) -> None:
    cloud = adapter(nova)
    assert cloud.vms() == []
    nova.tell(Told("GET", f"{SERVERS}/detail", status=401, body={"error": {"code": 401}}))
    assert cloud.vms() == [] and nova.tokens == 2


def test_a_failed_end_is_an_error_of_that_vm_alone(nova: Cloud) -> None:
    cloud = adapter(nova)
    ids = [outcome.id for outcome in cloud.boot([request("a"), request("b")])]
    nova.tell(Told("DELETE", f"{SERVERS}/{ids[0]}", status=409, body={"conflictingRequest": {"message": "locked"}}))
    errors = [outcome.error for outcome in cloud.destroy(ids)]
    assert isinstance(errors[0], Transient) and errors[1] is None


# -- logging in ----------------------------------------------------------------------------------------------------


def test_clouds_yaml_and_application_credentials_log_in(nova: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "clouds.yaml"
    path.write_text(
        f"clouds:\n  lab:\n    auth: {{auth_url: '{nova.url}/v3', username: u, password: right, project_name: p,"
        " user_domain_name: d, project_domain_name: d}\n    region_name: two\n"
    )
    given = {"networks": ("none",), "os_cloud": "lab", "clouds_yaml": str(path)}
    OpenStackCloud("mouse", "inst", given).boot([request("a")])
    assert [each["region"] for each in nova.servers.values()] == ["two"]
    nova.asked.clear()
    secret = {"application_credential_id": "id1", "application_credential_secret": "s3cret"}
    login = {"auth_url": f"{nova.url}/v3", "regions": ("one",)} | secret
    assert OpenStackCloud("mouse", "inst", login).vms() == []
    identity = next(body for _, path, body in nova.asked if path == "/v3/auth/tokens")["auth"]["identity"]
    assert identity["application_credential"] == {"id": "id1", "secret": "s3cret"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"auth_url": "https://h/v2.0"}, "only Identity v3 is spoken"),
        ({"os_cloud": "nowhere"}, "Cloud nowhere was not found"),
    ],
)
def test_an_impossible_login_is_a_configuration_error(
    nova: Cloud, tmp_path: Path, options: dict[str, Any], complaint: str
) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    with pytest.raises(ConfigError, match=complaint):
        adapter(nova, clouds_yaml=str(tmp_path / "clouds.yaml"), **options)
