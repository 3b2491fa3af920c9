"""A gateway before Nova that forwards, and at a chosen moment of an exchange calls what a test wants to happen then."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Moment(Enum):
    """A point of the exchange that makes or ends a server."""

    ASKED = auto()  # the request has come and is not passed on yet
    MADE = auto()  # Nova has done it and answered, the answer is not passed on yet
    ANSWERED = auto()  # the answer has been sent


@dataclass
class Gateway:
    """Forwards to `port`; at `moment` of the next exchange of `method` calls `event` once.

    Then it forwards nothing that was under way. POST makes servers, DELETE ends them.
    """

    port: int
    url: str = ""
    moment: Moment | None = None
    method: str = "POST"
    event: Callable[[], None] = lambda: None

    def at(self, moment: Moment, event: Callable[[], None], method: str = "POST") -> None:
        """Script the next boot, or the next end."""
        self.moment, self.event, self.method = moment, event, method

    def reached(self, moment: Moment, method: str, path: str) -> bool:
        """Whether this is the moment: then it has been, and is over."""
        about_servers = path.endswith("/servers") if method == "POST" else "/servers/" in path
        if self.moment is not moment or method != self.method or not about_servers:
            return False
        self.moment = None
        self.event()
        return True


@contextmanager
def before(port: int) -> Iterator[Gateway]:
    """Serve a gateway until the block ends."""
    gateway = Gateway(port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Keep no log."""

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if gateway.reached(Moment.ASKED, self.command, self.path):
                self.close_connection = True
                return
            status, headers, content = self.forwarded(body)
            if gateway.reached(Moment.MADE, self.command, self.path):
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            gateway.reached(Moment.ANSWERED, self.command, self.path)

        def forwarded(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            upstream = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=300)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                upstream.close()

        do_GET = do_POST = do_DELETE = handle_any

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was killed is what this is for."""

    server = Server(("127.0.0.1", 0), Handler)
    gateway.url = f"http://127.0.0.1:{server.server_port}/v2.1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
