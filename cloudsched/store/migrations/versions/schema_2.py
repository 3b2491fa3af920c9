"""Schema 2: each line below says which table learns what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """From schema 1."""
    op.add_column("state", sa.Column("engine", sa.Text, nullable=False, server_default=""))
    op.add_column("clouds", sa.Column("trouble", sa.Text))
    op.add_column("queue_jobs", sa.Column("proxy", sa.Text, nullable=False, server_default="{}"))
