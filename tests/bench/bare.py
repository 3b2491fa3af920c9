"""The peers: a bare WSGI application that returns the same bytes, on Waitress tuned as ours is, or as it comes.

`python -m tests.bench.bare tuned|default THREADS`, a JSON object of target to [content type, file] on standard input.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from waitress.server import create_server

from cloudsched.web.serve import made


def application(documents: dict[str, tuple[str, bytes]]) -> Callable[..., Iterable[bytes]]:
    """Ready bytes by target; 304 to whoever has something."""
    ready = {
        target: ([("Content-Type", kind), ("Content-Length", str(len(body)))], [body])
        for target, (kind, body) in documents.items()
    }
    known = [("ETag", '"1"')]

    def bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "HTTP_IF_NONE_MATCH" in environ:
            start_response("304 Not Modified", known)
            return []
        headers, body = ready[environ["REQUEST_URI"]]
        start_response("200 OK", headers)
        return body

    return bare


def main(kind: str, threads: str) -> int:
    """Serve until killed; prints the port."""
    given = json.load(sys.stdin)
    app = application({target: (each[0], Path(each[1]).read_bytes()) for target, each in given.items()})
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = made(app, listener, int(threads)) if kind == "tuned" else create_server(app, sockets=[listener])
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        server.asyncore.loop(timeout=1, use_poll=kind == "tuned", map=server._map, count=1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
