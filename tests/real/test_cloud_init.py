"""User data as Debian's cloud-init reads it: its schema tool finds nothing wrong, and it sees every part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cloudsched import cloudinit
from cloudsched.cloudinit import Context, File, Part
from cloudsched.config.options import Global
from cloudsched.model.clouds import BootRequest, Cloud
from tests.real.debs import unpacked

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent.parent
_DEBS = (
    *("cloud-init", "python3-attr", "python3-certifi", "python3-chardet", "python3-configobj", "python3-idna"),
    *("python3-jinja2", "python3-json-pointer", "python3-jsonpatch", "python3-jsonschema", "python3-markupsafe"),
    *("python3-netifaces", "python3-oauthlib", "python3-pyrsistent", "python3-requests", "python3-serial"),
    *("python3-six", "python3-urllib3", "python3-yaml"),
)
# What a VM does with its user data before it looks at any part: unpack, and split into parts with their types.
_PARTS = """
import json, sys
from cloudinit import helpers, user_data
whole = user_data.UserDataProcessor(helpers.Paths({})).process(sys.stdin.buffer.read())
parts = [each for each in whole.walk() if not each.is_multipart()]
print(json.dumps([[each.get_content_type(), each.get_payload(decode=True).decode()] for each in parts]))
"""
# What becomes of a file's entry when it is written.
_FILES = """
import json, sys
from cloudinit import safeyaml
from cloudinit.config.cc_write_files import canonicalize_extraction, extract_contents
import logging
entries = safeyaml.load(sys.stdin.read())["write_files"]
found = {
    each["path"]: extract_contents(each["content"], canonicalize_extraction(each.get("encoding"))) for each in entries
}
print(json.dumps({path: content if isinstance(content, str) else content.decode() for path, content in found.items()}))
"""


@pytest.fixture(scope="session")
def library() -> Path:
    """Where cloud-init's Python packages are."""
    place = Path(tempfile.gettempdir(), f"cloudsched-real-{os.geteuid()}", "cloud-init")
    return unpacked(place, _DEBS) / "usr/lib/python3/dist-packages"


def run(library: Path, *words: str, given: bytes = b"") -> str:
    command = [sys.executable, "-W", "ignore", *words]
    environment = {**os.environ, "PYTHONPATH": str(library)}
    done = subprocess.run(command, input=given, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


def parts_of(library: Path, data: bytes) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in json.loads(run(library, "-c", _PARTS, given=data))]


def made(base: str, cloud: str = "OpenStackNative", **context: Any) -> bytes:
    join = {"condor_host": "cm.example.org:9618", "trust_domain": "example.org", "token": "to.k.en", "key": "5ec2e7"}
    request = BootRequest("mouse-1", "image", "alice", "atlas", join=join)
    given = Context(base, (File("/etc/grid/key", b"K\xc3\xa4", "0600"),), **context)
    return cloudinit.user_data(given, request, Cloud("mouse", cloud), Global(override_vmtype=True))


BASES = {
    "none": "",
    "ours": (ROOT / "contrib/htcondor/default.yaml").read_text(),
    "flush": "#cloud-config\nwrite_files:\n- path: /old\n  content: x\n",
    "deep": "write_files: # ours\n\n      # more\n      - path: /old\n        content: |\n          write_files:\n",
    "empty": "#cloud-config\r\nwrite_files: []\r\nruncmd:\r\n  - [ls]\r\n",
}


@pytest.mark.parametrize(
    ("base", "cloud"),
    [*((text, "OpenStackNative") for text in BASES.values()), (BASES["none"], "gce")],
    ids=[*BASES, "uncompressed"],
)
def test_the_document_is_valid_and_its_files_arrive(library: Path, tmp_path: Path, base: str, cloud: str) -> None:
    ((kind, text),) = parts_of(library, made(base, cloud))
    assert kind == "text/cloud-config"
    (tmp_path / "document").write_text(text)
    assert "Valid cloud-config" in run(library, "-m", "cloudinit.cmd.main", "schema", "-c", str(tmp_path / "document"))
    files = json.loads(run(library, "-c", _FILES, given=text.encode()))
    assert files["/etc/grid/key"] == "Kä"
    assert files[cloudinit.TOKEN] == "to.k.en"
    assert files[cloudinit.MODIFICATIONS] == 'VMType = "atlas"\nSTART=(Owner == "alice")\n'
    assert ("/old" in files) == ("/old" in base)


def test_every_part_of_a_multipart_document_is_seen(library: Path, tmp_path: Path) -> None:
    own = (Part("a.yaml", b"#cloud-config\npackages: [vim]\n"), Part("b.sh", b"#!/bin/sh\necho hi\n", "x-shellscript"))
    found = parts_of(library, made(BASES["ours"], parts=own))
    assert [kind for kind, _ in found] == ["text/cloud-config", "text/x-shellscript", "text/cloud-config"]
    assert [text.encode() for _, text in found[:2]] == [each.content for each in own]
    for number, (kind, text) in enumerate(found):
        if kind == "text/cloud-config":
            (tmp_path / f"{number}").write_text(text)
            run(library, "-m", "cloudinit.cmd.main", "schema", "-c", str(tmp_path / f"{number}"))


def test_the_tool_does_find_mistakes(library: Path, tmp_path: Path) -> None:
    (tmp_path / "document").write_text("#cloud-config\nwrite_files:\n  - pathh: /x\n")
    with pytest.raises(AssertionError, match="'path' is a required property"):
        run(library, "-m", "cloudinit.cmd.main", "schema", "-c", str(tmp_path / "document"))


def test_the_example_base_passes_our_own_validation() -> None:
    assert cloudinit.problem(BASES["ours"]) == ""
