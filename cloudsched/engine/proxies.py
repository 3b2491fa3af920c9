"""X.509 proxies of jobs and VMs: when they end, and their renewal through MyProxy (PARITY 3.1, 8.4; B-06).

A job's proxy is its owner's file, read and replaced with his rights only. A VM keeps a copy of its own, made from its
first job's when it is booted, so that it does not end with that job.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloudsched.config.options import Global
from cloudsched.engine import acts
from cloudsched.engine.calls import Call
from cloudsched.engine.orders import WISH
from cloudsched.engine.polls import failure_sentence
from cloudsched.engine.renewal import Renewal
from cloudsched.engine.sources import account, read_own
from cloudsched.errors import CloudschedError, Conflict
from cloudsched.model.actions import Renew
from cloudsched.model.jobs import Shape
from cloudsched.model.proxies import Proxy
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect, Outcome, OutcomeState
from cloudsched.policy.proxies import NONE, is_due, shown
from cloudsched.store import Store, Writing, operations, proxies, vms

log = logging.getLogger("cloudscheduler")

INSPECTION_SECONDS = 60
"""How often proxies are looked at where renewal is switched off."""

_START_SECONDS = 30.0
"""For how long one look begins renewals; the next look goes on."""

_AT_ONCE = 8
_WORDS = {Aspect.JOB_PROXY: "job", Aspect.VM_PROXY: "VM"}


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one proxy: when it ends (Unix seconds), whether it was renewed just now, what is wrong."""

    proxy: Proxy
    expires_at: int | None = None
    renewed: bool = False
    problem: str = ""


def summary(found: Sequence[Found]) -> tuple[str, int]:
    """Why not every proxy was renewed, as a sentence, or empty; and how many were."""
    problems = [each.problem for each in found if each.problem]
    renewed = sum(each.renewed for each in found)
    if problems and len(found) > 1:
        return f"{renewed} of {len(found)} proxies were renewed: {problems[0]}", renewed
    return "".join(problems), renewed


@dataclass(slots=True)
class Proxies:
    """Looks at proxies and renews them. `record` is for the engine's thread; all else may run in any."""

    store: Store
    settings: Global
    renewal: Renewal
    told: dict[Aspect, set[str]] = field(default_factory=dict)

    def interval(self, aspect: Aspect) -> int:
        """The pause between two looks at the proxies of jobs or of VMs, in seconds."""
        return max(self._renewing(aspect)[0], 0) or INSPECTION_SECONDS

    def look(self, aspect: Aspect) -> list[Found]:
        """Look at every proxy of jobs or of VMs; renew those that are due, where renewal is switched on."""
        interval, threshold = self._renewing(aspect)
        until = time.monotonic() + _START_SECONDS

        def wanted(end: int) -> bool:
            return interval > 0 and time.monotonic() < until and is_due(end, int(time.time()), threshold)

        if aspect is Aspect.VM_PROXY:
            self._sweep()
        return self._each(aspect, self._listed(aspect), wanted)

    def refresh(self, aspect: Aspect, user: str) -> list[Found]:
        """Renew every proxy of a user's jobs or VMs now. Raises Conflict when there is none."""
        listed = [each for each in self._listed(aspect) if each.owner == user]
        if not listed:
            raise Conflict(f"User {user} has no proxy to refresh: no {_WORDS[aspect]} of {user} carries one.")
        return self._each(aspect, listed, lambda end: True)

    def call(self, action: Renew, now: int) -> Call:
        """The call that renews what a wish asks for and settles it."""

        def work() -> list[Found]:
            return self.refresh(action.aspect, action.user)

        def finish(writing: Writing, result: list[Found] | Exception) -> None:
            if isinstance(result, Exception):
                error, renewed = failure_sentence(result), 0
            else:
                self.record(writing, action.aspect, result)
                error, renewed = summary(result)
            state = OutcomeState.FAILED if error else OutcomeState.DONE
            detail = {"renewed": renewed} | ({"error": error} if error else {})
            operations.record_outcomes(writing, [Outcome(action.wish, state, detail, now)])

        return Call("proxies", (f"{WISH}{action.wish}",), work, finish)

    def record(self, writing: Writing, aspect: Aspect, found: Sequence[Found]) -> None:
        """Record when proxies end where that is news; log what was renewed, and problems when they are new."""
        unknown = NONE if aspect is Aspect.VM_PROXY else None
        ends = [(each.proxy.holders, shown(each.expires_at) or unknown) for each in found]
        news = {holder: end for holders, end in ends for holder, recorded in holders.items() if recorded != end}
        _RECORD[aspect](writing, news)
        for each in found:
            if each.renewed:
                log.info("Renewed the %s proxy %s of %s.", _WORDS[aspect], each.proxy.path, each.proxy.owner)
                path = str(each.proxy.path)
                acts.record(writing, acts.of_user("renew_proxy", each.proxy.owner, of=_WORDS[aspect], path=path))
        problems = {each.problem for each in found if each.problem}
        for problem in sorted(problems - self.told.get(aspect, set())):
            log.warning("A %s proxy: %s", _WORDS[aspect], problem)
        self.told[aspect] = problems

    def promised(self, writing: Writing, shape: Shape, uid: str) -> dict[str, Any]:
        """What a VM's record says of the proxy it is to be given; nothing where its first job carries none."""
        first = None if shape.proxy_non_boot else proxies.first_of_shape(writing.connection, shape.key)
        if first is None:
            return {}
        return {
            "proxy_file": str(self._copy(uid)),
            "myproxy_server": first.server,
            "myproxy_server_port": first.port,
            "myproxy_creds_name": first.name,
            "myproxy_renew_time": first.hours,
        }

    def give(self, vm: VM) -> bool:
        """Make a VM's own copy of its first job's proxy; false, and logged, where that cannot be had."""
        with self.store.reading() as connection:
            first = proxies.first_of_shape(connection, vm.shape)
        if first is None:
            return self._copy(vm.uid).exists()
        try:
            content = read_own(Path(first.path), account(first.owner)).content
            self._write(self._copy(vm.uid), content)
        except (CloudschedError, OSError) as ex:
            log.warning("%s gets no proxy: %s", vm.uid, ex)
            return False
        return True

    def _renewing(self, aspect: Aspect) -> tuple[int, int]:
        """The interval, -1 for off, and the threshold of renewal."""
        settings = self.settings
        if aspect is Aspect.VM_PROXY:
            return settings.vm_proxy_refresher_interval, settings.vm_proxy_renewal_threshold
        return settings.job_proxy_refresher_interval, settings.job_proxy_renewal_threshold

    def _listed(self, aspect: Aspect) -> list[Proxy]:
        with self.store.reading() as connection:
            return _LISTED[aspect](connection)

    def _each(self, aspect: Aspect, listed: Sequence[Proxy], wanted: Callable[[int], bool]) -> list[Found]:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="Proxy") as pool:
            return list(pool.map(lambda proxy: self._found(aspect, proxy, wanted), listed))

    def _found(self, aspect: Aspect, proxy: Proxy, wanted: Callable[[int], bool]) -> Found:
        end = None
        try:
            uid = os.getuid() if aspect is Aspect.VM_PROXY else account(proxy.owner)
            end = self.renewal.end(proxy, uid)
            if end <= time.time():
                raise Conflict(f"{proxy.path} ended at {shown(end)} UTC: MyProxy renews only what is still valid.")
            if not wanted(end):
                return Found(proxy, end)
            return Found(proxy, self.renewal.renew(proxy, uid), renewed=True)
        except CloudschedError as ex:
            return Found(proxy, end, problem=str(ex))

    def _copy(self, uid: str) -> Path:
        return self.settings.state_dir / "proxies" / uid

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        unfinished.replace(path)

    def _sweep(self) -> None:
        """Delete the proxies of VMs that are gone; a copy is never made before its VM is recorded."""
        directory = self.settings.state_dir / "proxies"
        present = [each for each in directory.glob("[!.]*")] if directory.exists() else []
        with self.store.reading() as connection:
            known = {vm.uid for vm in vms.all_vms(connection)}
        for each in present:
            if each.name not in known:
                each.unlink(missing_ok=True)


_LISTED = {Aspect.JOB_PROXY: proxies.of_jobs, Aspect.VM_PROXY: proxies.of_vms}
_RECORD = {Aspect.JOB_PROXY: proxies.record_job_ends, Aspect.VM_PROXY: proxies.record_vm_ends}
