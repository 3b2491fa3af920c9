"""A section of cloud_resources.conf becomes a cloud that speaks EC2: kinds, endpoints, what is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cloudsched.clouds import ec2_settings
from cloudsched.clouds.ec2 import EC2Cloud
from cloudsched.clouds.ec2_settings import Settings
from cloudsched.config import Config, Global
from cloudsched.config.clouds import HostSize, read_clouds
from cloudsched.engine import adapters
from cloudsched.errors import ConfigError
from cloudsched.model.adapters import CloudAdapter, Expiring
from cloudsched.model.clouds import BootRequest
from tests.ec2_cloud import IMAGE, Endpoint
from tests.ec2_cloud import ec2 as ec2
from tests.ec2_cloud import running as running


def configured(tmp_path: Path, text: str) -> Mapping[str, CloudAdapter]:
    """The clouds of a file, as the engine makes them."""
    path = tmp_path / "cloud_resources.conf"
    path.write_text(text)
    sections, _ = read_clouds(path, Global(), HostSize(1, 1, 1))
    found, problems = adapters.clouds(sections, Config(Global()), "inst")
    assert problems == {}
    return found


def request(uid: str, price: float = 0.0) -> BootRequest:
    known = {"image": IMAGE, "flavor": "t2.micro", "memory": 512}
    return BootRequest(uid, "Default-Image", "alice", "default", maximum_price=price, **known)


@pytest.mark.parametrize(
    ("kind", "sells_spot"), [("AmazonEC2", True), ("EUCALYPTUS", True), ("openstack", False), ("OpenNebula", False)]
)
def test_every_spelling_boots_and_asks_for_spot_only_where_a_price_is_set(
    ec2: Endpoint, tmp_path: Path, kind: str, sells_spot: bool
) -> None:
    cloud = configured(tmp_path, ec2.section("one", kind=kind))["one"]
    outcomes = cloud.boot([request("free"), request("priced", 0.25)])
    assert [outcome.error for outcome in outcomes] == [None, None]
    spot = {each["tags"]["cloudsched-uid"]: each["spot"] for each in ec2.instances()}
    assert spot == {"free": False, "priced": sells_spot}
    assert sorted(vm.uid for vm in cloud.vms()) == ["free", "priced"]
    cloud.destroy([outcome.id for outcome in outcomes])
    assert ec2.instances() == []


def test_temporary_credentials_end_when_the_configuration_says_so(ec2: Endpoint, tmp_path: Path) -> None:
    text = ec2.section("one", "session_ends = 2027-01-15T10:00:00+02:00") + ec2.section("two")
    found = configured(tmp_path, text)
    ends = {name: each.credentials_expire_at() for name, each in found.items() if isinstance(each, Expiring)}
    assert ends == {"one": 1_800_000_000.0, "two": None}


SECTION = """[a]
cloud_type: {kind}
access_key_id: AKIA
secret_access_key: s3cret
memory: 1000
vm_slots: 2
regions: r1, r2
security_group: default
"""


def settings_of(tmp_path: Path, kind: str, *lines: str) -> Settings:
    path = tmp_path / "cloud_resources.conf"
    path.write_text(SECTION.format(kind=kind) + "\n".join(lines))
    (section,), _ = read_clouds(path, Global(), HostSize(1, 1, 1))
    assert section.cloud.unusable is None
    return ec2_settings.settings(section)


@pytest.mark.parametrize(
    ("kind", "lines", "expected"),
    [
        ("AmazonEC2", ["host: ec2.us-east-1.amazonaws.com"], "https://ec2.us-east-1.amazonaws.com"),
        ("Eucalyptus", ["host: euca"], "http://euca:8773/services/Eucalyptus"),
        ("OpenStack", ["host: nova", "secure_connection: true"], "https://nova:8773/services/Cloud"),
        ("OpenNebula", ["host: one", "port: 4567"], "http://one:4567"),
        ("AmazonEC2", ["host: http://127.0.0.1:5000/x"], "http://127.0.0.1:5000/x"),
    ],
)
def test_endpoints_are_v1s_or_any_url(tmp_path: Path, kind: str, lines: list[str], expected: str) -> None:
    found = settings_of(tmp_path, kind, *lines)
    assert (found.endpoint, found.region, found.access_key, found.secret_key) == (expected, "r1", "AKIA", "s3cret")
    assert found.spot == (kind in ("AmazonEC2", "Eucalyptus"))
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("host: ftp://there", r"host = 'ftp://there': it must be a host name, or a URL that begins with http"),
        ("host: there\nsecure_connection: perhaps", r"secure_connection = 'perhaps': it must be true or false\."),
    ],
)
def test_a_wrong_endpoint_is_told_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        settings_of(tmp_path, "AmazonEC2", line)


def test_an_endpoint_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match="EC2 cannot be asked at http://a b"):
        EC2Cloud("one", "inst", Settings("http://a b", "r", "key", "secret"))
