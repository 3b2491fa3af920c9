"""One proxy file: when it ends, and its renewal by the configured commands (PARITY 7.1, 8.4).

The file is a user's and may be changed under our hands: it is opened once, by a directory that is held open, and its
replacement appears whole, with the same owner and mode.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from cloudsched.config.options import Global
from cloudsched.engine.sources import OwnFile, read_own
from cloudsched.errors import BadRequirement, Conflict, Transient
from cloudsched.model.proxies import Proxy
from cloudsched.policy.proxies import logon, obstacle

LOGON_SECONDS = 20.0
OPENSSL_SECONDS = 10.0

_MOST_CERTIFICATES = 10
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Renewal:
    """The commands that read and renew proxies; what was read is remembered while a file stays as it is."""

    def __init__(self, settings: Global, logon_seconds: float = LOGON_SECONDS) -> None:
        self._logon_seconds = logon_seconds
        self._openssl, self._logon = settings.openssl_path, shlex.split(settings.myproxy_logon_command)
        self._scratch = settings.state_dir
        self._known: dict[tuple[str, int, int], int] = {}

    def end(self, proxy: Proxy, uid: int) -> int:
        """When the proxy in a file of account `uid` ends, in Unix seconds. Raises BadRequirement, Transient."""
        with _opened(Path(proxy.path)) as directory:
            return self._end(read_own(Path(proxy.path), uid, directory))

    def renew(self, proxy: Proxy, uid: int) -> int:
        """Replace the proxy by a new one of MyProxy's; returns when that ends.

        Raises Conflict where nothing can be asked for, BadRequirement for the file, Transient for MyProxy.
        """
        problem = obstacle(proxy)
        if problem:
            raise Conflict(problem)
        with _opened(Path(proxy.path)) as directory:
            present = read_own(Path(proxy.path), uid, directory)
            fresh = self._fresh(proxy, present.content)
            end = self._content_end(proxy.path, fresh)
            _replace(directory, present, fresh)
        return end

    def forget_all_but(self, paths: set[str]) -> None:
        """Forget what was read of files that nobody uses any more."""
        self._known = {key: end for key, end in self._known.items() if key[0] in paths}

    def _end(self, own: OwnFile) -> int:
        key = (str(own.path), *own.changed)
        if key not in self._known:
            self._known[key] = self._content_end(str(own.path), own.content)
        return self._known[key]

    def _content_end(self, path: str, content: bytes) -> int:
        """The end of the certificate that ends first: a proxy is of no use without those that vouch for it."""
        certificates = _CERTIFICATE.findall(content)[:_MOST_CERTIFICATES]
        if not certificates:
            raise BadRequirement(f"The file {path} holds no proxy.")
        return min(self._certificate_end(path, each) for each in certificates)

    def _certificate_end(self, path: str, certificate: bytes) -> int:
        answer = _run([self._openssl, "x509", "-noout", "-enddate"], certificate + b"\n", OPENSSL_SECONDS)
        try:
            return ssl.cert_time_to_seconds(answer.partition("notAfter=")[2].strip())
        except ValueError:
            raise BadRequirement(f"The file {path} holds a certificate that cannot be read.") from None

    def _fresh(self, proxy: Proxy, content: bytes) -> bytes:
        """A new proxy from MyProxy, asked with a private copy of the present one."""
        with tempfile.TemporaryDirectory(prefix=".renewal-", dir=self._scratch) as scratch:
            present, fresh = Path(scratch, "present"), Path(scratch, "fresh")
            present.touch(0o600)
            present.write_bytes(content)
            words = logon(self._logon, proxy, str(present), str(fresh))
            _run(words, b"", self._logon_seconds, self._logon[-1])
            try:
                return fresh.read_bytes()
            except OSError:
                raise Transient(f"{self._logon[-1]} has made no proxy for {proxy.path}.") from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as ex:
        reason = ex.strerror if isinstance(ex, OSError) else ex
        raise BadRequirement(f"The file {path} cannot be read: {reason}.") from None
    try:
        yield directory
    finally:
        os.close(directory)


def _replace(directory: int, present: OwnFile, content: bytes) -> None:
    name = f".{present.path.name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchown(descriptor, present.uid, present.gid)
            os.fchmod(descriptor, present.mode)
            os.fsync(descriptor)
        os.replace(name, present.path.name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError as ex:
        raise Transient(f"The renewed proxy {present.path} cannot be written: {ex.strerror}.") from None


def _run(words: Sequence[str], given: bytes, seconds: float, name: str = "") -> str:
    """Run a command with `given` as its input; returns what it says. Raises Transient with its last words.

    `name` is what it is called, where its first word only leads to it (`ssh HOST myproxy-logon`).
    """
    name = name or words[0]
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, start_new_session=True)
    except OSError as ex:
        raise Transient(f"{words[0]} cannot be run: {ex.strerror}.") from None
    with process:
        try:
            said = process.communicate(given, timeout=seconds)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Transient(f"{name} gave no answer within {seconds:g} seconds.") from None
    if process.returncode:
        last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it failed")
        raise Transient(f"{name}: {last.rstrip('.')}.")
    return said
