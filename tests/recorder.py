"""A real HTTP server for tests of clients: it records each request and answers what it was told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingUnixStreamServer
from urllib.parse import unquote

BODY = "the answer"
ODD_NAMES = [
    "test/name?x#y 100%",
    'it\'s "so"',
    "château ☃",
    "sched.example.org#245.698#1282577354",
    "%2F",
    "a+b&c=d",
    "...",
]
Run = Callable[..., int]


def names_in(path: str) -> list[str]:
    """The segments of a recorded path, each decoded once."""
    return [unquote(each) for each in path.split("/")]


@dataclass
class Recorder:
    """What came in, as (method, raw target, body), and what goes out; `released` holds answers back until set."""

    host: str = ""
    port: str = ""
    status: int = 200
    body: bytes = BODY.encode()
    cut_short: bool = False
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            recorder.requests.append((self.command, self.path, body.decode()))
            recorder.headers.append(dict(self.headers))
            recorder.released.wait(60)
            self.send_response(recorder.status)
            self.send_header("Content-Length", str(len(recorder.body) + recorder.cut_short))
            self.send_header("Location", f"http://{recorder.host}:{recorder.port}/elsewhere")
            self.end_headers()
            self.wfile.write(recorder.body)
            self.close_connection = True

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

        def address_string(self) -> str:
            return "client"

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def recording(socket_path: str = "") -> Iterator[Recorder]:
    """Serve on a free port of loopback, or on a Unix socket, until the block ends."""
    recorder = Recorder()
    recorder.released.set()
    if socket_path:
        server = ThreadingUnixStreamServer(socket_path, _handler(recorder))
        recorder.host = f"unix:{socket_path}"
    else:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(recorder))
        recorder.host, recorder.port = "127.0.0.1", str(server.server_address[1])
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield recorder
    finally:
        recorder.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
