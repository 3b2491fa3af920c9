"""User data: what a VM's cloud-init is given (PARITY 8.5)."""

from __future__ import annotations

import base64
import email
import email.message
import gzip
from typing import Any

import pytest
import yaml

from cloudsched import cloudinit
from cloudsched.cloudinit import Context, File, Part
from cloudsched.config.options import Global
from cloudsched.errors import BadRequirement
from cloudsched.model.clouds import BootRequest, Cloud

CLOUD = Cloud("mouse", "OpenStackNative")
JOIN = {"condor_host": "cm.example.org:9618", "trust_domain": "example.org", "token": "to.k.en", "key": "5ec2e7"}
BASE = "#cloud-config\n# who are we\nmerge_type: list(append)+dict(recurse_array)\nruncmd:\n  - [ls]\n"
CONTEXT = Context(BASE)


def request(**changes: Any) -> BootRequest:
    return BootRequest(**{"uid": "mouse-1", "name": "i", "user": "alice", "vmtype": "atlas", "join": JOIN} | changes)


def made(context: Context = CONTEXT, cloud: Cloud = CLOUD, **options: Any) -> bytes:
    return cloudinit.user_data(context, request(), cloud, Global(**options))


def document(data: bytes) -> dict[str, Any]:
    return yaml.safe_load(data if data.startswith(b"#") else gzip.decompress(data))


def files(data: bytes) -> dict[str, tuple[str, str]]:
    return {each["path"]: (_text(each), each["permissions"]) for each in document(data)["write_files"]}


def _text(entry: dict[str, str]) -> str:
    assert entry["encoding"] == "b64"
    return base64.b64decode(entry["content"]).decode()


def test_the_files_are_written_in_v1s_order_and_ours_last() -> None:
    context = Context(
        BASE,
        credentials=(File("/etc/grid/cert.pem", b"C"), File("/etc/grid/key.pem", b"K", "0600")),
        scripts=(
            cloudinit.script_file("admin", "/srv/a.sh", b"A"),
            cloudinit.script_file("user", "http://x/u?v=1", b"U"),
        ),
    )
    assert [*files(made(context))] == [
        "/etc/condor/central_manager",
        "/etc/grid/cert.pem",
        "/etc/grid/key.pem",
        "/etc/condor/condor_config.local.modifications",
        "/etc/condor/admin_userdata_a.sh",
        "/etc/condor/user_userdata_u",
        "/var/lib/cloud_type",
        "/var/lib/cloud_name",
        "/etc/condor/config.d/99-cloudscheduler.conf",
        "/etc/condor/tokens.d/cloudscheduler",
        "/etc/condor/passwords.d/cloudsched",
    ]


def test_the_vm_is_told_where_to_join_as_what_and_for_whom() -> None:
    found = files(made())
    assert found["/etc/condor/central_manager"] == ("cm.example.org", "0644")
    assert found["/etc/condor/condor_config.local.modifications"] == ('START=(Owner == "alice")\n', "0644")
    assert found["/var/lib/cloud_type"][0] == "OpenStackNative"
    assert found["/var/lib/cloud_name"][0] == "mouse"
    config = found["/etc/condor/config.d/99-cloudscheduler.conf"][0].splitlines()
    assert "COLLECTOR_HOST = cm.example.org:9618" in config
    assert "CONDOR_HOST = cm.example.org" in config
    assert 'VMType = "atlas"' in config
    assert 'CloudschedVM = "mouse-1"' in config
    assert 'START = (Owner == "alice")' in config
    assert "ALLOW_ADMINISTRATOR = $(ALLOW_ADMINISTRATOR) cloudsched@example.org" in config


def test_secrets_are_in_files_that_root_alone_can_read_and_nowhere_else() -> None:
    found = files(made())
    assert found[cloudinit.TOKEN] == ("to.k.en", "0600")
    assert found[cloudinit.KEY] == ("5ec2e7", "0600")
    others = [text for text, mode in found.values() if mode != "0600"]
    assert not [text for text in others if "to.k.en" in text or "5ec2e7" in text]


def test_override_vmtype_puts_the_type_first() -> None:
    text = files(made(override_vmtype=True))[cloudinit.MODIFICATIONS][0]
    assert text == 'VMType = "atlas"\nSTART=(Owner == "alice")\n'


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ({"condor_host_on_vm": "vip.example.org"}, "vip.example.org"),
        ({"condor_host_on_vm": "localhost"}, None),
        ({"condor_context_file": ""}, None),
        ({"condor_host_on_vm": "[2001:db8::1]:9618"}, "2001:db8::1"),
        ({"condor_host_on_vm": "2001:db8::1"}, "2001:db8::1"),
    ],
)
def test_the_central_manager_file_holds_a_host_unless_it_is_local_or_switched_off(
    options: dict[str, str], host: str | None
) -> None:
    found = files(made(**options))
    assert found.get("/etc/condor/central_manager", (None,))[0] == host


def test_awkward_names_stay_inside_their_strings() -> None:
    config = cloudinit.vm_files(Context(), request(user='a"b\n$(ENV)', vmtype="c\\"), CLOUD, Global())
    text = next(each for each in config if each.path == cloudinit.MODIFICATIONS).content.decode()
    assert text == 'START=(Owner == "a\\"b$(DOLLAR)(ENV)")\n'


@pytest.mark.parametrize(
    "base",
    [
        "#cloud-config\nwrite_files:\n- path: /old\n  content: x\nruncmd: [ls]\n",
        "#cloud-config\nruncmd: [ls]\nwrite_files:  # ours\n\n   # theirs\n    - path: /old\n      content: x\n",
        "#cloud-config\r\nwrite_files:\r\n  - path: /old\r\n    content: x\r\n",
        "write_files:\n  - {path: /old, content: x}\n",
    ],
)
def test_files_are_inserted_before_those_of_the_base(base: str) -> None:
    text = cloudinit.with_files(base, [File("/new", b"n")])
    assert text.startswith("#cloud-config\n")
    assert [each["path"] for each in yaml.safe_load(text)["write_files"]] == ["/new", "/old"]


@pytest.mark.parametrize("base", ["", "packages: [x]", "#cloud-config\nwrite_files: []\npackages: [x]\n"])
def test_a_base_without_files_gets_a_section(base: str) -> None:
    values = yaml.safe_load(cloudinit.with_files(base, [File("/new", b"\xff", "0600")]))
    assert values["write_files"] == [{"path": "/new", "permissions": "0600", "encoding": "b64", "content": "/w=="}]
    assert values.get("packages", ["x"]) == ["x"]


@pytest.mark.parametrize("base", ["write_files: [{path: /o}]\n", '"write_files":\n- path: /o\n', "write_files: &a\n"])
def test_a_write_files_that_takes_no_entry_is_refused(base: str) -> None:
    with pytest.raises(BadRequirement, match="must be a list with an entry a line"):
        cloudinit.with_files(base, [])


def test_a_template_keeps_its_first_line() -> None:
    base = "## template: jinja\n#cloud-config\n"
    assert cloudinit.with_files(base, []).startswith(base)


def test_parts_of_the_job_come_first_in_a_multipart_document() -> None:
    parts = (Part("mine.yaml", b"#cloud-config\npackages: [a]\n"), Part("go", b"#!/bin/sh\n\xff", "x-shellscript"))
    data = made(Context(BASE, parts=parts))
    assert data == made(Context(BASE, parts=parts))
    whole = email.message_from_bytes(gzip.decompress(data))
    found = [(each.get_content_type(), each.get_filename(), each.get_payload(decode=True)) for each in whole.walk()][1:]
    assert [each[:2] for each in found] == [
        ("text/cloud-config", "mine.yaml"),
        ("text/x-shellscript", "go"),
        ("text/cloud-config", "cloudscheduler"),
    ]
    assert [each[2] for each in found][:2] == [each.content for each in parts]
    assert b"write_files:" in found[2][2]


@pytest.mark.parametrize("kind", ["gce", "GoogleComputeEngine"])
def test_google_gets_it_uncompressed(kind: str) -> None:
    data = made(cloud=Cloud("g", kind))
    assert data.startswith(b"#cloud-config\n")
    assert files(data)["/var/lib/cloud_type"][0] == "gce"


@pytest.mark.parametrize(
    ("entry", "source", "kind"),
    [
        ("/a/b.yaml", "/a/b.yaml", "cloud-config"),
        ("/a/b.sh:x-shellscript", "/a/b.sh", "x-shellscript"),
        ("http://h:80/x:text/cloud-boothook", "http://h:80/x", "cloud-boothook"),
        ("https://h/x", "https://h/x", "cloud-config"),
        ("http://h:8080", "http://h:8080", "cloud-config"),
    ],
)
def test_a_part_may_name_its_type(entry: str, source: str, kind: str) -> None:
    assert cloudinit.source_and_kind(entry) == (source, kind)


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadRequirement, match="'tea' is no type of a part; accepted are cloud-config, "):
        cloudinit.source_and_kind("/a:tea")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BASE, ""),
        ("#cloud-config\nmerge_how: dict()\n", ""),
        ("#cloud-config\nruncmd: [ls]\n", "says no merge_type"),
        ("- a\n", "is not a mapping"),
        ("a: [", "is not YAML: while parsing"),
        ("!!python/object/apply:os.system [ls]", "is not YAML"),
    ],
)
def test_validation_says_what_is_wrong(text: str, problem: str) -> None:
    found = cloudinit.problem(text)
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_a_request_shows_no_secret_in_a_log() -> None:
    shown = repr(request(user_data=b"to.k.en"))
    assert "to.k.en" not in shown
    assert "5ec2e7" not in shown
