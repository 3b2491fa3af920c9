"""The cloud on this host: a VM is a process group of our own, started from a command template.

A VM's directory is made complete before its process is started, and every process of the VM carries the directory's
name in its environment, and is in the VM's control groups where it has any. So a VM is found again, and ended with all
it started, whenever the engine was killed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from cloudsched import processes
from cloudsched.clouds import local_directory, local_isolation, local_limits
from cloudsched.clouds.local_directory import Record
from cloudsched.clouds.local_isolation import Isolation
from cloudsched.errors import BadRequirement, CloudError, ConfigError, Transient
from cloudsched.model.clouds import AdoptOutcome, BootOutcome, BootRequest, DestroyOutcome, ObservedVM, VMStatus
from cloudsched.model.vms import VM
from cloudsched.processes import Process

WORKER_COMMAND = (
    "{python} -m cloudsched.batch.worker --vm {uid} --dir {dir} --socket {socket}"
    " --slots {slots} --cpus {cpus} --memory {memory}"
)
MARK = "CLOUDSCHED_VM_DIR"
GRACE_SECONDS = 3.0
KILL_SECONDS = 5.0
STARVED = "The kernel has ended processes of this VM that wanted more than its memory."

_FIELD = re.compile(r"\{(\w+)\}")
# Fields of the template that a request fills; `cloud`, `dir` and `cpus` come beside it.
_FIELDS: Mapping[str, Callable[[BootRequest], str]] = {
    "python": lambda request: sys.executable,
    "uid": lambda request: request.uid,
    "name": lambda request: request.name,
    "socket": lambda request: request.join.get("socket", ""),
    "condor_host": lambda request: request.join.get("condor_host", ""),
    "trust_domain": lambda request: request.join.get("trust_domain", ""),
    "slots": lambda request: str(request.cpucores),
    "memory": lambda request: str(request.memory),
    "storage": lambda request: str(request.storage),
    "vmtype": lambda request: request.vmtype,
    "user": lambda request: request.user,
    "image": lambda request: request.image,
    "flavor": lambda request: request.flavor,
    "network": lambda request: request.network,
}
_ACCEPTED = frozenset({*_FIELDS, "cloud", "dir", "cpus"})


class LocalCloud:
    """CloudAdapter over process groups; `name` and `installation` tell whose VMs it lists.

    `command` is a template, split like a shell command line before its fields are filled in; empty means our worker.
    Raises ConfigError when the template names a field that does not exist, or this host refuses `isolation`.
    """

    def __init__(
        self, name: str, installation: str, state_dir: Path, command: str = "", isolation: Isolation | None = None
    ) -> None:
        self._name, self._installation = name, installation
        self._vms = (state_dir / "vms").absolute()
        self._command = _template(command or WORKER_COMMAND)
        self._fence = local_isolation.fence(isolation or Isolation())
        self._lock = threading.Lock()

    @property
    def enforced(self) -> str:
        """What stands between a VM and this host, in words."""
        return self._fence.statement

    def vms(self) -> list[ObservedVM]:
        """List the VMs that have a directory; one whose process has ended is Shutdown, and is cleared of remains."""
        with self._lock:
            records = self._records()
            _reap(records)
            there = processes.every()
            marked = _by_mark(there) if any(_leader(each, there) is None for each in records) else {}
            return [self._observed(record, there, marked) for record in records]

    def boot(self, requests: Sequence[BootRequest]) -> list[BootOutcome]:
        """Start one process group for each request; a uid that has a directory and was started is left as it is."""
        return [self._booted(request) for request in requests]

    def destroy(self, vm_ids: Sequence[str]) -> list[DestroyOutcome]:
        """End VMs: SIGTERM to their first processes, SIGKILL to all that is left; then remove their directories."""
        found = [record for uid in vm_ids for record in self._records(uid)]
        left = self._ended(found)
        _reap(found)
        for record in found:
            if record.uid not in left and not local_directory.clear(record):
                left.add(record.uid)
        problem = "some of the VM's processes do not end"
        return [DestroyOutcome(uid, Transient(f"{uid}: {problem}.") if uid in left else None) for uid in vm_ids]

    def adopt(self, vms: Sequence[VM]) -> list[AdoptOutcome]:
        """There is nothing to take over: v1 had no VMs on its own host."""
        problem = f"{self._name}: VMs of a local cloud are processes of ours, and none is taken over."
        return [AdoptOutcome(vm.uid, BadRequirement(problem)) for vm in vms]

    def console(self, vm_id: str) -> str:
        """The end of what a VM's processes have written; empty for a VM that is not here."""
        found = self._records(vm_id)
        return local_directory.end(found[0].directory / "worker.log") if found else ""

    def _booted(self, request: BootRequest) -> BootOutcome:
        try:
            with self._lock:
                self._start(request)
        except CloudError as ex:
            return BootOutcome(request.uid, error=ex)
        except OSError as ex:
            return BootOutcome(request.uid, error=Transient(f"The VM's process could not be started: {ex}."))
        return BootOutcome(request.uid, id=request.uid)

    def _start(self, request: BootRequest) -> None:
        directory = self._directory(request.uid)
        record = local_directory.read(directory)
        if record and (record.leader or _by_mark(processes.every()).get(directory)):
            return
        if record:
            local_limits.remove(record.groups)
        record = self._prepared(request, directory)
        for secret in ("token", "key"):
            local_directory.write_private(directory / secret, request.join.get(secret, ""))
        if request.user_data:
            local_directory.write_private(directory / "user-data", request.user_data)
        values = {name: read(request) for name, read in _FIELDS.items()}
        values |= {"cloud": self._name, "dir": str(directory), "cpus": ",".join(map(str, record.cpus))}
        self._spawn(record, [_FIELD.sub(lambda m: values[m[1]], word) for word in self._command])

    def _prepared(self, request: BootRequest, directory: Path) -> Record:
        """Make a VM's directory, and then its groups; without `vm.json`, which appears whole, it does not count."""
        self._vms.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        cpus = _least_used(self._all_records(), request.cpucores)
        record = Record(
            directory,
            request.uid,
            self._name,
            self._installation,
            cpus,
            self._fence.groups(directory),
            self._fence.forks,
        )
        local_directory.write(record)
        self._fence.raise_around(record.groups, request)
        return record

    def _spawn(self, record: Record, command: list[str]) -> None:
        directory = record.directory
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDSCHED_")}
        marks = {"CLOUDSCHED_VM": record.uid, MARK: str(directory), "CLOUDSCHED_INSTALLATION": self._installation}
        with (directory / "worker.log").open("ab") as output:
            try:
                _check_program(command[0], directory)
                child = subprocess.Popen(
                    self._fence.words(record.groups, command),
                    cwd=directory,
                    env=inherited | marks,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            except (FileNotFoundError, PermissionError) as ex:
                local_directory.clear(record)
                raise BadRequirement(f"The command of the local cloud cannot be run: {ex}.") from None
        # The VM may outlive this object, and this engine; whoever lists it reaps it (`_reap`).
        child.returncode = 0
        local_directory.write_private(directory / "pid", f"{child.pid} {processes.started(child.pid)}")

    def _observed(self, record: Record, there: Mapping[int, Process], marked: Mapping[Path, set[int]]) -> ObservedVM:
        local_directory.bound_log(record.directory / "worker.log")
        running = _leader(record, there) is not None
        if not running and record.leader is None:
            running = bool(marked.get(record.directory))
        if not running:
            inside = local_limits.members(record.groups) & there.keys()
            _signal(there, inside | marked.get(record.directory, set()), signal.SIGKILL)
        return ObservedVM(
            uid=record.uid,
            id=record.uid,
            status=VMStatus.RUNNING if running else VMStatus.SHUTDOWN,
            hostname=record.uid,
            ipaddress="127.0.0.1",
            fault=_fault(record, running),
            tags={"installation": record.installation},
        )

    def _ended(self, records: Sequence[Record]) -> set[str]:
        """Signal until no process of these VMs lives or the time is over; the uids of those that still have some."""
        started = time.monotonic()
        first = True
        while True:
            there = processes.every()
            mine = _members(records, there)
            left = {uid for uid, pids in mine.items() if pids}
            waited = time.monotonic() - started
            if not left or waited > GRACE_SECONDS + KILL_SECONDS:
                return left
            for record in (each for each in records if each.uid in left):
                heads = _heads(record, there) & mine[record.uid]
                if waited > GRACE_SECONDS or not heads:
                    local_limits.stop_forks(record.groups)
                    _signal(there, mine[record.uid], signal.SIGKILL)
                elif first:
                    _signal(there, heads, signal.SIGTERM)
            first = False
            time.sleep(0.02)

    def _directory(self, uid: str) -> Path:
        """A directory name for any uid: percent-encoded, or its digest where that is too long or hidden."""
        name = quote(uid, safe="")
        if len(name) > 200 or name.startswith("."):
            name = hashlib.sha256(uid.encode("utf-8", "surrogateescape")).hexdigest()
        return self._vms / name

    def _records(self, uid: str | None = None) -> list[Record]:
        ours = (self._name, self._installation)
        directories = [self._directory(uid)] if uid is not None else local_directory.directories(self._vms)
        found = (local_directory.read(directory) for directory in directories)
        return [each for each in found if each and (each.cloud, each.installation) == ours]

    def _all_records(self) -> list[Record]:
        return [
            record
            for directory in local_directory.directories(self._vms)
            if (record := local_directory.read(directory))
        ]


def _template(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as ex:
        raise ConfigError(f"the command of the local cloud is {command!r}: {ex}.") from None
    unknown = sorted(set(_FIELD.findall(command)) - _ACCEPTED)
    if unknown or not words:
        raise ConfigError(
            f"the command of the local cloud is {command!r}; accepted fields are {', '.join(sorted(_ACCEPTED))}."
        )
    return words


def _reap(records: Iterable[Record]) -> None:
    for record in records:
        if record.leader:
            processes.reap(*record.leader)


def _leader(record: Record, there: Mapping[int, Process]) -> Process | None:
    """The VM's first process if it lives; its start time tells it from a later one with the same id."""
    if record.leader is None:
        return None
    process = there.get(record.leader[0])
    return process if process and process.started == record.leader[1] else None


def _heads(record: Record, there: Mapping[int, Process]) -> set[int]:
    """The processes that are asked to end in order: the VM's first one, which may be the started one's child."""
    leader = _leader(record, there)
    if leader is None or not record.forks:
        return {leader.pid} if leader else set()
    return {each.pid for each in there.values() if each.parent == leader.pid}


def _by_mark(there: Iterable[int]) -> dict[Path, set[int]]:
    """Processes by the VM directory that their environment names."""
    prefix = f"{MARK}=".encode()
    found: dict[Path, set[int]] = {}
    for pid in there:
        for mark in processes.marks(pid):
            if mark.startswith(prefix):
                found.setdefault(Path(os.fsdecode(mark[len(prefix) :])), set()).add(pid)
    return found


def _members(records: Iterable[Record], there: Mapping[int, Process]) -> dict[str, set[int]]:
    """All processes of each VM: marked ones, its session and groups, and what descends from any of them."""
    marked = _by_mark(there)
    mine: dict[str, set[int]] = {}
    for record in records:
        roots = marked.get(record.directory, set()) | (local_limits.members(record.groups) & there.keys())
        # An id that another process has now is of no use; one that nobody has may still name a session.
        if record.leader and (_leader(record, there) or record.leader[0] not in there):
            roots.add(record.leader[0])
        mine[record.uid] = processes.family(there, roots) - {os.getpid()}
    return mine


def _signal(there: Mapping[int, Process], pids: Iterable[int], signum: signal.Signals) -> None:
    for pid in pids:
        processes.send(there[pid], signum)


def _least_used(records: Iterable[Record], wanted: int) -> tuple[int, ...]:
    """The cpus that the fewest VMs use; all of the host's when more are wanted."""
    used = Counter(cpu for record in records for cpu in record.cpus)
    ours = os.sched_getaffinity(0)
    return tuple(sorted(sorted(ours, key=lambda cpu: (used[cpu], cpu))[:wanted]))


def _check_program(program: str, directory: Path) -> None:
    """A program that is not there is told before its VM is started: what starts it would say so in the log only."""
    if shutil.which(directory / program if "/" in program else program) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)


def _fault(record: Record, running: bool) -> str:
    said = "" if running else local_directory.last_line(record.directory / "worker.log")
    return f"{STARVED} {said}".strip() if local_limits.starved(record.groups) else said
