"""How our commands speak to the two daemons: one request, one whole answer, and who may see the token.

The only home of requests. It refuses what would carry a token astray or surprise an operator: redirects are not
followed, and proxies, netrc and other environment settings of the HTTP library are not used.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from cloudsched.errors import BadRequest, CloudschedError

CONNECT_SECONDS = 5.0
TOKEN_VARIABLE = "CLOUDSCHED_TOKEN"
UNKNOWN = "What was asked may still be done."
_UNIX = "unix:"
_ANY_ADDRESS = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}


class NoAnswer(CloudschedError):
    """No whole answer came; the text is one or two lines for a person (PARITY 4.1)."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a daemon listens: `host` is a name, an IP address or `unix:PATH`, which needs no port."""

    host: str
    port: str = ""

    @classmethod
    def of(cls, host: str, port: str) -> Address:
        """An address as typed or configured; the wildcard addresses mean this machine's loopback.

        Raises BadRequest for a port that is not an integer from 1 to 65535, and for a host that cannot be one.
        """
        if host.startswith(_UNIX):
            return cls(host)
        if set(host) & set("/?#@\\ \t") or host.count(":") == 1:
            raise BadRequest(f"{host!r} is not a host name, an IP address or unix:PATH.", parameter="server-hostname")
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise BadRequest(f"port {port!r} is not an integer from 1 to 65535.", parameter="port")
        return cls(_ANY_ADDRESS.get(host, host), port)

    @property
    def socket_path(self) -> str:
        """The path of a Unix socket, empty for TCP."""
        return self.host.removeprefix(_UNIX) if self.host.startswith(_UNIX) else ""

    @property
    def base_url(self) -> str:
        """The URL of the daemon's root, ended by a slash."""
        if self.socket_path:
            return "http://localhost/"
        bare_ipv6 = ":" in self.host and not self.host.startswith("[")
        return f"http://[{self.host}]:{self.port}/" if bare_ipv6 else f"http://{self.host}:{self.port}/"

    def is_this_machine(self) -> bool:
        """Whether only this machine can be meant: a socket, a loopback address, `localhost` or the node's name."""
        if self.socket_path or self.host in ("localhost", socket.gethostname()):
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the daemon answered; `failed` means it did not do, or accept, what was asked."""

    status: int
    text: str
    location: str = ""

    @property
    def failed(self) -> bool:
        """Whether the status tells of a failure: 202 (accepted) does not, a redirect does."""
        return self.status >= 300

    @property
    def accepted(self) -> bool:
        """Whether the verb is recorded and still under way."""
        return self.status == 202


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: `document` travels as JSON, `params` in the query beside it, of GET and of DELETE, else as a form.

    `key` names it to the daemon, which does it once however often it comes; reading needs none. `as_json` asks for the
    answer's JSON form.
    """

    method: str
    segments: Sequence[str]
    params: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, Any] | None = None
    as_json: bool = False
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests to one daemon for `program`, whose name appears in v1's complaint about a dead server.

    A verb whose connection ends before its answer has come is sent again under its key after each of `pauses`, in
    seconds: the daemon may have done it, and tells so.
    """

    address: Address
    program: str
    token: str = field(default="", repr=False)
    timeout_seconds: float = 60.0
    pauses: tuple[float, ...] = (0.2, 1.0, 3.0)

    def url(self, segments: Sequence[str]) -> str:
        """The URL of a path, each segment quoted with no safe characters; BadRequest for one no URL can hold."""
        return self.address.base_url + "/".join(_quoted(each) for each in segments)

    def send(
        self,
        method: str,
        segments: Sequence[str],
        params: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> Answer:
        """`ask`, for a request that needs nothing special."""
        return self.ask(Ask(method, segments, params or {}, document))

    def ask(self, ask: Ask) -> Answer:
        """The answer to one request: its document as JSON; parameters beside it, of GET and DELETE in the query, else
        as a form.

        Raises NoAnswer when no whole answer came within the timeouts, BadRequest for a name no URL can hold.
        """
        lost, pauses = False, iter(() if ask.reads else self.pauses)
        while True:
            try:
                return self._exchange(self._request(ask))
            except (requests.ReadTimeout, TimeoutError) as ex:
                raise NoAnswer(self._silent()) from ex
            except (requests.RequestException, http.client.HTTPException, OSError, ValueError) as ex:
                lost = lost or _is_cut(ex)
                pause = next(pauses, None) if lost else None
                if pause is None:
                    raise NoAnswer(self._complaint(ex) + ("\n" + UNKNOWN if lost and not ask.reads else "")) from ex
                time.sleep(pause)

    def _request(self, ask: Ask) -> requests.PreparedRequest:
        values = {name: value.encode("utf-8", "surrogateescape") for name, value in ask.params.items()}
        in_query = ask.method in ("GET", "DELETE") or ask.document is not None
        return requests.Request(
            ask.method,
            self.url(ask.segments),
            headers=self._headers(ask),
            params=values if in_query else None,
            data=None if in_query else values,
            json=ask.document,
        ).prepare()

    def _headers(self, ask: Ask) -> dict[str, str]:
        found = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        found |= {} if ask.reads else {"Idempotency-Key": ask.key}
        return found | ({"Accept": "application/json"} if ask.as_json else {})

    def _complaint(self, ex: Exception) -> str:
        is_unreachable = isinstance(ex, (requests.ConnectionError, http.client.HTTPException))
        if isinstance(ex, (requests.RequestException, ValueError)) and not is_unreachable:
            return f"Unexpected error:  {type(ex)} {ex}\n{self._is_it_running()}"
        return self._refused()

    def _exchange(self, request: requests.PreparedRequest) -> Answer:
        if self.address.socket_path:
            return _over_socket(self.address.socket_path, request, self.timeout_seconds)
        with requests.Session() as session:
            session.trust_env = False
            timeouts = (CONNECT_SECONDS, self.timeout_seconds)
            reply = session.send(request, timeout=timeouts, allow_redirects=False)
            location = reply.headers.get("Location", "")
            return Answer(reply.status_code, reply.content.decode("utf-8", "replace"), location)

    def _place(self) -> str:
        return self.address.host + (f" on port {self.address.port}" if self.address.port else "")

    def _is_it_running(self) -> str:
        return f"Is the cloud scheduler running{f' on port {self.address.port}' if self.address.port else ''}?"

    def _refused(self) -> str:
        return f"{self.program}: couldn't connect to cloud scheduler at {self._place()}.\n{self._is_it_running()}"

    def _silent(self) -> str:
        return (
            f"{self.program}: no answer from cloud scheduler at {self._place()} within"
            f" {self.timeout_seconds:g} seconds.\n{UNKNOWN}"
        )


def _is_cut(ex: BaseException | None) -> bool:
    """Whether a connection ended that had been made: what was sent may have been heard."""
    while ex is not None:
        if isinstance(ex, (ConnectionResetError, BrokenPipeError, http.client.HTTPException)):
            return True
        ex = ex.__cause__ or ex.__context__
    return False


def _quoted(segment: str) -> str:
    if segment in ("", ".", ".."):
        raise BadRequest(f"{segment!r} cannot be a name: a name is not empty, '.' or '..'.", parameter="name")
    return quote(segment, safe="", errors="surrogateescape")


def _over_socket(path: str, request: requests.PreparedRequest, timeout_seconds: float) -> Answer:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(CONNECT_SECONDS)
        channel.connect(path)
        channel.settimeout(timeout_seconds)
        connection = http.client.HTTPConnection("localhost", timeout=timeout_seconds)
        connection.sock = channel
        connection.request(request.method or "GET", request.path_url, request.body, dict(request.headers))
        with connection.getresponse() as reply:
            location = reply.headers.get("Location", "")
            return Answer(reply.status, reply.read().decode("utf-8", "replace"), location)


def find_token(address: Address, listen: str, token_file: Path | None, env: Mapping[str, str]) -> str:
    """The bearer token to send to `address`, or an empty string.

    CLOUDSCHED_TOKEN goes to whatever host the user named. The token file belongs to the daemon of this installation:
    it is used only towards this machine or the `listen` address configured for that daemon, and only if readable;
    None where that daemon wants no token.
    Raises BadRequest for a token no header can hold.
    """
    token = env.get(TOKEN_VARIABLE, "").strip()
    if not token and token_file and (address.is_this_machine() or address.host == listen):
        token = _content(token_file).strip()
    if not all(33 <= ord(each) < 127 for each in token):
        raise BadRequest("The token may hold only printable ASCII characters and no spaces.", parameter="token")
    return token


def _content(token_file: Path) -> str:
    try:
        return token_file.read_text("utf-8", "replace")
    except OSError:
        return ""
