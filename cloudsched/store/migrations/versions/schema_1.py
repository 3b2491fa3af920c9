"""Schema 1: where the way begins. `tables.py` of its time made it; nothing older exists."""

from __future__ import annotations

revision = "1"
down_revision = None


def upgrade() -> None:
    """Nothing to do: every state has at least this schema."""
