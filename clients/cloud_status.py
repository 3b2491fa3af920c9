"""`cloud_status`: shows what the info daemon knows, with v1's options, order of evaluation and text (PARITY 4.2)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from cloudsched import __version__
from cloudsched.client import Ask, Client
from cloudsched.config import files
from cloudsched.config.load import COMMAND_LINE, Config
from cloudsched.errors import BadRequest, ConfigError

from . import invocation
from .invocation import Option

OPTIONS = (
    Option("-f", "--config-file", "FILE", "Read this configuration file"),
    Option("-s", "--server-hostname", "HOSTNAME", "Ask the information server on this machine, or at unix:PATH"),
    Option("-p", "--port", "PORT", "Ask the information server on this port"),
    Option("-a", "--all-cluster", "", "List all clusters with their remaining resources"),
    Option("-c", "--cluster", "NAME", "Show one cluster, or limit -o and -u to it"),
    Option("-m", "--virtual-machines", "", "List all VMs"),
    Option("-n", "--vm-info", "ID", "Show one virtual machine, needs -c"),
    Option("-j", "", "", "Show JSON: with -a, with -c, or with -c and -n"),
    Option("", "--json", "", "Show JSON, whatever is asked for"),
    Option("-d", "--developer-information", "", "Show developer information about cloud_scheduler"),
    Option(
        "-q",
        "--job-queue",
        "QUEUE",
        "List the jobs of a queue [all, new, sched, high, running, idle, held, complete]",
        ("all", "new", "sched", "high", "running", "idle", "held", "complete"),
    ),
    Option("-i", "--ip-address", "", "List host names and IP addresses for munin"),
    Option("-b", "--boot-time", "", "Show boot times"),
    Option("-t", "--diff_type", "", "Show the fair-share differences by user and VM type"),
    Option("-g", "--avg_job_time", "", "Show the average run time of jobs on VMs"),
    Option("-l", "--cloud-conf", "", "Show the cloud_resources configuration"),
    Option("-k", "--cloud-health", "", "Show how each cloud answers, why not, and when it is tried next"),
    Option("-o", "--total-vms", "", "Count the VMs, all or of one cluster (-c)"),
    Option("-u", "--vm-status", "", "Count the VMs by state, all or of one cluster (-c)"),
    Option("-r", "--missing-vms", "", "List machines of the batch system that belong to no VM"),
    Option("-x", "--heart-beats", "", "Show how long ago each thread completed its last cycle"),
    Option("-z", "--boot-failures", "", "List the reasons why jobs have no VM"),
    Option("-w", "--image-failures", "", "List images that fail to boot"),
    Option("", "--only", "FILTERS", "With -a, -k, -m, -q, -w, -z: list only what fits NAME=VALUE[,NAME=VALUE...]"),
    Option("", "--order", "KEYS", "With the same: sort by these, with commas between, a - before what shall go down"),
    Option("", "--fields", "FIELDS", "With the same: show these fields of the JSON, with commas between"),
    Option("", "--limit", "NUM", "With the same: show the first NUM, at most 1000"),
    Option("-v", "--version", "", "Show version information"),
)
NARROWING = {"order": "sort", "fields": "fields", "limit": "limit"}
"""What the info daemon calls the options of a listing."""

NO_FILE = (
    "Configuration file problem: There is no configuration file: name one with --config-file, or put it in"
    " ~/.cloudscheduler/cloud_scheduler_status.conf or /etc/cloudscheduler/cloud_scheduler_status.conf."
    " Default values are used."
)
BAD_PORT = "Configuration file problem: info_server_port must be an integer value."

ROWS: Sequence[tuple[str, str, Sequence[str]]] = (
    # given                     not given                what follows: a URL to print, or a line of text
    ("all_cluster", "json", ["/clusters"]),
    ("virtual_machines", "", ["/vms"]),
    ("vm_status cluster", "", ["/clusters/{cluster}/vms?metric=all"]),
    ("vm_status", "", ["/vms?metric=all"]),
    ("cluster vm_info", "json", ["/clusters/{cluster}/vms/{vm_info}"]),
    ("vm_info", "cluster", ["Please provide -c cluster_name with vm ID"]),
    ("cluster", "json vm_info total_vms", ["/clusters/{cluster}"]),
    ("json all_cluster", "", ["/clusters.json"]),
    ("json cluster vm_info", "", ["/clusters/{cluster}/vms/{vm_info}.json"]),
    ("json cluster", "", ["/clusters/{cluster}.json"]),
    ("developer_information", "", ["/developer-info"]),
    (
        "job_queue=all",
        "",
        [
            "Jobs in Scheduled Queue",
            "/jobs?state=sched",
            "Jobs in New Queue",
            "/jobs?state=new",
            "Jobs in High Priority Queue",
            "/jobs?state=high",
        ],
    ),
    ("job_queue=new", "", ["Jobs in New Queue", "/jobs?state=new"]),
    ("job_queue=sched", "", ["Jobs in Scheduled Queue", "/jobs?state=sched"]),
    ("job_queue=high", "", ["Jobs in High Priority Queue", "/jobs?state=high"]),
    ("job_queue=held", "", ["Jobs in Held state", "/jobs?state=held"]),
    ("job_queue=idle", "", ["Jobs in Idle state", "/jobs?state=idle"]),
    ("job_queue=complete", "", ["Jobs in Complete state", "/jobs?state=complete"]),
    ("job_queue=running", "", ["Jobs in Running state", "/jobs?state=running"]),
    ("ip_address", "", ["/ips"]),
    ("boot_time", "", ["/vms?metric=startup_time"]),
    ("diff_type", "", ["/diff-types"]),
    ("avg_job_time", "", ["/vms?metric=job_run_times"]),
    ("cloud_conf", "", ["/cloud/config"]),
    ("cloud_health", "", ["/cloud/health"]),
    ("total_vms cluster", "", ["/clusters/{cluster}/vms?metric=total"]),
    ("total_vms", "", ["/vms?metric=total"]),
    ("missing_vms", "", ["/vms?metric=missing"]),
    ("heart_beats", "", ["/thread-heart-beats"]),
    ("boot_failures", "", ["/failures/boot"]),
    ("image_failures", "", ["/failures/image"]),
    ("version", "", ["/", f"Cloud Status version: {__version__}"]),
    ("", "", ["/cloud"]),
)
"""The first row that fits is carried out, so their order is v1's order of evaluation."""


def chosen(given: Mapping[str, str]) -> Sequence[str]:
    """What `given` options ask for: the steps of the first row that fits."""
    # v1's -j is for some of them alone, and there --json is the same.
    present = invocation.present({**given, **({"json": "yes"} if "j" in given else {})})
    return next(steps for needs, refuses, steps in ROWS if _fits(present, needs, refuses))


def _fits(present: frozenset[str], needs: str, refuses: str) -> bool:
    return present.issuperset(needs.split()) and present.isdisjoint(refuses.split())


def _show(client: Client, steps: Sequence[str], given: Mapping[str, str]) -> Iterator[bool]:
    """Print each step; yields whether each request failed. Raises BadRequest for filters that are none."""
    narrowing = _narrowing(given)
    as_json = "json" in given and any(step.startswith("/") for step in steps)
    for step in steps:
        if not step.startswith("/"):
            if not as_json:
                print(step)
            continue
        path, _, query = step.partition("?")
        parameters = {**dict(parse_qsl(query)), **narrowing}
        answer = client.ask(Ask("GET", invocation.segments(path, given), parameters, as_json=as_json))
        print(answer.text)
        invocation.hint(answer)
        yield answer.failed


def _narrowing(given: Mapping[str, str]) -> dict[str, str]:
    """The parameters that narrow a listing; a comma in a value is written %2C."""
    pairs = [each.partition("=") for each in given["only"].split(",")] if "only" in given else []
    if any(not sign or not name for name, sign, _ in pairs):
        raise BadRequest("--only takes filters such as user=alice,status=Running.")
    named = {NARROWING[name]: value for name, value in given.items() if name in NARROWING}
    return {name.strip(): unquote(value) for name, _, value in pairs} | named


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cloud_status`; the exit status is 1 when a request failed, 2 for a usage error."""
    given = invocation.parse(OPTIONS, sys.argv[1:] if argv is None else argv)

    return invocation.run(lambda: _ask(given))


def _ask(given: Mapping[str, str]) -> int:
    client = invocation.connect("info", _config(given), given)
    return int(any(list(_show(client, chosen(given), given))))


def _config(given: Mapping[str, str]) -> Config:
    """The status client's own file, with v1's two complaints about it (PARITY 4.2)."""
    named = given.get("config_file")
    path = files.expand(Path(named), os.environ) if named else files.find(os.environ, files.STATUS)
    try:
        config = invocation.load_config("info", given, path if path and path.exists() else None)
    except ConfigError as ex:
        if "info_server_port" in ex.problem and ex.path != COMMAND_LINE:
            print(BAD_PORT)
        raise
    # An installation of this account's own needs no file; without one either, v1's warning stands (PARITY 4.2).
    if path is None and not config.global_.state_dir.is_dir():
        print(NO_FILE, file=sys.stderr)
    return config


if __name__ == "__main__":
    sys.exit(main())
