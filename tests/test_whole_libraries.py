"""The real processes beside each other: only the one that talks to a cloud loads the cloud's library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from whole_bench import Site, a_site, eventually, stopped

EC2 = {
    **{"cloud_type": "AmazonEC2", "host": "http://127.0.0.1:9", "regions": "r", "security_group": "g"},
    **{"access_key_id": "k", "secret_access_key": "s", "memory": 1, "vm_slots": 1},
}
OPENSTACK = """[native]
cloud_type = OpenStackNative
auth_url = http://127.0.0.1:9/v3
regions = r
username = u
password = p
tenant_name = t
vm_slots = 1
"""
TELL = """import atexit, json, os, sys

@atexit.register
def tell():
    loaded = {"boto3", "botocore", "openstack", "keystoneauth1", "htcondor2"} & sys.modules.keys()
    with open(f"{DIRECTORY}/{os.getpid()}.json", "w") as file:
        json.dump([os.path.basename(sys.argv[0]).removesuffix(".py"), sorted(loaded)], file)
"""


def health(site: Site) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.get("/cloud/health.json")["clouds"]
    return found


def test_only_the_scheduler_loads_the_libraries_of_the_clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    told.mkdir()
    (told / "sitecustomize.py").write_text(f"DIRECTORY = {str(told)!r}\n{TELL}")
    monkeypatch.setenv("PYTHONPATH", str(told))
    with a_site(tmp_path / "home") as site:
        resources = site.home / "cloud_resources.conf"
        resources.write_text(OPENSTACK)
        site.options = {"CLOUD_RESOURCE_CONFIG": str(resources)}
        scheduler = site.start()
        assert site.ask("admin", "PUT", "/clouds/made", EC2)[0] == 201
        states = {"native": "out", "made": "out"}
        eventually(lambda: {each["name"]: each["state"] for each in health(site)} == states, "both are asked")
        assert "native" in site.said("cloud_status", "-k")
        assert stopped(scheduler) == 0
    found = [json.loads(path.read_text()) for path in told.glob("*.json")]
    assert sorted(name for name, _ in found) == ["admin_server", "cloud_scheduler", "cloud_status", "info_server"]
    assert {name: loaded for name, loaded in found if loaded} == {
        "cloud_scheduler": ["boto3", "botocore", "keystoneauth1", "openstack"]
    }
