"""The EC2 adapter on a scripted endpoint: what is asked, what is made of the answers, and what never happens twice."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import boto3
import pytest

from cloudsched.clouds.ec2 import EC2Cloud
from cloudsched.clouds.ec2_instances import launch
from cloudsched.clouds.ec2_settings import Settings
from cloudsched.errors import (
    BadRequirement,
    CloudError,
    CredentialRefused,
    Outage,
    QuotaExceeded,
    Transient,
)
from cloudsched.model.clouds import BootOutcome, BootRequest, VMStatus
from cloudsched.model.names import batch_of, name_in, unique_names
from cloudsched.model.vms import VM
from tests.batch_bench import eventually
from tests.ec2_cloud import IMAGE, Endpoint
from tests.ec2_cloud import ec2 as ec2
from tests.ec2_cloud import running as running


def request(uid: str, **fields: Any) -> BootRequest:
    known = {"image": IMAGE, "flavor": "t2.micro", "memory": 512}
    return BootRequest(uid, "Default-Image", "alice", "default", **{**known, **fields})


def batch(count: int, **fields: Any) -> list[BootRequest]:
    return [request(uid, **fields) for uid in unique_names("one", count)]


def again(requests: list[BootRequest]) -> list[BootRequest]:
    return [replace(each, again=True) for each in requests]


def ids(outcomes: list[BootOutcome]) -> list[str]:
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.id for outcome in outcomes]


def error_of(cloud: EC2Cloud, *requests: BootRequest) -> CloudError | None:
    (outcome,) = cloud.boot(requests)
    assert outcome.error is None or isinstance(outcome.error, CloudError)
    return outcome.error


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_a_batch_is_one_request_with_one_token_and_its_vms_are_told_apart(ec2: Endpoint) -> None:
    cloud, asked = ec2.cloud(), batch(30)
    made = dict(zip([each.uid for each in asked], ids(cloud.boot(asked)), strict=True))
    (launched,) = ec2.asked("RunInstances")
    assert launched["token"] == (batch_of(asked[0].uid) or ("",))[0]
    assert {vm.uid: vm.id for vm in cloud.vms()} == made
    assert ec2.asked("CreateTags") == [], "the call that made them has tagged them"
    assert {each["tags"]["cloudsched-installation"] for each in ec2.instances()} == {"inst"}
    bound = {name_in(each["tags"]["cloudsched-batch"], each["number"]): each["id"] for each in ec2.instances()}
    assert bound == made, "by the batch's tag and the launch index"


def test_a_hundred_and_more_are_several_batches(ec2: Endpoint) -> None:
    asked = batch(150)
    assert len({(batch_of(each.uid) or ("",))[0] for each in asked}) == 2
    assert len(set(ids(ec2.cloud().boot(asked)))) == 150
    assert len(ec2.asked("RunInstances")) == 2


def test_vms_with_user_data_of_their_own_are_launched_alone_with_their_names_as_tokens(ec2: Endpoint) -> None:
    cloud = ec2.cloud()
    asked = [replace(each, user_data=each.uid.encode()) for each in batch(3)]
    ids(cloud.boot(asked))
    assert {each["token"] for each in ec2.asked("RunInstances")} == {each.uid for each in asked}
    assert {vm.uid for vm in cloud.vms()} == {each.uid for each in asked}
    given = {each["tags"]["cloudsched-uid"]: base64.b64decode(each["user_data"]).decode() for each in ec2.instances()}
    assert given == {each.uid: each.uid for each in asked}


SETTINGS = Settings("http://e", "r", "key", "secret", spot=True)


@pytest.mark.parametrize(
    ("settings", "changes", "expected"),
    [
        ({}, {}, {}),
        ({"key_name": "ours"}, {}, {"KeyName": "ours"}),
        ({"key_name": "ours"}, {"key_name": "theirs"}, {"KeyName": "theirs"}),
        ({"subnet": "subnet-1"}, {"network": "private"}, {"SubnetId": "subnet-1"}),
        ({"subnet": "subnet-1"}, {"network": "subnet-2"}, {"SubnetId": "subnet-2"}),
        ({"zone": "a"}, {}, {"Placement": {"AvailabilityZone": "a"}}),
        (
            {"security_groups": ("sg-1", "default")},
            {},
            {"SecurityGroupIds": ["sg-1"], "SecurityGroups": ["default"]},
        ),
        ({"security_groups": ("sg-1",)}, {"security_groups": ("own",)}, {"SecurityGroups": ["own"]}),
        ({}, {"user_data": b"#!"}, {"UserData": b"#!"}),
        ({"spot": False}, {"maximum_price": 0.25}, {}),
        (
            {},
            {"maximum_price": 0.25},
            {
                "InstanceMarketOptions": {
                    "MarketType": "spot",
                    "SpotOptions": {
                        "MaxPrice": "0.25",
                        "SpotInstanceType": "one-time",
                        "InstanceInterruptionBehavior": "terminate",
                    },
                }
            },
        ),
    ],
)
def test_parameters_of_a_launch(settings: dict[str, Any], changes: dict[str, Any], expected: dict[str, Any]) -> None:
    found = launch([request("a", **changes)], replace(SETTINGS, **settings), {"user": "alice"})
    always = ("ClientToken", "MinCount", "MaxCount", "ImageId", "InstanceType", "InstanceInitiatedShutdownBehavior")
    assert {name: found.pop(name) for name in always} == {
        "ClientToken": "a",
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": IMAGE,
        "InstanceType": "t2.micro",
        "InstanceInitiatedShutdownBehavior": "terminate",
    }
    (tags,) = found.pop("TagSpecifications")
    assert {each["Key"]: each["Value"] for each in tags["Tags"]} == {
        "user": "alice",
        "cloudsched-uid": "a",
        "Name": "a",
    }
    assert found == expected


def test_token_of_a_long_name_fits(ec2: Endpoint) -> None:
    found = launch([request("x" * 80)], SETTINGS, {})
    assert len(found["ClientToken"]) == 64


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image": ""}, "one: no image: the job's VMAMI and default_VMAMI name none for this cloud."),
        ({"user_data": b"x" * 16385}, "one: its user data has 16385 bytes, EC2 takes 16384 at most."),
    ],
)
def test_a_request_that_can_never_work_is_not_made(ec2: Endpoint, changes: dict[str, Any], problem: str) -> None:
    error = error_of(ec2.cloud(), request("a", **changes))
    assert (type(error), str(error)) == (BadRequirement, problem)
    assert ec2.asked("RunInstances") == []


# -- what is made of the answers ---------------------------------------------------------------------------------------


def test_what_a_cloud_has_room_for_is_made_and_the_rest_is_a_quota(ec2: Endpoint) -> None:
    ec2.script(capacity=3)
    outcomes = ec2.cloud().boot(batch(5))
    assert [bool(outcome.id) for outcome in outcomes] == [True] * 3 + [False] * 2
    assert {str(outcome.error) for outcome in outcomes[3:]} == {"one: it made 3 of 5 instances asked for."}
    error = error_of(ec2.cloud(), request("a"))
    assert isinstance(error, QuotaExceeded)
    assert str(error) == "one: InsufficientInstanceCapacity: The script says InsufficientInstanceCapacity."


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("InstanceLimitExceeded", 400, QuotaExceeded),
        ("VcpuLimitExceeded", 400, QuotaExceeded),
        ("SpotMaxPriceTooLow", 400, QuotaExceeded),
        ("InternalError", 500, Transient),
        ("Unheard.Of", 500, Transient),
        ("RequestLimitExceeded", 503, Transient),
        ("AuthFailure", 401, CredentialRefused),
        ("UnauthorizedOperation", 403, CredentialRefused),
        ("Unheard.Of", 403, CredentialRefused),
        ("InvalidAMIID.NotFound", 400, BadRequirement),
        ("InvalidSubnetID.NotFound", 400, BadRequirement),
        ("Unheard.Of", 400, BadRequirement),
    ],
)
def test_every_call_tells_the_classes_of_errors_apart(
    ec2: Endpoint, code: str, status: int, kind: type[CloudError]
) -> None:
    cloud = ec2.cloud()
    actions = ("RunInstances", "DescribeInstances", "TerminateInstances")
    ec2.script(*({"action": each, "error": code, "status": status} for each in actions))
    assert type(error_of(cloud, request("a"))) is kind
    for call in (cloud.vms, lambda: cloud.destroy(["i-0123456789abcdef0"])):
        with pytest.raises(kind, match=f"^one: {code}: "):
            call()


def test_throttled_requests_are_repeated_by_the_sdk(ec2: Endpoint) -> None:
    ec2.script({"action": "RunInstances", "error": "RequestLimitExceeded", "status": 503, "times": 2})
    assert error_of(ec2.cloud(), request("a")) is None
    assert [each["status"] for each in ec2.asked("RunInstances")] == [503, 503, 200]
    assert len(ec2.instances()) == 1


def test_requests_after_a_throttled_one_are_spread_by_the_sdk(ec2: Endpoint) -> None:
    """Its adaptive mode: without it these few take a tenth of a second together."""
    cloud = ec2.cloud()
    ec2.script({"action": "DescribeInstances", "error": "RequestLimitExceeded", "status": 503, "times": 1})
    assert [cloud.vms() for _ in range(6)] == [[]] * 6
    times = [each["at"] for each in ec2.asked("DescribeInstances")]
    assert times[-1] - times[2] > 0.5


def test_launches_go_out_beside_each_other_eight_at_a_time(ec2: Endpoint) -> None:
    ec2.script({"action": "RunInstances", "after": 0.5})
    ids(ec2.cloud().boot([replace(each, user_data=b"own") for each in batch(20)]))
    assert 2 <= ec2.most_at_once() <= 8


def test_nobody_at_the_endpoint_is_an_outage() -> None:
    cloud = EC2Cloud("one", "inst", replace(SETTINGS, endpoint="http://127.0.0.1:9"))
    with pytest.raises(Outage, match="^one: Could not connect"):
        cloud.vms()
    assert isinstance(error_of(cloud, request("a")), Outage)


def test_slow_boots_are_starting_and_failed_ones_say_why(ec2: Endpoint) -> None:
    ec2.script({"action": "RunInstances", "dies": "no disk left", "times": 1}, boot_seconds=1.0)
    cloud = ec2.cloud()
    ids(cloud.boot([request("failed")]))
    ids(cloud.boot([request("slow")]))
    seen = {vm.uid: vm for vm in cloud.vms()}
    assert (seen["failed"].status, seen["failed"].fault) == (VMStatus.SHUTDOWN, "Server.InternalError: no disk left")
    assert seen["slow"].status in (VMStatus.STARTING, VMStatus.RUNNING)
    eventually(lambda: {vm.uid: vm.status for vm in cloud.vms()}["slow"] == VMStatus.RUNNING)
    assert cloud.destroy([seen["failed"].id])[0].error is None
    assert [vm.uid for vm in cloud.vms()] == ["slow"]


def test_consoles_are_read(ec2: Endpoint) -> None:
    cloud = ec2.cloud()
    (made,) = ids(cloud.boot([request("a")]))
    assert "Linux version" in cloud.console(made)
    assert cloud.console("i-0123456789abcdef0") == ""


def test_a_listing_is_one_pass_and_only_of_this_cloud(ec2: Endpoint) -> None:
    cloud, other = ec2.cloud(), ec2.cloud("other")
    made = ids(cloud.boot([replace(each, user_data=b"own") for each in batch(20)]))
    ids(other.boot([request("b")]))
    before = len(ec2.asked("DescribeInstances"))
    for page, pages in ((None, 1), (7, 3)):
        ec2.script(page=page)
        assert sorted(vm.id for vm in cloud.vms()) == sorted(made)
        assert len(ec2.asked("DescribeInstances")) == before + pages
        before += pages


# -- never twice, never unknown ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"lost": True}, {"after": 0.3, "lost": True}], ids=["lost", "late and lost"])
def test_an_answer_that_is_lost_is_asked_for_again_with_the_same_token(ec2: Endpoint, fault: dict[str, Any]) -> None:
    ec2.script({"action": "RunInstances", "times": 1, **fault})
    cloud, asked = ec2.cloud(), batch(3)
    made = ids(cloud.boot(asked))
    assert sorted(made) == sorted(each["id"] for each in ec2.instances())
    assert len(ec2.asked("RunInstances")) == 2


def test_a_second_life_asks_again_and_gets_the_same_vms(ec2: Endpoint) -> None:
    asked = batch(4)
    made = ids(ec2.cloud().boot(asked))
    assert ids(ec2.cloud().boot(again(asked))) == made
    assert len(ec2.instances()) == 4


def test_where_tokens_mean_nothing_what_was_made_is_found_by_its_tags(ec2: Endpoint) -> None:
    ec2.script(tokens=False)
    asked, alone = batch(4), request("alone")
    made = ids(ec2.cloud().boot([*asked, alone]))
    assert ids(ec2.cloud().boot(again([*asked, alone]))) == made
    assert len(ec2.instances()) == 5


def test_of_a_batch_that_was_made_in_part_the_rest_is_not_asked_for_again(ec2: Endpoint) -> None:
    ec2.script(capacity=2)
    asked = batch(3)
    made = ec2.cloud().boot(asked)
    ec2.script(capacity=10)
    outcomes = ec2.cloud().boot(again(asked))
    assert [outcome.id for outcome in outcomes] == [outcome.id for outcome in made]
    assert isinstance(outcomes[2].error, Transient)
    assert len(ec2.instances()) == 2


def test_a_token_used_with_other_parameters_makes_nothing_more(ec2: Endpoint) -> None:
    cloud = ec2.cloud()
    ids(cloud.boot([request("a", user_data=b"token 1")]))
    error = error_of(cloud, request("a", user_data=b"token 2"))
    assert isinstance(error, Transient)
    assert "IdempotentParameterMismatch" in str(error)
    assert len(ec2.instances()) == 1


def test_of_two_instances_under_one_name_the_later_is_a_failure_without_our_name(ec2: Endpoint) -> None:
    ec2.script({"action": "RunInstances", "twice": True, "times": 1}, tokens=False)
    cloud = ec2.cloud()
    (answered,) = ids(cloud.boot([request("a")]))
    first, second = sorted(cloud.vms(), key=lambda vm: vm.uid, reverse=True)
    assert (first.uid, first.status) == ("a", VMStatus.RUNNING)
    assert (second.uid, second.status) == ("", VMStatus.ERROR)
    assert second.fault == "The cloud made this VM twice; this one is in excess."
    assert answered in (first.id, second.id)
    assert cloud.destroy([second.id])[0].error is None
    assert [(vm.uid, vm.id) for vm in cloud.vms()] == [("a", first.id)]


def test_instances_of_another_scheduler_are_made_ours(ec2: Endpoint) -> None:
    theirs = EC2Cloud("one", "theirs", replace(SETTINGS, endpoint=ec2.url, region="us-east-1"))
    (taken,) = ids(theirs.boot([request("taken")]))
    client = boto3.client(
        "ec2", endpoint_url=ec2.url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    (made,) = client.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1)["Instances"]
    cloud = ec2.cloud()
    free = VM("one-v1", "one", id=made["InstanceId"], user="alice", memory=512)
    for _ in range(2):
        outcomes = cloud.adopt([free, VM("b", "one", id=taken), VM("c", "one", id="i-0123456789abcdef0")])
        assert [str(outcome.error) for outcome in outcomes] == [
            "None",
            f"one: the instance '{taken}' belongs to another installation.",
            "one: there is no instance 'i-0123456789abcdef0' to take over.",
        ]
    assert [(vm.uid, vm.id, vm.tags["user"]) for vm in cloud.vms()] == [("one-v1", made["InstanceId"], "alice")]
