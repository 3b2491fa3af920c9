"""What HTCondor's ads say about jobs and machines (PARITY 8.1, 8.2).

An ad is plain data: attribute names in lower case; text, numbers and booleans as such, every other expression as its
text, undefined attributes left out. A job whose attributes are wrong is shown with the reason, never dropped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cloudsched.batch import requirements
from cloudsched.batch.attributes import ATTRIBUTES, PREFIX
from cloudsched.batch.defaults import shape_defaults
from cloudsched.config.options import JobDefaults
from cloudsched.model.jobs import SHAPE_FIELDS, Job, JobStatus, Machine, Shape

Value = str | int | float | bool
Ad = Mapping[str, Value]

VM_ATTRIBUTE = "CloudschedVM"
"""Set in a VM's startd and master to the VM's uid: how machines are matched to VMs."""
ORDER_ATTRIBUTE = "CloudschedOrder"
"""Set in a job we submit to the order's token: how a repeated order finds what it submitted."""

_IDENTITY = (
    "GlobalJobId", "ClusterId", "ProcId", "JobPrio", "JobStatus", "QDate", "ServerTime",
    "EnteredCurrentStatus", "RemoteHost", "JobStartDate", "CompletionDate", "ExitCode", "HoldReason", "RemoveReason",
    "Iwd",
)  # fmt: skip
_NEEDS = ("Owner", "JobUniverse", "Requirements", "RequestMemory", "RequestCpus")
JOB_ATTRIBUTES: tuple[str, ...] = (*_IDENTITY, *_NEEDS, *(each.name for each in ATTRIBUTES.values()))
MACHINE_ATTRIBUTES: tuple[str, ...] = (
    "Name", "Machine", "JobId", "GlobalJobId", "MyAddress", "State", "Activity", "VMType", "MyCurrentTime",
    "EnteredCurrentState", "Start", "RemoteOwner", "SlotType", "TotalSlots",
    "Draining", "DrainReason", "DaemonStartTime", "LastHeardFrom", VM_ATTRIBUTE,
)  # fmt: skip
MASTER_ATTRIBUTES: tuple[str, ...] = ("Name", "Machine", "MyAddress", "MasterIpAddr", VM_ATTRIBUTE)

# HTCondor's 6 is "transferring output" and 7 "suspended": the job still has its slot.
_STATUSES: Mapping[int, JobStatus] = {
    **{int(each): each for each in JobStatus},
    6: JobStatus.RUNNING,
    7: JobStatus.RUNNING,
}
_OWN = frozenset(name.lower() for name in _IDENTITY)
_MOST_KEPT = 10_000
_ENDED = (JobStatus.REMOVED, JobStatus.COMPLETE)
_WITHOUT_VM: Mapping[int, str] = {7: "scheduler", 9: "grid", 12: "local"}
_BY_USER = re.compile(r" \(by user [^()]*\)$")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the site says about jobs: their defaults, and the most keep-alive in seconds."""

    defaults: JobDefaults
    max_keepalive: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a job asks for: many jobs of a queue ask for the same, and share it."""

    shape: Shape
    own: Mapping[str, Any]
    problem: str


class JobAds:
    """Reads jobs' ads; what they ask for is read once for all jobs that ask for the same."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._asked: dict[tuple[tuple[str, Value], ...], _Asked] = {}

    def job(self, ad: Ad) -> Job | None:
        """Read a job's ad; None for an ad that is no job's (it has no GlobalJobId or no Owner)."""
        if not (ad.get("globaljobid") and ad.get("owner")):
            return None
        asked = self._of(ad)
        status = _STATUSES.get(_number(ad, "jobstatus"), JobStatus.NEW)
        return Job(
            id=str(ad["globaljobid"]),
            shape=asked.shape,
            cluster_id=_number(ad, "clusterid"),
            proc_id=_number(ad, "procid"),
            priority=_number(ad, "jobprio"),
            job_status=status,
            remote_host=_text(ad, "remotehost"),
            servertime=_number(ad, "servertime"),
            jobstarttime=_number(ad, "jobstartdate"),
            spool_dir=_text(ad, "iwd"),
            problem=asked.problem,
            hold_reason=_reason(ad, status),
            exit_code=_number(ad, "exitcode") if status is JobStatus.COMPLETE and "exitcode" in ad else None,
            submitted_at=_number(ad, "qdate"),
            finished_at=_finished(ad) if status in _ENDED else None,
            **asked.own,
        )

    def _of(self, ad: Ad) -> _Asked:
        key = tuple((name, ad[name]) for name in sorted(ad) if name not in _OWN)
        if key not in self._asked:
            if len(self._asked) >= _MOST_KEPT:
                self._asked.clear()
            self._asked[key] = _asked(ad, self._rules)
        return self._asked[key]


def machine(ad: Ad, masters: Mapping[str, str]) -> Machine:
    """Read a slot's ad; `masters` are the addresses of masters by machine."""
    name = _text(ad, "machine") or ""
    return Machine(
        name=_text(ad, "name") or name,
        machine_name=name,
        vm=_text(ad, VM_ATTRIBUTE.lower()) or "",
        job_id=_text(ad, "jobid") or "",
        global_job_id=_text(ad, "globaljobid") or "",
        address_startd=_text(ad, "myaddress") or "",
        address_master=masters.get(name, ""),
        state=_text(ad, "state") or "",
        activity=_text(ad, "activity") or "",
        vmtype=_text(ad, "vmtype") or "",
        current_time=_number(ad, "mycurrenttime"),
        entered_state_time=_number(ad, "enteredcurrentstate"),
        start_req=_text(ad, "start") or "",
        remote_owner=_text(ad, "remoteowner") or "",
        slot_type=_text(ad, "slottype") or "",
        total_slots=_number(ad, "totalslots", 1),
        retiring=ad.get("draining") is True or ad.get("activity") == "Retiring",
    )


def masters_by_machine(ads: Iterable[Ad]) -> dict[str, str]:
    """The addresses of masters by machine; newer masters advertise MyAddress, older ones MasterIpAddr (PARITY 8.2)."""
    return {str(ad.get("machine", "")): str(ad.get("masteripaddr") or ad.get("myaddress", "")) for ad in ads}


def _asked(ad: Ad, rules: Rules) -> _Asked:
    found, problems = _attributes(ad)
    universe = _number(ad, "jobuniverse")
    if universe in _WITHOUT_VM:
        problems.append(f"it is of the {_WITHOUT_VM[universe]} universe, which runs on no VM")
    own = {name: value for name, value in found.items() if name not in SHAPE_FIELDS}
    return _Asked(_shape(ad, found, rules), own, "; ".join(problems))


def _attributes(ad: Ad) -> tuple[dict[str, Any], list[str]]:
    """The known attributes by the field they set, and sentences about those that are wrong."""
    found: dict[str, Any] = {}
    problems: list[str] = []
    for name, attribute in ATTRIBUTES.items():
        text = _text(ad, name.removeprefix(PREFIX))
        if not text:
            continue
        try:
            found[attribute.field] = attribute.read(text)
        except ValueError:
            problems.append(f"{attribute.name} is {text[:200]!r}; accepted is {attribute.accepted}")
    return found, problems


def _shape(ad: Ad, found: Mapping[str, Any], rules: Rules) -> Shape:
    chosen = {name: value for name, value in found.items() if name in SHAPE_FIELDS}
    needs = requirements.hints(_text(ad, "requirements") or "")
    if needs.vmtype:
        chosen["req_vmtype"] = needs.vmtype
    defaults = shape_defaults(rules.defaults)
    # HTCondor gives jobs that ask for nothing small requests of its own: they never lower the site's defaults.
    asked = {
        "req_memory": max(_number(ad, "requestmemory"), needs.memory),
        "req_cpucores": 1 if chosen.get("job_per_core") else max(_number(ad, "requestcpus"), needs.cpus),
        "req_storage": math.ceil(needs.disk_kb / 10**6),
    }
    least = {name: max(value, defaults[name]) for name, value in asked.items()}
    shape = {**defaults, **least, "user": str(ad["owner"]), **chosen}
    shape["keep_alive"] = min(shape.get("keep_alive", 0), rules.max_keepalive)
    return Shape(**shape)


def _reason(ad: Ad, status: JobStatus) -> str:
    """Why a job is held or was removed, as it was given: the schedd appends who gave it."""
    name = {JobStatus.HELD: "holdreason", JobStatus.REMOVED: "removereason"}.get(status, "")
    return _BY_USER.sub("", _text(ad, name) or "")


def _finished(ad: Ad) -> int:
    return _number(ad, "completiondate") or _number(ad, "enteredcurrentstatus") or _number(ad, "servertime")


def _text(ad: Ad, name: str) -> str | None:
    value = ad.get(name)
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _number(ad: Ad, name: str, otherwise: int = 0) -> int:
    value = ad.get(name)
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else otherwise
