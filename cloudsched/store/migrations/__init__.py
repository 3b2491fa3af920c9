"""How the state of one schema version becomes the next: one Alembic revision per `tables.SCHEMA_VERSION`.

A revision is named by the schema version that it makes ("2" revises "1"), so that the version in the state row is the
only truth; Alembic's own version table exists inside the upgrade's transaction only (`store/upgrade.py`). A new state
is made from `tables.metadata`, never by walking these revisions; a test holds the two equal on both databases.

To change the schema before it is released: change `tables.py`, and the newest revision in `versions/` with it. After
its release: raise `SCHEMA_VERSION`, keep a state of the old one as SQL text in `tests/schemas/`, add a revision. A
revision says what it needs in full, for `tables.py` goes on changing: it imports nothing of ours. Rows that it adds to
tables that readers follow need no revision of their own: the upgrade makes every reader load anew. SQLite knows no
`ALTER` but `ADD COLUMN`, `RENAME` and `DROP COLUMN`: anything else by `op.batch_alter_table`. There is no way back:
what an older release cannot read it refuses, and docs/upgrade.md says what to keep for a return.
"""
