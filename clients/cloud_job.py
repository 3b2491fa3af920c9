"""`cloud_job`: submits jobs, shows and explains them, and holds, releases or removes them."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cloudsched import __version__
from cloudsched.client import Answer, Client
from cloudsched.errors import SubmitError

from . import invocation

STATES = ("new", "sched", "high", "idle", "running", "held", "complete")
UNFINISHED = ("idle", "running", "held")
NARROWING = (
    # option, metavar, what it does
    ("--user", "USER", "only jobs of this user"),
    ("--vmtype", "VMTYPE", "only jobs that want this VM type"),
    ("--image", "IMAGE", "only jobs that want this image"),
    ("--cloud", "CLOUD", "only jobs that run on this cloud"),
    ("--host", "HOST", "only jobs that run on this host"),
    ("--older-than", "AGE", "only jobs submitted at least so long ago: seconds, or with m, h or d behind the number"),
    ("--younger-than", "AGE", "only jobs submitted less long ago"),
    (
        "--sort",
        "KEYS",
        "sort by these, with commas between; a - turns one round: --sort=-age,user",
    ),
    ("--fields", "FIELDS", "show these fields of the JSON, with commas between"),
    ("--limit", "NUM", "show the first NUM of them, at most 1000"),
)
"""Options of `list` that the info daemon knows by the same names."""

_LINE = re.compile(r"line (\d+): ")


def parser() -> argparse.ArgumentParser:
    """The command line of `cloud_job`."""
    top = argparse.ArgumentParser(
        prog="cloud_job", description="Submit, list, show and explain jobs; hold, release or remove them."
    )
    top.add_argument("--version", action="version", version=f"cloud_job {__version__}")
    top.add_argument("-f", "--config-file", metavar="FILE", help="read this configuration file")
    top.add_argument("-s", "--server-hostname", metavar="HOSTNAME", help="speak to the daemons on this machine")
    top.add_argument("--admin-port", metavar="PORT", help="the admin daemon's port")
    top.add_argument("--info-port", metavar="PORT", help="the info daemon's port")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    submit = commands.add_parser("submit", help="queue the jobs of a submit description")
    submit.add_argument("file", metavar="FILE", help="the submit description, - for standard input")
    listing = commands.add_parser("list", help="list jobs: idle, running and held ones unless --state is given")
    listing.add_argument("--state", choices=STATES, help="only jobs in this queue or state")
    for option, metavar, meaning in NARROWING:
        listing.add_argument(option, metavar=metavar, help=meaning)
    listing.add_argument("-j", "--json", action="store_true", help="everything known about them, as JSON")
    show = commands.add_parser("show", help="show one job")
    show.add_argument("-j", "--json", action="store_true", help="everything known about it, as JSON")
    show.add_argument("id", metavar="ID", help="a job's full id, or CLUSTER.PROC")
    explain = commands.add_parser("explain", help="say why a job waits, and how each cloud stands to it")
    explain.add_argument("-j", "--json", action="store_true", help="the same as JSON")
    explain.add_argument("id", metavar="ID", help="a job's full id, or CLUSTER.PROC")
    for verb in ("hold", "release", "remove"):
        command = commands.add_parser(verb, help=f"{verb} jobs")
        command.add_argument("ids", metavar="ID", nargs="+", help="a job's full id, or CLUSTER.PROC")
        command.add_argument("--reason", help="why, for the record")
    return top


def submit(client: Client, arguments: argparse.Namespace) -> bool:
    """Post a submit description with the directory and account it is submitted from; true when it was taken."""
    text = _description(arguments.file)
    document = {"submit": text, "initialdir": _directory(), "owner": _account()}
    answer = client.send("POST", ["jobs"], document=document)
    return _show(Answer(answer.status, _LINE.sub(rf"{_named(arguments.file)}:\1: ", answer.text, count=1)))


def _named(file: str) -> str:
    return "standard input" if file == "-" else file


def _description(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8")
    except OSError as ex:
        raise SubmitError(f"it cannot be read: {ex.strerror}.", path=_named(file)) from ex
    except UnicodeDecodeError as ex:
        line = ex.object.count(b"\n", 0, ex.start) + 1
        raise SubmitError("this is not UTF-8 text.", path=_named(file), line=line) from ex


def _directory() -> str:
    try:
        return str(Path.cwd())
    except OSError as ex:
        raise SubmitError(f"the current directory cannot be found: {ex.strerror}.") from ex


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def listed(client: Client, arguments: argparse.Namespace) -> bool:
    """Print the jobs in the state asked for, or all unfinished ones, as one of v1's tables or as JSON."""
    page = "jobs.json" if arguments.json else "jobs"
    if narrowing := _narrowing(arguments):
        state = {"state": arguments.state} if arguments.state else {"finished": "false"}
        return _show(client.send("GET", [page], {**state, **narrowing}))
    answers = []
    for each in [arguments.state] if arguments.state else UNFINISHED:
        answers.append(client.send("GET", [page], {"state": each}))
        if answers[-1].failed:
            return _show(answers[-1])
    texts = [answer.text for answer in answers]
    print(_merged_json(texts) if arguments.json else _merged_tables(texts))
    return True


def _narrowing(arguments: argparse.Namespace) -> dict[str, str]:
    names = [option.removeprefix("--").replace("-", "_") for option, _, _ in NARROWING]
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _merged_json(texts: Sequence[str]) -> str:
    return json.dumps({"jobs": [job for text in texts for job in json.loads(text)["jobs"]]}, ensure_ascii=False)


def _merged_tables(texts: Sequence[str]) -> str:
    """One heading and all rows."""
    rows = [row for text in texts for row in text.splitlines()[1:]]
    return "\n".join([texts[0].splitlines()[0], *rows])


def show(client: Client, arguments: argparse.Namespace) -> bool:
    """Print one job, as v1's table row or as JSON."""
    return _show(client.send("GET", ["jobs", arguments.id + (".json" if arguments.json else "")]))


def explain(client: Client, arguments: argparse.Namespace) -> bool:
    """Print why one job waits, or how it stands."""
    return _show(client.send("GET", ["jobs", arguments.id, "explain.json" if arguments.json else "explain"]))


def act(client: Client, arguments: argparse.Namespace) -> bool:
    """Hold, release or remove each job named; true when all of it was done or accepted."""
    reason = {"reason": arguments.reason} if arguments.reason else {}
    answers = [_act(client, arguments.command, each, reason) for each in arguments.ids]
    return all([_show(answer) for answer in answers])


def _act(client: Client, verb: str, job: str, reason: dict[str, str]) -> Answer:
    if verb == "remove":
        return client.send("DELETE", ["jobs", job], reason)
    return client.send("PUT", ["jobs", job], {"action": verb, **reason})


def _show(answer: Answer) -> bool:
    print(answer.text.rstrip("\n"), file=sys.stderr if answer.failed else sys.stdout)
    invocation.hint(answer)
    return not answer.failed


COMMANDS: dict[str, tuple[str, Callable[[Client, argparse.Namespace], bool]]] = {
    "submit": ("admin", submit),
    "list": ("info", listed),
    "show": ("info", show),
    "explain": ("info", explain),
    "hold": ("admin", act),
    "release": ("admin", act),
    "remove": ("admin", act),
}
"""Which daemon each command speaks to, and what carries it out."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cloud_job`; the exit status is 1 when something asked for was not done, 2 for a usage error."""
    arguments = parser().parse_args(argv)

    def work() -> int:
        daemon, command = COMMANDS[arguments.command]
        given = {**vars(arguments), "port": vars(arguments)[f"{daemon}_port"]}
        config = invocation.load_config(daemon, given, invocation.main_file(given))
        return 0 if command(invocation.connect(daemon, config, given), arguments) else 1

    return invocation.run(work)


if __name__ == "__main__":
    sys.exit(main())
