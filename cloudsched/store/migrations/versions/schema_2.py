"""Schema 2: each line below says which table learns what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """From schema 1."""
    op.add_column("state", sa.Column("engine", sa.Text, nullable=False, server_default=""))
    op.add_column("clouds", sa.Column("trouble", sa.Text))
    op.add_column("clouds", sa.Column("origin", sa.Text, nullable=False, server_default="file"))
    op.add_column("clouds", sa.Column("request", sa.Text))
    op.add_column("queue_jobs", sa.Column("proxy", sa.Text, nullable=False, server_default="{}"))
    op.create_table(
        "vm_failures",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("cloud", sa.Text, nullable=False),
        sa.Column("failed_at", _BIG, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("cause", "reason", "id", "user", "vmtype")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("image", "flavor", "console")),
    )
    _add_tokens()
    _count_jobs()
    op.create_index("ix_vms_shape", "vms", ["shape"])
    standing = sa.text("superseded_by IS NULL")
    target = ["kind", "name", "aspect"]
    # With as many columns as the other, the planner would choose by chance.
    op.drop_index("wishes_target", "wishes")
    op.create_index("wishes_target", "wishes", target[:2])
    op.create_index("wishes_in_force", "wishes", target, sqlite_where=standing, postgresql_where=standing)
    _add_keys()
    _chain("journal")
    _ends("journal_ends")
    _chain("acts")
    _ends("acts_ends")


def _add_tokens() -> None:
    op.add_column("state", sa.Column("tokens", _BIG, nullable=False, server_default="0"))
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("digest", sa.Text, nullable=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("clouds", sa.Text, nullable=False),
        sa.Column("users", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", _BIG, nullable=False),
        sa.Column("expires_at", _BIG, nullable=True),
        sa.Column("revoked_at", _BIG, nullable=True),
        sa.Column("revision", _BIG, nullable=False),
    )
    op.create_index("ix_tokens_revision", "tokens", ["revision"])
    op.create_table(
        "token_uses",
        sa.Column("token", sa.Text, primary_key=True, nullable=False),
        sa.Column("used_at", _BIG, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
    )


def _add_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("operation", _BIG),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("made_at", _BIG, nullable=False),
    )
    op.create_index("ix_idempotency_keys_made_at", "idempotency_keys", ["made_at"])


def _count_jobs() -> None:
    """A table of how many jobs of each kind there are, and indexes to keep it by."""
    kind = ("shape", "priority", "job_status", "status", "banned", "blocked_clouds")
    op.drop_index("jobs_group", "jobs")
    op.create_index("jobs_group", "jobs", [*kind, "cluster_id", "proc_id"])
    op.create_index("jobs_finished", "jobs", ["finished_at"])
    op.create_table(
        "job_groups",
        sa.Column("shape", sa.Text, primary_key=True, nullable=False),
        sa.Column("priority", _BIG, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("job_status", _BIG, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("status", sa.Text, primary_key=True, nullable=False),
        sa.Column("banned", sa.Boolean, primary_key=True, nullable=False),
        sa.Column("blocked_clouds", sa.Text, primary_key=True, nullable=False),
        *(sa.Column(name, _BIG, nullable=False) for name in ("jobs", "cluster_id", "proc_id")),
    )
    op.execute(
        "INSERT INTO job_groups"
        " (shape, priority, job_status, status, banned, blocked_clouds, jobs, cluster_id, proc_id)"
        " SELECT shape, priority, job_status, status, banned, blocked_clouds, COUNT(*), MIN(cluster_id), 0"
        " FROM jobs WHERE problem = '' GROUP BY shape, priority, job_status, status, banned, blocked_clouds"
    )
    op.execute(
        "UPDATE job_groups SET proc_id = (SELECT MIN(j.proc_id) FROM jobs j"
        " WHERE j.shape = job_groups.shape AND j.priority = job_groups.priority"
        " AND j.job_status = job_groups.job_status AND j.status = job_groups.status"
        " AND j.banned = job_groups.banned AND j.blocked_clouds = job_groups.blocked_clouds"
        " AND j.cluster_id = job_groups.cluster_id AND j.problem = '')"
    )


def _chain(name: str) -> None:
    texts = ("kind", "verb", "actor", "address", "request_id", "reason")
    about = ("noun", "name", "label", "cloud", "user", "before", "after", "detail", "previous", "hash")
    op.create_table(
        name,
        sa.Column("id", _BIG, primary_key=True, autoincrement=False),
        sa.Column("index", _BIG, nullable=False),
        sa.Column("at", _BIG, nullable=False),
        *(sa.Column(each, sa.Text, nullable=False) for each in texts),
        sa.Column("operation", _BIG),
        sa.Column("wish", _BIG),
        *(sa.Column(each, sa.Text, nullable=False) for each in about),
    )
    for each in ("index", "at", "request_id", "wish", "cloud", "user"):
        op.create_index(f"ix_{name}_{each}", name, [each])
    op.create_index(f"{name}_target", name, ["noun", "name"])


def _ends(name: str) -> None:
    op.create_table(
        name,
        sa.Column("chain", sa.Text, primary_key=True),
        sa.Column("first", _BIG, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("last", _BIG, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
