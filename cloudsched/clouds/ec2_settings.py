"""What an EC2 section of cloud_resources.conf means: endpoint, credentials, and what every VM there is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cloudsched.config.cloud_kinds import typed
from cloudsched.config.clouds import CloudSection
from cloudsched.errors import ConfigError

_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0", ""})


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where a kind of cloud answers at its `host`, as v1 had it; `port` None is the scheme's own."""

    scheme: str
    port: int | None
    path: str
    spot: bool = False


_ENDPOINTS: Mapping[str, _Endpoint] = {
    "amazonec2": _Endpoint("https", None, "", spot=True),
    "eucalyptus": _Endpoint("http", 8773, "/services/Eucalyptus", spot=True),
    "openstack": _Endpoint("http", 8773, "/services/Cloud"),
    "opennebula": _Endpoint("http", 8773, ""),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """One EC2 cloud. `ca` is a file of certificates to trust, `spot` whether the kind sells spot instances.

    `session_ends` is when `session_token` ends, in Unix seconds: nobody but who has made it can tell.
    """

    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    session_ends: float | None = None
    key_name: str = ""
    security_groups: tuple[str, ...] = ()
    subnet: str = ""
    zone: str = ""
    ca: str = ""
    spot: bool = False


def settings(section: CloudSection) -> Settings:
    """The settings of a section whose required options are there. Raises ConfigError."""
    given = typed({**section.settings, **section.secrets})
    kind = _ENDPOINTS[section.cloud.cloud_type.lower()]
    return Settings(
        endpoint=_endpoint(section, kind, given),
        region=(*given["regions"], "")[0],
        access_key=given["access_key_id"],
        secret_key=given["secret_access_key"],
        session_token=given.get("session_token", ""),
        session_ends=given.get("session_ends"),
        key_name=given.get("key_name", ""),
        security_groups=given["security_group"],
        subnet=given.get("subnet", ""),
        zone=(*given.get("placement_zone", ()), "")[0],
        ca=given.get("cacert", ""),
        spot=kind.spot,
    )


def _endpoint(section: CloudSection, kind: _Endpoint, given: Mapping[str, Any]) -> str:
    """The endpoint's URL: `host` as it is where it is one, else of host, `port` and `secure_connection`."""
    host = str(given["host"]).strip()
    if "://" in host:
        if urlsplit(host).scheme not in ("http", "https"):
            raise _wrong(section, "host", host, "a host name, or a URL that begins with http:// or https://")
        return host
    secure = given.get("secure_connection", "").strip().lower()
    if secure not in _YES | _NO:
        raise _wrong(section, "secure_connection", secure, "true or false")
    scheme = "https" if secure in _YES else "http" if secure else kind.scheme
    port = given.get("port") or kind.port
    return f"{scheme}://{host}{f':{port}' if port else ''}{kind.path}"


def _wrong(section: CloudSection, option: str, value: str, accepted: str) -> ConfigError:
    problem = f"[{section.section}] {option} = {value!r}: it must be {accepted}."
    return ConfigError(problem, path=section.path, line=section.lines.get(option, section.line))
