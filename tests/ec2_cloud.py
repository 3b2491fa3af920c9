"""The scripted EC2 endpoint as tests use it: started as a process, asked over its control URL."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloudsched.clouds.ec2 import EC2Cloud
from cloudsched.clouds.ec2_settings import Settings

ROOT = Path(__file__).parent.parent
IMAGE = "ami-12c6146b"


@dataclass(frozen=True)
class Endpoint:
    """A running one."""

    url: str

    def script(self, *rules: dict[str, Any], **behaviour: Any) -> None:
        """Have it behave so from now on."""
        self._ask("PUT", {"rules": list(rules), **behaviour})

    def reset(self) -> None:
        """Forget all instances, tokens and scripts."""
        self._ask("DELETE")

    def instances(self) -> list[dict[str, Any]]:
        """The live instances, each with `id`, `tags`, launch index (`number`), `spot` and `user_data`."""
        found: list[dict[str, Any]] = self._ask("GET")["instances"]
        return found

    def asked(self, action: str) -> list[dict[str, Any]]:
        """The requests of one action, each with `token`, `at` and, once answered, `status`."""
        return [each for each in self._ask("GET")["requests"] if each["action"] == action]

    def most_at_once(self) -> int:
        """How many requests were being answered at once, at most."""
        return int(self._ask("GET")["most_at_once"])

    def cloud(self, name: str = "one", **changes: Any) -> EC2Cloud:
        """An adapter for it."""
        known: dict[str, Any] = {"region": "us-east-1", "access_key": "key", "secret_key": "secret"}
        return EC2Cloud(name, "inst", Settings(**{"endpoint": self.url, "spot": True, **known, **changes}))

    def section(self, name: str, *lines: str, kind: str = "AmazonEC2") -> str:
        """A section of cloud_resources.conf for it."""
        given = (
            *(f"cloud_type = {kind}", f"host = {self.url}", "regions = us-east-1", "access_key_id = key"),
            *("secret_access_key = secret", "security_group = default", "memory = 1000000", "vm_slots = 10"),
            *("enabled = true", *lines),
        )
        return "\n".join([f"[{name}]", *given, ""])

    def _ask(self, method: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/_shim", body, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def endpoint(arguments: Sequence[str] = ()) -> Iterator[Endpoint]:
    """Start one; it ends with the block."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.ec2_shim", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield Endpoint(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Endpoint]:
    """One endpoint for all tests of a module."""
    with endpoint() as found:
        yield found


@pytest.fixture
def ec2(running: Endpoint) -> Endpoint:
    """The endpoint with nothing on it."""
    running.reset()
    return running
