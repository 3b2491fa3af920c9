"""As much of the Network API as Nova asks for when servers have no network: `network.py PORT`.

There are no networks and no ports, and two security groups, `default` and `web`. What servers do with real networks
cannot be tested against this.
"""

import json
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

GROUPS = [
    {
        "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        "name": name,
        "description": "",
        "security_group_rules": [],
    }
    for name in ("default", "web")
]
EMPTY = {"ports", "networks", "subnets", "floatingips", "extensions", "quotas", "routers", "agents"}


class Network(BaseHTTPRequestHandler):
    """GET for what is there, 404 for everything else."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep no log."""

    def do_GET(self) -> None:
        """Answer one question."""
        asked = urlparse(self.path)
        parts, query = [part for part in asked.path.split("/") if part], parse_qs(asked.query)
        match parts:
            case []:
                link = {"rel": "self", "href": f"http://127.0.0.1:{self.server.server_port}/v2.0/"}
                self._answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})
            case ["v2.0"]:
                self._answer(200, {"resources": []})
            case ["v2.0", "security-groups"]:
                wanted = {each: query[each] for each in ("id", "name") if each in query}
                found = [group for group in GROUPS if all(group[each] in wanted[each] for each in wanted)]
                self._answer(200, {"security_groups": found})
            case ["v2.0", "security-groups", name] if name in [group["id"] for group in GROUPS]:
                self._answer(200, {"security_group": next(group for group in GROUPS if group["id"] == name)})
            case ["v2.0", kind] if kind in EMPTY:
                self._answer(200, {kind: []})
            case _:
                self._answer(404, {"NeutronError": {"type": "NotFound", "message": self.path, "detail": ""}})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Network).serve_forever()
