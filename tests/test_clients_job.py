"""`cloud_job` against a recording server: what it asks and what it prints."""

from __future__ import annotations

import io
import json
import os
import pwd
import sys
from pathlib import Path

import pytest
from cloudsched.clients import cloud_job
from recorder import BODY, ODD_NAMES, Recorder, Run, names_in

pytest_plugins = ["client_fixtures"]
pytestmark = pytest.mark.usefixtures("home")

SUBMIT = "executable = /bin/echo\narguments = château\nqueue 2\n"
TABLE = """\
Global ID            User            VM Type         Job Status Status       Cloud          
here#1.0#1480000000  alice           default         Idle       Unscheduled                 
here#2.0#1480000000  a-very-long-use default         Idle       Unscheduled                 
"""  # noqa: W291


def _submitted(server: Recorder) -> dict[str, str]:
    [(method, path, body)] = server.requests
    assert (method, path, server.headers[0]["Content-Type"]) == ("POST", "/jobs", "application/json")
    return json.loads(body)


def test_submit_posts_the_file_with_directory_and_account(
    job: Run, server: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.sub").write_text(SUBMIT)
    server.status, server.body = 201, b"2 job(s) submitted to cluster 7."
    assert job("submit", "two.sub") == 0
    owner = pwd.getpwuid(os.getuid()).pw_name
    assert _submitted(server) == {"submit": SUBMIT, "initialdir": str(tmp_path), "owner": owner}
    assert capsys.readouterr() == ("2 job(s) submitted to cluster 7.\n", "")


def test_submit_reads_standard_input(job: Run, server: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SUBMIT.encode())))
    assert job("submit", "-") == 0
    assert _submitted(server)["submit"] == SUBMIT


def test_submit_names_the_file_in_a_complaint(
    job: Run, server: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.sub").write_text("quue\n")
    server.status, server.body = 400, b"line 1: there is no command 'quue'."
    assert job("submit", str(tmp_path / "bad.sub")) == 1
    assert capsys.readouterr() == ("", f"{tmp_path}/bad.sub:1: there is no command 'quue'.\n")


def test_submit_of_an_unreadable_file_asks_nothing(
    job: Run, server: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latin.sub").write_bytes(b"# a\n# \xe9\n")
    assert job("submit", str(tmp_path / "latin.sub")) == 1
    assert job("submit", str(tmp_path / "none.sub")) == 1
    assert job("submit", str(tmp_path)) == 1
    said = capsys.readouterr().err
    assert "latin.sub:2: this is not UTF-8 text." in said
    assert "none.sub: it cannot be read: No such file or directory." in said
    assert "it cannot be read: Is a directory." in said
    assert server.requests == []


def test_list_shows_unfinished_jobs_under_one_heading(
    job: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    server.body = TABLE.encode()
    assert job("list") == 0
    assert [path for _, path, _ in server.requests] == [f"/jobs?state={each}" for each in ("idle", "running", "held")]
    heading, *rows = TABLE.splitlines()
    assert capsys.readouterr().out.splitlines() == [heading, *rows, *rows, *rows]


def test_list_asks_the_daemon_for_what_it_is_narrowed_to(
    job: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    server.body = TABLE.encode()
    assert job("list", "--state", "complete", "--user", "a-very-long-username") == 0
    assert job("list", "--older-than", "2h", "--sort=-age,user", "--fields", "id,user", "--limit", "5") == 0
    assert (
        job("list", "-j", "--vmtype", "a b", "--image", "i", "--cloud", "c", "--host", "h", "--younger-than", "1d") == 0
    )
    assert [path for _, path, _ in server.requests] == [
        "/jobs?state=complete&user=a-very-long-username",
        "/jobs?finished=false&older_than=2h&sort=-age%2Cuser&fields=id%2Cuser&limit=5",
        "/jobs.json?finished=false&vmtype=a+b&image=i&cloud=c&host=h&younger_than=1d",
    ]
    assert capsys.readouterr().out == TABLE * 3


def test_list_fails_when_the_server_does(job: Run, server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    server.status = 503
    assert job("list") == 1
    assert capsys.readouterr() == ("", f"{BODY}\n")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_show_quotes_the_id_whole(name: str, job: Run, server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    assert job("show", name) == 0
    assert job("show", "-j", name) == 0
    assert [names_in(path) for _, path, _ in server.requests] == [["", "jobs", name], ["", "jobs", f"{name}.json"]]
    assert capsys.readouterr().out == f"{BODY}\n{BODY}\n"


def test_verbs_act_on_each_job_named(job: Run, server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    assert job("hold", "1.0", "h#2.0#3", "--reason", "full disk") == 0
    assert job("release", "1.0") == 0
    assert job("remove", "1.0", "--reason", "why not") == 0
    assert server.requests == [
        ("PUT", "/jobs/1.0", "action=hold&reason=full+disk"),
        ("PUT", "/jobs/h%232.0%233", "action=hold&reason=full+disk"),
        ("PUT", "/jobs/1.0", "action=release"),
        ("DELETE", "/jobs/1.0?reason=why+not", ""),
    ]
    assert capsys.readouterr().out == f"{BODY}\n" * 4


def test_a_failed_verb_does_not_stop_the_others(job: Run, server: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    server.status = 404
    assert job("remove", "1.0", "2.0") == 1
    assert len(server.requests) == 2
    assert capsys.readouterr() == ("", f"{BODY}\n" * 2)


@pytest.mark.parametrize("line", ["", "submit", "list --state odd", "hold", "nonsense"])
def test_usage_errors_exit_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ex:
        cloud_job.main(line.split())
    assert ex.value.code == 2
    assert capsys.readouterr().out == ""
