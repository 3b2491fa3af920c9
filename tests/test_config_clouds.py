"""cloud_resources.conf (PARITY 7.2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudsched.config import Global, load
from cloudsched.config.cloud_kinds import typed
from cloudsched.config.clouds import CloudSection, HostSize, read_clouds, with_clouds
from cloudsched.config.show import document, show
from cloudsched.errors import ConfigError

HOST = HostSize(cores=4, memory_mb=8000, storage_gb=50)
OPENSTACK = """
[Mouse]
auth_url: https://mouse.example.org:5000/v3
cloud_type: OpenStackNative
regions: nova
vm_slots: 10
tenant_name: tenant
username: operator
password: s3%cr(et%(x)s
security_group: default
"""


def clouds(tmp_path: Path, text: str, *, simulated: bool = False) -> tuple[CloudSection, ...]:
    return read(tmp_path, text, simulated=simulated)[0]


def read(tmp_path: Path, text: str, *, simulated: bool = False) -> tuple[tuple[CloudSection, ...], tuple[str, ...]]:
    path = tmp_path / "cloud_resources.conf"
    path.write_text(text, encoding="utf-8")
    return read_clouds(path, Global(state_dir=tmp_path, max_keepalive=600), HOST, simulated=simulated)


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        clouds(tmp_path, text)
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_local_cloud_takes_what_it_does_not_say_from_the_host(tmp_path: Path) -> None:
    first, second = clouds(tmp_path, "[A]\ncloud_type: Local\n[b]\ncloud_type: local\nvm_slots: 2\nenabled = true\n")
    assert (first.cloud.name, first.section, first.cloud.position) == ("a", "A", 0)
    assert (first.cloud.vm_slots, first.cloud.memory_mb, first.cloud.cpu_cores) == (4, 8000, 4)
    assert (first.cloud.enabled, first.cloud.unusable) == (False, None)
    assert (second.cloud.enabled, second.cloud.vm_slots, second.cloud.position) == (True, 2, 1)


def test_options_become_typed_values(tmp_path: Path) -> None:
    (section,) = clouds(
        tmp_path,
        "[a]\ncloud_type: fake\nhost: h.example.org\nvm_slots: 5\nmemory: 1000\nstorage: 20\ncpu_cores: 2\n"
        "max_vm_mem: 500\nnetworks: private, public\npriority: -2\nvm_keep_alive: 60\nboot_timeout: 30\n",
    )
    cloud = section.cloud
    assert (cloud.network_address, cloud.vm_slots, cloud.memory_mb, cloud.storage_gb) == ("h.example.org", 5, 1000, 20)
    assert (cloud.cpu_cores, cloud.max_vm_mem, cloud.network_pools) == (2, 500, ("private", "public"))
    assert (cloud.priority, cloud.keep_alive, cloud.boot_timeout) == (-2, 600, 30)


def test_v1s_openstack_sample_is_a_cloud(tmp_path: Path) -> None:
    (section,) = clouds(tmp_path, OPENSTACK + "enabled: yes\n")
    assert (section.cloud.unusable, section.cloud.enabled) == (None, True)
    assert (section.cloud.network_address, section.cloud.tenant) == ("https://mouse.example.org:5000/v3", "tenant")
    assert (section.cloud.memory_mb > 10**8, section.cloud.cpu_cores) == (True, -1)


STRANGE = {
    "Azure": "blob_url: b\npassword: p\nregions: r\ntenant_name: t\nusername: u\n",
    "GoogleComputeEngine": "networks: n\nproject_id: p\nsecret_file: f\nsecurity_group: g\n",
    "gce": "networks: n\nproject_id: p\nsecret_file: f\nsecurity_group: g\n",
    "StratusLab": "contextualization: c\nhost: h\n",
}


@pytest.mark.parametrize("kind", STRANGE)
def test_v1s_other_kinds_stay_configured_and_disabled_with_what_there_is(tmp_path: Path, kind: str) -> None:
    text = f"[a]\ncloud_type: {kind}\nvm_slots: 7\nenabled: yes\n{STRANGE[kind]}"
    (section,) = clouds(tmp_path, text)
    assert (section.cloud.vm_slots, section.cloud.enabled) == (7, False)
    assert section.cloud.unusable == (
        f"cloud_type {kind} has no adapter; available are "
        "amazonec2, eucalyptus, local, opennebula, openstack, openstacknative"
    )
    (simulated,) = clouds(tmp_path, text, simulated=True)
    assert (simulated.cloud.unusable, simulated.cloud.enabled) == (None, True)


@pytest.mark.parametrize(
    "login",
    [
        "os_cloud: lab\n",
        "auth_url: a\nregions: r\napplication_credential_id: i\napplication_credential_secret: s3cret\n",
    ],
)
def test_openstack_has_three_ways_to_log_in(tmp_path: Path, login: str) -> None:
    section = "[a]\ncloud_type: OpenStackNative\nvm_slots: 1\n"
    (good,) = clouds(tmp_path, section + login)
    assert good.cloud.unusable is None and "s3cret" not in repr(good)
    (bad,) = clouds(tmp_path, section + "auth_url: a\n")
    assert (bad.cloud.unusable or "").startswith("incomplete login; accepted are: auth_url, password, regions, ")


def test_the_example_is_a_configuration() -> None:
    path = Path(__file__).parent.parent / "contrib" / "examples" / "openstack.conf"
    sections, warnings = read_clouds(path, Global(), HOST)
    assert [section.cloud.unusable for section in sections] == [None, None] and warnings == ()


def test_options_of_a_section_are_typed(tmp_path: Path) -> None:
    (section,) = clouds(tmp_path, OPENSTACK + "placement_zone: a, b\nrequest_threads: 4\nunheard_of: 1\n")
    found = typed({**section.settings, **section.secrets})
    assert (found["placement_zone"], found["request_threads"]) == (("a", "b"), 4)
    assert (found["regions"], found["password"], found["unheard_of"]) == (("nova",), "s3%cr(et%(x)s", "1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cloud_type: AmazonEC2\nhost: h\n", "missing: access_key_id, memory, regions, secret_access_key, security"),
        ("cloud_type: Nimbus\n", "cloud_type Nimbus is not known; available are amazonec2, "),
        ("vm_slots: 1\n", "cloud_type (missing) is not known; available are amazonec2, "),
        ("cloud_type: local\nvm_slots: some\n", "vm_slots = 'some' must be a whole number, 0 or more"),
        ("cloud_type: local\nmemory: 1,2\n", "memory = '1,2' must be a whole number, 0 or more"),
        (
            "cloud_type: OpenStackNative\nrequest_threads: many\n",
            "request_threads = 'many' must be a whole number from",
        ),
        ("cloud_type: local\nnamespaces: pid, time\n", "namespaces = 'pid, time' must be none, auto, or some of pid"),
        (
            "cloud_type: AmazonEC2\nsession_ends: soon\n",
            "session_ends = 'soon' must be a time such as 2026-12-24T18:00",
        ),
        ("cloud_type: local\nenabled: perhaps\n", "enabled = 'perhaps' must be yes, true, on, 1, no, false"),
    ],
)
def test_impossible_section_is_listed_with_every_reason(tmp_path: Path, text: str, reason: str) -> None:
    (section,) = clouds(tmp_path, f"[a]\n{text}")
    assert reason in (section.cloud.unusable or "")
    assert section.cloud.enabled is False


def test_unknown_option_warns_and_the_cloud_stays(tmp_path: Path) -> None:
    sections, warnings = read(tmp_path, "[A]\ncloud_type: local\nvm_slot: 3\n")
    assert sections[0].cloud.unusable is None
    assert warnings == (f"{tmp_path}/cloud_resources.conf:3: [A] vm_slot is not an option of clouds.",)


def test_options_are_shown_as_written_without_secrets(tmp_path: Path) -> None:
    (section,) = clouds(
        tmp_path,
        "[DEFAULT]\nbase: example.org\n" + OPENSTACK + "host: %(base)s\napi_token: t0ken\nkey_name: 100%\n"
        "cacert: https://me:s3cret@h/\n",
    )
    assert " ".join(section.options) == (
        "base auth_url cloud_type regions vm_slots tenant_name security_group host key_name cacert"
    )
    assert (section.options["host"], section.options["key_name"]) == ("%(base)s", "100%")
    assert section.options["cacert"] == "https://me:********@h/"
    assert (section.settings["host"], section.settings["cacert"]) == ("example.org", "https://me:s3cret@h/")
    assert section.secrets == {"username": "operator", "password": "s3%cr(et%(x)s", "api_token": "t0ken"}
    assert "t0ken" not in repr(section)
    assert "s3cret" not in repr(section)


@pytest.mark.parametrize("name", ["test/name?x#y 100%", "näme 'quoted\"", "..a", "%41"])
def test_name_may_hold_any_character(tmp_path: Path, name: str) -> None:
    (section,) = clouds(tmp_path, f"[{name}]\ncloud_type: local\n")
    assert section.cloud.name == name.lower()


@pytest.mark.parametrize("name", [" ", ".", ".."])
def test_unaddressable_name_is_refused(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path, f"\n[{name}]\n") == f"cloud_resources.conf:2: A cloud cannot be called {name!r}."


def test_name_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    complaint = refused(tmp_path, "[Mouse]\ncloud_type: local\n[mouse]\ncloud_type: local\n")
    assert complaint.startswith("cloud_resources.conf:3: Cloud 'mouse' is the same as 'Mouse' in line 1")


def test_broken_or_missing_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "[a]\nnonsense\n").startswith("cloud_resources.conf:2: ")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_clouds(tmp_path / "none", Global(state_dir=tmp_path), HOST)


def test_file_without_sections_is_no_clouds(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing\n") == ((), ())


def test_show_masks_the_secrets_of_clouds(tmp_path: Path) -> None:
    path = tmp_path / "cloud_resources.conf"
    text = OPENSTACK.replace("tenant_name: tenant\n", "") + "vm_keep_alive: 2\n"
    path.write_text(text, encoding="utf-8")
    config = with_clouds(load({("global", "cloud_resource_config"): str(path)}, {"HOME": str(tmp_path)}), HOST)
    lines = [" ".join(line.split()) for line in show(config).splitlines()]
    assert f"[cloud mouse] password = ******** ({path}:8)" in lines
    assert f"[cloud mouse] vm_keep_alive = 2 ({path}:10)" in lines
    assert "[cloud mouse] memory = 1000000000 (default)" in lines
    assert any(line.startswith("[cloud mouse] unusable = incomplete login; accepted are: ") for line in lines)
    for text in (show(config), str(document(config)), repr(config)):
        assert "s3%cr" not in text
        assert "operator" not in text
