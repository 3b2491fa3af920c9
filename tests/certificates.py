"""A certificate for a server of a test on 127.0.0.1, which is its own authority."""

from __future__ import annotations

import ssl
import subprocess
from http.server import HTTPServer
from pathlib import Path


def made(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """What the server wraps its socket in, and the file that a client must trust."""
    key, certificate = directory / "server.key", directory / "server.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    command = ["openssl", "req", "-x509", *new, *subject, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def url(server: HTTPServer, tls: ssl.SSLContext | None) -> str:
    """Where a server that is not serving yet will answer: by HTTPS where it is given how."""
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    return f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
