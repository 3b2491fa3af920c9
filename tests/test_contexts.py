"""What the VMs of a shape are given: configured files, and those the job's owner names."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from cloudsched.config.load import Config
from cloudsched.config.options import Global, JobDefaults
from cloudsched.engine.contexts import Contexts
from cloudsched.errors import BadRequirement, ConfigError
from cloudsched.model.jobs import Shape

ME = pwd.getpwuid(os.getuid()).pw_name
GOOD = "#cloud-config\nmerge_how: list(append)\n"


def contexts(job: dict[str, Any] | None = None, **options: Any) -> Contexts:
    return Contexts(Config(Global(**options), JobDefaults(**job or {})))


def written(path: Path, text: str = GOOD) -> str:
    path.write_text(text)
    return str(path)


def test_the_configured_files_are_gathered(tmp_path: Path) -> None:
    found = contexts(
        {"default_vmuserdata": (written(tmp_path / "setup.sh", "S"),)},
        default_yaml=written(tmp_path / "base.yaml"),
        cert_file=written(tmp_path / "cert", "C"),
        key_file=written(tmp_path / "key", "K"),
        key_file_on_vm="/etc/key",
        ca_root_certs=(f"{written(tmp_path / 'ca', 'R')}:/etc/ca", written(tmp_path / "other", "O")),
        ca_signing_policies=(f"{written(tmp_path / 'policy', 'P')}:/etc/policy",),
    ).of(Shape(ME))
    assert found.base == GOOD
    assert [(each.path, each.content, each.permissions) for each in found.credentials] == [
        (str(tmp_path / "cert"), b"C", "0644"),
        ("/etc/key", b"K", "0600"),
        ("/etc/ca", b"R", "0644"),
        (str(tmp_path / "other"), b"O", "0644"),
        ("/etc/policy", b"P", "0644"),
    ]
    (script,) = found.scripts
    assert (script.path, script.permissions) == ("/etc/condor/admin_userdata_setup.sh", "0755")


def test_a_job_may_do_without_ca_files_and_a_site_without_base(tmp_path: Path) -> None:
    made = contexts(
        use_cloud_init=False, default_yaml=written(tmp_path / "base"), ca_root_certs=(written(tmp_path / "ca"),)
    )
    found = made.of(Shape(ME, inject_ca=False))
    assert (found.base, found.credentials) == ("", ())


def test_the_jobs_parts_are_its_owners_files_and_those_that_are_configured(tmp_path: Path) -> None:
    entry = f"{written(tmp_path / 'go.sh', '#!')}:x-shellscript"
    found = contexts().of(Shape(ME, ami_config=(entry, written(tmp_path / "c.yaml"))))
    assert [(each.name, each.kind) for each in found.parts] == [("go.sh", "x-shellscript"), ("c.yaml", "cloud-config")]
    configured = contexts({"default_vmamiconfig": (entry,)})
    assert configured.of(Shape("no-such-user", ami_config=(entry,))).parts[0].content == b"#!"


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ({"ami_config": ("/etc/hostname",), "user": "no-such-user"}, "this host has no such account"),
        ({"ami_config": ("part.yaml",)}, "'part.yaml': accepted are absolute paths, http and https URLs"),
        ({"ami_config": ("/x:tea",)}, "'tea' is no type of a part"),
        ({"user_data": ("/etc/passwd",)}, "VMUserData '/etc/passwd': accepted are http and https URLs"),
        ({"user_data": ("file:///etc/passwd",)}, "accepted are http and https URLs"),
    ],
)
def test_what_a_job_may_not_name_is_refused_with_why(shape: dict[str, Any], why: str) -> None:
    with pytest.raises(BadRequirement, match=why):
        contexts().of(Shape(**{"user": ME} | shape))


def test_a_bad_part_is_refused_where_yaml_is_validated(tmp_path: Path) -> None:
    shape = Shape(ME, ami_config=(written(tmp_path / "c.yaml", "a: ["),))
    assert contexts().of(shape).parts
    with pytest.raises(BadRequirement, match=r"c\.yaml is not YAML: while parsing"):
        contexts(validate_yaml=True).of(shape)


def test_two_scripts_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    names = (written(tmp_path / "s.sh"), written(tmp_path / "a" / "s.sh"))
    with pytest.raises(BadRequirement, match="the same name"):
        contexts({"default_vmuserdata": names}).of(Shape(ME))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"default_yaml": "/no/such"}, "default_yaml: /no/such cannot be read: No such file"),
        ({"cert_file": "/no/such"}, "cert_file: /no/such cannot be read"),
        ({"ca_root_certs": ("/no/such:/x",)}, "ca_root_certs: /no/such cannot be read"),
        ({"default_yaml": "~no-such-user/x"}, "default_yaml: ~no-such-user/x cannot be read"),
    ],
)
def test_a_mistake_in_the_configuration_stops_the_start(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        contexts(**options).check()


@pytest.mark.parametrize(
    ("text", "why"),
    [("merge_type: x\nwrite_files: [{path: /x}]", "must be a list"), ("#cloud-config\na: 1\n", "says no merge_type")],
)
def test_a_bad_base_stops_the_start(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        contexts(validate_yaml=True, default_yaml=written(tmp_path / "b", text)).check()


def test_a_right_configuration_starts(tmp_path: Path) -> None:
    contexts(validate_yaml=True, default_yaml=written(tmp_path / "b")).check()
