"""Which image and which instance type a shape gets on a cloud (PARITY 6.4 "Choosing a cloud").

Names are compared without regard to case, and an alias stands for each of its clouds.
"""

from __future__ import annotations

from collections.abc import Mapping

from cloudsched.config.options import JobDefaults
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Shape

_EC2 = frozenset({"amazonec2", "eucalyptus", "openstack", "opennebula"})
_GCE = frozenset({"gce", "googlecomputeengine"})


def image_for(shape: Shape, cloud: Cloud, defaults: JobDefaults, aliases: Mapping[str, tuple[str, ...]]) -> str:
    """The image: the job's for this cloud, its `default`, then default_VMAMI; empty when there is none.

    The EC2 family skips the job's `default`, as in v1.
    """
    kind = cloud.cloud_type.lower()
    return (
        _entry(shape.req_ami, cloud, aliases)
        or ("" if kind in _EC2 else shape.req_ami.get("default", ""))
        or _entry(defaults.default_vmami, cloud, aliases)
        or defaults.default_vmami.get("default", "")
    )


def flavor_for(shape: Shape, cloud: Cloud, defaults: JobDefaults, aliases: Mapping[str, tuple[str, ...]]) -> str:
    """The instance type: the job's for this cloud, its `default` (not on GCE), then the configured defaults."""
    kind = cloud.cloud_type.lower()
    return (
        _entry(shape.instance_type, cloud, aliases)
        or ("" if kind in _GCE else shape.instance_type.get("default", ""))
        or _entry(defaults.default_vminstancetypelist, cloud, aliases)
        or defaults.default_vminstancetype
        or ("n1-standard-2" if kind in _GCE else "m1.small")
    )


def _entry(choices: Mapping[str, str], cloud: Cloud, aliases: Mapping[str, tuple[str, ...]]) -> str:
    """The choice for the cloud's own name, for an alias of it or for its address, in this order."""
    name = cloud.name.lower()
    own = {key.lower(): value for key, value in choices.items()}
    groups = (key.lower() for key, names in aliases.items() if name in (each.lower() for each in names))
    return next((own[key] for key in (name, *groups, cloud.network_address.lower()) if own.get(key)), "")
