"""What a job gets that does not say, whichever batch system it is in (PARITY 7.1, `[job]`)."""

from __future__ import annotations

from typing import Any

from cloudsched.config.options import JobDefaults


def shape_defaults(defaults: JobDefaults) -> dict[str, Any]:
    """The fields of Shape that the `[job]` options set."""
    return {
        "req_vmtype": defaults.default_vmtype,
        "req_network": defaults.default_vmnetwork,
        "req_image": defaults.default_vmname,
        "req_ami": dict(defaults.default_vmami) or {"default": ""},
        "instance_type": dict(defaults.default_vminstancetypelist) or {"default": ""},
        "req_memory": defaults.default_vmmem,
        "req_cpucores": defaults.default_vmcpucores,
        "req_storage": defaults.default_vmstorage,
        "maximum_price": defaults.default_vmmaximumprice,
        "job_per_core": defaults.default_vmjobpercore,
        "target_clouds": defaults.default_targetclouds,
        "proxy_non_boot": defaults.default_vmproxynonboot,
        "ami_config": defaults.default_vmamiconfig,
        "inject_ca": defaults.default_vminjectca,
    }
