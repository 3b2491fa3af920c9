"""Load on an HTTP server: by wrk where there is one, else by a Python process of our own.

Figures of the two are not to be compared with each other: the Python one takes much more of the machine itself.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WRK = shutil.which("wrk")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per second, and the slowest of a hundred answers in seconds."""

    rate: float
    p99: float


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of one server: targets (drawn at random where there are several), headers, kept connections."""

    url: str
    targets: Sequence[str]
    clients: int
    headers: Mapping[str, str] = field(default_factory=dict)


def load(asking: Asking, seconds: float) -> Load:
    """Ask as fast as the server answers. Raises RuntimeError when an answer is missing or of another kind."""
    return _by_wrk(asking, seconds) if WRK else _by_python(asking, seconds)


_SCRIPT = """
local targets = {}
for line in io.lines("%s") do targets[#targets + 1] = line end
math.randomseed(%d)
request = function() return wrk.format("GET", targets[math.random(#targets)]) end
"""


def _by_wrk(asking: Asking, seconds: float) -> Load:
    assert WRK
    command = [WRK, "-t1", f"-c{asking.clients}", f"-d{round(seconds) + 2}s", "--latency", "--timeout", "60s"]
    for name, value in asking.headers.items():
        command += ["-H", f"{name}: {value}"]
    with tempfile.NamedTemporaryFile("w") as names, tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        target = asking.targets[0]
        if len(asking.targets) > 1:
            names.write("\n".join(asking.targets))
            names.flush()
            script.write(_SCRIPT % (names.name, 7))
            script.flush()
            command, target = [*command, "-s", script.name], "/"
        said = _interrupted([*command, asking.url + target], seconds)
    if "Non-2xx" in said or re.search(r"Socket errors:.*[1-9]", said):
        raise RuntimeError(f"wrong answers to {asking}: {said}")
    rate, slowest = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"99%\s+([\d.]+)(us|ms|s|m)", said)
    if not rate or not slowest:
        raise RuntimeError(f"wrk said: {said}")
    return Load(float(rate[1]), float(slowest[1]) * _UNITS[slowest[2]])


def _interrupted(command: Sequence[str], seconds: float) -> str:
    """What wrk says when it is stopped: it takes whole seconds only, and many rounds are to be short."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    return said


def _by_python(asking: Asking, seconds: float) -> Load:
    command = [sys.executable, "-m", "tests.bench.client", asking.url, str(asking.clients), str(seconds)]
    command += [f"{name}: {value}" for name, value in asking.headers.items()]
    said = subprocess.run(command, input="\n".join(asking.targets), capture_output=True, text=True, check=False)
    if said.returncode:
        raise RuntimeError(f"wrong answers to {asking.url}: {said.stderr}")
    rate, p99 = map(float, said.stdout.split())
    return Load(rate, p99)
