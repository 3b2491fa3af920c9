"""A gateway before Nova that forwards, and at a chosen moment of a boot calls what a test wants to happen then."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Moment(Enum):
    """A point of the exchange that makes a server."""

    ASKED = auto()  # the request has come and is not passed on yet
    MADE = auto()  # Nova has answered, the answer is not passed on yet
    ANSWERED = auto()  # the answer has been sent


@dataclass
class Gateway:
    """Forwards to `port`; at `moment` of the next boot calls `event` once, and forwards nothing that was under way."""

    port: int
    url: str = ""
    moment: Moment | None = None
    event: Callable[[], None] = lambda: None

    def at(self, moment: Moment, event: Callable[[], None]) -> None:
        """Script the next boot."""
        self.moment, self.event = moment, event

    def reached(self, moment: Moment) -> bool:
        """Whether this is the moment: then it has been, and is over."""
        if self.moment is not moment:
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
            boots = self.command == "POST" and self.path.endswith("/servers")
            if boots and gateway.reached(Moment.ASKED):
                self.close_connection = True
                return
            status, headers, content = self.forwarded(body)
            if boots and gateway.reached(Moment.MADE):
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            if boots:
                gateway.reached(Moment.ANSWERED)

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
