"""The HTCondor batch system made from the configuration: by the bindings, or by the command lines v1 used."""

from __future__ import annotations

import importlib.util
import logging
import os
import shlex
import uuid
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from cloudsched.batch.htcondor import HTCondorBatch, Settings
from cloudsched.batch.htcondor_ads import Rules
from cloudsched.batch.htcondor_bridge import Bindings
from cloudsched.batch.htcondor_commands import CommandLines, Commands
from cloudsched.batch.htcondor_pool import HTCondorPool
from cloudsched.batch.htcondor_tokens import read_key
from cloudsched.config.load import Config
from cloudsched.config.options import Global
from cloudsched.engine.adapters import Hurry
from cloudsched.model.jobs import JobDelta
from cloudsched.model.vms import VM
from cloudsched.store import Store, jobs, limits

log = logging.getLogger("cloudscheduler")

_STATE = "condor_orders"
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "CONDOR_CONFIG")


class HTCondor:
    """A batch system of `engine.adapters.Batch`'s promises over an HTCondor pool."""

    def __init__(self, store: Store, config: Config, vm: Callable[[str], VM | None]) -> None:
        settings = config.global_
        self._store = store
        self._batch = HTCondorBatch(way(settings), self._settings(config, vm))

    @property
    def adapter(self) -> HTCondorBatch:
        return self._batch

    def start(self, hurry: Hurry) -> None:
        """Machines join the pool, not us. A new state begins to count its orders anew: it needs a name of its own."""
        with self._store.writing() as writing:
            if not limits.read_settings(writing.connection).get(_STATE):
                limits.record_setting(writing, _STATE, uuid.uuid4().hex)

    def jobs(self) -> JobDelta:
        return self._batch.jobs()

    def trouble(self) -> str:
        return self._batch.trouble()

    def learn(self, vms: Mapping[str, VM]) -> None:
        """The pool itself knows which machines retire."""

    def forget_jobs(self, job_ids: Sequence[str]) -> None:
        """The schedd's history is the pool's own."""

    def stop(self) -> None:
        self._batch.close()

    def _settings(self, config: Config, vm: Callable[[str], VM | None]) -> Settings:
        settings = config.global_
        return Settings(
            Rules(config.job, settings.max_keepalive),
            self._unfinished,
            vm,
            lambda: str(limits.setting(self._store, _STATE)),
            collector=settings.condor_collector,
            domain=settings.condor_trust_domain,
            key=lambda: read_key(settings.condor_signing_key) if settings.condor_signing_key else None,
            vm_identity=settings.condor_vm_identity,
            token_seconds=settings.condor_token_seconds,
            forget_lost=settings.cleanup_missing_vms,
            update_seconds=1.1 * settings.condor_update_seconds,
        )

    def _unfinished(self) -> list[str]:
        with self._store.reading() as connection:
            return jobs.unfinished(connection)


def environment(settings: Global, inherited: Mapping[str, str]) -> dict[str, str]:
    """What bindings and commands see of our environment: HTCondor's part, nothing that could leak into a job."""
    kept = {name: value for name, value in inherited.items() if name in _INHERITED or name.startswith("_CONDOR_")}
    tokens = str(settings.condor_token_directory or "")
    chosen = {
        "CONDOR_CONFIG": str(settings.condor_config or ""),
        "_CONDOR_COLLECTOR_HOST": settings.condor_collector,
        "_CONDOR_SCHEDD_HOST": settings.condor_schedd,
        "_CONDOR_SEC_TOKEN_DIRECTORY": tokens,
        "_CONDOR_SEC_TOKEN_SYSTEM_DIRECTORY": tokens,
        # In v1's time condor_q showed everybody's jobs.
        "_CONDOR_CONDOR_Q_ONLY_MY_JOBS": "False",
    }
    return kept | {name: value for name, value in chosen.items() if value}


def way(settings: Global) -> HTCondorPool:
    """The bindings where they are, unless the site has a condor_q_command of its own (DESIGN 7)."""
    ours, seconds = environment(settings, os.environ), float(settings.condor_timeout_seconds)
    configured = settings.condor_q_command != Global.condor_q_command
    if not configured and importlib.util.find_spec("htcondor2"):
        log.info("HTCondor is asked by its bindings.")
        return Bindings(ours, seconds)
    if not configured and importlib.util.find_spec("htcondor"):
        log.warning(
            "The HTCondor bindings here have no htcondor2: pip install 'cloudsched[htcondor]' brings newer ones."
        )
    log.info("HTCondor is asked by command lines: %s, ...", settings.condor_q_command)
    host = urlsplit(settings.condor_webservice_url).hostname or ""
    known = {"COLLECTOR_HOST": host, "TRUST_DOMAIN": host}
    return Commands(_command_lines(settings, host), ours, seconds, known)


def _command_lines(settings: Global, central: str) -> CommandLines:
    key = settings.cloudscheduler_ssh_key
    return CommandLines(
        query=shlex.split(settings.condor_q_command),
        history=shlex.split(settings.condor_history_command),
        submit=shlex.split(settings.condor_submit_command),
        hold=shlex.split(settings.condor_hold_command),
        release=shlex.split(settings.condor_release_command),
        remove=shlex.split(settings.condor_rm_command),
        status=shlex.split(settings.condor_status_command),
        status_masters=shlex.split(settings.condor_status_master_command),
        drain=shlex.split(settings.condor_drain_command),
        ping=shlex.split(settings.condor_ping_command),
        off=shlex.split(settings.condor_off_command),
        on=shlex.split(settings.condor_on_command),
        advertise=shlex.split(settings.condor_advertise_command),
        remote=(settings.ssh_path, "-i", key, central) if key else (),
    )
