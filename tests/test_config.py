"""Precedence, values, complaints and warnings of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudsched.config import OPTIONS, Config, Fate, Global, find, load
from cloudsched.config.clouds import HostSize, NoCloudSource, with_clouds
from cloudsched.config.kinds import is_loopback, written
from cloudsched.config.show import document, show
from cloudsched.errors import ConfigError

HOST = HostSize(cores=4, memory_mb=8000, storage_gb=50)


def file(tmp_path: Path, text: str, name: str = "cloud_scheduler.conf") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def loaded(tmp_path: Path, text: str, **env: str) -> Config:
    return load({}, {"HOME": str(tmp_path), **env}, file(tmp_path, text))


def refused(tmp_path: Path, text: str, **env: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, **env)
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_defaults_are_those_of_v1() -> None:
    config = load({}, {"HOME": "/home/me"})
    assert (config.global_.admin_server_port, config.global_.info_server_port) == (8112, 8111)
    assert (config.global_.job_ban_timeout, config.global_.max_keepalive) == (3600, 3600)
    assert (config.global_.condor_register_time_limit, config.global_.polling_error_threshold) == (900, 5)
    assert config.job.default_vmname == "Default-Image"
    assert config.logging.log_level == "INFO"
    assert set(config.sources.values()) == {"default"}
    assert config.warnings == ()


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    path = file(tmp_path, "[global]\nthreads: 10\nwait_seats: 11\nhistory_days: 12\n")
    env = {"HOME": "/h", "CLOUDSCHED_GLOBAL_THREADS": "20", "CLOUDSCHED_GLOBAL_WAIT_SEATS": "21"}
    config = load({("global", "threads"): "30"}, env, path)
    assert (config.global_.threads, config.global_.wait_seats, config.global_.history_days) == (30, 21, 12)
    assert config.sources["global", "threads"] == "command line"
    assert config.sources["global", "wait_seats"] == "CLOUDSCHED_GLOBAL_WAIT_SEATS"
    assert config.sources["global", "history_days"] == f"{path}:4"
    assert config.sources["global", "rate_limit"] == "default"


def test_admin_port_no_longer_moves_the_info_port(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[global]\nadmin_server_port: 9000\n")
    assert (config.global_.admin_server_port, config.global_.info_server_port) == (9000, 8111)


def test_minutes_are_held_in_seconds_and_negatives_clamped(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[global]\njob_ban_timeout: 5\nmax_keepalive: -3\nmax_starting_vm: -7\n")
    settings = config.global_
    assert (settings.job_ban_timeout, settings.max_keepalive, settings.max_starting_vm) == (300, 0, -1)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("ON", True), ("no", False), ("off", False)])
def test_booleans_of_v1_are_read(tmp_path: Path, text: str, value: bool) -> None:
    assert loaded(tmp_path, f"[global]\ngraceful_shutdown: {text}\n").global_.graceful_shutdown is value


def test_lower_case_log_level_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[logging]\nlog_level: debug\n").logging.log_level == "DEBUG"


def test_log_format_is_read_raw(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[logging]\nlog_format: %(levelname)s %(message)s\n").logging.log_format == (
        "%(levelname)s %(message)s"
    )


def test_job_options_are_read_whatever_their_case(tmp_path: Path) -> None:
    job = loaded(
        tmp_path,
        "[job]\ndefault_VMType= x\ndefault_VMAMI: a, mouse:b, https://h:5000/v2:c\ndefault_TargetClouds: A, b,\n"
        "default_VMProxyNonBoot: true\n",
    ).job
    assert (job.default_vmtype, job.default_targetclouds, job.default_vmproxynonboot) == ("x", ("A", "b"), True)
    assert job.default_vmami["default"] == "a"
    assert job.default_vmami["mouse"] == "b"


def test_paths_expand_home(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[global]\nuser_limit_file: ~/limits.json\ntarget_cloud_alias_file: None\nban_file:\n")
    assert config.global_.user_limit_file == tmp_path / "limits.json"
    assert config.global_.target_cloud_alias_file is None
    assert config.global_.ban_file is None


def test_state_dir_follows_xdg_unless_given(tmp_path: Path) -> None:
    assert load({}, {"HOME": "/h"}).global_.state_dir == Path("/h/.local/state/cloudsched")
    assert load({}, {"HOME": "/h", "XDG_STATE_HOME": "relative"}).global_.state_dir.is_relative_to("/h")
    config = load({}, {"HOME": "/h", "XDG_STATE_HOME": "/x"})
    assert config.global_.state_dir == Path("/x/cloudsched")
    assert config.sources["global", "state_dir"] == "XDG_STATE_HOME"
    given = load({}, {"HOME": "/h", "XDG_STATE_HOME": "/x", "CLOUDSCHED_GLOBAL_STATE_DIR": "~/s"}).global_
    assert given.state_dir == Path("/h/s")
    assert given.database_url == "sqlite:////h/s/state.db"
    assert given.admin_token_file == Path("/h/s/admin.token")


def test_database_url_may_be_given() -> None:
    assert Global(database_url="postgresql://h/d").database_url == "postgresql://h/d"


def test_condor_option_in_the_file_selects_htcondor(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[global]\ncondor_q_command: condor_q -l\n")
    assert config.global_.batch_system == "htcondor"
    assert config.sources["global", "batch_system"] == f"condor_q_command in {tmp_path}/cloud_scheduler.conf:2"
    both = loaded(tmp_path, "[global]\ncondor_q_command: condor_q -l\nbatch_system: Embedded\n")
    assert both.global_.batch_system == "embedded"
    env = loaded(tmp_path, "[global]\n", CLOUDSCHED_GLOBAL_CONDOR_Q_COMMAND="x")
    assert env.global_.batch_system == "embedded"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("threads: many", "[global] threads = 'many': it must be a whole number from 1 to 1000."),
        ("threads: 0", "[global] threads = '0': it must be a whole number from 1 to 1000."),
        ("admin_server_port: 1_0", "[global] admin_server_port = '1_0': it must be a whole number from 0 to 65535."),
        ("scheduler_interval: 0", "= '0': it must be a whole number of seconds, 1 or more."),
        ("ban_failrate_threshold: 0", "= '0': it must be a number above 0, at most 1."),
        ("ban_failrate_threshold: nan", "= 'nan': it must be a number above 0, at most 1."),
        ("retire_before_lifetime_factor: 0.5", "= '0.5': it must be a number 1 or more."),
        ("graceful_shutdown: maybe", "= 'maybe': it must be yes, true, on, 1, no, false, off or 0."),
        ("scheduling_algorithm: lifo", "= 'lifo': it must be fairshare or fifo."),
        ("scheduling_metric: x", "= 'x': it must be slot, memory, memory_cpu or memory_cpu_storage."),
        ("job_distribution_type: x", "= 'x': it must be normal or split."),
        ("admin_auth: x", "= 'x': it must be token, none or closed."),
        ("state_dir:", "= '': it must be a path."),
        ("admin_listen: 1.2.3.4:80", "it must be an IP address, a host name or unix:PATH"),
        ("admin_listen: 1.2.3", "it must be an IP address, a host name or unix:PATH"),
        ("admin_listen: unix:", "it must be an IP address, a host name or unix:PATH"),
    ],
)
def test_wrong_value_names_file_line_option_and_what_is_accepted(tmp_path: Path, text: str, sentence: str) -> None:
    complaint = refused(tmp_path, f"# comment\n[global]\n{text}\n")
    assert complaint.startswith("cloud_scheduler.conf:3: [global] ")
    assert sentence in complaint


def test_wrong_log_options_are_refused(tmp_path: Path) -> None:
    assert "VERBOSE, DEBUG, INFO, WARNING, ERROR or CRITICAL" in refused(tmp_path, "[logging]\nlog_level: loud\n")
    assert "a format of Python's logging module" in refused(tmp_path, "[logging]\nlog_format: %(nothing\n")
    assert "whole number of bytes, 1 or more, or none" in refused(tmp_path, "[logging]\nlog_max_size: big\n")


def test_wrong_map_is_refused(tmp_path: Path) -> None:
    assert "VALUE or CLOUD:VALUE" in refused(tmp_path, "[job]\ndefault_VMAMI: :x\n")


def test_value_with_a_continuation_line_is_explained(tmp_path: Path) -> None:
    complaint = refused(tmp_path, "[global]\nthreads: 5\n  # five\n")
    assert complaint.startswith("cloud_scheduler.conf:2: ")
    assert "(indented lines continue the value above them)" in complaint


def test_wrong_value_of_a_variable_or_option_names_it(tmp_path: Path) -> None:
    complaint = refused(tmp_path, "", CLOUDSCHED_GLOBAL_THREADS="x")
    assert complaint.startswith("CLOUDSCHED_GLOBAL_THREADS: [global] threads = 'x': it must be")
    with pytest.raises(ConfigError, match=r"^command line: \[global\] threads = 'y'"):
        load({("global", "threads"): "y"}, {"HOME": "/h"})


def test_named_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.conf: This file cannot be read: No such file"):
        load({}, {"HOME": "/h"}, tmp_path / "none.conf")


def test_unknown_things_warn_with_their_line(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, "[global]\nthread: 3\n[globl]\nthreads: 4\n", CLOUDSCHED_GLOBAL_THREAD="5", CLOUDSCHED_TOKEN="t"
    )
    path = config.path
    assert config.warnings == (
        f"{path}:2: [global] thread is not an option.",
        f"{path}:3: [globl] is not one of [global], [job], [logging].",
        "CLOUDSCHED_GLOBAL_THREAD: there is no such option.",
    )
    assert config.global_.threads == 32


def test_demanded_reasons_and_v1s_clients_are_at_odds(tmp_path: Path) -> None:
    path = file(tmp_path, "[global]\nadmin_auth: none\n[logging]\nadmin_log_comments: yes\n")
    (warning,) = load({}, {}, path).warnings
    assert warning.startswith(f"{path}:4: [logging] admin_log_comments demands a reason for every verb,")
    path.write_text("[logging]\nadmin_log_comments: yes\n")
    assert load({}, {}, path).warnings == ()


def test_ignored_option_warns_why(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[global]\ngetclouds: true\n", CLOUDSCHED_GLOBAL_USE_PYOPENSSL="0")
    assert config.warnings == (
        f"{config.path}:2: [global] getclouds is ignored: It did nothing in v1.",
        "CLOUDSCHED_GLOBAL_USE_PYOPENSSL: [global] use_pyopenssl is ignored: "
        "Certificates are always read by openssl_path.",
    )


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.3.0.1", "::1", "localhost", "unix:/run/x"])
def test_loopback_addresses_need_no_authentication(tmp_path: Path, listen: str) -> None:
    assert is_loopback(listen)
    assert loaded(tmp_path, f"[global]\nadmin_listen: {listen}\nadmin_auth: none\n").global_.admin_listen == listen


@pytest.mark.parametrize("daemon", ["admin", "info"])
@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "192.0.2.1", "head.example.org"])
def test_open_beyond_loopback_is_refused_unless_asked_for(tmp_path: Path, daemon: str, listen: str) -> None:
    text = f"[global]\n{daemon}_auth: none\n{daemon}_listen: {listen}\n"
    start = f"cloud_scheduler.conf:3: [global] {daemon}_listen = {listen} is open to other machines"
    assert refused(tmp_path, text).startswith(start)
    assert getattr(loaded(tmp_path, text + "open_beyond_loopback = yes\n").global_, f"{daemon}_listen") == listen
    assert loaded(tmp_path, f"[global]\n{daemon}_auth: token\n{daemon}_listen: {listen}\n")


def test_sample_with_broken_comment_lines_is_read(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "#\n# sample\n#\n\n[global]\n\ncloud_resource_config: /etc/cloudscheduler/cloud_resources.conf \n\n"
        "condor_collector_url: http://localhost:9618\n\n# a_hold_command is the command that is run\n"
        "            to hold jobs; if you like, change: it\n#           'ssh host'.\n#a_hold_command: hold\n\n"
        "# default_yaml is the base\n#default_yaml: /usr/local/share/default.yaml\n\n[job]\n\n# nothing\n[logging]\n",
    )
    assert config.global_.cloud_resource_config == Path("/etc/cloudscheduler/cloud_resources.conf")
    assert config.global_.condor_collector_url == "http://localhost:9618\nto hold jobs; if you like, change: it"
    assert show(config).count("\n") == len(OPTIONS)


def test_no_file_is_one_enabled_local_cloud_of_the_hosts_size() -> None:
    (section,) = with_clouds(load({}, {"HOME": "/h"}), HOST).clouds
    cloud = section.cloud
    assert (cloud.name, cloud.cloud_type, cloud.enabled, cloud.unusable) == ("local", "local", True, None)
    assert (cloud.vm_slots, cloud.memory_mb, cloud.storage_gb, cloud.cpu_cores) == (4, 8000, 50, 4)


def test_host_is_measured(tmp_path: Path) -> None:
    config = load({("global", "state_dir"): str(tmp_path / "not" / "yet")}, {"HOME": "/h"})
    cloud = with_clouds(config).clouds[0].cloud
    assert cloud.vm_slots >= 1
    assert cloud.memory_mb > 0


def test_file_without_clouds_is_v1s_error(tmp_path: Path) -> None:
    with pytest.raises(NoCloudSource) as caught:
        with_clouds(loaded(tmp_path, "[global]\n"), HOST)
    assert str(caught.value) == "ERROR - main - No cloud or cluster information sources provided"


def test_command_line_names_the_clouds(tmp_path: Path) -> None:
    clouds = file(tmp_path, "[Here]\ncloud_type: local\n", "cloud_resources.conf")
    path = file(tmp_path, "[global]\ncloud_resource_config: /nowhere\n")
    config = load({("global", "cloud_resource_config"): str(clouds)}, {"HOME": "/h"}, path)
    assert [each.cloud.name for each in with_clouds(config, HOST).clouds] == ["here"]


def test_file_is_found_in_the_home_directory_first(tmp_path: Path) -> None:
    assert find({"HOME": str(tmp_path)}, "no_such_name.conf") is None
    (tmp_path / ".cloudscheduler").mkdir()
    path = file(tmp_path / ".cloudscheduler", "[global]\n")
    assert find({"HOME": str(tmp_path)}) == path


def test_every_default_can_be_written_and_read_back() -> None:
    for option in OPTIONS.values():
        if option.name != "state_dir":
            assert option.kind.read(written(option.kind, option.default)) == option.default, option.name


def test_every_option_has_a_fate_and_a_reason() -> None:
    for option in OPTIONS.values():
        assert bool(option.why) == (option.fate is not Fate.HONOURED), option.name


def test_show_prints_one_line_per_value_with_its_source(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[global]\nmax_keepalive: 5\nscheduling_algorithm: fifo\n")
    lines = [" ".join(line.split()) for line in show(config).splitlines()]
    assert "[global] vm_poller_interval = 5 (default)" in lines
    assert f"[global] max_keepalive = 5 ({config.path}:2)" in lines
    assert document(config)["global"]["max_keepalive"] == {"value": 5, "source": f"{config.path}:2"}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3cret@host/db",
        "postgresql://me:a/s3cret@x@host/db",
        "postgresql://host/db?user=me&password=s3cret",
    ],
)
def test_database_password_is_masked(url: str) -> None:
    config = load({("global", "database_url"): url}, {"HOME": "/h"})
    assert config.global_.database_url == url
    for text in (show(config), str(document(config))):
        assert "s3cret" not in text
        assert "********" in text
