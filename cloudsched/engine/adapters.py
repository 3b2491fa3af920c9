"""From configuration to working adapters: the only place that knows how each kind is made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from cloudsched import clouds as cloud_kinds
from cloudsched.batch.embedded import EmbeddedBatch, Session, Settings
from cloudsched.batch.wire import Service, listen, serve
from cloudsched.clouds import ec2_settings
from cloudsched.clouds.local_isolation import OVERHEAD, PROCESSES, Isolation
from cloudsched.config.cloud_kinds import typed
from cloudsched.config.clouds import CloudSection
from cloudsched.config.load import Config
from cloudsched.errors import CloudschedError
from cloudsched.model.adapters import BatchAdapter, CloudAdapter
from cloudsched.model.jobs import JobDelta
from cloudsched.model.vms import VM
from cloudsched.store import Store
from cloudsched.store.queue import SQLQueue

log = logging.getLogger("cloudscheduler")

_EVENTS = frozenset({"hello", "done", "evict"})


class Hurry(Protocol):
    """Makes polls due at once (Polls.hurry)."""

    def __call__(self, *names: str) -> None: ...


class Batch(Protocol):
    """A batch system and what keeps it going beside the engine's calls."""

    @property
    def adapter(self) -> BatchAdapter:
        """What the engine asks."""

    def start(self, hurry: Hurry) -> None:
        """Begin to serve workers, if the batch system has any of its own."""

    def jobs(self) -> JobDelta:
        """The JobPoller's question, with the upkeep that goes with it."""

    def learn(self, vms: Mapping[str, VM]) -> None:
        """These are the VMs, by uid, as the engine sees them now."""

    def forget_jobs(self, job_ids: Sequence[str]) -> None:
        """The state keeps these finished jobs no longer."""

    def stop(self) -> None:
        """Serve no more workers."""


@runtime_checkable
class Joined(Protocol):
    """A batch system whose VMs may be kept from joining."""

    def trouble(self) -> str:
        """Why VMs cannot join, as a sentence; empty when nothing is known against it. Raises BatchError."""


class Embedded:
    """The embedded batch, the thread that serves its socket, and its leases' upkeep."""

    def __init__(self, store: Store, config: Config, vm: Callable[[str], VM | None]) -> None:
        settings = config.global_
        self._settings = Settings(
            settings.state_dir, config.job, float(settings.lease_seconds), max_keepalive=settings.max_keepalive
        )
        self._queue = SQLQueue(store)
        self._batch = EmbeddedBatch(self._queue, self._settings, vm)
        self._stop = threading.Event()
        self._server: threading.Thread | None = None

    @property
    def adapter(self) -> EmbeddedBatch:
        return self._batch

    def start(self, hurry: Hurry) -> None:
        def answer(message: dict[str, object], peer_uid: int, session: Session) -> dict[str, object]:
            reply = self._batch.handle(message, peer_uid, session)
            if message.get("op") in _EVENTS or reply.get("job"):
                hurry("JobPoller", "MachinePoller")
            return reply

        def closed(session: Session) -> None:
            self._batch.closed(session)
            hurry("MachinePoller")

        service = Service(Session, answer, closed, self._batch.awake)
        listener = listen(self._settings.socket)
        arguments = (listener, service, self._stop)
        self._server = threading.Thread(target=serve, args=arguments, name="BatchSocket", daemon=True)
        self._server.start()

    def jobs(self) -> JobDelta:
        lost = self._batch.expire()
        if lost:
            log.warning("%d job(s) of silent VMs are back in the queue: %s", len(lost), ", ".join(lost[:10]))
        return self._batch.jobs()

    def learn(self, vms: Mapping[str, VM]) -> None:
        self._batch.learn(vms)

    def forget_jobs(self, job_ids: Sequence[str]) -> None:
        self._queue.forget(job_ids)

    def stop(self) -> None:
        self._stop.set()
        if self._server is not None:
            self._server.join(5.0)
            self._settings.socket.unlink(missing_ok=True)


def clouds(
    sections: Iterable[CloudSection], config: Config, installation: str
) -> tuple[dict[str, CloudAdapter], dict[str, str]]:
    """The adapters of usable clouds by name; and of those that cannot be made the reason why."""
    found: dict[str, CloudAdapter] = {}
    problems: dict[str, str] = {}
    for section in sections:
        make = _MAKERS.get(section.cloud.cloud_type.lower())
        if make is None or section.cloud.unusable is not None:
            continue
        try:
            found[section.cloud.name] = make(section, config, installation)
        except CloudschedError as ex:
            log.error("Cloud %s cannot be used: %s", section.cloud.name, ex)
            problems[section.cloud.name] = str(ex)
    return found, problems


def _local(section: CloudSection, config: Config, installation: str) -> CloudAdapter:
    settings, options = config.global_, typed(section.settings)
    isolation = Isolation(
        limits=options.get("limits", settings.local_limits),
        namespaces=options.get("namespaces", settings.local_namespaces),
        overhead=options.get("memory_overhead", OVERHEAD),
        processes=options.get("max_processes", PROCESSES),
    )
    command = options.get("command") or settings.local_command
    return cloud_kinds.load("local")(section.cloud.name, installation, settings.state_dir, command, isolation)


def _openstack(section: CloudSection, config: Config, installation: str) -> CloudAdapter:
    options = typed({**section.settings, **section.secrets})
    return cloud_kinds.load("openstack")(section.cloud.name, installation, options)


def _ec2(section: CloudSection, config: Config, installation: str) -> CloudAdapter:
    return cloud_kinds.load("ec2")(section.cloud.name, installation, ec2_settings.settings(section))


_MAKERS: Mapping[str, Callable[[CloudSection, Config, str], CloudAdapter]] = {
    "local": _local,
    "openstacknative": _openstack,
    **dict.fromkeys(("amazonec2", "eucalyptus", "openstack", "opennebula"), _ec2),
}
