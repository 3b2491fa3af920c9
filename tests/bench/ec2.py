"""What the EC2 adapter costs against the bare SDK, on the same endpoint in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3

from cloudsched.clouds.ec2_instances import CLOUD, INSTALLATION, LIVE
from cloudsched.engine.observe import Observer
from cloudsched.engine.polls import Poll, PollResult
from cloudsched.model.clouds import BootOutcome, BootRequest, Cloud, ObservedVM
from cloudsched.model.names import LARGEST_BATCH, unique_names
from cloudsched.store import Store, clouds
from cloudsched.store.connect import state_row
from tests.bench.figure import Effort, Figure, interleaved, ratio, seconds
from tests.ec2_cloud import IMAGE, Endpoint, endpoint

VMS = 1_000
AT_ONCE = 8


def bare(ec2: Endpoint) -> Any:
    """The SDK with its own settings."""
    return boto3.client(
        "ec2",
        endpoint_url=ec2.url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )


def bare_boots(client: Any) -> list[str]:
    """As many instances by as many calls, as many at once, each with a token and as many tags."""
    tags = [{"Key": f"tag-{number}", "Value": "x"} for number in range(9)]

    def launch(number: int) -> list[str]:
        answer = client.run_instances(
            ClientToken=f"bare-{time.monotonic_ns()}-{number}",
            MinCount=1,
            MaxCount=LARGEST_BATCH,
            ImageId=IMAGE,
            InstanceType="t2.micro",
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return [each["InstanceId"] for each in answer["Instances"]]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [each for part in pool.map(launch, range(VMS // LARGEST_BATCH)) for each in part]


def boots(ec2: Endpoint, effort: Effort) -> float:
    """The adapter's rate of boots over that of the SDK."""
    client, cloud = bare(ec2), ec2.cloud()

    def theirs() -> float:
        ec2.reset()
        made: list[str] = []
        took = seconds(lambda: made.extend(bare_boots(client)))
        assert len(set(made)) == VMS
        return took

    def ours() -> float:
        ec2.reset()
        names = unique_names("one", VMS)
        requests = [BootRequest(uid, "n", "alice", "default", image=IMAGE, flavor="t2.micro") for uid in names]
        made: list[BootOutcome] = []
        took = seconds(lambda: made.extend(cloud.boot(requests)))
        assert len({outcome.id for outcome in made if outcome.error is None}) == VMS
        return took

    return ratio(*interleaved(effort.rounds, theirs, ours))


def bare_listing(client: Any) -> int:
    """The same question by the SDK alone: every page, every instance."""
    wanted = {f"tag:{INSTALLATION}": ["inst"], f"tag:{CLOUD}": ["one"], "instance-state-name": list(LIVE)}
    pages = client.get_paginator("describe_instances").paginate(
        Filters=[{"Name": name, "Values": values} for name, values in wanted.items()],
        PaginationConfig={"PageSize": VMS},
    )
    return sum(len(reservation["Instances"]) for page in pages for reservation in page["Reservations"])


def listing(ec2: Endpoint, effort: Effort) -> float:
    """What a poll of as many unchanged VMs costs over the SDK's call."""
    client, cloud = bare(ec2), ec2.cloud()
    assert len(cloud.vms()) == bare_listing(client) == VMS
    return ratio(*interleaved(effort.rounds, lambda: seconds(cloud.vms), lambda: seconds(lambda: bare_listing(client))))


def commits_of_a_poll(listed: list[ObservedVM], home: Path) -> int:
    """By how much the state index moves when the same listing comes a second time."""
    store = Store.open(f"sqlite:///{home / 'state.db'}", home)
    poll = Poll("VMPoller:one", "VMPoller", lambda: listed, 5.0)
    observer = Observer()
    indexes = []
    with store.writing() as writing:
        clouds.record_clouds(writing, [Cloud("one", "AmazonEC2", vm_slots=VMS)])
    for _ in range(3):
        now = int(time.time())
        with store.writing() as writing:
            observer.record(writing, PollResult(poll, now, value=listed), now)
        with store.reading() as connection:
            indexes.append(state_row(connection).index)
    store.close()
    return indexes[-1] - indexes[0]


def figures(effort: Effort) -> Iterator[Figure]:
    """Boots and listings against the SDK, and what a listing that shows nothing new writes."""
    with endpoint() as ec2, tempfile.TemporaryDirectory() as home:
        yield Figure(f"ec2.boots.{VMS}", boots(ec2, effort), "x-sdk", 0.8, at_least=True)
        yield Figure(f"ec2.listing.{VMS}", listing(ec2, effort), "x-sdk", 1.3)
        yield Figure(f"ec2.listing.{VMS}.commits", commits_of_a_poll(ec2.cloud().vms(), Path(home)), "commits", 0)
