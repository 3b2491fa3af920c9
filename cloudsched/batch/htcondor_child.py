"""The process that speaks to HTCondor: the official bindings behind one JSON line per question.

Run by the bridge as `python -m cloudsched.batch.htcondor_child`. Every call of the bindings blocks the whole
interpreter, some for 20 s when a daemon hangs; so they live here, where the bridge can end them. Ads leave one a line
as plain data (`htcondor_ads`), then comes `{"done": ...}` or `{"error": sentence}`. The end of standard input ends us.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from cloudsched.batch.htcondor_ads import JOB_ATTRIBUTES, MACHINE_ATTRIBUTES, MASTER_ATTRIBUTES, ORDER_ATTRIBUTE

_ADDRESS = re.compile(r"<?\[?([\w.:-]+?)\]?:(\d+)")
_DEFAULT_PORT = 9618

OLDEST_BINDINGS = 25
"""What the extra asks for (setup.py): htcondor2 of 24.0 cannot submit (IndexError in Schedd.submit)."""

_LEVELS = ("ADVERTISE_STARTD", "READ")
_OLD_SERVER = re.compile(r"\$CondorVersion: (\d+)\.(\d+)")


class _Refused(Exception):
    """What we were asked cannot be done; the text is the sentence."""


class Child:
    """Answers calls by the bindings; `htcondor` is the module, `classad` its companion."""

    def __init__(self, htcondor: Any, classad: Any) -> None:
        self._htcondor, self._classad = htcondor, classad
        self._schedd: Any = None

    def answer(self, call: str, arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the lines that answer one call."""
        try:
            result = _CALLS[call](self, **arguments)
            if isinstance(result, Iterator):
                yield from ({"ad": ad} for ad in result)
                result = None
            yield {"done": result}
        except _Refused as ex:
            yield {"error": str(ex)}
        except (self._htcondor.HTCondorException, RuntimeError, ValueError, OSError, KeyError, TypeError) as ex:
            self._schedd = None
            yield {"error": self._explained(_TALKS_TO[call], " ".join(str(ex).split()))}
        except Exception as ex:  # a defect of the bindings' own release; whoever waits must hear a sentence
            self._schedd = None
            yield {
                "error": f"The HTCondor bindings {_release(self._htcondor)} fail at {call!r} "
                f"({type(ex).__name__}: {' '.join(str(ex).split())}): install another release of them."
            }

    def jobs(self, constraint: str) -> Iterator[dict[str, Any]]:
        """Every job that meets a constraint."""
        return self._plain(self._found_schedd().query(constraint, list(JOB_ATTRIBUTES)))

    def size(self) -> list[int]:
        """How many jobs there are, and the schedd's clock."""
        (summary,) = self._found_schedd().query("true", opts=self._htcondor.QueryOpt.SummaryOnly)
        return [int(summary["Jobs"]), int(summary["ServerTime"])]

    def history(self, constraint: str, since: str) -> Iterator[dict[str, Any]]:
        """Jobs that left the queue, newest first, until one meets `since`."""
        stop = self._classad.ExprTree(since)
        return self._plain(self._found_schedd().history(constraint, list(JOB_ATTRIBUTES), since=stop))

    def submit(self, sections: Sequence[str], initialdir: str, owner: str, token: str) -> list[int]:
        """Submit for an owner, a cluster for each section, all or nothing; returns the first and how many jobs."""
        try:
            os.chdir(initialdir)
        except OSError as ex:
            raise _Refused(f"The directory {initialdir} cannot be entered by the scheduler: {ex.strerror}.") from ex
        schedd, clusters, jobs = self._found_schedd(), [], 0
        try:
            for section in sections:
                result = self._submit_section(schedd, section, owner, token)
                clusters.append(int(result.cluster()))
                jobs += int(result.num_procs())
        except Exception:  # whatever refused a part, none of the others may stay; it is raised again below
            for cluster in clusters:
                schedd.act(self._htcondor.JobAction.Remove, cluster, reason=("A later part was refused.", 0))
            raise
        return [clusters[0], jobs]

    def _submit_section(self, schedd: Any, section: str, owner: str, token: str) -> Any:
        try:
            description = self._htcondor.Submit(section)
        except ValueError as ex:
            raise _Refused("HTCondor cannot read the description: a line is no statement of its language.") from ex
        description["skip_filechecks"] = "true"
        description["MY.Owner"] = self._classad.quote(owner)
        description[f"MY.{ORDER_ATTRIBUTE}"] = self._classad.quote(token)
        try:
            return schedd.submit(description)
        except self._htcondor.HTCondorException as ex:
            text = " ".join(str(ex).split())
            if "owner" in text.lower():
                raise _Refused(
                    f"The schedd does not let us submit for {owner}: make our identity one of its QUEUE_SUPER_USERS "
                    f"and let it impersonate users by QUEUE_SUPER_USER_MAY_IMPERSONATE ({text})."
                ) from ex
            if "Failed to create job ad" in text:
                raise _Refused(f"HTCondor refuses the description: {text.partition('errmsg=')[2]}.") from ex
            raise

    def act(self, action: str, jobs: Sequence[str], reason: str) -> dict[str, int]:
        """Hold, release or remove jobs given as CLUSTER.PROC; returns the schedd's totals."""
        verb = getattr(self._htcondor.JobAction, action.capitalize())
        # A plain string as reason is dropped by the bindings: a code must go with it.
        totals = self._found_schedd().act(verb, list(jobs), reason=(reason or "by the scheduler", 0))
        return {name: int(totals[name]) for name in ("TotalSuccess", "TotalAlreadyDone", "TotalPermissionDenied")}

    def slots(self) -> Iterator[dict[str, Any]]:
        """Every slot in the collector."""
        kind = self._htcondor.AdType.Slot
        return self._plain(self._htcondor.Collector().query(kind, projection=list(MACHINE_ATTRIBUTES)))

    def started_at(self) -> int:
        """When the collector was started."""
        wanted = ["DaemonStartTime", "StatsLastUpdateTime", "StatsLifetime"]
        ads = self._htcondor.Collector().query(self._htcondor.AdType.Collector, projection=wanted)
        return max((_started_at(ad) for ad in ads), default=0)

    def masters(self) -> Iterator[dict[str, Any]]:
        """Every master in the collector."""
        kind = self._htcondor.AdType.Master
        return self._plain(self._htcondor.Collector().query(kind, projection=list(MASTER_ATTRIBUTES)))

    def drain(self, address: str, reason: str, token: str) -> None:
        """Let a startd finish its jobs, take no new ones, and exit."""
        htcondor = self._htcondor
        with self._identity(token):
            startd = htcondor.Startd(self._classad.ClassAd({"MyAddress": address}))
            startd.drainJobs(htcondor.DrainType.Graceful, htcondor.CompletionType.Exit, reason=reason)

    def undrain(self, address: str, token: str) -> None:
        """Cancel every drain of a startd."""
        with self._identity(token):
            self._htcondor.Startd(self._classad.ClassAd({"MyAddress": address})).cancelDrainJobs()

    def stop_master(self, address: str, token: str) -> None:
        """Let a master whose startd has ended end too."""
        location = self._classad.ClassAd({"MyAddress": address, "MyType": "DaemonMaster"})
        with self._identity(token):
            self._htcondor.send_command(location, self._htcondor.DaemonCommands.OffGraceful)

    def start_startd(self, address: str, token: str) -> None:
        """Let a master start its startd, which has ended, again."""
        location = self._classad.ClassAd({"MyAddress": address, "MyType": "DaemonMaster"})
        with self._identity(token):
            # Not DaemonsOn: under that name the bindings have the number of another command.
            self._htcondor.send_command(location, self._htcondor.DaemonCommands.DaemonOn, "STARTD")

    def allowed(self, token: str) -> list[str]:
        """What the collector lets the bearer of a token do, and as whom it knows him; two empty words for nothing."""
        collector = self._htcondor.Collector()
        location = collector.locate(self._htcondor.DaemonType.Collector)
        collector.query(self._htcondor.AdType.Collector, projection=["Name"])
        with self._identity(token):
            for level in _LEVELS:
                with contextlib.suppress(self._htcondor.HTCondorException):
                    return [level, str(self._htcondor.ping(location, level).get("MyRemoteUserName", ""))]
        return ["", ""]

    def invalidate(self, constraint: str) -> None:
        """Have the collector forget the startds and masters that meet a constraint."""
        for target, command in (("Machine", "INVALIDATE_STARTD_ADS"), ("DaemonMaster", "INVALIDATE_MASTER_ADS")):
            query = self._classad.ClassAd({"MyType": "Query", "TargetType": target})
            query["Requirements"] = self._classad.ExprTree(constraint)
            self._htcondor.Collector().advertise([query], command)

    def settings(self) -> dict[str, str]:
        """HTCondor's own configuration of what a VM must know."""
        return {name: self._parameter(name) for name in ("COLLECTOR_HOST", "TRUST_DOMAIN")}

    def _found_schedd(self) -> Any:
        if self._schedd is None:
            name = self._parameter("SCHEDD_HOST")
            collector = self._htcondor.Collector()
            if not name:
                self._schedd = self._htcondor.Schedd()
                return self._schedd
            location = collector.locate(self._htcondor.DaemonType.Schedd, name)
            if location is None:
                ads = collector.query(self._htcondor.AdType.Schedd, projection=["Name"])
                known = ", ".join(sorted(str(ad["Name"]) for ad in ads)) or "none"
                raise _Refused(
                    f"There is no schedd {name!r} at the collector {self._parameter('COLLECTOR_HOST')}: set "
                    f"condor_schedd to one it knows ({known})."
                )
            self._schedd = self._htcondor.Schedd(location)
        return self._schedd

    @contextlib.contextmanager
    def _identity(self, token: str) -> Iterator[None]:
        """Be who a token says, for one daemon that accepts no other."""
        if not token:
            yield
            return
        names = ("SEC_TOKEN_DIRECTORY", "SEC_TOKEN_SYSTEM_DIRECTORY")
        before = {name: self._parameter(name) for name in names}
        with tempfile.TemporaryDirectory(prefix="cloudsched-") as directory:
            path = Path(directory, "token")
            path.touch(mode=0o600)
            path.write_text(token + "\n", "ascii")
            try:
                for name in names:
                    self._htcondor.param[name] = directory
                yield
            finally:
                for name, value in before.items():
                    self._htcondor.param[name] = value

    def _parameter(self, name: str) -> str:
        return str(self._htcondor.param.get(name) or "")

    def _plain(self, ads: Iterable[Any]) -> Iterator[dict[str, Any]]:
        for ad in ads:
            found = {}
            for name, value in ad.items():
                if isinstance(value, (str, int, float)):
                    found[name.lower()] = value
                elif value is not self._classad.Value.Undefined:
                    found[name.lower()] = " ".join(str(value).split())
            yield found

    def _explained(self, peer: str, text: str) -> str:
        """A failure as a sentence: who did not answer, and what to change."""
        collector = self._parameter("COLLECTOR_HOST") or "COLLECTOR_HOST, which is not set,"
        problem = _unreachable(collector)
        if problem:
            return f"The collector {collector} does not answer ({problem}): check condor_collector and the network."
        if peer == "collector" or not self._collector_answers():
            return (
                f"The collector {collector} refuses us ({text}): check the token in "
                f"{self._parameter('SEC_TOKEN_DIRECTORY') or 'condor_token_directory'} and the pool's ALLOW_READ."
            )
        if peer == "schedd":
            return self._schedd_explained(text)
        return f"HTCondor refuses: {text}."

    def _collector_answers(self) -> bool:
        try:
            self._htcondor.Collector().query(self._htcondor.AdType.Collector, projection=["Name"])
        except self._htcondor.HTCondorException:
            return False
        return True

    def _schedd_explained(self, text: str) -> str:
        name = self._parameter("SCHEDD_HOST")
        constraint = f"Name == {self._classad.quote(name)}" if name else "true"
        ads = self._htcondor.Collector().query(
            self._htcondor.AdType.Schedd, constraint, ["Name", "MyAddress", "CondorVersion"]
        )
        if not ads:
            return f"The collector knows no schedd{f' {name!r}' if name else ''}: set condor_schedd ({text})."
        problem = _unreachable(str(ads[0]["MyAddress"]))
        if problem:
            return f"The schedd {ads[0]['Name']} does not answer ({problem})."
        theirs, ours = str(ads[0].get("CondorVersion", "")), str(self._htcondor.version())
        if abs(_major(theirs) - _major(ours)) > 2:
            return (
                f"The schedd {ads[0]['Name']} is HTCondor {_major(theirs)}, our bindings are {_major(ours)}: install "
                f"htcondor=={_major(theirs)}.* or the condor_* commands ({text})."
            )
        return (
            f"The schedd {ads[0]['Name']} refuses us ({text}): check the token in "
            f"{self._parameter('SEC_TOKEN_DIRECTORY') or 'condor_token_directory'} and the schedd's ALLOW_READ."
        )


def _started_at(ad: Mapping[str, Any]) -> int:
    """Not every release says it outright; the clocks of its statistics do."""
    age = int(ad.get("StatsLastUpdateTime", 0)) - int(ad.get("StatsLifetime", 0))
    return int(ad.get("DaemonStartTime", age))


def _release(htcondor: Any) -> str:
    """The release of the bindings, like 25.14.1."""
    return next((word for word in str(htcondor.version()).split() if word[0].isdigit()), "of no release")


def _too_old(htcondor: Any) -> str:
    """What to change where the bindings are older than the extra asks for; empty where they are not."""
    if not 0 < _major(str(htcondor.version())) < OLDEST_BINDINGS:
        return ""
    return (
        f"The HTCondor bindings here are {_release(htcondor)}, and {OLDEST_BINDINGS} or newer are needed: pip install "
        "--upgrade 'cloudsched[htcondor]', or remove them to use the condor_* commands."
    )


def _major(version: str) -> int:
    found = _OLD_SERVER.search(version)
    return int(found[1]) if found else 0


def _unreachable(address: str) -> str:
    """Why nothing can be reached at an address (HOST, HOST:PORT or a sinful string), empty if something can."""
    first = address.split(",")[0].strip()
    found = _ADDRESS.match(first)
    host, port = (found[1], int(found[2])) if found else (first, _DEFAULT_PORT)
    try:
        socket.create_connection((host, port), timeout=3.0).close()
    except OSError as ex:
        return ex.strerror or str(ex)
    return ""


_CALLS: Mapping[str, Callable[..., Any]] = {
    "jobs": Child.jobs,
    "size": Child.size,
    "history": Child.history,
    "submit": Child.submit,
    "act": Child.act,
    "slots": Child.slots,
    "started_at": Child.started_at,
    "masters": Child.masters,
    "drain": Child.drain,
    "undrain": Child.undrain,
    "stop_master": Child.stop_master,
    "start_startd": Child.start_startd,
    "allowed": Child.allowed,
    "invalidate": Child.invalidate,
    "settings": Child.settings,
}
_TALKS_TO: Mapping[str, str] = {
    **dict.fromkeys(("jobs", "size", "history", "submit", "act"), "schedd"),
    **dict.fromkeys(("slots", "started_at", "masters", "invalidate", "allowed"), "collector"),
    **dict.fromkeys(("drain", "undrain", "stop_master", "start_startd", "settings"), "startd"),
}


def main() -> int:
    """Answer until standard input ends."""
    out = sys.stdout
    sys.stdout = sys.stderr
    try:
        import classad2
        import htcondor2
    except Exception as ex:
        sentence = (
            f"The HTCondor bindings cannot be imported ({' '.join(str(ex).split())}): mend them with pip install "
            "'cloudsched[htcondor]', or remove them to use the condor_* commands."
        )
        return _refuse(sentence, out)
    problem = _too_old(htcondor2)
    if problem:
        return _refuse(problem, out)
    child = Child(htcondor2, classad2)
    for line in sys.stdin:
        question = json.loads(line)
        for answer in child.answer(question["call"], question["arguments"]):
            out.write(json.dumps(answer) + "\n")
        out.flush()
    return 0


def _refuse(sentence: str, out: TextIO) -> int:
    """Answer every question with one sentence."""
    for _ in sys.stdin:
        print(json.dumps({"error": sentence}), file=out, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
