"""The commands against both real daemons over the recorded state: what is printed is what the daemons answered."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cloudsched.clients import cloud_admin, cloud_job, cloud_status
from pair import Pair, serving

pytest_plugins = ["client_fixtures"]
pytestmark = pytest.mark.usefixtures("home")

ODD_CLOUD = "test/name?x#y"
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with serving(tmp_path_factory.mktemp("pair"), {"verb_wait_seconds": "20"}) as running:
        yield running


@pytest.fixture
def said(pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command on the daemons' own configuration; gives exit status, output and complaints."""
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_STATE_DIR", str(pair.config.global_.state_dir))
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_ADMIN_SERVER_PORT", pair.admin_port)
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_INFO_SERVER_PORT", pair.info_port)
    mains = {"cloud_status": cloud_status.main, "cloud_admin": cloud_admin.main, "cloud_job": cloud_job.main}

    def run(command: str, *argv: str) -> tuple[int, str, str]:
        status = mains[command](argv)
        return (status, *capsys.readouterr())

    return run


def _body(pair: Pair, url: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", int(pair.info_port), timeout=60)
    connection.request("GET", url)
    with connection.getresponse() as reply:
        body = reply.read().decode()
    connection.close()
    return body


URLS = {
    "-a": "/clusters",
    "-aj": "/clusters.json",
    "-m": "/vms",
    f"-c {ODD_CLOUD}": "/clusters/test%2Fname%3Fx%23y",
    f"-u -c {ODD_CLOUD}": "/clusters/test%2Fname%3Fx%23y/vms?metric=all",
    "-z": "/failures/boot",
    "-l": "/cloud/config",
    "": "/cloud",
}


@pytest.mark.parametrize("line", URLS)
def test_cloud_status_prints_what_the_info_daemon_answers(line: str, said: Said, pair: Pair) -> None:
    assert said("cloud_status", *line.split()) == (0, _body(pair, URLS[line]) + "\n", "")


def test_unknown_names_fail_with_v1s_sentences(said: Said) -> None:
    assert said("cloud_status", "-c", "none") == (1, "Cluster Info: none\nCluster named none not found.\n", "")
    assert said("cloud_status", "-jc", "none") == (1, "{}\n", "")
    assert said("cloud_admin", "-e", "none") == (1, "Could not find cloud none.\n", "")
    assert said("cloud_job", "show", "9.9") == (1, "", "Job not found.\n")


def test_verbs_reach_a_cloud_of_any_name_with_the_token_found(said: Said) -> None:
    assert said("cloud_admin", "-e", ODD_CLOUD) == (0, f"Cloud: {ODD_CLOUD} enabled.\n", "")
    assert said("cloud_admin", "-o", "-c", ODD_CLOUD, "-a") == (0, f"Retired all VMs in {ODD_CLOUD}.\n", "")


def test_verbs_fail_without_the_token(said: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOUDSCHED_GLOBAL_STATE_DIR", str(tmp_path / "elsewhere"))
    status, out, err = said("cloud_admin", "-e", "mouse")
    assert (status, "Authorization" in out, "set CLOUDSCHED_TOKEN" in err) == (1, True, True)
    monkeypatch.setenv("CLOUDSCHED_TOKEN", "wrong")
    assert said("cloud_admin", "-e", "mouse")[:2] == (1, "The token is wrong.\n")


def test_jobs_are_listed_shown_and_held(said: Said) -> None:
    status, listed, _ = said("cloud_job", "list", "--state", "held", "--user", "bob")
    assert (status, [line.split()[0] for line in listed.splitlines()]) == (
        0,
        ["Global", "job-6", ".org#11.0#1480000011"],
    )
    listed = said("cloud_job", "list", "-j", "--user", "carol")[1]
    assert {job["user"] for job in json.loads(listed)["jobs"]} == {"carol"}
    identity = "condor.heprc.example.org#11.0#1480000011"
    assert said("cloud_job", "show", identity)[1] == said("cloud_job", "show", "11.0")[1]
    assert said("cloud_job", "release", identity) == (0, f"Job {identity} released.\n", "")


def test_a_wrong_submit_file_is_told_with_its_line(said: Said, tmp_path: Path) -> None:
    file = tmp_path / "bad.sub"
    file.write_text("executable = /bin/true\nqueue many\n")
    status, out, err = said("cloud_job", "submit", str(file))
    assert (status, out) == (1, "")
    assert err.startswith(f"{file}:2: ")
