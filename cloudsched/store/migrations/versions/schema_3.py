"""Schema 3: each line below says which table learns what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """From schema 2."""
    op.add_column("clouds", sa.Column("origin", sa.Text, nullable=False, server_default="file"))
    op.add_column("clouds", sa.Column("request", sa.Text))
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("operation", _BIG),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("made_at", _BIG, nullable=False),
    )
    op.create_index("ix_idempotency_keys_made_at", "idempotency_keys", ["made_at"])
