"""`--simulate`: every cloud and the batch system by the fake adapters, seeded from the state (DESIGN 7).

The engine, the policy, the state and the daemons are the real ones; only what lies beyond the adapters is played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from cloudsched.batch.fake import FakeBatch
from cloudsched.clouds.fake import FakeCloud, observed
from cloudsched.engine.adapters import Hurry
from cloudsched.model.adapters import CloudAdapter
from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import JobDelta
from cloudsched.model.vms import VM
from cloudsched.store import Store, jobs, machines, vms


class Simulation:
    """The played world: one fake cloud for each cloud, a fake batch system whose time passes with its polls."""

    def __init__(self, store: Store, known: Callable[[], Iterable[VM]]) -> None:
        self._known = known
        with store.reading() as connection:
            self._vms = vms.all_vms(connection)
            self.adapter = FakeBatch(jobs.all_jobs(connection), machines.all_machines(connection))
        self._clouds: dict[str, CloudAdapter] = {}

    def clouds(self, present: Iterable[Cloud]) -> Mapping[str, CloudAdapter]:
        """A fake for each cloud; one that is played already goes on."""
        self._clouds = {cloud.name: self._clouds.get(cloud.name) or self._fake(cloud) for cloud in present}
        return self._clouds

    def start(self, hurry: Hurry) -> None:
        """Nobody connects to a played batch system."""

    def jobs(self) -> JobDelta:
        self.adapter.step(self._known())
        return self.adapter.jobs()

    def learn(self, vms: Mapping[str, VM]) -> None:
        """The played batch system asks for the VMs itself, at each of its steps."""

    def forget_jobs(self, job_ids: Sequence[str]) -> None:
        """The played queue ends with this process."""

    def stop(self) -> None:
        """Nothing was started."""

    def _fake(self, cloud: Cloud) -> FakeCloud:
        return FakeCloud(cloud.name, [observed(vm) for vm in self._vms if vm.cloud == cloud.name])
