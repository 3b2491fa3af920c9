"""The tables, and who writes each: columns are the fields of the model's dataclasses, plus a revision.

`admin` tables hold what was asked, `engine` tables what is and what became of it; nothing else writes (DESIGN 2).
`revision` is the state index of the commit that last changed the row. There are no foreign keys across owners.
"""

from __future__ import annotations

from sqlalchemy import Index, Table, text

from cloudsched.store.columns import integer as _int
from cloudsched.store.columns import json_value as _json
from cloudsched.store.columns import metadata
from cloudsched.store.columns import number as _float
from cloudsched.store.columns import revision as _revision
from cloudsched.store.columns import table as _table
from cloudsched.store.columns import text as _text
from cloudsched.store.columns import truth as _bool

__all__ = ["SCHEMA_VERSION", "TOPICS", "metadata"]

SCHEMA_VERSION = 2
"""Every change of a table after a release raises it and adds a revision to `store/migrations`."""

TOPICS = ("clouds", "vms", "jobs", "shapes", "machines", "limits", "wishes", "outcomes", "tokens")
"""One column each in the state row: the index of the last commit that changed the topic."""

_ADDED_TOPICS = frozenset(("tokens",))
"""Those that schema 1 had not: SQLite adds no column NOT NULL without a default."""


# -- the state row (see store/connect.py for its rules) ---------------------------------------------------------

state = _table(
    "state",
    _int("id", primary_key=True),
    _int("schema_version"),
    _int("index"),
    *(_int(topic, server_default="0" if topic in _ADDED_TOPICS else None) for topic in TOPICS),
    _int("verbs"),
    _int("oldest"),
    _int("engine_epoch"),
    _text("engine", server_default=""),
)

# -- engine: observations ------------------------------------------------------------------------------------------

clouds = _table(
    "clouds",
    _text("name", primary_key=True),
    _text("cloud_type"),
    _text("network_address"),
    _int("vm_slots"),
    _int("memory_mb"),
    _int("storage_gb"),
    _int("cpu_cores"),
    _int("max_vm_mem"),
    _json("network_pools"),
    _int("priority"),
    _int("keep_alive"),
    _int("boot_timeout"),
    _int("connection_fail_disable_time"),
    _text("tenant", nullable=True),
    _json("options"),
    _int("position"),
    _bool("enabled"),
    _text("unusable", nullable=True),
    _bool("removed"),
    _bool("connection_problem"),
    _float("errorconnect", nullable=True),
    _json("failed_images"),
    _bool("stale"),
    _text("last_error"),
    _json("trouble", nullable=True),
    _text("origin", server_default="file"),
    _json("request", nullable=True),
    _revision(),
)

vms = _table(
    "vms",
    _text("uid", primary_key=True),
    _text("cloud", index=True),
    _text("id", index=True),
    _text("name"),
    _text("spot_id"),
    _text("vmtype"),
    _text("user"),
    _text("hostname"),
    _text("alt_hostname", nullable=True),
    _text("ipaddress"),
    _int("ssh_port"),
    _text("status"),
    _text("override_status", nullable=True),
    _text("cloudtype"),
    _text("clusteraddr"),
    _text("clusterport"),
    _text("network", nullable=True),
    _json("image"),
    _text("flavor"),
    _int("memory"),
    _int("cpucores"),
    _int("storage"),
    _int("keep_alive"),
    _bool("job_per_core"),
    _int("initialize_time"),
    _int("last_state_change", nullable=True),
    _int("startup_time", nullable=True),
    _int("lastpoll", nullable=True),
    _int("idle_start", nullable=True),
    _int("errorcount"),
    _float("errorconnect", nullable=True),
    _text("condorname", nullable=True),
    _text("condoraddr", nullable=True),
    _text("condormasteraddr", nullable=True),
    _text("proxy_file", nullable=True),
    _text("myproxy_creds_name", nullable=True),
    _text("myproxy_server", nullable=True),
    _text("myproxy_server_port", nullable=True),
    _text("myproxy_renew_time"),
    _text("x509userproxy_expiry_time"),
    _bool("force_retire"),
    _bool("failed_retire"),
    _json("job_run_times"),
    _int("position", index=True),
    _text("shape", index=True),
    _bool("retired"),
    _bool("released"),
    _bool("destroying"),
    _text("reason"),
    _int("requested_until", nullable=True),
    _revision(),
)

departed = _table(
    "departed",
    _text("uid", primary_key=True),
    _text("cloud", index=True),
    _int("departed_at"),
)

shapes = _table(
    "shapes",
    _text("key", primary_key=True),
    _json("shape"),
    _json("reasons"),
    _json("blocks"),
    _revision(),
)

_GROUP = ("shape", "priority", "job_status", "status", "banned", "blocked_clouds")

jobs = _table(
    "jobs",
    _text("id", primary_key=True),
    _text("shape"),
    _int("cluster_id"),
    _int("proc_id"),
    _int("priority"),
    _int("job_status"),
    _text("status"),
    _text("override_status", nullable=True),
    _json("blocked_clouds"),
    _int("block_time", nullable=True),
    _bool("banned"),
    _float("ban_time", nullable=True),
    _text("remote_host", nullable=True),
    _text("running_cloud"),
    _int("servertime"),
    _int("jobstarttime"),
    _text("machine_reserved"),
    _text("spool_dir", nullable=True),
    _text("x509userproxy", nullable=True),
    _text("x509userproxysubject", nullable=True),
    _text("original_x509userproxy", nullable=True),
    _text("proxy_renew_time"),
    _text("myproxy_server", nullable=True),
    _text("myproxy_server_port", nullable=True),
    _text("myproxy_creds_name", nullable=True),
    _text("x509userproxy_expiry_time", nullable=True),
    _json("failed_boot_reason"),
    _text("problem"),
    _text("hold_reason"),
    _int("exit_code", nullable=True),
    _int("submitted_at"),
    _int("finished_at", nullable=True),
    _revision(),
    Index("jobs_group", *_GROUP, "cluster_id", "proc_id"),
    Index("jobs_number", "cluster_id", "proc_id"),
    Index("jobs_finished", "finished_at"),
)

job_groups = _table(
    "job_groups",
    _text("shape", primary_key=True),
    _int("priority", primary_key=True, autoincrement=False),
    _int("job_status", primary_key=True, autoincrement=False),
    _text("status", primary_key=True),
    _bool("banned", primary_key=True),
    _json("blocked_clouds", primary_key=True),
    _int("jobs"),
    _int("cluster_id"),
    _int("proc_id"),
)
"""How many jobs of each kind there are, and the number of the first: kept by whoever changes `jobs` (store/groups)."""

machines = _table(
    "machines",
    _text("name", primary_key=True),
    _text("machine_name"),
    _text("vm"),
    _text("job_id"),
    _text("global_job_id"),
    _text("address_startd"),
    _text("address_master"),
    _text("state"),
    _text("activity"),
    _text("vmtype"),
    _int("current_time"),
    _int("entered_state_time"),
    _text("start_req"),
    _text("remote_owner"),
    _text("slot_type"),
    _int("total_slots"),
    _bool("retiring"),
    _revision(),
)

# -- engine: files it has read, effective settings -------------------------------------------------------------------

user_limits = _table("user_limits", _text("user", primary_key=True), _int("vms"), _revision())
cloud_aliases = _table("cloud_aliases", _text("alias", primary_key=True), _json("clouds"), _revision())
banned_images = _table("banned_images", _text("image", primary_key=True), _json("clouds"), _revision())
settings = _table("settings", _text("name", primary_key=True), _json("value"), _revision())

heartbeats = _table(
    "heartbeats",
    _text("name", primary_key=True),
    _int("interval_seconds"),
    _float("beat_at"),
)

# -- engine: what it measures; polls and history lie outside the index, as heartbeats do -----------------------------

polls = _table(
    "polls",
    _text("name", primary_key=True),
    _float("interval_seconds"),
    _float("ok_at", nullable=True),
    _float("failed_at", nullable=True),
    _float("seconds"),
    _text("error"),
)

tallies = _table("tallies", _text("key", primary_key=True), _float("value"), _revision())

history = _table("history", _int("minute", primary_key=True, autoincrement=False), _json("counts"))

vm_failures = _table(
    "vm_failures",
    _text("uid", primary_key=True),
    _text("cloud"),
    _int("failed_at"),
    _text("cause"),
    _text("reason"),
    _text("id"),
    _text("user"),
    _text("vmtype"),
    _text("image"),
    _text("flavor"),
    _text("console"),
)

tombstones = _table(
    "tombstones",
    _text("topic", primary_key=True),
    _text("key", primary_key=True),
    _revision(),
)

# -- admin: what was asked ---------------------------------------------------------------------------------------------

operations = _table(
    "operations",
    _int("id", primary_key=True, autoincrement=False),
    _text("verb"),
    _text("actor"),
    _text("request_id"),
    _text("reason"),
    _int("made_at"),
)

_STANDING = text("superseded_by IS NULL")  # a verb is held against these, not against all that was ever asked
wishes = _table(
    "wishes",
    _int("id", primary_key=True, autoincrement=False),
    _int("operation", index=True),
    _text("kind"),
    _text("name"),
    _text("aspect"),
    _json("value"),
    _int("made_at"),
    _text("reason"),
    _int("superseded_by", nullable=True),
    Index("wishes_target", "kind", "name"),
    Index("wishes_in_force", "kind", "name", "aspect", sqlite_where=_STANDING, postgresql_where=_STANDING),
)

idempotency_keys = _table(
    "idempotency_keys",
    _text("id", primary_key=True),
    _text("request"),
    _int("operation", nullable=True),
    _text("token"),
    _int("made_at", index=True),
)

tokens = _table(
    "tokens",
    _text("id", primary_key=True),
    _text("digest", nullable=True),
    _text("role"),
    _json("clouds"),
    _json("users"),
    _text("description"),
    _text("created_by"),
    _int("created_at"),
    _int("expires_at", nullable=True),
    _int("revoked_at", nullable=True),
    _revision(),
)

# -- the journal: one chain of entries per writer role (store/journal.py) ----------------------------------------------


def _chain(name: str) -> Table:
    """A chain's entries; the columns but `id`, `index`, `previous` and `hash` are the fields of the model's Entry."""
    return _table(
        name,
        _int("id", primary_key=True, autoincrement=False),
        _int("index", index=True),
        _int("at", index=True),
        *map(_text, ("kind", "verb", "actor", "address", "reason", "noun", "name", "label", "previous", "hash")),
        *(_text(each, index=True) for each in ("request_id", "cloud", "user")),
        _int("operation", nullable=True),
        _int("wish", nullable=True, index=True),
        *map(_json, ("before", "after", "detail")),
        Index(f"{name}_target", "noun", "name"),
    )


def _ends(name: str) -> Table:
    """Where a chain begins after what was forgotten, and where it ends: one row."""
    return _table(
        name, _text("chain", primary_key=True), *map(_int, ("first", "last")), *map(_text, ("before", "hash"))
    )


journal, journal_ends = _chain("journal"), _ends("journal_ends")  # admin: what was asked
acts, acts_ends = _chain("acts"), _ends("acts_ends")  # engine: what became of it, and what it did by itself

token_uses = _table(  # engine: when each was last used, as the daemons noted
    "token_uses",
    _text("token", primary_key=True),
    _int("used_at"),
    _text("address"),
)

# -- engine: what became of it -----------------------------------------------------------------------------------------

outcomes = _table(
    "outcomes",
    _int("wish", primary_key=True, autoincrement=False),
    _text("state"),
    _json("detail"),
    _int("settled_at"),
)

# -- engine: the embedded batch's queue (store/queue.py) ---------------------------------------------------------------

queue_jobs = _table(
    "queue_jobs",
    _int("seq", primary_key=True, autoincrement=False),
    _text("id", unique=True),
    _int("cluster_id"),
    _int("proc_id"),
    _text("shape", index=True),
    _int("priority"),
    _int("job_status", index=True),
    _json("spec"),
    _json("proxy", server_default="{}"),
    _text("hold_reason"),
    _int("exit_code", nullable=True),
    _int("submitted_at"),
    _int("started_at", nullable=True),
    _int("finished_at", nullable=True),
    _text("vm", nullable=True),
    _int("slot", nullable=True),
    _int("attempt"),
    _int("change", index=True),
    Index("queue_number", "cluster_id", "proc_id"),
)

queue_shapes = _table("queue_shapes", _text("key", primary_key=True), _json("shape"))

queue_gone = _table("queue_gone", _text("id", primary_key=True), _int("change", index=True))

queue_orders = _table(
    "queue_orders",
    _text("token", primary_key=True),
    _json("answer"),
    _int("made_at"),
)

queue_counters = _table(
    "queue_counters",
    _int("id", primary_key=True),
    _int("cluster"),
    _int("change"),
)
