"""Sockets to listen on: an address and a port, or a Unix socket with owner, group and mode."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from cloudsched.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may open a Unix socket: a mode in octal digits; owner and group, empty for our own."""

    mode: str = "0600"
    owner: str = ""
    group: str = ""

    def give(self, path: str) -> None:
        """Give the rights to a socket. Raises ConfigError for an unknown or forbidden owner or group."""
        try:
            if self.owner:
                shutil.chown(path, user=self.owner)
            if self.group:
                shutil.chown(path, group=self.group)
            Path(path).chmod(int(self.mode, 8))
        except (LookupError, PermissionError) as ex:
            whom = " and ".join(
                f"{kind} {name!r}" for kind, name in (("account", self.owner), ("group", self.group)) if name
            )
            why = "there is no such" if isinstance(ex, LookupError) else "this account may not"
            Path(path).unlink()
            raise ConfigError(f"cannot give the socket {path} to {whom}: {why}.") from ex


def listening_socket(listen: str, port: int, rights: Rights = Rights()) -> socket.socket:
    """A bound socket for an address and port or `unix:PATH`; raises ConfigError saying why there can be none."""
    try:
        return _unix(listen.removeprefix("unix:"), rights) if listen.startswith("unix:") else _tcp(listen, port)
    except OSError as ex:
        place = listen if listen.startswith("unix:") else f"{listen} port {port}"
        why = _REASONS.get(ex.errno or 0, ex.strerror or str(ex))
        raise ConfigError(f"cannot listen on {place}: {why}.") from ex


_REASONS = {
    errno.EADDRINUSE: "another program listens there already",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "permission denied",
}


def _tcp(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _unix(path: str, rights: Rights) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_left_over(path)
        # Nobody may open it before it has its owner, group and mode.
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        rights.give(path)
    except (OSError, ConfigError):
        listener.close()
        raise
    return listener


def _clear_left_over(path: str) -> None:
    """Remove the socket of a process that is gone; one that answers, or another kind of file, stays."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "a file that is no socket is in the way")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) == 0:
            raise OSError(errno.EADDRINUSE, "in use")
    Path(path).unlink()


def url(listen: str, listener: socket.socket) -> str:
    """Where a socket listens, as a URL or `unix:PATH`."""
    if listen.startswith("unix:"):
        return listen
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
