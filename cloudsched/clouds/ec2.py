"""Clouds that speak EC2's query API: Amazon, Eucalyptus, and the EC2 faces of OpenStack and OpenNebula.

A VM exists under the name that the engine recorded before it asks. That name, or its batch's, is the request's
ClientToken and is written into the instance's tags by the call that makes it, so an instance is ours, and is known,
from its first moment. EC2 numbers the instances of one request (launch index): a VM of a batch is found by batch and
number.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from cloudsched.clouds import ec2_errors
from cloudsched.clouds.ec2_instances import (
    BATCH,
    CLOUD,
    INSTALLATION,
    LIVE,
    UID,
    Instance,
    ended,
    groups,
    launch,
    number,
    observed,
    pairs,
    read,
)
from cloudsched.clouds.ec2_settings import Settings
from cloudsched.errors import BadRequirement, CloudError, ConfigError, QuotaExceeded, Transient
from cloudsched.model.clouds import AdoptOutcome, BootOutcome, BootRequest, DestroyOutcome, ObservedVM
from cloudsched.model.names import batch_of
from cloudsched.model.vms import VM

_AT_ONCE = 8
_PAGE = 1000
_VALUES = 200
_CONFIG = Config(
    retries={"mode": "adaptive", "total_max_attempts": 4},
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=4 * _AT_ONCE,
    user_agent_extra="cloudsched",
)


class EC2Cloud:
    """CloudAdapter over one EC2 endpoint; `name` and `installation` tell whose instances it lists.

    Raises ConfigError for an endpoint that is none.
    """

    def __init__(self, name: str, installation: str, settings: Settings) -> None:
        self._name, self._installation, self._settings = name, installation, settings
        self._lock = threading.Lock()
        self._known: set[str] = set()
        try:
            self._ec2: Any = boto3.session.Session().client(
                "ec2",
                endpoint_url=settings.endpoint,
                region_name=settings.region,
                aws_access_key_id=settings.access_key,
                aws_secret_access_key=settings.secret_key,
                aws_session_token=settings.session_token or None,
                verify=settings.ca or None,
                config=_CONFIG,
            )
        except (BotoCoreError, ValueError, OSError) as ex:
            raise ConfigError(f"EC2 cannot be asked at {settings.endpoint}: {ex}") from None

    def vms(self) -> list[ObservedVM]:
        """List our instances that are not gone, in one pass of pages, and those that ended by themselves."""
        with self._translating():
            live = list(self._instances({"instance-state-name": LIVE}))
            with self._lock:
                lost = self._known - {each.id for each in live}
            ends = [each for part in _parts(sorted(lost)) for each in self._instances({"instance-id": part})]
        ends = [each for each in ends if ended(each)]
        with self._lock:
            self._known = (self._known - lost) | {each.id for each in (*live, *ends)}
        return observed([*live, *ends])

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        """Ask for instances: one RunInstances for each batch, and for each VM that has user data of its own.

        What was perhaps asked for before is looked up first; of a batch the cloud may make a part.
        """
        found = self._find([each.uid for each in requests if each.again])
        launches = groups(requests)
        with ThreadPoolExecutor(max(1, min(_AT_ONCE, len(launches))), "Launch") as pool:
            parts = list(pool.map(lambda group: self._launched(group, found), launches))
        outcomes = {each.uid: each for part in parts for each in part}
        with self._lock:
            self._known |= {each.id for each in outcomes.values() if each.id}
        return [outcomes[each.uid] for each in requests]

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        """Terminate instances, named by their id or by ours; what the cloud does not know is gone."""
        found = self._find([each for each in vm_ids if not each.startswith("i-")])
        named = [each.id for uid in vm_ids for each in found.get(uid, ())]
        ids = sorted({*named, *(each for each in vm_ids if each.startswith("i-"))})
        with self._translating():
            self._terminate(ids)
        with self._lock:
            self._known -= set(ids)
        return [DestroyOutcome(each) for each in vm_ids]

    def adopt(self, vms: Sequence[VM]) -> list[AdoptOutcome]:
        """Put our tags on instances that another scheduler launched, all of one instance at once."""
        with self._translating():
            parts = (self._described({"instance-id": part}) for part in _parts([vm.id for vm in vms]))
            found = {each.id: each for part in parts for each in part if each.state in LIVE}
        return [self._adopted(vm, found.get(vm.id)) for vm in vms]

    def console(self, vm_id: str) -> str:
        """The end of what an instance wrote to its console; empty for one that is gone. Raises CloudError."""
        with self._translating():
            try:
                return str(self._ec2.get_console_output(InstanceId=vm_id).get("Output", ""))
            except ClientError as ex:
                if ec2_errors.code(ex).startswith("InvalidInstanceID"):
                    return ""
                raise

    def credentials_expire_at(self) -> float | None:
        """When temporary credentials end, as the configuration has it; others have no end that EC2 would tell."""
        return self._settings.session_ends

    def _adopted(self, vm: VM, found: Instance | None) -> AdoptOutcome:
        if found is None:
            return AdoptOutcome(vm.uid, BadRequirement(f"{self._name}: there is no instance {vm.id!r} to take over."))
        tags = self._tags(vm) | {UID: vm.uid}
        if any(found.tags.get(tag, tags[tag]) != tags[tag] for tag in (INSTALLATION, CLOUD)):
            problem = f"{self._name}: the instance {vm.id!r} belongs to another installation."
            return AdoptOutcome(vm.uid, BadRequirement(problem))
        try:
            with self._translating():
                self._ec2.create_tags(Resources=[vm.id], Tags=pairs(tags))
        except CloudError as ex:
            return AdoptOutcome(vm.uid, ex)
        return AdoptOutcome(vm.uid)

    def _launched(self, group: Sequence[BootRequest], found: Mapping[str, Sequence[Instance]]) -> list[BootOutcome]:
        """Make one launch, or say what an earlier one has made."""
        numbers = {number(each): each.uid for each in group}
        try:
            made = _made_before(group, found)
            if made:
                missing: CloudError = Transient(f"{self._name}: asked for before, and not listed yet.")
            else:
                made = self._launch(group)
                missing = QuotaExceeded(f"{self._name}: it made {len(made)} of {len(numbers)} instances asked for.")
        except CloudError as ex:
            return [BootOutcome(uid, error=ex) for uid in numbers.values()]
        return [
            BootOutcome(uid, id=made[index]) if index in made else BootOutcome(uid, error=missing)
            for index, uid in numbers.items()
        ]

    def _launch(self, group: Sequence[BootRequest]) -> dict[int, str]:
        """RunInstances; the ids by launch index."""
        try:
            asked = launch(group, self._settings, self._tags(group[0]))
        except BadRequirement as ex:
            raise BadRequirement(f"{self._name}: {ex}") from None
        with self._translating():
            answer = self._ec2.run_instances(**asked)
        return {each.number: each.id for each in map(read, answer["Instances"])}

    def _tags(self, vm: BootRequest | VM) -> dict[str, str]:
        """The tags of every VM like this one; the engine adopts by them what a lost state does not know."""
        kept = ("user", "vmtype", "memory", "cpucores", "storage")
        own = {INSTALLATION: self._installation, CLOUD: self._name}
        return own | {tag: str(getattr(vm, tag)) for tag in kept}

    def _find(self, uids: Sequence[str]) -> dict[str, list[Instance]]:
        """Our live instances of these names and of the batches that they belong to, by name."""
        batches = sorted({batch[0] for batch in map(batch_of, uids) if batch is not None})
        queries = [(tag, part) for tag, values in ((UID, uids), (BATCH, batches)) for part in _parts(values)]
        found: dict[str, list[Instance]] = {}
        with self._translating():
            for tag, values in queries:
                for each in self._instances({f"tag:{tag}": values, "instance-state-name": LIVE}):
                    found.setdefault(each.uid, []).append(each)
        return found

    def _instances(self, filters: Mapping[str, Sequence[str]]) -> Iterator[Instance]:
        """Ours among the instances."""
        return self._described({f"tag:{INSTALLATION}": [self._installation], f"tag:{CLOUD}": [self._name], **filters})

    def _described(self, filters: Mapping[str, Sequence[str]]) -> Iterator[Instance]:
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": name, "Values": list(values)} for name, values in filters.items()],
            PaginationConfig={"PageSize": _PAGE},
        )
        for page in pages:
            for reservation in page["Reservations"]:
                yield from map(read, reservation["Instances"])

    def _terminate(self, ids: Sequence[str]) -> None:
        """Terminate; EC2 refuses a whole request for one id that it does not know."""
        if not ids:
            return
        try:
            self._ec2.terminate_instances(InstanceIds=list(ids))
        except ClientError as ex:
            if not ec2_errors.code(ex).startswith("InvalidInstanceID"):
                raise
            for each in ids if len(ids) > 1 else ():
                self._terminate([each])

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, ResponseParserError) as ex:
            raise ec2_errors.translated(self._name, ex) from ex


def _made_before(group: Sequence[BootRequest], found: Mapping[str, Sequence[Instance]]) -> dict[int, str]:
    """What an earlier launch of these VMs has made, ids by launch index; one instance of a batch tells of all."""
    batch = batch_of(group[0].uid)
    own = {each.uid for each in group}
    return {
        each.number: each.id
        for uid, instances in found.items()
        for each in instances[:1]
        if uid in own or (not group[0].user_data and batch is not None and (batch_of(uid) or ("",))[0] == batch[0])
    }


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many values as one filter takes."""
    for start in range(0, len(values), _VALUES):
        yield values[start : start + _VALUES]
