"""HTCondor's command lines, as v1 configured them: how a pool is reached where the bindings are absent (PARITY 7.1, 8).

A command never sees our environment, only HTCondor's part of it. What it prints goes to a file and is read line by
line, so a long queue costs no memory.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cloudsched.batch.htcondor_ads import (
    JOB_ATTRIBUTES,
    MACHINE_ATTRIBUTES,
    MASTER_ATTRIBUTES,
    ORDER_ATTRIBUTE,
    Ad,
    Value,
)
from cloudsched.errors import BatchError

_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_REAL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_BOOLEANS = {"true": True, "false": False}
_UNDEFINED = frozenset({"undefined", "error"})
_CLUSTER = re.compile(r"^(\d+)\.(\d+) - \d+\.(\d+)", re.MULTILINE)
_SENTENCE_BYTES = 2000
_LEVELS = ("ADVERTISE_STARTD", "READ")
_SUCCEEDED = re.compile(r" succeeded as (\S+) to ")
_ADVICE = (
    (re.compile(r"find address for schedd (?!\(null\))"), "set condor_schedd to one that the collector knows"),
    (re.compile(r"Failed to connect"), "check condor_collector and the network"),
    (re.compile(r"Failed to authenticate"), "check the token in condor_token_directory and the pool's ALLOW_READ"),
)
"""What to change where a command's words tell it."""


@dataclass(frozen=True, slots=True)
class CommandLines:
    """The configured commands, each split as a shell would; `remote` comes before those that v1 ran by ssh."""

    query: Sequence[str]
    history: Sequence[str]
    submit: Sequence[str]
    hold: Sequence[str]
    release: Sequence[str]
    remove: Sequence[str]
    status: Sequence[str]
    status_masters: Sequence[str]
    drain: Sequence[str]
    ping: Sequence[str]
    off: Sequence[str]
    on: Sequence[str]
    advertise: Sequence[str]
    remote: Sequence[str] = ()


class Commands:
    """HTCondorPool over command lines; see its promises there. `seconds` is how long each may take."""

    def __init__(
        self, lines: CommandLines, environment: Mapping[str, str], seconds: float, settings: Mapping[str, str]
    ) -> None:
        self._lines, self._environment, self._seconds = lines, dict(environment), seconds
        self._settings = dict(settings)

    def jobs(self, each: Callable[[Ad], None], constraint: str = "true") -> None:
        only = [] if constraint == "true" else ["-constraint", constraint]
        try:
            self._ads([*self._lines.query, *only], JOB_ATTRIBUTES, each)
        except _Failed as ex:
            raise self._fault_of_collector() or ex from None

    def size(self) -> tuple[int, int] | None:
        return None

    def history(self, each: Callable[[Ad], None], constraint: str, since: str) -> None:
        command = [*self._lines.history, "-constraint", constraint, "-since", since]
        self._ads(command, JOB_ATTRIBUTES, each)

    def submit(self, sections: Sequence[str], initialdir: str, owner: str, token: str) -> tuple[int, int]:
        marks = [f"MY.Owner = {_quoted(owner)}", f"MY.{ORDER_ATTRIBUTE} = {_quoted(token)}"]
        appended = [word for mark in marks for word in ("-append", mark)]
        found: list[tuple[int, int]] = []
        for section in sections:
            command = [*self._lines.submit, "-terse", "-disable", *appended, "-"]
            try:
                output = self._run(command, section, directory=initialdir)
                found += [(int(first[0]), int(first[2]) - int(first[1]) + 1) for first in _CLUSTER.findall(output)]
            except BatchError as ex:
                self._take_back([cluster for cluster, _ in found])
                raise BatchError(_submit_refusal(str(ex), owner)) from ex
        if not found:
            raise BatchError(f"{self._lines.submit[0]} did not say which jobs it submitted.")
        return found[0][0], sum(jobs for _, jobs in found)

    def act(self, action: str, jobs: Sequence[str], reason: str) -> None:
        command = {"hold": self._lines.hold, "release": self._lines.release, "remove": self._lines.remove}[action]
        self._run([*_with_reason(command, reason or "by the scheduler"), *jobs])

    def slots(self) -> list[Ad]:
        return self._listed(self._lines.status, MACHINE_ATTRIBUTES)

    def started_at(self) -> int | None:
        return None

    def masters(self) -> list[Ad]:
        return self._listed(self._lines.status_masters, MASTER_ATTRIBUTES)

    def drain(self, slot: Ad, master: Ad | None, reason: str, token: str) -> None:
        """Drain as the bindings do; where that fails, v1's way, which lets a claim go on with its owner's next job.

        v1 told the startd first, then the master, which would else start it again (PARITY 8.3).
        """
        try:
            drain = [*self._lines.drain, "-graceful", "-exit-on-completion", "-reason", reason]
            self._run(self._remotely([*drain, str(slot.get("machine", ""))]))
        except BatchError:
            if master is None:
                raise
            self._told(self._peaceful(), str(slot.get("myaddress", "")), "startd", token)
            self.stop_master(master, token)

    def undrain(self, slot: Ad, token: str) -> None:
        self._run(self._remotely([*self._lines.drain, "-cancel", str(slot.get("machine", ""))]))

    def stop_master(self, master: Ad, token: str) -> None:
        address = str(master.get("masteripaddr") or master.get("myaddress", ""))
        self._told(self._peaceful(), address, "master", token)

    def start_startd(self, master: Ad, token: str) -> None:
        self._told(self._lines.on, str(master.get("masteripaddr") or master.get("myaddress", "")), "startd", token)

    def allowed(self, token: str) -> tuple[str, str] | None:
        if self._lines.remote:  # the token is here, and the command would run there
            return None
        self._run([*self._lines.status_masters, "-constraint", "false"])
        with self._identity(token) as environment:
            for level in _LEVELS:
                try:
                    said = self._run([*self._lines.ping, "-type", "collector", level], environment=environment)
                except _Failed:
                    continue
                except BatchError:
                    return None
                return level, "".join(_SUCCEEDED.findall(said)[:1])
        return "", ""

    def invalidate(self, constraint: str) -> None:
        for target, verb in (("Machine", "INVALIDATE_STARTD_ADS"), ("DaemonMaster", "INVALIDATE_MASTER_ADS")):
            ad = f'MyType="Query"\nTargetType="{target}"\nRequirements={constraint}\n'
            self._run(self._remotely([*self._lines.advertise, verb, "-"]), ad)

    def settings(self) -> Mapping[str, str]:
        return self._settings

    def close(self) -> None:
        """Nothing lasts from one command to the next."""

    def _peaceful(self) -> list[str]:
        return [*self._lines.off, "-peaceful"]

    def _told(self, command: Sequence[str], address: str, subsystem: str, token: str) -> None:
        """Success is that the output begins with `Sent`, as in v1: exit codes are not decisive (PARITY 8.3)."""
        with self._identity(token) as environment:
            words = [*command, "-addr", address, "-subsystem", subsystem]
            output = self._run(self._remotely(words), environment=environment)
        if not output.startswith("Sent"):
            raise BatchError(f"{command[0]} was refused: {' '.join(output.split()) or 'it said nothing'}.")

    def _take_back(self, clusters: Iterable[int]) -> None:
        with contextlib.suppress(BatchError):
            self.act("remove", [str(cluster) for cluster in clusters], "A later part was refused.")

    def _remotely(self, command: Sequence[str]) -> list[str]:
        return [*self._lines.remote, shlex.join(command)] if self._lines.remote else list(command)

    @contextlib.contextmanager
    def _identity(self, token: str) -> Iterator[Mapping[str, str]]:
        """The environment with which a command is who a token says."""
        if not token:
            yield self._environment
            return
        with tempfile.TemporaryDirectory(prefix="cloudsched-") as directory:
            path = Path(directory, "token")
            path.touch(mode=0o600)
            path.write_text(token + "\n", "ascii")
            names = ("_CONDOR_SEC_TOKEN_DIRECTORY", "_CONDOR_SEC_TOKEN_SYSTEM_DIRECTORY")
            yield self._environment | dict.fromkeys(names, directory)

    def _fault_of_collector(self) -> BatchError | None:
        """Why the collector does not answer us, which condor_q blames on the schedd; None where it does."""
        try:
            self._run([*self._lines.status_masters, "-constraint", "false"])
        except BatchError as ex:
            return ex if isinstance(ex, _Failed) else None
        return None

    def _listed(self, command: Sequence[str], wanted: Iterable[str]) -> list[Ad]:
        found: list[Ad] = []
        self._ads(command, wanted, found.append)
        return found

    def _ads(self, command: Sequence[str], wanted: Iterable[str], each: Callable[[Ad], None]) -> None:
        with tempfile.TemporaryFile() as output:
            self._execute(command, b"", output)
            output.seek(0)
            for ad in read_ads((line.decode("utf-8", "replace") for line in output), wanted):
                each(ad)

    def _run(
        self,
        command: Sequence[str],
        text: str = "",
        directory: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        with tempfile.TemporaryFile() as output:
            self._execute(command, text.encode(), output, directory, environment)
            output.seek(0)
            return output.read(1 << 20).decode("utf-8", "replace")

    def _execute(
        self,
        command: Sequence[str],
        text: bytes,
        output: IO[bytes],
        directory: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        try:
            done = subprocess.run(
                command,
                input=text,
                stdout=output,
                stderr=subprocess.PIPE,
                cwd=directory,
                env=environment or self._environment,
                timeout=self._seconds,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as ex:
            raise BatchError(f"{command[0]} did not end within {self._seconds:g} seconds.") from ex
        except OSError as ex:
            raise BatchError(_not_run(command[0], ex)) from ex
        if done.returncode:
            output.seek(0)
            said = (done.stderr or output.read(_SENTENCE_BYTES)).decode("utf-8", "replace")
            raise _Failed(f"{command[0]} failed with status {done.returncode}: {_sentence(said)}")


class _Failed(BatchError):
    """A command ran and says that it has failed."""


def read_ads(lines: Iterable[str], wanted: Iterable[str]) -> Iterator[Ad]:
    """Read ads in HTCondor's long form: `Name = value` lines, ads apart by empty lines, anything else passed over.

    Only the wanted attributes are kept, their names in lower case.
    """
    names = {name.lower() for name in wanted}
    ad: dict[str, Value] = {}
    for line in lines:
        if not line.strip():
            if ad:
                yield ad
            ad = {}
            continue
        name, equals, text = line.partition(" = ")
        key = name.strip().lower()
        value = _value(text.strip()) if equals and key in names else None
        if value is not None:
            ad[key] = value
    if ad:
        yield ad


def _value(text: str) -> Value | None:
    string = _STRING.fullmatch(text)
    if string:
        return re.sub(r"\\(.)", r"\1", string[1])
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text):
        return float(text)
    return None if text.lower() in _UNDEFINED else " ".join(text.split())


def _with_reason(command: Sequence[str], reason: str) -> list[str]:
    """The command with our reason; a `-reason` that is configured has its next word replaced (PARITY 8.4)."""
    words = list(command)
    if "-reason" in words[:-1]:
        words[words.index("-reason") + 1] = reason
        return words
    return [*words, "-reason", reason]


def _submit_refusal(text: str, owner: str) -> str:
    if "owner" in text.lower():
        return (
            f"The schedd does not let us submit for {owner}: make our identity one of its QUEUE_SUPER_USERS and let it "
            f"impersonate users by QUEUE_SUPER_USER_MAY_IMPERSONATE ({text})."
        )
    return f"HTCondor refuses the description: {text}"


def _sentence(said: str) -> str:
    """What a command said, without HTCondor's guesses at the reason, and what to change where that is known."""
    text = " ".join(said.partition("Extra Info:")[0].split()).removeprefix("Error: ")[:_SENTENCE_BYTES]
    advice = next((advice for words, advice in _ADVICE if words.search(text)), "")
    return f"{text.rstrip('.')}: {advice}." if advice else text or "it said nothing"


def _not_run(program: str, ex: OSError) -> str:
    if isinstance(ex, FileNotFoundError) and ex.filename == program:
        return (
            f"{program} is not here, and neither are the bindings: pip install 'cloudsched[htcondor]', or set "
            "the condor_*_command options to where HTCondor is."
        )
    return f"{program} cannot be run in {ex.filename or '.'}: {ex.strerror}."


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
