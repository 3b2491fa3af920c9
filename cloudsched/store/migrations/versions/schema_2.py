"""Schema 2: the state row tells which process is its engine, a cloud what trouble it is in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """From schema 1."""
    op.add_column("state", sa.Column("engine", sa.Text, nullable=False, server_default=""))
    op.add_column("clouds", sa.Column("trouble", sa.Text))
