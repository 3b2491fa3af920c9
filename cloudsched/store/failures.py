"""The one place where the database's errors become ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cloudsched.errors import StateUnavailable

_SQLITE_SENTENCES = (
    ("database is locked", "The state is locked by another program.", 2),
    ("database table is locked", "The state is locked by another program.", 2),
    ("database or disk is full", "The disk that holds the state is full.", 30),
    ("readonly database", "The state is read-only for this process.", 30),
    ("unable to open database file", "The state cannot be opened.", 5),
    ("disk i/o error", "The disk that holds the state fails.", 30),
    ("database disk image is malformed", "The state file is damaged: load a dump into a new one.", 60),
    ("file is not a database", "The state file is not a database.", 60),
    ("no such table", "The state file is empty or not ours.", 5),
    ("no such column", "The state file is not ours.", 60),
)

_SERVER_SENTENCES = {
    "25006": ("The state is read-only for this process.", 30),
    "55P03": ("The state is busy: another process did not finish writing in time.", 2),
    "42501": ("The database refuses this user: it must own the tables or the schema.", 60),
}
"""By SQLSTATE (PostgreSQL manual, appendix A): read_only_sql_transaction, lock_not_available,
insufficient_privilege."""

_LOGIN_SENTENCES = (
    ("connection refused", "nothing listens there"),
    ("no such file or directory", "nothing listens there"),
    ("could not translate host name|failed to resolve host", "there is no such host"),
    ("timeout expired|no route to host", "nothing answers there"),
    ("password authentication failed", "it refuses this user's password"),
    ("no password supplied", "it wants a password, and none was given"),
    ("pg_hba.conf", "its pg_hba.conf does not let this user in from here"),
    ("peer authentication failed", "it wants another account of this host for this user"),
    ('role ".*" does not exist', "it has no such user"),
    ('database ".*" does not exist', "it has no such database"),
    ("system is starting up", "it is starting"),
    ("system is shutting down", "it is stopping"),
    ("too many clients|connection slots are reserved", "it has no connection left"),
)
"""By libpq's words, as a login that fails has no SQLSTATE; its own text may name more than it should."""

_ANOTHER_TIME = ("OperationalError", "InternalError")
"""PostgreSQL's errors that go away by themselves; a server that is read-only after a failover is an InternalError."""


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Raise StateUnavailable, in words, for what a database answers when it cannot do its work now.

    Errors that only a mistake of ours can cause (a broken constraint, bad SQL) pass unchanged.
    """
    try:
        yield
    except PoolTimeout as ex:
        raise StateUnavailable("The state is busy: no connection became free.") from ex
    except InterfaceError as ex:
        raise StateUnavailable("The connection to the state broke.") from ex
    except DatabaseError as ex:
        raise (_sentence(ex, url) or ex) from ex


def _sentence(ex: DBAPIError, url: URL) -> StateUnavailable | None:
    if url.get_backend_name() != "sqlite":
        return _server_sentence(ex, url)
    text = str(ex.orig).lower()
    for words, sentence, retry_after in _SQLITE_SENTENCES:
        if words in text:
            return StateUnavailable(sentence, retry_after=retry_after)
    return None


def _server_sentence(ex: DBAPIError, url: URL) -> StateUnavailable | None:
    sentence, retry_after = _SERVER_SENTENCES.get(getattr(ex.orig, "sqlstate", None) or "", ("", 0))
    if sentence:
        return StateUnavailable(sentence, retry_after=retry_after)
    if ex.connection_invalidated or type(ex).__name__ in _ANOTHER_TIME:
        place = f"{url.database!r} on {url.host or 'this host'}"
        return StateUnavailable(f"The database {place} does not answer as it should{_why(ex)}.", retry_after=5)
    return None


def _why(ex: DBAPIError) -> str:
    """What is known of a login that failed, for the sentence's end."""
    text = str(ex.orig).lower()
    return next((f": {told}" for words, told in _LOGIN_SENTENCES if re.search(words, text)), "")
