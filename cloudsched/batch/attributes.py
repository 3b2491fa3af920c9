"""The `+Attr` statements that decide about a job's VM, and what becomes of each (PARITY 8.1, 3.4).

Values are ClassAd literals, `"text"`, numbers, true or false; v1 stripped the quotes, so `"512"` equals `512`.
Attributes that are not in the table belong to the job's owner: they are kept and not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "my."

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One known attribute: the field of Shape or Job that it sets, what it accepts, and its reading.

    `read` raises ValueError for a value that is not accepted.
    """

    name: str
    field: str
    accepted: str
    read: Callable[[str], Any]


def unquoted(text: str) -> str:
    """Strip a ClassAd string's quotes; raises ValueError when they do not match or nothing is within."""
    string = _STRING.fullmatch(text)
    if not string and '"' in text:
        raise ValueError("its double quotes do not match")
    value = re.sub(r"\\(.)", r"\1", string[1]) if string else text
    if not value.strip():
        raise ValueError("it is empty")
    return value.strip()


def whole(least: int) -> Callable[[str], int]:
    """Read a whole number that is at least `least`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,15}", text) or int(text) < least:
            raise ValueError
        return int(text)

    return read


def _minutes(text: str) -> int:
    return whole(0)(text) * 60


def _price(text: str) -> float:
    if not re.fullmatch(r"\d{1,15}(\.\d{1,15})?|\.\d{1,15}", text):
        raise ValueError
    return float(text)


def boolean(text: str) -> bool:
    """Read `true` or `false` in any case."""
    if text.lower() not in _BOOLEANS:
        raise ValueError
    return _BOOLEANS[text.lower()]


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().strip("\"'") for name in text.split(","))
    if not all(names):
        raise ValueError
    return names


def _by_cloud(text: str) -> Mapping[str, str]:
    """Read `value` or `cloud:value, cloud:value`; anything with more colons is one value for all clouds."""
    pairs = [pair.strip().split(":") for pair in text.split(",")]
    if any(len(pair) > 2 for pair in pairs):
        return {"default": text}
    if not all(all(each.strip() for each in pair) for pair in pairs):
        raise ValueError
    return {(pair[0].strip().lower() if len(pair) == 2 else "default"): pair[-1].strip() for pair in pairs}


_MAP = "VALUE or CLOUD:VALUE, CLOUD:VALUE, ..."
_TABLE = (
    Attribute("VMType", "req_vmtype", "a name", str),
    Attribute("VMName", "req_image", "a name", str),
    Attribute("VMNetwork", "req_network", "a name", str),
    Attribute("VMAMI", "req_ami", _MAP, _by_cloud),
    Attribute("VMInstanceType", "instance_type", _MAP, _by_cloud),
    Attribute("VMMem", "req_memory", "whole MB from 1", whole(1)),
    Attribute("VMCPUCores", "req_cpucores", "a whole number from 1", whole(1)),
    Attribute("VMStorage", "req_storage", "whole GB from 0", whole(0)),
    Attribute("VMKeepAlive", "keep_alive", "whole minutes from 0", _minutes),
    Attribute("VMHighPriority", "high_priority", "a whole number, where 0 means no", whole(0)),
    Attribute("VMMaximumPrice", "maximum_price", "a number from 0", _price),
    Attribute("VMTypeLimit", "usertype_limit", "a whole number from -1, which means no limit", whole(-1)),
    Attribute("VMJobPerCore", "job_per_core", "true or false", boolean),
    Attribute("VMProxyNonBoot", "proxy_non_boot", "true or false", boolean),
    Attribute("TargetClouds", "target_clouds", "a comma-separated list of clouds or aliases", _names),
    Attribute("VMSecurityGroup", "req_security_group", "a comma-separated list", _names),
    Attribute("VMKeyName", "key_name", "a name", str),
    Attribute("VMLocation", "location", "a name", str),
    Attribute("VMImageID", "req_image_id", "a name", str),
    Attribute("VMImageProxyFile", "vmimage_proxy_file", "a path", str),
    Attribute("VMUserData", "user_data", "a comma-separated list of http URLs", _names),
    Attribute("VMAMIConfig", "ami_config", "a comma-separated list of PATH or URL, each perhaps with :TYPE", _names),
    Attribute("VMInjectCA", "inject_ca", "true or false", boolean),
    Attribute("CSMyProxyServer", "myproxy_server", "a host name", str),
    Attribute("CSMyProxyServerPort", "myproxy_server_port", "a port", str),
    Attribute("CSMyProxyCredsName", "myproxy_creds_name", "a name", str),
    Attribute("CSMyProxyRenewalTime", "proxy_renew_time", "hours", str),
    Attribute("x509userproxy", "x509userproxy", "a path", str),
    Attribute("x509userproxysubject", "x509userproxysubject", "a subject", str),
    Attribute("SUBMIT_x509userproxy", "original_x509userproxy", "a path", str),
)
ATTRIBUTES: Mapping[str, Attribute] = {PREFIX + each.name.lower(): each for each in _TABLE}
