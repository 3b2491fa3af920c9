"""Ads of jobs and machines as plain data (PARITY 8.1, 8.2)."""

from __future__ import annotations

from typing import Any

import pytest

from cloudsched.batch.htcondor_ads import JobAds, Rules, machine, masters_by_machine
from cloudsched.batch.htcondor_commands import read_ads
from cloudsched.config.options import JobDefaults
from cloudsched.model.jobs import Job, JobStatus

RULES = Rules(JobDefaults(default_vmmem=600, default_vmnetwork="private"), max_keepalive=3600)


def read(**attributes: Any) -> Job:
    ad = {
        "globaljobid": "schedd#7.1#1000", "owner": "alice", "clusterid": 7, "procid": 1, "jobprio": 3, "jobstatus": 1,
        "jobuniverse": 5, "qdate": 1000, "servertime": 2000, "iwd": "/home/alice",
    }  # fmt: skip
    found = JobAds(RULES).job(ad | attributes)
    assert found is not None
    return found


def test_a_job_is_read_with_defaults() -> None:
    job = read()
    assert (job.id, job.cluster_id, job.proc_id, job.priority) == ("schedd#7.1#1000", 7, 1, 3)
    assert (job.job_status, job.submitted_at, job.servertime, job.spool_dir) == (1, 1000, 2000, "/home/alice")
    assert (job.shape.user, job.shape.req_vmtype, job.shape.req_memory) == ("alice", "default", 600)
    assert (job.shape.req_network, job.problem) == ("private", "")


@pytest.mark.parametrize(
    "requirements",
    [
        'VMType =?= "big"',
        'VMType=?="big"',
        '( VMType   == "big" ) && (TARGET.Arch == "X86_64")',
        '(TARGET.VMType is "big") && (versionGE(CondorVersion,"25.1") || (TARGET.Disk >= RequestDisk))',
        '"big" == VMType',
        'Arch == "X86_64" && vmtype =?= "big" && Memory > 1',
    ],
)
def test_the_vm_type_is_found_in_requirements(requirements: str) -> None:
    assert read(requirements=requirements, vmtype="small").shape.req_vmtype == "big"


def test_the_vm_type_may_be_an_attribute() -> None:
    assert read(requirements="TARGET.VMType =?= MY.VMType", vmtype="x").shape.req_vmtype == "x"
    assert read(requirements='VMType =!= "y"').shape.req_vmtype == "default"


def test_sizes_come_from_attributes_else_from_requests() -> None:
    asked = read(requirements="Memory >= 2048 && Cpus >= 2 && Disk >= 3000000", requestmemory=1024, requestcpus=4)
    assert (asked.shape.req_memory, asked.shape.req_cpucores, asked.shape.req_storage) == (2048, 4, 3)
    small = read(requestmemory=128, requestcpus=1, requestdisk="DiskUsage * 2")
    assert (small.shape.req_memory, small.shape.req_cpucores, small.shape.req_storage) == (600, 1, 0)
    given = read(requestmemory=1024, requestcpus=4, vmmem="512", vmcpucores=2, vmstorage=9)
    assert (given.shape.req_memory, given.shape.req_cpucores, given.shape.req_storage) == (512, 2, 9)


def test_every_attribute_of_v1_is_read() -> None:
    job = read(
        vmnetwork="lan", vmname="image", vmami="nefos:ami-1, other:ami-2", vminstancetype="m1.large", vmkeepalive=5,
        vmhighpriority=1, vmmaximumprice=0.25, vmtypelimit=3, vmjobpercore=True, vmproxynonboot="true",
        targetclouds='"a", b', vmsecuritygroup="g1, g2", vmkeyname="key", vmlocation="here", vmimageid="i-1",
        vmimageproxyfile="/p", csmyproxyserver="my.host", csmyproxyserverport=7513, csmyproxycredsname="creds",
        csmyproxyrenewaltime=24, x509userproxy="/tmp/x509", x509userproxysubject="/CN=a", submit_x509userproxy="/tmp/o",
        vmuserdata="http://h/a, https://h/b", vmamiconfig="/c.yaml, http://h/s:x-shellscript", vminjectca="FALSE",
    )  # fmt: skip
    shape = job.shape
    assert job.problem == ""
    assert (shape.req_network, shape.req_image, shape.req_ami) == ("lan", "image", {"nefos": "ami-1", "other": "ami-2"})
    assert (shape.instance_type, shape.keep_alive, shape.high_priority) == ({"default": "m1.large"}, 300, 1)
    assert (shape.maximum_price, shape.usertype_limit, shape.job_per_core, shape.proxy_non_boot) == (
        0.25,
        3,
        True,
        True,
    )
    assert (shape.target_clouds, shape.req_security_group, shape.key_name) == (("a", "b"), ("g1", "g2"), "key")
    assert (shape.location, shape.req_image_id, shape.vmimage_proxy_file) == ("here", "i-1", "/p")
    assert (shape.user_data, shape.inject_ca) == (("http://h/a", "https://h/b"), False)
    assert shape.ami_config == ("/c.yaml", "http://h/s:x-shellscript")
    assert (job.myproxy_server, job.myproxy_server_port, job.myproxy_creds_name) == ("my.host", "7513", "creds")
    assert (job.proxy_renew_time, job.x509userproxy, job.x509userproxysubject) == ("24", "/tmp/x509", "/CN=a")
    assert job.original_x509userproxy == "/tmp/o"


def test_keep_alive_is_capped() -> None:
    assert read(vmkeepalive=100000).shape.keep_alive == 3600


def test_wrong_attributes_are_told_and_the_job_is_kept() -> None:
    job = read(vmmem="lots", vmtypelimit=1.5, vmkeepalive=7)
    assert job.problem == (
        "VMMem is 'lots'; accepted is whole MB from 1; "
        "VMTypeLimit is '1.5'; accepted is a whole number from -1, which means no limit"
    )
    assert (job.shape.req_memory, job.shape.usertype_limit, job.shape.keep_alive) == (600, -1, 420)


@pytest.mark.parametrize(("universe", "word"), [(7, "scheduler"), (9, "grid"), (12, "local")])
def test_jobs_that_run_on_no_vm_say_so(universe: int, word: str) -> None:
    assert f"it is of the {word} universe" in read(jobuniverse=universe).problem


@pytest.mark.parametrize(("number", "status"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 2), (7, 2), (99, 0)])
def test_statuses_are_htcondors(number: int, status: int) -> None:
    assert read(jobstatus=number).job_status == status


def test_reasons_and_ends_are_told() -> None:
    held = read(jobstatus=5, holdreason="because (by user admin)")
    assert (held.hold_reason, held.finished_at) == ("because", None)
    removed = read(jobstatus=3, removereason="enough (by user alice)", enteredcurrentstatus=1500)
    assert (removed.hold_reason, removed.finished_at) == ("enough", 1500)
    done = read(jobstatus=4, completiondate=1600, enteredcurrentstatus=1601, exitcode=3)
    assert (done.job_status, done.finished_at, done.exit_code) == (JobStatus.COMPLETE, 1600, 3)
    running = read(jobstatus=2, remotehost="slot1_1@vm-1.lab", jobstartdate=1200, holdreason="old")
    assert (running.remote_host, running.jobstarttime, running.hold_reason) == ("slot1_1@vm-1.lab", 1200, "")


def test_ads_that_are_no_jobs_are_passed_over() -> None:
    assert JobAds(RULES).job({"servertime": 5}) is None


def test_jobs_that_ask_for_the_same_share_it() -> None:
    ads = JobAds(RULES)
    same = {"owner": "alice", "requirements": 'VMType == "x"'}
    first, second = (ads.job({**same, "globaljobid": f"s#{n}.0#1", "servertime": n}) for n in (1, 2))
    assert first is not None and second is not None
    assert first.shape is second.shape


def test_machines_are_read_with_their_masters() -> None:
    masters = masters_by_machine([
        {"machine": "vm-1.lab", "masteripaddr": "<1.2.3.4:1>", "myaddress": "<other>"},
        {"machine": "vm-2.lab", "myaddress": "<1.2.3.5:1>"},
    ])  # fmt: skip
    found = machine(
        {
            "name": "slot1_1@vm-1.lab", "machine": "vm-1.lab", "cloudschedvm": "uid-1", "jobid": "7.0",
            "globaljobid": "s#7.0#1", "myaddress": "<1.2.3.4:2>", "state": "Claimed", "activity": "Busy", "vmtype": "x",
            "mycurrenttime": 50, "enteredcurrentstate": 40, "start": '(Owner == "alice")', "slottype": "Dynamic",
            "remoteowner": "alice@lab", "totalslots": 2, "draining": True,
        },
        masters,
    )  # fmt: skip
    assert (found.name, found.machine_name, found.vm) == ("slot1_1@vm-1.lab", "vm-1.lab", "uid-1")
    assert (found.address_startd, found.address_master) == ("<1.2.3.4:2>", "<1.2.3.4:1>")
    assert (found.state, found.activity, found.total_slots, found.retiring) == ("Claimed", "Busy", 2, True)
    assert (found.job_id, found.global_job_id, found.remote_owner) == ("7.0", "s#7.0#1", "alice@lab")
    assert machine({"name": "n"}, masters).retiring is False


LONG_FORM = """

-- Schedd: schedd@lab.test : <127.0.0.1:9618?...
ClusterId = 7
Owner = "al\\"ice\\\\"
Requirements = ( VMType =?= "x" ) && ( Disk >= 1 )
VMJobPerCore = True
VMMaximumPrice = 1.5E-1
VMMem = undefined
Env = "kept out"
a line that is nothing


ClusterId = 8
"""


def test_the_long_form_is_read_whatever_stands_between() -> None:
    wanted = ("ClusterId", "Owner", "Requirements", "VMJobPerCore", "VMMaximumPrice", "VMMem")
    assert list(read_ads(LONG_FORM.splitlines(keepends=True), wanted)) == [
        {
            "clusterid": 7,
            "owner": 'al"ice\\',
            "requirements": '( VMType =?= "x" ) && ( Disk >= 1 )',
            "vmjobpercore": True,
            "vmmaximumprice": 0.15,
        },
        {"clusterid": 8},
    ]
