"""Results of ended jobs, kept in the VM's directory until the engine has acknowledged them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


class Results:
    """A directory of results, one file each, durable before `save` returns; survives the worker."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory
        self._held = {path: entry for path in sorted(directory.glob("*.json")) if (entry := _read(path))}

    def save(self, job_id: str, attempt: int, result: dict[str, Any]) -> None:
        """Keep one result through a crash of the host, as far as fsync goes; in memory even when that fails.

        Raises OSError when it could not be written.
        """
        path = self._path(job_id, attempt)
        entry = self._held[path] = {"job": job_id, "attempt": attempt, "result": result}
        unfinished = path.with_suffix(".new")
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(entry, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def held(self) -> list[dict[str, Any]]:
        """Every result not yet acknowledged: `job`, `attempt`, `result`."""
        return list(self._held.values())

    def drop(self, job_id: str, attempt: int) -> None:
        """Forget an acknowledged result."""
        path = self._path(job_id, attempt)
        path.unlink(missing_ok=True)
        self._held.pop(path, None)

    def _path(self, job_id: str, attempt: int) -> Path:
        # A job id holds characters that file names must not.
        return self._directory / f"{hashlib.sha256(f'{job_id} {attempt}'.encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        entry: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError:
        return None
    return entry
