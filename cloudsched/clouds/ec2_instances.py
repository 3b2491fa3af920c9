"""One EC2 instance: how it is asked for, what its description says, and how a listing shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudsched.clouds.ec2_settings import Settings
from cloudsched.errors import BadRequirement
from cloudsched.model.clouds import BootRequest, ObservedVM, VMStatus
from cloudsched.model.names import batch_of, name_in

INSTALLATION, CLOUD, UID, BATCH = (f"cloudsched-{each}" for each in ("installation", "cloud", "uid", "batch"))
"""The tags that tell whose an instance is. A batch's instances share theirs: the launch index tells them apart."""

STATES: Mapping[str, VMStatus] = {
    "pending": VMStatus.STARTING,
    "running": VMStatus.RUNNING,
    "stopping": VMStatus.SHUTDOWN,
    "stopped": VMStatus.SHUTDOWN,
    "shutting-down": VMStatus.SHUTDOWN,
    "terminated": VMStatus.SHUTDOWN,
    "error": VMStatus.ERROR,
    "unknown": VMStatus.STARTING,
}
"""EC2's states, and two of older clouds, as ours (PARITY 5.2)."""
GONE = ("shutting-down", "terminated")
LIVE = tuple(state for state in STATES if state not in GONE)
_ASKED_FOR = "Client.UserInitiatedShutdown"
_TWICE = "The cloud made this VM twice; this one is in excess."
_LONGEST_TOKEN = 64
_MOST_USER_DATA = 16384


@dataclass(frozen=True, slots=True)
class Instance:
    """What a description says; `number` is the launch index, `uid` empty where the tags do not tell it."""

    id: str
    uid: str
    number: int
    state: str
    launched: str
    public_name: str
    private_name: str
    address: str
    spot_id: str
    ended_by: str
    fault: str
    tags: Mapping[str, str]


def groups(requests: Iterable[BootRequest]) -> list[list[BootRequest]]:
    """The requests by launch: the VMs of a batch together, but each with user data of its own alone."""
    found: dict[str, list[BootRequest]] = {}
    for each in requests:
        found.setdefault(_launch_name(each), []).append(each)
    return list(found.values())


def number(request: BootRequest) -> int:
    """The launch index that the request's instance will have."""
    batch = batch_of(request.uid)
    return batch[1] if batch is not None and not request.user_data else 0


def launch(group: Sequence[BootRequest], settings: Settings, tags: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of one RunInstances. The same VMs give the same ones. Raises BadRequirement."""
    first, name = group[0], _launch_name(group[0])
    if not first.image:
        raise BadRequirement("no image: the job's VMAMI and default_VMAMI name none for this cloud.")
    if len(first.user_data) > _MOST_USER_DATA:
        raise BadRequirement(f"its user data has {len(first.user_data)} bytes, EC2 takes {_MOST_USER_DATA} at most.")
    own = {**tags, (UID if name == first.uid else BATCH): name, "Name": name}
    found: dict[str, Any] = {
        "ClientToken": name if len(name) <= _LONGEST_TOKEN else hashlib.sha256(name.encode()).hexdigest(),
        "MinCount": 1,
        "MaxCount": max(map(number, group)) + 1,
        "ImageId": first.image,
        "InstanceType": first.flavor,
        "KeyName": first.key_name or settings.key_name,
        "SubnetId": first.network if first.network.startswith("subnet-") else settings.subnet,
        "UserData": first.user_data,
        "TagSpecifications": [{"ResourceType": "instance", "Tags": pairs(own)}],
        "Placement": {"AvailabilityZone": settings.zone} if settings.zone else {},
        "InstanceInitiatedShutdownBehavior": "terminate",
        **_security_groups(first.security_groups or settings.security_groups),
        **(_spot(first.maximum_price) if settings.spot and first.maximum_price > 0 else {}),
    }
    return {option: value for option, value in found.items() if value}


def read(described: Mapping[str, Any]) -> Instance:
    """An instance as RunInstances and DescribeInstances give it."""
    tags = {each["Key"]: each["Value"] for each in described.get("Tags", ())}
    index = int(described.get("AmiLaunchIndex", 0))
    reason = described.get("StateReason", {})
    public, private = described.get("PublicIpAddress"), described.get("PrivateIpAddress")
    return Instance(
        id=described["InstanceId"],
        uid=tags.get(UID) or (name_in(tags[BATCH], index) if BATCH in tags else ""),
        number=index,
        state=described["State"]["Name"],
        launched=str(described.get("LaunchTime", "")),
        public_name=described.get("PublicDnsName", ""),
        private_name=described.get("PrivateDnsName", ""),
        address=public or private or "",
        spot_id=described.get("SpotInstanceRequestId", ""),
        ended_by=reason.get("Code", ""),
        fault=reason.get("Message", ""),
        tags=tags,
    )


def ended(instance: Instance) -> bool:
    """Whether an instance is gone without anybody having asked for that."""
    return instance.state in GONE and instance.ended_by != _ASKED_FOR


def observed(instances: Iterable[Instance]) -> list[ObservedVM]:
    """Instances as VMs; of two under one name the first made is the VM, the other a failure under no name of ours."""
    taken: set[str] = set()
    found = []
    for each in sorted(instances, key=lambda each: (each.launched, each.id)):
        found.append(_observed(each, bool(each.uid) and each.uid in taken))
        taken.add(each.uid)
    return found


def _observed(each: Instance, excess: bool) -> ObservedVM:
    return ObservedVM(
        uid="" if excess else each.uid,
        id=each.id,
        status=VMStatus.ERROR if excess else STATES.get(each.state, each.state),
        hostname=each.public_name or each.private_name,
        ipaddress=each.address,
        alt_hostname=each.private_name or None,
        spot_id=each.spot_id,
        fault=_TWICE if excess else each.fault,
        tags=each.tags,
    )


def _launch_name(request: BootRequest) -> str:
    batch = batch_of(request.uid)
    return batch[0] if batch is not None and not request.user_data else request.uid


def _security_groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Groups by id (`sg-...`) or by name, as EC2 wants them apart."""
    ids = [each for each in names if each.startswith("sg-")]
    return {"SecurityGroupIds": ids, "SecurityGroups": [each for each in names if each not in ids]}


def _spot(price: float) -> dict[str, Any]:
    """A one-time spot request; `price` is VMMaximumPrice, in dollars an hour."""
    options = {"MaxPrice": f"{price:g}", "SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
    return {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}}


def pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as EC2 takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
