"""Every option of cloud_scheduler.conf: its type, default, what it accepts, and what became of v1's option.

Each field below is one row of the table: loading, complaints, `cloud_scheduler config`, the start warnings and the
migration guide all read it. Options that v1 took in minutes are held in seconds, as v1 held them (PARITY 7.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

from cloudsched.config import kinds
from cloudsched.config.kinds import (
    BOOLEAN,
    COUNT,
    LIST,
    LISTEN,
    NAMESPACES,
    OFF_OR_SECONDS,
    PAIRS,
    PATH,
    PAUSE,
    PORT,
    POSITIVE,
    SECONDS,
    TEXT,
    Kind,
    number,
    whole,
    word,
)

T = TypeVar("T")


class Fate(StrEnum):
    """What became of an option of v1."""

    HONOURED = "honoured"
    CHANGED = "changed"
    IGNORED = "ignored"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Option:
    """One row: `why` tells what changed, why it is ignored, or what a new option is for."""

    section: str
    name: str
    kind: Kind
    default: Any
    fate: Fate
    why: str


def _row(default: T, kind: Kind, fate: Fate, why: str) -> T:
    row = {"kind": kind, "fate": fate, "why": why}
    if isinstance(default, dict):
        return cast(T, field(default_factory=lambda: dict(default), metadata=row))
    return field(default=default, metadata=row)


def _honoured(default: T, kind: Kind) -> T:
    return _row(default, kind, Fate.HONOURED, "")


def _changed(default: T, kind: Kind, why: str) -> T:
    return _row(default, kind, Fate.CHANGED, why)


def _ignored(default: T, kind: Kind, why: str) -> T:
    return _row(default, kind, Fate.IGNORED, why)


def _new(default: T, kind: Kind, why: str) -> T:
    return _row(default, kind, Fate.NEW, why)


_MINUTES = whole(0, unit="minutes", seconds=60)
_LIFETIME = "No cloud leases VMs for a limited time; v1 had no such cloud either."
_UNUSED = "v1 never used it."
_LATER = "It is not available in this release."


@dataclass(frozen=True, eq=False, repr=False)
class Global:
    """The `[global]` options. `database_url`, when not given, is SQLite in `state_dir`.

    Nobody compares it or shows it as it is, and to make what would takes every command a while at its start.
    """

    cloud_resource_config: Path | None = _honoured(None, PATH)
    condor_retrieval_method: str = _ignored("local", TEXT, "Only local ever worked.")
    condor_webservice_url: str = _honoured("http://localhost:8080", TEXT)
    condor_collector_url: str = _ignored("http://localhost:9618", TEXT, "v1 never used it; see condor_collector.")
    condor_q_command: str = _changed(
        "condor_q -l", TEXT, "The bindings come first; a command other than the default wins over them."
    )
    condor_status_command: str = _honoured("condor_status -l", TEXT)
    condor_status_master_command: str = _honoured("condor_status -master -l", TEXT)
    condor_hold_command: str = _honoured("condor_hold", TEXT)
    condor_release_command: str = _honoured("condor_release", TEXT)
    condor_off_command: str = _honoured("/usr/sbin/condor_off", TEXT)
    condor_on_command: str = _changed(
        "/usr/sbin/condor_on", TEXT, "Starts again the startd of a VM that was reset; v1 never used it."
    )
    condor_advertise_command: str = _honoured("/usr/sbin/condor_advertise", TEXT)
    ssh_path: str = _honoured("/usr/bin/ssh", TEXT)
    openssl_path: str = _honoured("/usr/bin/openssl", TEXT)
    condor_host_on_vm: str = _honoured("", TEXT)
    condor_context_file: str = _honoured("/etc/condor/central_manager", TEXT)
    vm_lifetime: int = _ignored(10080 * 60, _MINUTES, _LIFETIME)
    cert_file: str = _honoured("", TEXT)
    key_file: str = _honoured("", TEXT)
    cert_file_on_vm: str = _honoured("", TEXT)
    key_file_on_vm: str = _honoured("", TEXT)
    ca_root_certs: tuple[str, ...] = _honoured((), LIST)
    ca_signing_policies: tuple[str, ...] = _honoured((), LIST)
    cloudscheduler_ssh_key: str = _honoured("", TEXT)
    info_server_port: int = _honoured(8111, PORT)
    admin_server_port: int = _changed(8112, PORT, "It sets the admin port; v1 moved the info port instead.")
    persistence_file: str = _ignored(
        "/var/lib/cloudscheduler.persistence", TEXT, "The state is kept in database_url; v1's file is not read."
    )
    user_limit_file: Path | None = _honoured(None, PATH)
    target_cloud_alias_file: Path | None = _honoured(None, PATH)
    job_ban_timeout: int = _honoured(60 * 60, _MINUTES)
    ban_tracking: bool = _changed(False, BOOLEAN, "It works; v1's scheduler stopped at the first result.")
    ban_file: Path | None = _honoured(Path("/var/run/cloudscheduler.banned"), PATH)
    ban_min_track: int = _honoured(5, POSITIVE)
    ban_failrate_threshold: float = _honoured(1.0, number(0, 1, above=True))
    polling_error_threshold: int = _honoured(5, POSITIVE)
    condor_register_time_limit: int = _honoured(15 * 60, _MINUTES)
    scheduling_algorithm: str = _changed("fairshare", word("fairshare", "fifo"), "fifo works.")
    scheduling_metric: str = _honoured("slot", word("slot", "memory", "memory_cpu", "memory_cpu_storage"))
    job_distribution_type: str = _honoured("normal", word("normal", "split"))
    graceful_shutdown: bool = _honoured(True, BOOLEAN)
    graceful_shutdown_method: str = _ignored("off", TEXT, _UNUSED)
    retire_before_lifetime: bool = _ignored(False, BOOLEAN, _LIFETIME)
    retire_before_lifetime_factor: float = _ignored(1.5, number(1), _LIFETIME)
    cleanup_missing_vms: bool = _changed(
        False, BOOLEAN, "The collector forgets VMs we know to be dead; v1 had it forget all machines of others."
    )
    clean_shutdown_idle: bool = _ignored(
        False, BOOLEAN, "It never acted in v1; idle VMs retire by keep-alive, and unmatched jobs are explained."
    )
    getclouds: bool = _ignored(False, BOOLEAN, "It did nothing in v1.")
    cpu_distribution_weight: float = _honoured(1.0, number(0, above=True))
    memory_distribution_weight: float = _honoured(1.0, number(0, above=True))
    storage_distribution_weight: float = _honoured(1.0, number(0, above=True))
    high_priority_job_support: bool = _ignored(False, BOOLEAN, "High-priority jobs are always supported, as in v1.")
    high_priority_job_weight: int = _honoured(1, POSITIVE)
    scheduler_interval: int = _honoured(5, PAUSE)
    vm_poller_interval: int = _honoured(5, PAUSE)
    job_poller_interval: int = _honoured(5, PAUSE)
    machine_poller_interval: int = _honoured(5, PAUSE)
    cleanup_interval: int = _honoured(5, PAUSE)
    job_proxy_refresher_interval: int = _honoured(-1, OFF_OR_SECONDS)
    vm_proxy_refresher_interval: int = _honoured(-1, OFF_OR_SECONDS)
    job_proxy_renewal_threshold: int = _honoured(900, SECONDS)
    vm_proxy_renewal_threshold: int = _honoured(3600, SECONDS)
    vm_proxy_shutdown_threshold: int = _changed(
        1800, SECONDS, "It takes effect where vm_proxy_refresher_interval is on; v1's VMs never had a proxy."
    )
    vm_connection_fail_threshold: int = _honoured(3600, SECONDS)
    connection_fail_disable_time: int = _changed(7200, SECONDS, "It takes effect; v1 always used 7200.")
    vm_idle_threshold: int = _ignored(300, SECONDS, "It belongs to clean_shutdown_idle, which is ignored.")
    vm_start_running_timeout: int = _honoured(-1, OFF_OR_SECONDS)
    max_starting_vm: int = _honoured(-1, whole(-1, clamp=True))
    max_destroy_threads: int = _changed(10, whole(1, clamp=True), "It takes effect; v1 always used 10.")
    max_keepalive: int = _honoured(60 * 60, whole(0, unit="minutes", seconds=60, clamp=True))
    proxy_cache_dir: str = _ignored("", TEXT, "The VMs' own proxies are kept in state_dir; v1 never used it.")
    myproxy_logon_command: str = _honoured("myproxy-logon", TEXT)
    override_vmtype: bool = _honoured(False, BOOLEAN)
    vm_reqs_from_condor_reqs: bool = _ignored(
        False, BOOLEAN, "Memory, Cpus and Disk in a job's requirements always count."
    )
    adjust_insufficient_resources: bool = _ignored(False, BOOLEAN, "It only changed a line of v1's log.")
    use_cloud_init: bool = _honoured(True, BOOLEAN)
    default_yaml: str = _honoured("", TEXT)
    validate_yaml: bool = _changed(
        False, BOOLEAN, "A job's bad part bars its VM and is explained with the job; v1 held the job."
    )
    retire_reallocate: bool = _ignored(True, BOOLEAN, "VMs that no longer fit their cloud's allowance always retire.")
    use_pyopenssl: bool = _ignored(False, BOOLEAN, "Certificates are always read by openssl_path.")
    monitor_url: str = _ignored("", TEXT, _LATER)

    state_dir: Path = _new(
        Path("~/.local/state/cloudsched"), kinds.DIRECTORY, "Where database, token, socket, VMs and logs are kept."
    )
    database_url: str = _new("", TEXT, "An SQLAlchemy URL of SQLite or PostgreSQL; empty means SQLite in state_dir.")
    batch_system: str = _new(
        "embedded", word("embedded", "htcondor"), "Defaults to htcondor when the file sets a condor_* option."
    )
    condor_config: Path | None = _new(None, PATH, "HTCondor's configuration file; none means HTCondor's own places.")
    condor_collector: str = _new("", TEXT, "HOST or HOST:PORT of the collector; empty means HTCondor's COLLECTOR_HOST.")
    condor_schedd: str = _new("", TEXT, "Name of the schedd; empty means HTCondor's SCHEDD_HOST, else this host's.")
    condor_token_directory: Path | None = _new(None, PATH, "Where our IDTOKEN lies; none means HTCondor's own place.")
    condor_signing_key: Path | None = _new(None, PATH, "The pool's signing key, to make VMs' tokens with.")
    condor_trust_domain: str = _new("", TEXT, "Issuer of VMs' tokens; empty means HTCondor's TRUST_DOMAIN.")
    condor_vm_identity: str = _new("condor", TEXT, "User part of the identity that VMs join with.")
    condor_token_seconds: int = _new(86400, PAUSE, "How long a VM's token lasts; a VM that lives longer cannot rejoin.")
    condor_update_seconds: int = _new(
        300, PAUSE, "UPDATE_INTERVAL of the VMs' startds: a restarted collector knows them again after it."
    )
    condor_timeout_seconds: int = _new(15, PAUSE, "How long one question to HTCondor may take.")
    condor_history_command: str = _new("condor_history -l", TEXT, "Tells how jobs ended, without the bindings.")
    condor_submit_command: str = _new("condor_submit", TEXT, "Submits jobs, without the bindings.")
    condor_drain_command: str = _new("condor_drain", TEXT, "Retires VMs before condor_off_command is tried.")
    condor_ping_command: str = _new("condor_ping", TEXT, "Tries whether the tokens of VMs are accepted.")
    condor_rm_command: str = _new("condor_rm", TEXT, "Removes jobs, without the bindings.")
    admin_listen: str = _new("127.0.0.1", LISTEN, "Where the admin daemon listens.")
    info_listen: str = _new("127.0.0.1", LISTEN, "Where the info daemon listens.")
    admin_socket_mode: str = _new("0600", kinds.FILE_MODE, "Who may open the admin daemon's Unix socket.")
    admin_socket_owner: str = _new("", TEXT, "Account that the admin daemon's Unix socket is given to.")
    admin_socket_group: str = _new("", TEXT, "Group that the admin daemon's Unix socket is given to.")
    admin_socket_role: str = _new(
        "none",
        word("none", "reader", "operator", "admin"),
        "Role of who may open that socket; none: they need tokens.",
    )
    info_socket_mode: str = _new("0600", kinds.FILE_MODE, "Who may open the info daemon's Unix socket.")
    info_socket_owner: str = _new("", TEXT, "Account that the info daemon's Unix socket is given to.")
    info_socket_group: str = _new("", TEXT, "Group that the info daemon's Unix socket is given to.")
    trusted_proxies: tuple[str, ...] = _new(
        (), kinds.PEERS, "TLS proxies whose headers tell the client's role; unix: whoever opens the socket."
    )
    admin_auth: str = _new("token", word("token", "none", "closed"), "none lets v1's clients in, closed nobody.")
    info_auth: str = _new("none", word("none", "token", "closed"), "Who may read: none means everybody.")
    open_beyond_loopback: bool = _new(False, BOOLEAN, "Permits listening beyond loopback without authentication.")
    verb_wait_seconds: int = _new(30, SECONDS, "How long a verb waits for its outcome before it answers 202.")
    wait_seats: int = _new(24, COUNT, "How many verbs wait at once; more are answered 202 without waiting.")
    threads: int = _new(32, whole(1, 1000), "Threads of each daemon; wait_seats + 8 is a good number.")
    waitress_tuning: bool = _new(True, BOOLEAN, "Off serves by Waitress as it comes, much slower with many clients.")
    access_log: str = _new("errors", word("errors", "all"), "Which requests are logged.")
    history_days: int = _new(30, whole(1, 36500, unit="days"), "Finished jobs and operations are deleted after this.")
    guard_vms: int = _new(0, COUNT, "A verb that hits more VMs than this must be confirmed; 0: never.")
    rate_limit: int = _new(0, COUNT, "Requests a minute for a token, or an address without one; 0: no limit.")
    lease_seconds: int = _new(
        30, whole(3, unit="seconds"), "How long a worker of the embedded batch may be silent before its jobs run again."
    )
    poll_timeout_seconds: int = _new(60, PAUSE, "How long one poll of a cloud or batch system may take.")
    call_timeout_seconds: int = _new(
        300, PAUSE, "How long a cloud may take over boots or destroys; then its VMs are looked for in its listings."
    )
    local_command: str = _new("", TEXT, "Command template of a VM of the local cloud; empty means our worker.")
    local_limits: str = _new(
        "auto",
        word("auto", "yes", "no"),
        "Whether control groups bound local VMs; auto: where the host lets us, yes: else the cloud is unusable.",
    )
    local_namespaces: tuple[str, ...] = _new(
        (), NAMESPACES, "What local VMs have of their own: pid, ipc, net; auto: pid and ipc where the host lets us."
    )
    request_timeout_seconds: int = _new(60, PAUSE, "How long a command-line client waits for an answer.")
    boot_deadline_seconds: int = _new(300, PAUSE, "How long a requested VM counts before a listing shows it.")

    def __post_init__(self) -> None:
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{quote(str(self.state_dir / 'state.db'))}")

    @property
    def admin_token_file(self) -> Path:
        """The admin daemon's bearer token, readable by its owner only."""
        return self.state_dir / "admin.token"

    @property
    def batch_socket(self) -> Path:
        """The Unix socket on which the engine talks to the embedded batch's workers."""
        return self.state_dir / "batch.sock"

    @property
    def lock_file(self) -> Path:
        """The lock in front of every write to an SQLite state."""
        return self.state_dir / "state.lock"

    @property
    def log_dir(self) -> Path:
        """Where each process keeps its own log."""
        return self.state_dir / "log"

    @property
    def vms_dir(self) -> Path:
        """Where the local cloud keeps one directory per VM."""
        return self.state_dir / "vms"


@dataclass(frozen=True)
class JobDefaults:
    """The `[job]` options: what a job gets that does not say. Memory in MB, storage in GB.

    The image and instance-type maps are held parsed: cloud (or `default`) to value, empty when nothing is set.
    """

    default_vmtype: str = _honoured("default", TEXT)
    default_vmnetwork: str = _honoured("", TEXT)
    default_vmname: str = _honoured("Default-Image", TEXT)
    default_vmami: Mapping[str, str] = _honoured({}, PAIRS)
    default_vmmem: int = _honoured(512, POSITIVE)
    default_vmcpucores: int = _honoured(1, POSITIVE)
    default_vmstorage: int = _honoured(0, COUNT)
    default_vminstancetype: str = _honoured("", TEXT)
    default_vminstancetypelist: Mapping[str, str] = _honoured({}, PAIRS)
    default_vmmaximumprice: float = _honoured(0.0, number(0))
    default_vmproxynonboot: bool = _changed(False, BOOLEAN, "It is read from [job]; v1 crashed when it was set.")
    default_vmuserdata: tuple[str, ...] = _honoured((), LIST)
    default_targetclouds: tuple[str, ...] = _honoured((), LIST)
    default_vmamiconfig: tuple[str, ...] = _honoured((), LIST)
    default_vminjectca: bool = _honoured(True, BOOLEAN)
    default_vmjobpercore: bool = _honoured(False, BOOLEAN)


@dataclass(frozen=True)
class Logging:
    """The `[logging]` options. VERBOSE lies below DEBUG; `log_max_size` is in bytes, None means no limit."""

    log_level: str = _changed(
        "INFO",
        word("VERBOSE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", upper=True),
        "Any case is accepted; v1 crashed on lower case.",
    )
    log_location: Path | None = _honoured(None, PATH)
    log_location_cloud_admin: Path | None = _honoured(None, PATH)
    admin_log_comments: bool = _changed(
        False, BOOLEAN, "The admin daemon demands a reason for every verb too; v1's clients send none."
    )
    log_stdout: bool = _honoured(False, BOOLEAN)
    log_syslog: bool = _honoured(False, BOOLEAN)
    log_max_size: int | None = _honoured(None, kinds.or_none(whole(1, unit="bytes")))
    log_format: str = _honoured("%(asctime)s - %(levelname)s - %(threadName)s - %(message)s", kinds.LOG_FORMAT)
    log_json: bool = _new(False, BOOLEAN, "Each line of the log is a JSON object; log_format is not looked at.")


def _option(section: str, each: Field[Any]) -> Option:
    default = each.default if each.default_factory is MISSING else each.default_factory()
    return Option(section, each.name, default=default, **each.metadata)


SECTIONS: Mapping[str, type[Global | JobDefaults | Logging]] = {
    "global": Global,
    "job": JobDefaults,
    "logging": Logging,
}
OPTIONS: Mapping[tuple[str, str], Option] = {
    (section, each.name): _option(section, each) for section, held in SECTIONS.items() for each in fields(held)
}
RAW: frozenset[tuple[str, str]] = frozenset({("logging", "log_format")})
