"""A real Chromium without a window, spoken to in its own protocol over a pipe (`--remote-debugging-pipe`)."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")


class Tab:
    """One page; `problems` are what its console complained of."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest = write, os.fdopen(read, "rb", buffering=0), b""
        self._ids, self._session = itertools.count(1), ""
        self.problems: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send one command and wait for its answer."""
        number = next(self._ids)
        session = {"sessionId": self._session} if self._session else {}
        os.write(
            self._write, json.dumps({"id": number, "method": method, "params": parameters, **session}).encode() + b"\0"
        )
        while True:
            message = self._message()
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message)

    def open(self, url: str) -> None:
        """Load a page, to its end."""
        self.call("Page.navigate", url=url)
        while self.value("document.readyState + ' ' + location.href") != f"complete {url}/":
            pass

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript's in the page."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Take the size of a screen."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def dark(self, dark: bool) -> None:
        """Prefer dark or light colours."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def picture(self, path: Path) -> None:
        """Write a screenshot of what can be seen."""
        path.write_bytes(b64decode(self.call("Page.captureScreenshot")["data"]))

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = self._read.read(1 << 16)
            assert more, "Chromium has ended"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Log.entryAdded":
            entry = message["params"]["entry"]
            if entry["level"] == "error":
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")
        elif message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(message["params"]["exceptionDetails"]))

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._write)
        self._read.close()


@contextmanager
def chromium(program: str, home: Path) -> Iterator[Tab]:
    """A browser of its own; its descriptors 3 and 4 are the pipe."""
    ours_read, theirs_write = os.pipe()
    theirs_read, ours_write = os.pipe()
    command = f'exec "$0" "$@" 3<&{theirs_read} 4>&{theirs_write}'
    arguments = [*ARGUMENTS, f"--user-data-dir={home / 'browser'}", "--remote-debugging-pipe", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", command, program, *arguments],
        pass_fds=(theirs_read, theirs_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(home)},
    )
    os.close(theirs_read)
    os.close(theirs_write)
    tab = Tab(ours_write, ours_read)
    try:
        yield tab
    finally:
        tab.close()
        process.terminate()
        process.wait(60)
