"""What is on record of clouds, VMs and slots, kept in memory: what polls bring is held against it without reading it.

All of it is as committed when a transaction began. What the transaction itself has changed is read anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cloudsched.model.clouds import Cloud
from cloudsched.model.jobs import Machine
from cloudsched.model.vms import VM
from cloudsched.store import Writing, clouds, machines, vms
from cloudsched.store.connect import state_row
from cloudsched.store.snapshot import Known


def machine_host(name: str) -> str:
    """A machine's host name: without its slot (`slotN@`), lower case (PARITY 5.5, B-15)."""
    return name.rpartition("@")[2].lower()


@dataclass(slots=True)
class Fleet:
    """Used by the engine's thread alone; `look` comes first in every transaction."""

    known: Known = field(default_factory=Known)
    _of: Writing | None = None
    _changed: set[str] | None = field(default_factory=set)
    _vms: tuple[VM, ...] = ()
    _clouds: tuple[Cloud, ...] = ()
    _machines: tuple[Machine, ...] = ()
    _by_cloud: Mapping[str, Sequence[VM]] = field(default_factory=dict)
    _by_name: Mapping[str, Cloud] = field(default_factory=dict)
    _by_host: Mapping[str, VM] | None = None
    _slots: machines.Slots = field(default_factory=dict)

    def look(self, writing: Writing) -> None:
        """Take in what has been committed since the last look."""
        if self._of is writing:
            return
        row = state_row(writing.connection)
        every, present = self.known.vms.all(writing.connection, row), self.known.clouds.all(writing.connection, row)
        slots = self.known.machines.all(writing.connection, row)
        if every is not self._vms:
            self._vms, self._by_cloud, self._by_host = every, _by_cloud(every, self._by_cloud), None
        if present is not self._clouds:
            self._clouds, self._by_name = present, {cloud.name: cloud for cloud in present}
        if slots is not self._machines:
            self._machines, self._slots = slots, machines.told(slots)
        self._of, self._changed = writing, set()

    def of_cloud(self, writing: Writing, name: str) -> Sequence[VM]:
        """Every VM of a cloud, released ones too, in creation order; the same object while none of them changes."""
        self.look(writing)
        is_changed = self._changed is None or name in self._changed
        return vms.recorded(writing.connection, name) if is_changed else self._by_cloud.get(name, ())

    def change(self, names: Iterable[str] | None) -> None:
        """VMs of these clouds, None for any, have been changed in this transaction."""
        if names is None or self._changed is None:
            self._changed = None
        else:
            self._changed.update(names)

    def cloud(self, writing: Writing, name: str) -> Cloud:
        """A cloud by its name. Raises NotFound."""
        self.look(writing)
        known = self._by_name.get(name) if "clouds" not in writing.touched else None
        return known or clouds.find(writing.connection, name)

    def slots(self, writing: Writing) -> machines.Slots:
        """What each slot told last, by name; the same object while none tells anything else."""
        self.look(writing)
        touched = "machines" in writing.touched
        return machines.told(machines.all_machines(writing.connection)) if touched else self._slots

    def hosts(self, writing: Writing) -> Mapping[str, VM]:
        """VMs by every name a batch system may know them by."""
        self.look(writing)
        if self._by_host is None:
            self._by_host = _by_host(self._vms)
        return self._by_host


def _by_cloud(every: Sequence[VM], before: Mapping[str, Sequence[VM]]) -> Mapping[str, Sequence[VM]]:
    """VMs by their clouds; those of a cloud stay the same object as `before` while none of them has changed."""
    found: dict[str, list[VM]] = defaultdict(list)
    for vm in every:
        found[vm.cloud].append(vm)
    return {name: same if (same := before.get(name)) == here else here for name, here in found.items()}


def _by_host(every: Sequence[VM]) -> Mapping[str, VM]:
    found: dict[str, VM] = {}
    for vm in every:
        names = (vm.uid, vm.hostname, vm.alt_hostname or "", machine_host(vm.condorname or ""))
        found.update({name.lower(): vm for name in names if name})
    return found
