"""Where a test's state is: an SQLite file in its directory, or a database of a real PostgreSQL server.

The fixture `database` of conftest.py decides which; whatever opens a state in a test asks here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from postgresql import Server

from cloudsched.store import Store

_servers: list[Server] = []
_names: dict[Path, str] = {}
_opened: list[Store] = []


@contextmanager
def on(server: Server) -> Iterator[None]:
    """Within, states are on this server, a database for each directory."""
    _servers.append(server)
    try:
        with cleared():
            yield
    finally:
        _servers.pop()


@contextmanager
def cleared() -> Iterator[None]:
    """At the end, close the stores that were opened within and give back the databases that were made."""
    before, stores = set(_names), len(_opened)
    yield
    while len(_opened) > stores:
        _opened.pop().close()
    for directory in _names.keys() - before:
        _servers[-1].give_back(_names.pop(directory))


def url(directory: Path) -> str:
    """The `database_url` of the state whose directory this is."""
    if not _servers:
        return f"sqlite:///{directory / 'state.db'}"
    if directory not in _names:
        _names[directory] = _servers[-1].create_state()
    return _servers[-1].url(_names[directory])


def options(directory: Path) -> dict[str, str]:
    """The `[global]` options that a state in this directory needs beside `state_dir`."""
    return {"database_url": url(directory)} if _servers else {}


def open_store(directory: Path, *, read_only: bool = False) -> Store:
    """The store of the state whose directory this is; it is closed at the end of its test, if not before."""
    _opened.append(Store.open(url(directory), directory, read_only=read_only))
    return _opened[-1]
