"""What a VM's cloud-init is given: one cloud-config with the files that let it join, and the job's own parts.

PARITY 8.5. Nothing is read here: the engine hands in the texts. File contents are written as base64, so that no name
and no script can change what the document means.
"""

from __future__ import annotations

import base64
import gzip
import importlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email import encoders
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart

from cloudsched.config.options import Global
from cloudsched.errors import BadRequirement, MissingExtra
from cloudsched.model.clouds import BootRequest, Cloud

MODIFICATIONS = "/etc/condor/condor_config.local.modifications"
CONFIG = "/etc/condor/config.d/99-cloudscheduler.conf"
TOKEN = "/etc/condor/tokens.d/cloudscheduler"
KEY = "/etc/condor/passwords.d/cloudsched"

_HEADERS = ("#cloud-config", "## template: jinja")
_WRITE_FILES = re.compile(r"^write_files[ \t]*:[ \t]*(\[[ \t]*\])?[ \t]*(#.*)?$", re.MULTILINE)
_OTHER_WRITE_FILES = re.compile(r"""^["']?write_files["']?[ \t]*:""", re.MULTILINE)
_ENTRY = re.compile(r"(?:[ \t]*(?:#.*)?\n)*([ ]*)- ")
_BOUNDARY = "===============cloudscheduler=="
_UNZIPPED = frozenset({"gce", "googlecomputeengine"})
_CLOUD_TYPES: Mapping[str, str] = {"googlecomputeengine": "gce", "gce": "gce", "stratuslab": "stratuslab"}
KINDS = (
    *("cloud-config", "cloud-config-archive", "cloud-config-jsonp", "x-shellscript", "x-shellscript-per-boot"),
    *("x-shellscript-per-instance", "x-shellscript-per-once", "cloud-boothook", "part-handler", "jinja2"),
    *("x-include-url", "x-include-once-url"),
)


@dataclass(frozen=True, slots=True)
class File:
    """A file that cloud-init writes on the VM."""

    path: str
    content: bytes
    permissions: str = "0644"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart document; `kind` is one of KINDS."""

    name: str
    content: bytes
    kind: str = "cloud-config"


@dataclass(frozen=True, slots=True)
class Context:
    """What all VMs of one shape are given alike: the base cloud-config, files and the job's parts.

    `credentials` are the configured certificates, keys and CA files, `scripts` the admin's and the user's.
    """

    base: str = ""
    credentials: tuple[File, ...] = ()
    scripts: tuple[File, ...] = ()
    parts: tuple[Part, ...] = ()


def user_data(context: Context, request: BootRequest, cloud: Cloud, settings: Global) -> bytes:
    """The whole user data of one VM, compressed where its cloud takes that.

    Raises BadRequirement when the base document has no place for files.
    """
    document = with_files(context.base, vm_files(context, request, cloud, settings)).encode("utf-8", "surrogateescape")
    if context.parts:
        document = multipart([*context.parts, Part("cloudscheduler", document)])
    return document if cloud.cloud_type.lower() in _UNZIPPED else gzip.compress(document, mtime=0)


def vm_files(context: Context, request: BootRequest, cloud: Cloud, settings: Global) -> list[File]:
    """The files a VM is given, in v1's order; those it joins with, which v1 did not know, come last."""
    kind = cloud.cloud_type.lower()
    modifications = _modifications(request, override_vmtype=settings.override_vmtype)
    return [
        *_central_manager(settings, request),
        *context.credentials,
        File(MODIFICATIONS, modifications.encode("utf-8", "surrogateescape")),
        *context.scripts,
        File("/var/lib/cloud_type", _CLOUD_TYPES.get(kind, cloud.cloud_type).encode()),
        File("/var/lib/cloud_name", cloud.name.encode("utf-8", "surrogateescape")),
        File(CONFIG, _config(settings, request).encode("utf-8", "surrogateescape")),
        *_secrets(request.join),
    ]


def with_files(base: str, files: Sequence[File]) -> str:
    """The base cloud-config with entries for the files, directly after its `write_files:` line or in a new section.

    Raises BadRequirement when its `write_files` is not a list in block form.
    """
    text = base.replace("\r\n", "\n")
    if text.lstrip().partition("\n")[0].rstrip() not in _HEADERS:
        text = f"#cloud-config\n{text}"
    found = _WRITE_FILES.search(text)
    if found is None:
        if _OTHER_WRITE_FILES.search(text):
            raise BadRequirement("The write_files of the base cloud-config must be a list with an entry a line.")
        separator = "" if text.endswith("\n") else "\n"
        return f"{text}{separator}write_files:\n{_entries(files, '  ')}"
    after = text[found.end() + 1 :]
    entry = _ENTRY.match(after)
    return f"{text[: found.start()]}write_files:\n{_entries(files, entry[1] if entry else '  ')}{after}"


def multipart(parts: Sequence[Part]) -> bytes:
    """A MIME multipart document of the parts, in order; the same parts give the same bytes."""
    whole = MIMEMultipart(boundary=_BOUNDARY)
    for part in parts:
        message = MIMEBase("text", part.kind)
        message.set_payload(part.content)
        encoders.encode_base64(message)
        message.add_header("Content-Disposition", "attachment", filename=part.name)
        whole.attach(message)
    return whole.as_bytes()


def source_and_kind(entry: str) -> tuple[str, str]:
    """Split `PATH_OR_URL[:TYPE]` (VMAMIConfig); the type is `cloud-config` when none is given.

    Raises BadRequirement for a type that cloud-init does not know.
    """
    source, colon, kind = entry.rpartition(":")
    kind = kind.removeprefix("text/")
    if not colon or "/" in kind or kind.isdigit():
        return entry, "cloud-config"
    if kind not in KINDS or not source:
        raise BadRequirement(f"VMAMIConfig {entry!r}: {kind!r} is no type of a part; accepted are {', '.join(KINDS)}.")
    return source, kind


def problem(text: str) -> str:
    """What is wrong with a cloud-config, as the end of a sentence, or empty (`validate_yaml`, PARITY 7.1).

    Raises MissingExtra where no YAML library is installed.
    """
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError as ex:
        raise MissingExtra("validate_yaml", "htcondor") from ex
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as ex:
        return f"is not YAML: {' '.join(str(ex).split())}"
    if not isinstance(values, dict):
        return "is not a mapping of YAML"
    if "merge_type" not in values and "merge_how" not in values:
        return "says no merge_type, so it would replace other parts instead of joining them"
    return ""


def script_file(whose: str, source: str, content: bytes) -> File:
    """The admin's or a user's script as a file of the VM; `whose` is admin or user, `source` its path or URL."""
    return File(f"/etc/condor/{whose}_userdata_{file_name(source)}", content, "0755")


def file_name(source: str) -> str:
    """The last part of a path or URL, with nothing in it that a name cannot hold anywhere."""
    name = source.partition("?")[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]", "_", name) or "part"


def _entries(files: Sequence[File], indent: str) -> str:
    return "".join(
        f"{indent}- path: {json.dumps(each.path, ensure_ascii=False)}\n"
        f'{indent}  permissions: "{each.permissions}"\n'
        f"{indent}  encoding: b64\n"
        f'{indent}  content: "{base64.b64encode(each.content).decode()}"\n'
        for each in files
    )


def _central_manager(settings: Global, request: BootRequest) -> list[File]:
    host = _host(_manager(settings, request))
    if not settings.condor_context_file or host in ("", "localhost"):
        return []
    return [File(settings.condor_context_file, host.encode("utf-8", "surrogateescape"))]


def _manager(settings: Global, request: BootRequest) -> str:
    """The central manager as VMs reach it, perhaps with its port."""
    return settings.condor_host_on_vm or request.join.get("condor_host", "")


def _host(address: str) -> str:
    """The host of `HOST`, `HOST:PORT`, `[IPV6]:PORT`."""
    host, colon, port = address.rpartition(":")
    return (host if colon and port.isdigit() and (":" not in host or host.endswith("]")) else address).strip("[]")


def _modifications(request: BootRequest, *, override_vmtype: bool) -> str:
    vmtype = f"VMType = {_quoted(request.vmtype)}\n" if override_vmtype else ""
    return f"{vmtype}START=(Owner == {_quoted(request.user)})\n"


def _config(settings: Global, request: BootRequest) -> str:
    """HTCondor configuration for images that read config.d; v1's images read the modifications instead."""
    manager, domain = _manager(settings, request), request.join.get("trust_domain", "")
    lines = ["# Made by Cloud Scheduler for this VM alone."]
    if manager:
        lines += [f"CONDOR_HOST = {_line(_host(manager))}", f"COLLECTOR_HOST = {_line(manager)}"]
    if domain:
        lines += [f"TRUST_DOMAIN = {_line(domain)}"]
    if domain and request.join.get("key"):
        lines += [f"ALLOW_ADMINISTRATOR = $(ALLOW_ADMINISTRATOR) cloudsched@{_line(domain)}"]
    lines += [
        f"VMType = {_quoted(request.vmtype)}",
        f"CloudschedVM = {_quoted(request.uid)}",
        "STARTD_ATTRS = $(STARTD_ATTRS) VMType CloudschedVM",
        "MASTER_ATTRS = $(MASTER_ATTRS) CloudschedVM",
        f"START = (Owner == {_quoted(request.user)})",
        "# Retiring lets running jobs finish.",
        "MAXJOBRETIREMENTTIME = 604800",
    ]
    return "\n".join(lines) + "\n"


def _secrets(join: Mapping[str, str]) -> list[File]:
    given = ((TOKEN, join.get("token", "")), (KEY, join.get("key", "")))
    return [File(path, text.encode(), "0600") for path, text in given if text]


def _line(text: str) -> str:
    """Text as configuration takes it: on one line, and with no macro beginning in it."""
    return re.sub(r"[\0-\x1f]", "", text).replace("$", "$(DOLLAR)")


def _quoted(text: str) -> str:
    """A ClassAd string inside configuration."""
    return '"' + _line(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
