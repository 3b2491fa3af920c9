"""How a section of cloud_resources.conf becomes connections to an OpenStack, one for each region.

Three ways to log in: v1's user and password, an application credential, or an entry of `clouds.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keystoneauth1.session import TCPKeepAliveAdapter
from openstack.config import OpenStackConfig
from openstack.connection import Connection
from openstack.exceptions import SDKException

from cloudsched import __version__
from cloudsched.errors import ConfigError

Options = Mapping[str, Any]
"""The typed options of one section, secrets included, by name; absent ones are missing."""

_US: Any = {"app_name": "cloudsched", "app_version": __version__}
_PASSWORD = {
    "auth_url": "auth_url",
    "username": "username",
    "password": "password",
    "tenant_name": "project_name",
    "user_domain_name": "user_domain_name",
    "project_domain_name": "project_domain_name",
}
_APPLICATION = {
    "auth_url": "auth_url",
    "application_credential_id": "application_credential_id",
    "application_credential_secret": "application_credential_secret",
}


def connections(cloud: str, options: Options) -> dict[str, Connection]:
    """A connection per configured region, by its name, in their order; nothing is asked yet. Raises ConfigError."""
    version = str(options.get("auth_url", "")).rstrip("/").rpartition("/")[2]
    if version.startswith("v2"):
        raise ConfigError(
            f"auth_url of cloud {cloud} ends in {version}: only Identity v3 is spoken; accepted is .../v3."
        )
    try:
        found = [_connection(options, region) for region in options.get("regions", ()) or (None,)]
    except (SDKException, OSError, ValueError) as ex:
        raise ConfigError(f"Cloud {cloud} cannot be set up: {ex}") from None
    return {connection.config.get_region_name() or "": connection for connection in found}


def _connection(options: Options, region: str | None) -> Connection:
    given: dict[str, Any] = {"api_timeout": float(options["request_timeout"]), "connect_retries": 0}
    if region:
        given["region_name"] = region
    if "cacert" in options:
        given["cacert"] = options["cacert"]
    if "os_cloud" in options:
        files = [str(Path(options["clouds_yaml"]).expanduser())] if "clouds_yaml" in options else None
        loader = OpenStackConfig(config_files=files, load_envvars=False, **_US)
        given["cloud"] = options["os_cloud"]
    else:
        loader = OpenStackConfig(load_yaml_config=False, load_envvars=False, **_US)
        given |= {"auth": _auth(options), "auth_type": _auth_type(options)}
    connection = Connection(config=loader.get_one(**given), strict_proxies=True)
    _widen(connection, options["request_threads"])
    return connection


def _auth_type(options: Options) -> str:
    return "v3applicationcredential" if "application_credential_id" in options else "password"


def _auth(options: Options) -> dict[str, str]:
    names = _APPLICATION if "application_credential_id" in options else _PASSWORD
    defaults = {} if names is _APPLICATION else {"user_domain_name": "Default", "project_domain_name": "Default"}
    return defaults | {theirs: options[ours] for ours, theirs in names.items() if ours in options}


def _widen(connection: Connection, threads: int) -> None:
    """Keep as many connections open as there are threads that use them."""
    for scheme in ("http://", "https://"):
        connection.session.session.mount(scheme, TCPKeepAliveAdapter(pool_maxsize=threads + 2))
