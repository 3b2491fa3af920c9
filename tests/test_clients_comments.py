"""Comment enforcement and the log of `cloud_admin` (PARITY 4.3)."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorder import BODY, Recorder, Run

pytest_plugins = ["client_fixtures"]
pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def enforcing(tmp_path: Path) -> Path:
    (tmp_path / "site.conf").write_text(
        "[logging]\nadmin_log_comments: true\nlog_level: VERBOSE\nlog_format: %(levelname)s %(message)s\n"
        f"log_location_cloud_admin: {tmp_path / 'admin.log'}\n"
    )
    return tmp_path / "site.conf"


NO_COMMENT = "Admin comments being enforced. Please use -C 'reason for command' when performing this option.\n"


def test_missing_comment_is_demanded_once_per_action(
    enforcing: Path, admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin("-f", str(enforcing), "-k", "-m", "-o") == 1
    assert capsys.readouterr().out == NO_COMMENT * 3 + "Run cloud_admin -h for help.\n"
    assert admin("-f", str(enforcing), "-k", "-c", "C", "-a", "-e", "N", "-q") == 0
    assert capsys.readouterr().out == NO_COMMENT + f"{BODY}\n"
    assert server.requests == [("PUT", "/clouds/N", "action=enable")]


@pytest.mark.parametrize("line", ["-k", "-m", "-o", "-x", "-i", "-t", "-l INFO", "-p vm", "-q", "-v 1"])
def test_actions_that_need_a_comment_where_enforced(
    line: str, enforcing: Path, admin: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin("-f", str(enforcing), *line.split()) == 1
    assert capsys.readouterr().out.startswith(NO_COMMENT)


@pytest.mark.parametrize("line", ["-e N", "-d N", "-r", "-j", "-y"])
def test_actions_that_never_need_a_comment(
    line: str, enforcing: Path, admin: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    admin("-f", str(enforcing), *line.split())
    assert NO_COMMENT not in capsys.readouterr().out


def test_comment_and_action_are_logged(enforcing: Path, admin: Run, server: Recorder, tmp_path: Path) -> None:
    admin("-f", str(enforcing), "-k", "-c", "C", "-n", "V", "-C", "broken\nnode")
    admin("-f", str(enforcing), "-o", "-c", "C", "-b", "2", "-C", "drain")
    admin("-f", str(enforcing), "-y")
    admin("-f", str(enforcing), "-k", "-C", "x")
    server.status = 404
    admin("-f", str(enforcing), "-e", "N")
    assert (tmp_path / "admin.log").read_text().splitlines() == [
        "INFO Comment: broken\\nnode",
        "INFO Shutting down VM: V on: C",
        "INFO Comment: drain",
        "INFO Force retiring 2 VMs, on cloud: C",
        "DEBUG Listed the target cloud aliases.",
        "DEBUG Must Provide the cloud name to kill VMs on and the VM ID, count, or all flag.",
        f"ERROR Cloud: N enabled. Failed: 404 {BODY}",
    ]


def test_comment_is_ignored_where_not_enforced(admin: Run, tmp_path: Path) -> None:
    (tmp_path / "site.conf").write_text(f"[logging]\nlog_location_cloud_admin: {tmp_path / 'admin.log'}\n")
    assert admin("-f", str(tmp_path / "site.conf"), "-e", "N", "-C", "why") == 0
    assert "why" not in (tmp_path / "admin.log").read_text()


def test_log_that_cannot_be_written_is_one_sentence(
    admin: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.conf").write_text("[logging]\nlog_location_cloud_admin: /no/such/directory/log\n")
    assert admin("-f", str(tmp_path / "site.conf"), "-e", "N") == 1
    assert "/no/such/directory/log: log_location_cloud_admin cannot be written" in capsys.readouterr().err
