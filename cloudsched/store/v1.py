"""The VMs in v1's own words: its `/clusters.json` as records of ours (PARITY 3.1, 3.2)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from cloudsched.errors import DocumentError
from cloudsched.model.vms import OWN_FIELDS, VM
from cloudsched.store import document

_V1_FIELDS = {each.name for each in fields(VM)} - OWN_FIELDS


def read(text: str, path: str) -> list[VM]:
    """The VMs that v1 had at its clouds, each under a name that is the same whenever it is read.

    Those without a cloud's id are left out: v1 had only asked for them. Raises DocumentError with the place in `path`.
    """
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as ex:
        raise DocumentError(f"this is not JSON: {ex}", path=path) from None
    resources = parsed.get("resources") if isinstance(parsed, dict) else None
    if not isinstance(resources, list):
        raise DocumentError("this is not v1's /clusters.json: it holds no list of 'resources'", path=path)
    return [vm for cloud in resources for vm in _vms(cloud, path)]


def _vms(cloud: Any, path: str) -> Iterator[VM]:
    name, vms = (cloud.get("name"), cloud.get("vms")) if isinstance(cloud, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(vms, list):
        raise DocumentError("a cloud has a 'name' and a list of 'vms', and one here has not", path=path)
    for number, vm in enumerate(vms, 1):
        if not isinstance(vm, dict):
            raise DocumentError(f"VM {number} of cloud {name!r} is no object", path=path)
        if vm.get("id"):
            try:
                yield _vm(name.lower(), vm)
            except DocumentError as ex:
                raise DocumentError(f"VM {number} of cloud {name!r}: {ex.problem}", path=path) from None


def _vm(cloud: str, values: Mapping[str, Any]) -> VM:
    uid = f"{cloud}-{uuid.uuid5(uuid.NAMESPACE_OID, str(values['id']))}"
    known = {name: value for name, value in values.items() if name in _V1_FIELDS}
    entry = document.entry({"kind": "vm", "uid": uid, "cloud": cloud, **known, "reason": "taken over from v1"})
    return VM(**entry.row)
