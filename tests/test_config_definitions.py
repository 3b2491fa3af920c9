"""Definitions of clouds by JSON documents: held to what a section of the file is held to, and to a little more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudsched.config.clouds import HostSize, read_clouds
from cloudsched.config.definitions import Document, Draft, shown
from cloudsched.config.options import Global
from cloudsched.config.secrets import MASK
from cloudsched.errors import BadDefinition

HOST = HostSize(8, 16000, 100)
OPENSTACK: dict[str, Any] = {
    "cloud_type": "OpenStackNative",
    "vm_slots": 20,
    "auth_url": "https://cloud.example/v3",
    "regions": ["west", "east"],
    "username": "svc",
    "password": "s3cret",
    "tenant_name": "lab",
}


def draft(values: dict[str, Any], before: Draft | None = None, *, partial: bool = False) -> Draft:
    return Document("mouse", values, partial).draft(before, Global(), HOST)


def complaints(values: dict[str, Any], before: Draft | None = None, *, partial: bool = False) -> list[tuple[str, ...]]:
    """Level, code and field of every complaint about a document that is refused."""
    with pytest.raises(BadDefinition) as caught:
        draft(values, before, partial=partial)
    assert all(each["problem"].endswith(".") for each in caught.value.complaints)
    return [(each["level"], each["code"], each["field"]) for each in caught.value.complaints]


def test_values_become_what_a_section_would_hold() -> None:
    made = draft({**OPENSTACK, "enabled": True, "name": "Mouse"})
    assert made.options == {
        "cloud_type": "OpenStackNative",
        "vm_slots": "20",
        "auth_url": "https://cloud.example/v3",
        "regions": "west, east",
        "tenant_name": "lab",
        "enabled": "true",
    }
    assert made.secrets == {"username": "svc", "password": "s3cret"}
    assert (made.enabled, draft(OPENSTACK).enabled) == (True, None)
    assert "s3cret" not in repr(made)


def test_what_is_shown_holds_no_secret() -> None:
    made = draft({**OPENSTACK, "auth_url": "https://me:s3cret@cloud.example/v3"})
    assert "auth_url" in made.secrets, "a dump leaves it out as a whole"
    assert shown(made)["auth_url"] == f"https://me:{MASK}@cloud.example/v3"
    assert shown(made)["password"] == shown(made)["username"] == MASK
    assert "s3cret" not in str(shown(made))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [("unknown-kind", "cloud_type")]),
        ({"cloud_type": "cirrus"}, [("unknown-kind", "cloud_type")]),
        ({"cloud_type": "azure"}, ["no-adapter", *(["missing-option"] * 6)]),
        ({"cloud_type": "OpenStackNative", "vm_slots": 1}, [("incomplete-login", "os_cloud")]),
        ({**OPENSTACK, "password": None}, [("bad-value", "password"), ("incomplete-login", "password")]),
        ({**OPENSTACK, "vm_slots": -1}, [("bad-value", "vm_slots")]),
        ({**OPENSTACK, "vm_slots": 1.5}, [("bad-value", "vm_slots"), ("missing-option", "vm_slots")]),
        ({**OPENSTACK, "enabled": "perhaps"}, [("bad-value", "enabled")]),
        ({**OPENSTACK, "regions": ["a,b"]}, [("bad-value", "regions"), ("incomplete-login", "regions")]),
        ({**OPENSTACK, "key_name": "a\nb"}, [("bad-value", "key_name")]),
        ({**OPENSTACK, "key_name": "a" * 5000}, [("bad-value", "key_name")]),
        ({**OPENSTACK, "vmslots": 3}, [("unknown-option", "vmslots")]),
        ({**OPENSTACK, "name": "rat"}, [("bad-name", "name")]),
        ({"cloud_type": "local", "command": "rm -rf /"}, [("file-only", "command")]),
        ({**OPENSTACK, "clouds_yaml": "/etc/shadow"}, [("file-only", "clouds_yaml")]),
    ],
)
def test_what_is_wrong_is_told_by_level_code_and_field(values: dict[str, Any], expected: list[Any]) -> None:
    found = [each[1:] for each in complaints(values) if each[0] == "error"]
    if isinstance(expected[0], str):
        assert [code for code, _ in found] == expected
    else:
        assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("name", ["", " ", ".", ".."])
def test_names_that_no_url_can_hold_are_refused(name: str) -> None:
    with pytest.raises(BadDefinition) as caught:
        Document(name, OPENSTACK).draft(None, Global(), HOST)
    assert [each["code"] for each in caught.value.complaints] == ["bad-name"]


def test_complaints_hold_no_secret() -> None:
    with pytest.raises(BadDefinition) as caught:
        draft({**OPENSTACK, "port": "https://me:s3cret@x", "password": ["s3cret,"], "secret_file": "/s3cret"})
    assert "s3cret" not in str(caught.value) + str(caught.value.complaints)


def test_all_is_told_at_once_and_warnings_are_no_errors() -> None:
    found = complaints({**OPENSTACK, "vm_slots": 0, "vm_keep_alive": 10**6, "port": "x", "colour": "red"})
    assert sorted(found) == [
        ("error", "bad-value", "port"),
        ("error", "unknown-option", "colour"),
        ("warning", "no-slots", "vm_slots"),
        ("warning", "reduced", "vm_keep_alive"),
    ]
    made = draft({**OPENSTACK, "vm_slots": 0})
    assert [(each.level, each.code) for each in made.warnings] == [("warning", "no-slots")]


def test_file_and_document_say_the_same_of_the_same_options(tmp_path: Path) -> None:
    """Every error of a document is the reason why a section of a file is unusable, in the same words."""
    for values in ({"cloud_type": "x"}, {"cloud_type": "AmazonEC2", "vm_slots": "no"}, {"cloud_type": "azure"}):
        path = tmp_path / "clouds.conf"
        path.write_text("[mouse]\n" + "".join(f"{name}: {value}\n" for name, value in values.items()))
        (section,), _ = read_clouds(path, Global(), HOST)
        with pytest.raises(BadDefinition) as caught:
            draft(values)
        reason = section.cloud.unusable or ""
        for each in caught.value.complaints:
            if each["level"] == "error":
                assert each["problem"].removesuffix(".").removesuffix(" is missing") in reason


def test_whole_definition_keeps_the_secrets_that_nobody_can_read() -> None:
    before = draft(OPENSTACK)
    values = {name: value for name, value in OPENSTACK.items() if name not in ("username", "password", "tenant_name")}
    after = draft({**values, "tenant_name": "other"}, before)
    assert (after.secrets, after.options["tenant_name"]) == (before.secrets, "other")


def test_partial_definition_changes_what_it_names_and_takes_away_null() -> None:
    before = draft({**OPENSTACK, "priority": 3})
    after = draft({"vm_slots": 30, "priority": None}, before, partial=True)
    assert after.options == {**draft(OPENSTACK).options, "vm_slots": "30"}
    assert (after.secrets, after.given) == (before.secrets, {"vm_slots", "priority"})


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize("change", [{"auth_url": "https://evil.example/v3"}, {"cacert": "/tmp/mine.pem"}])
def test_credentials_do_not_follow_to_another_address(change: dict[str, str], partial: bool) -> None:
    """Else who may define clouds could have them sent to himself, and he must not be able to read them."""
    before = draft(OPENSTACK)
    values = change if partial else {**OPENSTACK, **change}
    values = {name: value for name, value in values.items() if name not in ("username", "password")}
    found = complaints(values, before, partial=partial)
    assert found == [("error", "credentials-needed", "password"), ("error", "credentials-needed", "username")]
    again = draft({**values, "username": "svc", "password": "new"}, before, partial=partial)
    assert again.secrets == {"username": "svc", "password": "new"}
