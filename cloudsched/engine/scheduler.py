"""The whole scheduler put together: adapters, stages, socket; its start and its orderly end."""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cloudsched import __version__
from cloudsched.config.clouds import CloudSection, host_size, read_clouds
from cloudsched.config.limits import read_banned_images
from cloudsched.config.load import Config
from cloudsched.engine import acts, adapters, definitions
from cloudsched.engine.apply import Apply
from cloudsched.engine.bans import Bans
from cloudsched.engine.boots import Boots
from cloudsched.engine.calls import Calls
from cloudsched.engine.contexts import Contexts
from cloudsched.engine.endings import Endings
from cloudsched.engine.htcondor import HTCondor
from cloudsched.engine.inventory import Asked, record_enforced, record_inventory
from cloudsched.engine.loop import Engine, Stages
from cloudsched.engine.observe import CREDENTIALS, CREDENTIALS_SECONDS, JOINING_SECONDS, PROXY_POLLS, Observer
from cloudsched.engine.orders import Orders
from cloudsched.engine.places import Places
from cloudsched.engine.polls import Poll, Polls
from cloudsched.engine.proxies import Proxies
from cloudsched.engine.reloads import Reloads
from cloudsched.engine.renewal import Renewal
from cloudsched.engine.simulation import Simulation
from cloudsched.engine.troubles import poll_name
from cloudsched.errors import CloudschedError, ConfigError, StateError
from cloudsched.model.actions import Destroy, Reload
from cloudsched.model.adapters import CloudAdapter, Expiring
from cloudsched.model.clouds import Origin
from cloudsched.model.journal import Entry
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.vms import VM
from cloudsched.model.wishes import Aspect
from cloudsched.store import Store, Writing, clouds, limits, polls, vms
from cloudsched.store.place import Place

log = logging.getLogger("cloudscheduler")

_STOP_SECONDS = 60.0
"""How long an orderly end waits for the next VM to go."""


@dataclass(frozen=True, slots=True)
class Options:
    """How this scheduler runs, beside its configuration."""

    simulate: bool = False


class Scheduler:
    """One engine over one state: `start`, `run` until stopped, `stop`."""

    def __init__(self, store: Store, config: Config, options: Options) -> None:
        self._store, self._config, self._options = store, config, options
        self._wake = threading.Event()
        self._known: Mapping[str, VM] = {}
        self._played = Simulation(store, lambda: self._known.values()) if options.simulate else None
        batch = HTCondor if config.global_.batch_system == "htcondor" else adapters.Embedded
        self._batch: adapters.Batch = self._played or batch(store, config, self._known_vm)
        self._places = Places({}, self._batch.adapter)
        settings = config.global_
        self._bans = Bans(settings)
        self._proxies = Proxies(store, settings, Renewal(settings))
        self._observer = Observer(proxies=self._proxies)
        self._endings = Endings(
            self._places,
            self._bans,
            settings.max_destroy_threads,
            settings.call_timeout_seconds,
            self._hold_off,
            self._observer.retired,
            _now,
        )
        self._configured: tuple[CloudSection, ...] = ()
        self._definitions = definitions.Reader(settings, host_size(settings.state_dir), options.simulate)
        files = (settings.user_limit_file, settings.target_cloud_alias_file)
        self._reloads = Reloads(*files, self._reread, self._reconfigure, self._define, self._delete)
        self._polls = Polls(self._wake.set, config.global_.poll_timeout_seconds)
        self._calls = Calls(self._wake.set)
        self._installation = ""
        self._place: Place | None = None
        self._engine = Engine(self._stages(), self._wake, self._learn)

    def start(self, held: Place | None = None) -> None:
        """Take the state over: settings, files, clouds; then the socket and the polls.

        `held` is the engine's place, which the loop makes sure of from now on. Raises StateUnavailable, ConfigError.
        """
        self._place = held
        epoch = self._store.begin_epoch()
        with self._store.writing() as writing:
            # v1's init script toggles before it stops the daemon: the flag must begin as off each time (PARITY 4.4).
            settings = {"log_level": self._config.logging.log_level, "quick_exit": False}
            acts.record(writing, _start(limits.read_settings(writing.connection), settings, epoch))
            # What the engine before us failed of, we have yet to try.
            limits.record_setting(writing, limits.PROBLEMS, {})
            for name, value in settings.items():
                limits.record_setting(writing, name, value)
            self._installation = installation(writing, self._config.global_.state_dir)
            self._configured = definitions.without_doubles(writing.connection, self._config.clouds)
            self._install(writing)
        self._read_files()
        self._batch.start(self._polls.hurry)

    def run(self, stop: threading.Event) -> None:
        """Cycle until `stop` is set. Raises StateTakenOver."""
        self._engine.run(stop)

    def toggle_quick_exit(self) -> None:
        """SIGUSR2: on becomes off and off becomes on (PARITY 4.4)."""
        try:
            with self._store.writing() as writing:
                flag = not limits.read_settings(writing.connection).get("quick_exit", False)
                change = acts.changed({"quick_exit": not flag}, {"quick_exit": flag})
                acts.record(writing, acts.of_scheduler("quick_exit", "SIGUSR2 asked for it.", **change))
                limits.record_setting(writing, "quick_exit", flag)
        except StateError as ex:
            log.error("Quick exit could not be toggled: %s", ex)
        else:
            log.info("Quick exit is %s.", "on" if flag else "off")

    def stop(self, abort: threading.Event) -> None:
        """An orderly end: destroy all VMs unless quick exit is on (PARITY 9.4). `abort` gives up on the VMs."""
        if limits.setting(self._store, "quick_exit"):
            log.info("Quick exit: %d VM(s) live on.", len(self._ours()))
        else:
            self._destroy_all(abort)

    def close(self) -> None:
        """Serve no more workers. VMs and their jobs go on."""
        self._batch.stop()
        self._engine.close()

    def _destroy_all(self, abort: threading.Event) -> None:
        """Destroy every VM, also those whose boot is still under way; give up when nothing has ended for a while."""
        left = self._ours()
        log.info("Stopping: destroying %d VM(s).", len(left))
        patience = time.monotonic() + _STOP_SECONDS
        while left and not abort.is_set() and time.monotonic() < patience:
            self._destroy(self._engine.snapshot())
            self._wake.wait(0.1)
            self._wake.clear()
            self._engine.record_ends()
            before, left = len(left), self._ours()
            if len(left) < before:
                patience = time.monotonic() + _STOP_SECONDS
        if left:
            names = ", ".join(vm.uid for vm in left[:10])
            log.error("%d VM(s) could not be destroyed and live on: %s", len(left), names)

    def _destroy(self, snapshot: Snapshot) -> None:
        actions = [
            Destroy(vm.uid, "The scheduler is stopping.") for vm in snapshot.vms if vm.uid not in snapshot.in_flight
        ]
        if actions:
            with self._store.writing() as writing:
                self._endings.record(writing, snapshot, actions)
            self._calls.start(self._endings.destroy_calls(snapshot, actions))

    def _ours(self) -> list[VM]:
        with self._store.reading() as connection:
            return [vm for vm in vms.all_vms(connection) if not vm.released]

    def _stages(self) -> Stages:
        boots = Boots(self._config, self._places, self._bans, self._proxies, self._contexts())
        orders = Orders(self._places, self._observer.settle_later)
        apply = Apply(self._store, boots, self._endings, self._reloads, orders, self._proxies)
        return Stages(
            self._store,
            self._config,
            self._polls,
            self._calls,
            self._observer,
            apply,
            self._batch.forget_jobs,
            self._keep_place,
        )

    def _contexts(self) -> Contexts | None:
        """VMs that join HTCondor are told how by cloud-init; the embedded batch's workers are started with all."""
        if self._config.global_.batch_system != "htcondor" or self._played:
            return None
        contexts = Contexts(self._config)
        contexts.check()
        return contexts

    def _keep_place(self) -> bool:
        return self._place is None or self._place.keep()

    def _hold_off(self, uid: str, seconds: int) -> None:
        self._engine.hold_off(uid, seconds)

    def _learn(self, known: Mapping[str, VM]) -> None:
        self._known = known
        self._batch.learn(known)

    def _known_vm(self, uid: str) -> VM | None:
        return self._known.get(uid)

    def _reread(self) -> tuple[CloudSection, ...]:
        """The configured clouds as the file has them now. Raises ConfigError."""
        path = self._config.global_.cloud_resource_config
        if path is None:
            return self._config.clouds
        host = host_size(self._config.global_.state_dir)
        sections, warnings = read_clouds(path, self._config.global_, host, simulated=self._options.simulate)
        for warning in warnings:
            log.warning("%s", warning)
        return sections

    def _reconfigure(self, writing: Writing, configured: tuple[CloudSection, ...]) -> list[str]:
        """Take the file's clouds as they are now; returns what changed. Raises ConfigError."""
        definitions.refuse_doubles(writing.connection, configured)
        self._configured = configured
        return self._install(writing)

    def _define(self, writing: Writing, name: str) -> dict[str, Any]:
        """Take one cloud's definition by API. Raises ConfigError when no adapter can be made of it."""
        made = definitions.find(writing.connection, name)
        changes = self._install(writing, definitions.asked(made))
        problem = clouds.find(writing.connection, name).unusable
        if problem is not None:
            raise ConfigError(f"Cloud {name!r} is defined so, and cannot be used: {problem}")
        return {"changes": changes, "warnings": [dict(each) for each in made.warnings]}

    def _delete(self, writing: Writing, name: str) -> None:
        """Forget a cloud that was made by API, and what was released on it."""
        left = [vm for vm in vms.all_vms(writing.connection) if vm.cloud == name]
        vms.forget(writing, [vm.uid for vm in left])
        self._install(writing, Asked(name), without=name)

    def _install(self, writing: Writing, asked_for: Asked | None = None, without: str = "") -> list[str]:
        """Record the clouds and exchange the adapters; returns what changed.

        Where just one definition is `asked_for`, the adapters of the others stay; `without` is a name to leave out.
        """
        recorded, configured = clouds.all_clouds(writing.connection), self._configured
        made = self._definitions.sections(writing.connection, len(configured))
        sections = (*configured, *(section for section in made if section.cloud.name != without))
        if self._played:
            of_file = [section.cloud for section in configured]
            if recorded and not self._config.global_.cloud_resource_config:
                of_file = [cloud for cloud in recorded if not cloud.removed and cloud.origin is Origin.FILE]
            by_api = [section.cloud for section in sections[len(configured) :]]
            changes = record_inventory(writing, [*of_file, *by_api], asked_for)
            found = self._played.clouds(each for each in clouds.all_clouds(writing.connection) if not each.unusable)
        else:
            found, changes = self._install_real(writing, sections, asked_for)
        self._places.replace(found)
        due = self._all_polls(found)
        self._polls.replace(due)
        polls.keep_polls(writing, {"Scheduler", *(poll.name for poll in due)})
        return changes

    def _install_real(
        self, writing: Writing, sections: tuple[CloudSection, ...], asked_for: Asked | None
    ) -> tuple[Mapping[str, CloudAdapter], list[str]]:
        """Make the adapters; a cloud whose adapter cannot be made is unusable, and listed with the reason.

        A cloud that drains without being configured any more is reached by the adapter it had, or by its record: the
        state knows no credentials.
        """
        recorded = clouds.all_clouds(writing.connection)
        names = {section.cloud.name for section in sections}
        draining = [CloudSection(cloud, cloud.options) for cloud in recorded if cloud.name not in names]
        kept = [] if asked_for is None else [each for each in sections if each.cloud.name != asked_for.name]
        fresh = [each for each in (*sections, *draining) if each not in kept]
        found, problems = adapters.clouds(fresh, self._config, self._installation)
        had = ((section.cloud.name, self._places.cloud(section.cloud.name)) for section in (*kept, *draining))
        found |= {name: adapter for name, adapter in had if adapter is not None}
        known = {cloud.name: cloud.unusable for cloud in recorded if cloud.unusable}
        problems |= {each.cloud.name: known[each.cloud.name] for each in kept if each.cloud.name in known}
        configured = [
            replace(section.cloud, unusable=problems.get(section.cloud.name, section.cloud.unusable))
            for section in sections
        ]
        changes = record_inventory(writing, configured, asked_for)
        record_enforced(writing, found)
        present = {cloud.name for cloud in clouds.all_clouds(writing.connection)}
        return {name: adapter for name, adapter in found.items() if name in present}, changes

    def _all_polls(self, found: Mapping[str, CloudAdapter]) -> list[Poll]:
        settings = self._config.global_
        cloud_polls = [
            Poll(poll_name(name), "VMPoller", adapter.vms, settings.vm_poller_interval)
            for name, adapter in found.items()
        ]
        return [
            Poll("JobPoller", "JobPoller", self._batch.jobs, settings.job_poller_interval, told_once=True),
            Poll("MachinePoller", "MachinePoller", self._batch.adapter.machines, settings.machine_poller_interval),
            *cloud_polls,
            *(
                Poll(f"{CREDENTIALS}:{name}", "", adapter.credentials_expire_at, CREDENTIALS_SECONDS)
                for name, adapter in found.items()
                if isinstance(adapter, Expiring)
            ),
            *(
                [Poll(CREDENTIALS, "", self._batch.trouble, JOINING_SECONDS)]
                if isinstance(self._batch, adapters.Joined)
                else []
            ),
            *([] if self._played else self._proxy_polls()),
        ]

    def _proxy_polls(self) -> list[Poll]:
        """Looks at proxies; v1's list of heartbeats does not name their threads."""
        return [
            Poll(name, "", partial(self._proxies.look, aspect), self._proxies.interval(aspect))
            for name, aspect in PROXY_POLLS.items()
        ]

    def _read_files(self) -> None:
        """Read limits, aliases and bans; a bad file is logged and what the state holds stays (B-24)."""
        settings = self._config.global_
        with self._store.writing() as writing:
            now = _now()
            if settings.user_limit_file is not None:
                self._reloads.apply(writing, Reload(Aspect.USER_LIMITS), now)
            if settings.target_cloud_alias_file is not None:
                self._reloads.apply(writing, Reload(Aspect.CLOUD_ALIASES), now)
            if settings.ban_tracking and settings.ban_file is not None:
                try:
                    limits.record_banned_images(writing, read_banned_images(settings.ban_file))
                except CloudschedError as ex:
                    log.error("%s", ex)


def _start(before: Mapping[str, Any], settings: Mapping[str, Any], epoch: int) -> Entry:
    """The journal's entry for the start of an engine, which sets what verbs may have changed."""
    changed = acts.changed({name: before.get(name) for name in settings}, settings)
    detail = {"epoch": epoch, "host": platform.node(), "pid": os.getpid(), "version": __version__}
    return acts.of_scheduler("start", detail=detail, **changed)


def installation(writing: Writing, directory: Path) -> str:
    """The name that this installation's VMs carry everywhere, made at the first start.

    It is kept in the state and beside it, so that VMs are ours again after a lost state as well as a moved one.
    """
    beside = directory / "installation"
    known = beside.read_text("utf-8").strip() if beside.exists() else ""
    name = str(limits.read_settings(writing.connection).get("installation") or known or uuid.uuid4().hex)
    limits.record_setting(writing, "installation", name)
    if name != known:
        beside.write_text(name + "\n", encoding="utf-8")
    return name


def _now() -> int:
    return int(time.time())
