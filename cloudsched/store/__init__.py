"""The shared state module: tables, every SQL statement, the state row (DESIGN 2).

One file per noun. Functions named `wish_*` are the admin daemon's, as are those that make or revoke tokens, `record_*`
the engine's, the others anyone's.
"""

from sqlalchemy import Connection

from cloudsched.store.connect import StateRow, Store, Writing, state_row

__all__ = ["Connection", "StateRow", "Store", "Writing", "state_row"]
