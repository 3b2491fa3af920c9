"""`cloud_status` against a recording server: every option, which wins, and what is printed (PARITY 4.2)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cloudsched.clients import cloud_status
from recorder import BODY, ODD_NAMES, Recorder, Run, names_in

from cloudsched import __version__

pytest_plugins = ["client_fixtures"]
pytestmark = pytest.mark.usefixtures("home")

STATUS_CALLS = {
    "": ["/cloud"],
    "-a": ["/clusters"],
    "-aj": ["/clusters.json"],
    "-c C": ["/clusters/C"],
    "-c C -j": ["/clusters/C.json"],
    "-m": ["/vms"],
    "-c C -n V": ["/clusters/C/vms/V"],
    "-c C -n V -j": ["/clusters/C/vms/V.json"],
    "-d": ["/developer-info"],
    "-i": ["/ips"],
    "-b": ["/vms?metric=startup_time"],
    "-t": ["/diff-types"],
    "-g": ["/vms?metric=job_run_times"],
    "-l": ["/cloud/config"],
    "-o": ["/vms?metric=total"],
    "-o -c C": ["/clusters/C/vms?metric=total"],
    "-u": ["/vms?metric=all"],
    "-u -c C": ["/clusters/C/vms?metric=all"],
    "-r": ["/vms?metric=missing"],
    "-x": ["/thread-heart-beats"],
    "-z": ["/failures/boot"],
    "-w": ["/failures/image"],
    # which of several wins
    "-j": ["/cloud"],
    "-a -m": ["/clusters"],
    "-a -c C": ["/clusters"],
    "-m -u": ["/vms"],
    "-m -a -j": ["/vms"],
    "-u -c C -n V": ["/clusters/C/vms?metric=all"],
    "-c C -n V -o": ["/clusters/C/vms/V"],
    "-c C -r": ["/clusters/C"],
    "-j -a -c C -n V": ["/clusters.json"],
    "-j -c C -o": ["/clusters/C.json"],
    "-c C -o -d": ["/developer-info"],
    "-d -q new": ["/developer-info"],
    "-i -b": ["/ips"],
    "-b -t": ["/vms?metric=startup_time"],
    "-t -g": ["/diff-types"],
    "-g -l": ["/vms?metric=job_run_times"],
    "-l -o": ["/cloud/config"],
    "-o -r": ["/vms?metric=total"],
    "-r -x": ["/vms?metric=missing"],
    "-x -z": ["/thread-heart-beats"],
    "-z -w": ["/failures/boot"],
    "-w -v": ["/failures/image"],
    # how they may be written
    "--all-cluster": ["/clusters"],
    "--cluster=C --json": ["/clusters/C.json"],
    "--virt": ["/vms"],
    "-cC -nV": ["/clusters/C/vms/V"],
    "-m some words": ["/vms"],
}


@pytest.mark.parametrize("line", STATUS_CALLS)
def test_cloud_status_asks_v1s_url_and_prints_the_body(
    line: str, status: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*line.split()) == 0
    assert server.requests == [("GET", path, "") for path in STATUS_CALLS[line]]
    assert capsys.readouterr() == (f"{BODY}\n" * len(STATUS_CALLS[line]), "")


NARROWED = {
    "-m --only user=alice,status=Running": ["/vms?user=alice&status=Running"],
    "-m --only user=a%2Cb=c": ["/vms?user=a%2Cb%3Dc"],
    "-m --order -age,user --fields id,user --limit 5": ["/vms?sort=-age%2Cuser&fields=id%2Cuser&limit=5"],
    "-a -j --only enabled=true": ["/clusters.json?enabled=true"],
    "-q idle --only user=alice": ["/jobs?state=idle&user=alice"],
    "-z --only reason=quota": ["/failures/boot?reason=quota"],
    "-w --limit 1": ["/failures/image?limit=1"],
    "--only enabled=false": ["/cloud?enabled=false"],
}


@pytest.mark.parametrize("line", NARROWED)
def test_cloud_status_passes_on_what_narrows_a_listing(line: str, status: Run, server: Recorder) -> None:
    assert status(*line.split()) == 0
    assert [path for _, path, _ in server.requests] == NARROWED[line]


def test_cloud_status_says_what_a_filter_looks_like(
    status: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in ("alice", "=alice", "user=a,", "user"):
        assert status("-m", "--only", wrong) == 1
        assert capsys.readouterr().err.endswith(": --only takes filters such as user=alice,status=Running.\n")
    assert server.requests == []


QUEUES = {
    "new": [("Jobs in New Queue", "new")],
    "sched": [("Jobs in Scheduled Queue", "sched")],
    "high": [("Jobs in High Priority Queue", "high")],
    "held": [("Jobs in Held state", "held")],
    "idle": [("Jobs in Idle state", "idle")],
    "complete": [("Jobs in Complete state", "complete")],
    "running": [("Jobs in Running state", "running")],
}
QUEUES["all"] = QUEUES["sched"] + QUEUES["new"] + QUEUES["high"]


@pytest.mark.parametrize("queue", QUEUES)
def test_cloud_status_prints_a_heading_before_each_queue(
    queue: str, status: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("-q", queue) == 0
    assert server.requests == [("GET", f"/jobs?state={state}", "") for _, state in QUEUES[queue]]
    assert capsys.readouterr().out == "".join(f"{heading}\n{BODY}\n" for heading, _ in QUEUES[queue])


def test_cloud_status_version_follows_the_servers(
    status: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("-v") == 0
    assert server.requests == [("GET", "/", "")]
    assert capsys.readouterr().out == f"{BODY}\nCloud Status version: {__version__}\n"


def test_cloud_status_vm_without_cluster_asks_nothing(
    status: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("-n", "V") == 0
    assert server.requests == []
    assert capsys.readouterr().out == "Please provide -c cluster_name with vm ID\n"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_cloud_status_quotes_names_whole(name: str, status: Run, server: Recorder) -> None:
    assert status("-c", name, "-n", name) == 0
    [(_, path, _)] = server.requests
    assert path.count("/") == 4
    assert names_in(path) == ["", "clusters", name, "vms", name]


@pytest.mark.parametrize("argv", [["-q", "nothing"], ["-c"], ["--no-such"]])
def test_usage_errors_exit_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ex:
        cloud_status.main(argv)
    assert ex.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == ("", f"Usage: {Path(sys.argv[0]).name} [options]")
    assert ": error: " in err


def test_cloud_status_says_when_there_is_no_file(
    status: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".cloudscheduler" / "cloud_scheduler_status.conf").unlink()
    assert status("-m") == 0
    out, err = capsys.readouterr()
    assert out == f"{BODY}\n"
    assert err.startswith("Configuration file problem:")


def test_cloud_status_takes_defaults_for_a_named_file_that_is_missing(
    status: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("-m", "-f", "/no/such/file") == 0
    assert capsys.readouterr() == (f"{BODY}\n", "")


def test_cloud_status_finds_the_port_in_file_and_environment(
    server: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.conf"
    other.write_text(f"[global]\ninfo_server_port: {server.port}\n")
    assert cloud_status.main(["-f", str(other)]) == 0
    other.write_text("[global]\ninfo_server_port: 1\n")
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_INFO_SERVER_PORT", server.port)
    assert cloud_status.main(["-f", str(other)]) == 0
    assert len(server.requests) == 2


def test_cloud_status_refuses_a_port_that_is_no_number(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = home / "bad.conf"
    bad.write_text("[global]\ninfo_server_port: seven\n")
    assert cloud_status.main(["-f", str(bad)]) == 1
    out, err = capsys.readouterr()
    assert out == "Configuration file problem: info_server_port must be an integer value.\n"
    assert f"{bad}:2: " in err
    assert cloud_status.main(["-p", "seven"]) == 1
    assert "info_server_port = 'seven'" in capsys.readouterr().err
