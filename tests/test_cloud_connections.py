"""How the adapters connect: few connections, which are kept, and to those alone who have the right certificate."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import certificates
import openstack_api
import pytest
from openstack_api import Cloud

from cloudsched.clouds.openstack import OpenStackCloud
from cloudsched.errors import Outage
from cloudsched.model.clouds import BootRequest
from tests.ec2_cloud import Endpoint

NO_INSTANCES = (
    b'<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>'
    b"<reservationSet/></DescribeInstancesResponse>"
)


@contextmanager
def empty(connections: list[object], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """An endpoint without instances, at the URL given, and whom it has spoken to."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connections.append(self.client_address)

        def log_message(self, format: str, *args: object) -> None:
            """Keep no log."""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(NO_INSTANCES)))
            self.end_headers()
            self.wfile.write(NO_INSTANCES)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    address = certificates.url(server, tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_connections_to_an_ec2_are_kept() -> None:
    connections: list[object] = []
    with empty(connections) as url:
        cloud = Endpoint(url).cloud()
        assert [cloud.vms() for _ in range(20)] == [[]] * 20
    assert len(connections) == 1


def test_connections_to_an_openstack_are_kept(nova_api: Cloud) -> None:
    cloud = OpenStackCloud("mouse", "inst", nova_api.login(request_threads=4))
    cloud.vms()
    before = nova_api.connections
    for turn in range(5):
        names = [f"u-{turn}-{number}" for number in range(8)]
        wanted = [BootRequest(name, "n", "alice", "default", image="tiny", flavor="small") for name in names]
        ids = [outcome.id for outcome in cloud.boot(wanted)]
        cloud.vms()
        assert all(outcome.error is None for outcome in cloud.destroy(ids))
    assert len(nova_api.asked) > 80
    assert nova_api.connections - before <= 4 + 2, "one for each thread and service, not one for each request"


def test_a_certificate_of_an_ec2_counts_where_its_authority_is_named(tmp_path: Path) -> None:
    tls, authority = certificates.made(tmp_path)
    with empty([], tls) as url:
        assert Endpoint(url).cloud(ca=str(authority)).vms() == []
        with pytest.raises(Outage, match="CERTIFICATE_VERIFY_FAILED"):
            Endpoint(url).cloud().vms()


def test_a_certificate_of_an_openstack_counts_where_its_authority_is_named(tmp_path: Path) -> None:
    tls, authority = certificates.made(tmp_path)
    with openstack_api.serving(tls) as nova:
        assert OpenStackCloud("mouse", "inst", nova.login(cacert=str(authority))).vms() == []
        with pytest.raises(Outage, match="CERTIFICATE_VERIFY_FAILED"):
            OpenStackCloud("mouse", "inst", nova.login()).vms()
