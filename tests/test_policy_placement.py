"""Where a shape may go and why not elsewhere, and what is then asked for (PARITY 6.4 "Choosing a cloud")."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from policy_world import DEFAULTS, NOW, a_cloud, a_shape, a_snapshot, a_vm

from cloudsched.model.clouds import Cloud
from cloudsched.model.snapshot import Block
from cloudsched.policy.images import flavor_for, image_for
from cloudsched.policy.placement import rejections
from cloudsched.policy.request import boot_request, vm_record

FITTING: dict[str, Any] = {"req_memory": 2000, "req_cpucores": 2, "req_storage": 20}


@pytest.mark.parametrize(
    ("cloud", "shape", "reason"),
    [
        ({"enabled": False}, {}, "mouse is disabled"),
        ({"removed": True}, {}, "mouse is no longer configured"),
        ({"enabled": False, "unusable": "host is missing"}, {}, "mouse cannot be used: host is missing"),
        (
            {"enabled": False, "connection_problem": True},
            {},
            "mouse is disabled for a while after connection problems",
        ),
        ({"network_pools": ("public",)}, {"req_network": "private"}, "needs network private, mouse has public"),
        ({"max_vm_mem": 1024}, {}, "needs 2000 MB, mouse gives a VM 1024 MB at most"),
        ({"cpu_cores": 1}, {}, "needs 2 cores, mouse gives a VM 1 at most"),
        ({"memory_mb": 1999}, {}, "needs 2000 MB, mouse has 1999 MB in all"),
        ({"storage_gb": 19}, {}, "needs 20 GB of storage, mouse has 19 GB in all"),
        ({"vm_slots": 1}, {}, "no VM slot left on mouse: 1 of 1 in use"),
        ({"memory_mb": 2500}, {}, "needs 2000 MB, 500 MB left on mouse"),
        ({"storage_gb": 25}, {}, "needs 20 GB of storage, 15 GB left on mouse"),
        ({}, {"target_clouds": ("Nowhere",)}, "TargetClouds names 'nowhere', which is no cloud here"),
    ],
)
def test_a_cloud_is_rejected_with_the_reason(cloud: dict[str, Any], shape: dict[str, Any], reason: str) -> None:
    snapshot = a_snapshot([a_cloud(**cloud)], vms=[a_vm("one", memory=2000, storage=10)])
    assert [each.reason for each in rejections(a_shape(**FITTING | shape), snapshot, DEFAULTS)] == [reason]


@pytest.mark.parametrize(
    ("cloud", "shape"),
    [
        ({}, {}),
        ({"cpu_cores": -1, "max_vm_mem": -1}, {}),
        ({"network_pools": ("public", "private")}, {"req_network": "private"}),
        ({"network_pools": ()}, {"req_network": "private"}),
        ({"memory_mb": 4000, "vm_slots": 2, "storage_gb": 30}, {}),
        ({}, {"target_clouds": ("MOUSE",)}),
        ({}, {"target_clouds": ("West", "nowhere-but-mouse-fits")}),
    ],
)
def test_a_cloud_that_fits_is_not_rejected(cloud: dict[str, Any], shape: dict[str, Any]) -> None:
    vm = a_vm("one", memory=2000, storage=10)
    snapshot = a_snapshot([a_cloud(**cloud)], vms=[vm], cloud_aliases={"WEST": ("Mouse", "rat")})
    found = rejections(a_shape(**FITTING | shape), snapshot, DEFAULTS)
    assert [each for each in found if each.cloud == "mouse"] == []


def test_a_silent_cloud_takes_no_boots() -> None:
    snapshot = a_snapshot([a_cloud()], stale_clouds=frozenset({"mouse"}))
    reason = "mouse did not answer when last asked for its VMs"
    assert [each.reason for each in rejections(a_shape(), snapshot, DEFAULTS)] == [reason]


def test_a_job_with_targets_hears_about_those_only() -> None:
    snapshot = a_snapshot([a_cloud("rat", enabled=False), a_cloud("mouse", enabled=False)])
    found = rejections(a_shape(target_clouds=("rat",)), snapshot, DEFAULTS)
    assert [each.cloud for each in found] == ["rat"]


def test_blocks_tell_what_failed_there() -> None:
    shape = a_shape()
    block = Block(shape.key, "mouse", NOW + 60, "Endpoint / Region problem")
    snapshot = a_snapshot([a_cloud(), a_cloud("rat")], blocks=(block,))
    found = rejections(shape, snapshot, DEFAULTS)
    assert [(each.cloud, each.reason) for each in found] == [("mouse", "Endpoint / Region problem")]


def test_banned_images_reject_and_failed_ones_do_not() -> None:
    shape = a_shape(req_ami={"default": "bad"})
    snapshot = a_snapshot([a_cloud("mouse", failed_images=("bad",)), a_cloud("rat")], banned_images={"bad": ("Rat",)})
    found = rejections(shape, snapshot, DEFAULTS)
    assert [(each.cloud, each.reason) for each in found] == [("rat", "image bad is banned on rat")]


def test_drained_vms_lie_outside_the_allowance() -> None:
    drained = a_vm("one", memory=99_999, retired=True, override_status="Retiring")
    assert rejections(a_shape(), a_snapshot([a_cloud(slots=1)], vms=[drained]), DEFAULTS) == []


OSN: Cloud = a_cloud("mouse", cloud_type="OpenStackNative", network_address="https://m.example.org")


@pytest.mark.parametrize(
    ("ami", "default", "cloud_type", "image"),
    [
        ({"mouse": "own", "default": "any"}, {}, "OpenStackNative", "own"),
        ({"Mouse": "own"}, {}, "OpenStackNative", "own"),
        ({"west": "aliased", "default": "any"}, {}, "OpenStackNative", "aliased"),
        ({"https://m.example.org": "addressed", "default": "any"}, {}, "OpenStackNative", "addressed"),
        ({"rat": "other", "default": "any"}, {}, "OpenStackNative", "any"),
        ({"default": "any"}, {"mouse": "site"}, "AmazonEC2", "site"),
        ({"default": "any"}, {"default": "site"}, "OpenNebula", "site"),
        ({"default": ""}, {"rat": "other", "default": "site"}, "OpenStackNative", "site"),
        ({"default": ""}, {}, "OpenStackNative", ""),
    ],
)
def test_image_is_chosen_in_v1s_order(
    ami: dict[str, str], default: dict[str, str], cloud_type: str, image: str
) -> None:
    cloud = replace(OSN, cloud_type=cloud_type)
    defaults = replace(DEFAULTS, default_vmami=default)
    assert image_for(a_shape(req_ami=ami), cloud, defaults, {"West": ("MOUSE",)}) == image


@pytest.mark.parametrize(
    ("types", "defaults", "cloud_type", "flavor"),
    [
        ({"mouse": "m1.large", "default": "m1.tiny"}, {}, "OpenStackNative", "m1.large"),
        ({"default": "m1.tiny"}, {}, "OpenStackNative", "m1.tiny"),
        ({"default": "m1.tiny"}, {}, "gce", "n1-standard-2"),
        ({"default": ""}, {"default_vminstancetypelist": {"mouse": "m2"}}, "Azure", "m2"),
        ({"default": ""}, {"default_vminstancetype": "m3"}, "AmazonEC2", "m3"),
        ({"default": ""}, {}, "AmazonEC2", "m1.small"),
    ],
)
def test_flavor_is_chosen_in_v1s_order(
    types: dict[str, str], defaults: dict[str, Any], cloud_type: str, flavor: str
) -> None:
    cloud = replace(OSN, cloud_type=cloud_type)
    assert flavor_for(a_shape(instance_type=types), cloud, replace(DEFAULTS, **defaults), {}) == flavor


def test_a_boot_becomes_a_request_and_a_record() -> None:
    shape = a_shape(
        "alice",
        "atlas",
        req_image="worker",
        req_ami={"mouse": "img"},
        req_memory=2048,
        req_cpucores=4,
        job_per_core=True,
        req_network="private",
        key_name="k",
        maximum_price=0.5,
    )
    cloud = replace(OSN, keep_alive=600)
    request = boot_request(shape, cloud, "mouse-1", DEFAULTS, {})
    assert (request.uid, request.name, request.image, request.flavor) == ("mouse-1", "worker", "img", "m1.small")
    assert (request.memory, request.cpucores, request.network, request.security_groups) == (2048, 4, "private", ())
    record = vm_record(shape, cloud, request, NOW, NOW + 300)
    assert (record.uid, record.id, record.cloud, record.status) == ("mouse-1", "mouse-1", "mouse", "Starting")
    assert (record.image, record.keep_alive, record.job_per_core) == ({"mouse": "img"}, 600, True)
    assert (record.initialize_time, record.requested_until, record.shape) == (NOW, NOW + 300, shape.key)
    assert vm_record(replace(shape, keep_alive=60), cloud, request, NOW, NOW).keep_alive == 60
    assert vm_record(shape, a_cloud(), request, NOW, NOW).image == "img"
