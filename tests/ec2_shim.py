"""An EC2 endpoint for tests: moto's server behind what moto lacks, scripted by a small control URL.

moto answers shapes and keeps instances. Here are added: ClientToken as Amazon has it, capacity, errors, slow and
failing boots, slow, lost and doubled answers. Run as a process of its own: `python -m tests.ec2_shim` prints its URL.

`PUT /_shim` takes a JSON object: `rules` (below), `tokens` (false: ClientTokens mean nothing, as on some clouds),
`capacity` (how many instances there may be), `boot_seconds` (how long they are pending), `page` (how many reservations
a page of a listing has at most). `DELETE /_shim` forgets everything, `GET /_shim` tells the requests so far, the most
that were answered at once, and the live instances.

A rule is for the next `times` requests (for all without it) of one `action`: answer with the `error` of a `status`;
wait `before` or `after` making the change; send nothing back (`lost`); make the change twice (`twice`); let the
instances it makes end by themselves (`dies`, with this sentence).
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode
from xml.sax.saxutils import escape

from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance, StateReason
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
_ACCOUNT, _REGION = "123456789012", "us-east-1"
_UNSIGNED = frozenset({"ClientToken", "Action", "Version"})


@dataclass
class Answer:
    """What moto answered, or what is answered in its place."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Asked:
    """The first request under a ClientToken; others wait until it has its answer."""

    parameters: Mapping[str, str]
    done: threading.Event = field(default_factory=threading.Event)
    answer: Answer | None = None


@dataclass
class Script:
    """How the endpoint behaves, and what it has been asked."""

    rules: list[dict[str, Any]] = field(default_factory=list)
    tokens: bool = True
    capacity: int | None = None
    boot_seconds: float = 0.0
    page: int | None = None
    at_once: int = 0
    most_at_once: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)


class Shim:
    """The WSGI application."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._script = Script()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"] == "/_shim":
            return _send(self._control(environ["REQUEST_METHOD"], body), start_response)
        form = {name: values[-1] for name, values in parse_qs(body.decode()).items()}
        rule = self._rule(form.get("Action", ""))
        seen = {"action": form.get("Action", ""), "token": form.get("ClientToken", ""), "at": time.time()}
        self._script.requests.append(seen)
        with self._counted():
            time.sleep(rule.get("before", 0))
            answer = self._answer(environ, form, rule)
            seen["status"] = int(answer.status.split()[0])
            time.sleep(rule.get("after", 0))
        if rule.get("lost"):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionError("the script says so")
        return _send(answer, start_response)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        script = self._script
        with self._lock:
            script.at_once += 1
            script.most_at_once = max(script.most_at_once, script.at_once)
        try:
            yield
        finally:
            with self._lock:
                script.at_once -= 1

    def _control(self, method: str, body: bytes) -> Answer:
        with self._lock:
            if method == "PUT":
                for name, value in json.loads(body).items():
                    setattr(self._script, name, value)
            elif method == "DELETE":
                self._script = Script()
                _ec2().reset()
        requests, most = list(self._script.requests), self._script.most_at_once
        document = json.dumps({"requests": requests, "most_at_once": most, "instances": list(map(_shown, _live()))})
        return Answer("200 OK", [("Content-Type", "application/json")], document.encode())

    def _rule(self, action: str) -> dict[str, Any]:
        with self._lock:
            for rule in self._script.rules:
                if rule["action"] == action and rule.get("times", 1) > 0:
                    if "times" in rule:
                        rule["times"] -= 1
                    return rule
        return {}

    def _answer(self, environ: Environ, form: dict[str, str], rule: Mapping[str, Any]) -> Answer:
        if "error" in rule:
            return _error(rule["error"], rule.get("status", 400))
        if form.get("Action") != "RunInstances":
            page = {"MaxResults": str(self._script.page)} if self._script.page and "MaxResults" in form else {}
            return self._pass_on(environ, {**form, **page})
        if not self._script.tokens or not form.get("ClientToken"):
            answer = self._launch(environ, form, rule)
            return self._launch(environ, form, rule) if rule.get("twice") else answer
        return self._launch_once(environ, form, rule)

    def _launch_once(self, environ: Environ, form: dict[str, str], rule: Mapping[str, Any]) -> Answer:
        """The same token gives the same answer; with other parameters it is refused."""
        parameters = {name: value for name, value in form.items() if name not in _UNSIGNED}
        with self._lock:
            first = form["ClientToken"] not in self._script.asked
            asked = self._script.asked.setdefault(form["ClientToken"], Asked(parameters))
        if not first:
            asked.done.wait()
        if asked.answer is not None:
            same = asked.parameters == parameters
            return asked.answer if same else _error("IdempotentParameterMismatch")
        answer = self._launch(environ, form, rule)
        if answer.status.startswith("200"):
            asked.answer = answer
        else:
            self._script.asked.pop(form["ClientToken"], None)
        asked.done.set()
        return answer

    def _launch(self, environ: Environ, form: dict[str, str], rule: Mapping[str, Any]) -> Answer:
        with self._lock:
            form = dict(form)
            if self._script.capacity is not None:
                room = self._script.capacity - len(_live())
                if room < int(form["MinCount"]):
                    return _error("InsufficientInstanceCapacity")
                form["MaxCount"] = str(min(room, int(form["MaxCount"])))
            # moto makes the smallest number asked for, EC2 as many as it can.
            form["MinCount"] = form["MaxCount"]
            before = {each.id for each in _live()}
            answer = self._pass_on(environ, form)
            made = [each for each in _live() if each.id not in before]
        for each in made:
            _begin(each, self._script.boot_seconds, rule.get("dies", ""))
        return answer

    def _pass_on(self, environ: Environ, form: Mapping[str, str]) -> Answer:
        body = urlencode(form).encode()
        got: dict[str, Any] = {}

        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            got.update(status=status, headers=headers)

        asked = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        content = b"".join(self._moto(asked, start))
        return Answer(got["status"], got["headers"], content)


def _ec2() -> Any:
    return ec2_backends[_ACCOUNT][_REGION]


def _live() -> list[Instance]:
    return [each for each in _ec2().all_instances() if each.state != "terminated"]


def _shown(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "tags": {tag["key"]: tag["value"] for tag in instance.get_tags()},
        "number": instance.ami_launch_index,
        "spot": instance.lifecycle == "spot",
        "user_data": str(instance.user_data or ""),
    }


def _begin(instance: Instance, boot_seconds: float, dies: str) -> None:
    if boot_seconds:
        _set(instance, "pending", 0)
        threading.Timer(boot_seconds, lambda: instance.state == "pending" and _set(instance, "running", 16)).start()
    if dies:
        _set(instance, "terminated", 48)
        instance.state_reason = StateReason(f"Server.InternalError: {dies}", "Server.InternalError")


def _set(instance: Instance, state: str, code: int) -> None:
    instance._state.name, instance._state.code = state, code


def _error(code: str, status: int = 400) -> Answer:
    text = (
        f"<Response><Errors><Error><Code>{escape(code)}</Code><Message>The script says {escape(code)}.</Message>"
        "</Error></Errors><RequestID>0</RequestID></Response>"
    )
    return Answer(f"{status} Scripted", [("Content-Type", "text/xml")], text.encode())


def _send(answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    headers = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
    start_response(answer.status, [*headers, ("Content-Length", str(len(answer.body)))])
    return [answer.body]


def main() -> None:
    """Serve until killed."""
    server = make_server("127.0.0.1", 0, Shim(), threaded=True)
    sys.stdout.write(f"http://127.0.0.1:{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
