"""The sample configuration with a real nginx before both real daemons: TLS, certificates, names with %2F."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection, socket
from typing import Any

import golden_state
import pytest

from cloudsched.store import Store, operations
from tests.real.debs import absent, unpacked

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("nginx")]

SAMPLE = Path(__file__).parents[2] / "contrib" / "nginx" / "cloudsched.conf"
BIN = Path(sys.executable).parent
SECONDS = 300.0
SUBJECTS = {
    "alice": "/O=Example/CN=alice",
    "night": "/O=Example/CN=night shift",
    "munin": "/O=Example/OU=monitoring/CN=munin",
    "stranger": "/O=Elsewhere/CN=alice",
}


@dataclass(frozen=True)
class Front:
    """nginx before the daemons: ports of 127.0.0.1, the clients' certificates, the first token."""

    admin: int
    info: int
    certificates: Path
    store: Store
    token: str

    def ask(self, port: int, request: str, client: str = "", **headers: str) -> tuple[int, str]:
        """Status and text of `METHOD TARGET`, asked with a client's certificate and headers (`_` for `-`)."""
        trust = ssl.create_default_context(cafile=self.certificates / "authority.pem")
        if client:
            trust.load_cert_chain(self.certificates / f"{client}.pem", self.certificates / f"{client}.key")
        method, target = request.split()
        connection = http.client.HTTPSConnection("localhost", port, context=trust, timeout=SECONDS)
        target, _, body = target.partition("?")
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body=body or None, headers=form | sent)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def free_port() -> int:
    with socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def openssl(directory: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True, timeout=SECONDS)


def issue(directory: Path) -> None:
    """An authority, the server's certificate and one for each client."""
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for authority in ("authority", "other"):
        files = ("-keyout", f"{authority}.key", "-out", f"{authority}.pem")
        openssl(directory, "req", "-x509", *new, "-days", "2", "-subj", f"/CN={authority}", *files)
    for name, subject in {"server": "/CN=localhost", **SUBJECTS, "foreign": "/O=Example/CN=alice"}.items():
        openssl(directory, "req", *new, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signer = "other" if name == "foreign" else "authority"
        extension = directory / f"{name}.ext"
        extension.write_text("subjectAltName=DNS:localhost\n")
        by = ("-CA", f"{signer}.pem", "-CAkey", f"{signer}.key", "-CAcreateserial", "-extfile", extension.name)
        openssl(directory, "x509", "-req", "-in", f"{name}.csr", *by, "-days", "2", "-out", f"{name}.pem")


def nginx_binary() -> Path:
    """The host's nginx, or Debian's unpacked."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found:
        return Path(found)
    place = Path(tempfile.gettempdir(), f"cloudsched-real-{os.geteuid()}", "nginx")
    return unpacked(place, ["nginx"]) / "usr" / "sbin" / "nginx"


def configured(front: Path, changes: dict[str, str]) -> str:
    """The sample with other places, inside what a main configuration is."""
    text = SAMPLE.read_text("utf-8")
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"{kind}_temp_path {front}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"{user} daemon off; pid {front}/pid; error_log {front}/error.log;\nevents {{}}\n"
    return f"{head}http {{\naccess_log {front}/access.log;\n{temporary}{text}}}\n"


@contextmanager
def running(command: list[str], **variables: str) -> Iterator[None]:
    environment = {**os.environ, **variables}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(SECONDS)


def wait_for(what: str, ready: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def answers(port: int) -> bool:
    try:
        create_connection(("127.0.0.1", port), SECONDS).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    if not shutil.which("openssl"):
        absent("needs openssl")
    binary = nginx_binary()
    # A Unix socket's path holds 107 characters at most.
    place = Path(tempfile.mkdtemp(prefix="nginx"))
    state = place / "state"
    store = Store.open(f"sqlite:///{state / 'state.db'}", state)
    golden_state.load(store, int(time.time()))
    issue(place)
    ports = {8112: free_port(), 8111: free_port()}
    changes = {f"listen {port} ssl": f"listen 127.0.0.1:{free} ssl" for port, free in ports.items()}
    changes |= {f"/run/cloudsched/{name}.sock": f"{place}/{name}.sock" for name in ("admin", "info")}
    changes |= {"/etc/nginx/cloudsched/clients.pem": f"{place}/authority.pem", "/etc/nginx/cloudsched/": f"{place}/"}
    (place / "nginx.conf").write_text(configured(place, changes))
    options = {"state_dir": str(state), "info_auth": "token", "trusted_proxies": "unix", "verb_wait_seconds": "0"}
    options |= {f"{name}_listen": f"unix:{place}/{name}.sock" for name in ("admin", "info")}
    variables = {f"CLOUDSCHED_GLOBAL_{name.upper()}": value for name, value in options.items()}
    with ExitStack() as stack:
        for name in ("admin", "info"):
            stack.enter_context(running([str(BIN / f"{name}_server")], **variables))
            wait_for(f"{name}_server", (place / f"{name}.sock").exists)
        stack.enter_context(running([str(binary), "-p", str(place), "-c", str(place / "nginx.conf")]))
        wait_for("nginx", lambda: answers(ports[8112]) and answers(ports[8111]))
        token = (state / "admin.token").read_text().strip()
        yield Front(ports[8112], ports[8111], place, store, token)
    store.close()
    shutil.rmtree(place)


def test_token_passes_through_and_nothing_else_does(front: Front) -> None:
    assert front.ask(front.info, "GET /cloud")[0] == 401
    assert front.ask(front.admin, "GET /settings", Authorization="Bearer wrong")[0] == 401
    assert front.ask(front.admin, "GET /settings", Authorization=f"Bearer {front.token}")[0] == 200
    assert front.ask(front.info, "GET /health/live")[0] == 200


def test_certificate_has_the_role_of_its_subject(front: Front) -> None:
    wanted = {"alice": (200, 202, 202), "night": (200, 202, 403), "munin": (200, 403, 403), "stranger": (401,) * 3}
    cloud = golden_state.golden().clouds[0].name
    requests = ("GET /settings", f"PUT /clouds/{cloud}?action=enable", "PUT /settings?quick_exit=false")
    found = {client: tuple(front.ask(front.admin, each, client)[0] for each in requests) for client in wanted}
    assert found == wanted
    assert front.ask(front.info, "GET /clusters", "munin")[0] == 200


def test_certificate_of_another_authority_is_refused(front: Front) -> None:
    assert front.ask(front.admin, "GET /settings", "foreign")[0] == 400


@pytest.mark.parametrize("client", ["", "stranger", "munin"])
def test_role_cannot_be_claimed_by_the_client(front: Front, client: str) -> None:
    claimed = {"X_Cloudsched_Role": "admin", "X_Cloudsched_User": "root", "X_Real_IP": "192.0.2.1"}
    status, _ = front.ask(front.admin, "PUT /settings?quick_exit=false", client, **claimed)
    assert status == (403 if client == "munin" else 401)


def test_record_tells_the_person_and_the_address(front: Front) -> None:
    status, text = front.ask(front.admin, "PUT /settings?log_level=INFO", "alice", Accept="application/json")
    assert status == 202
    assert operations.actor(front.store, json.loads(text)["id"]) == "proxy:CN_alice_O_Example@127.0.0.1"


def test_browser_with_a_certificate_sends_no_verbs_for_other_sites(front: Front) -> None:
    origin = {"Origin": "https://elsewhere.example"}
    assert front.ask(front.admin, "PUT /settings?quick_exit=false", "alice", **origin)[0] == 403
    assert front.ask(front.info, "GET /clusters", "alice", **origin)[0] == 200


@pytest.mark.parametrize("name", ["test%2Fname%3Fx%23y%20100%25", "a%2F..%2Fb", "%2F", "a%5Cb"])
def test_awkward_names_arrive_as_they_were(front: Front, name: str) -> None:
    status, text = front.ask(front.info, f"GET /clusters/{name}", "munin", Accept="application/json")
    assert status == 404
    assert json.loads(text)["instance"] == f"/clusters/{name}"
