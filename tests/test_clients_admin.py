"""`cloud_admin` against a recording server: every option, which wins, and what is printed (PARITY 4.3)."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

import pytest
from cloudsched.clients import cloud_admin
from recorder import BODY, ODD_NAMES, Recorder, Run, names_in

pytest_plugins = ["client_fixtures"]
pytestmark = pytest.mark.usefixtures("home")

VM, VMS = "/clouds/C/vms/V", "/clouds/C/vms"
ADMIN_CALLS = {
    "-k -c C -n V": ("PUT", VM, "action=shutdown"),
    "-k -c C -a": ("PUT", VMS, "action=shutdown&count=all"),
    "-k -c C -b 3": ("PUT", VMS, "action=shutdown&count=3"),
    "-k -c C -a -b 3": ("PUT", VMS, "action=shutdown&count=all"),
    "-k -c C -n V -a -b 3": ("PUT", VM, "action=shutdown"),
    "-m -c C -n V": ("PUT", VM, "action=remove"),
    "-o -c C -n V": ("PUT", VM, "action=force_retire"),
    "-o -c C -a": ("PUT", VMS, "action=force_retire&count=all"),
    "-o -c C -b -1": ("PUT", VMS, "action=force_retire&count=-1"),
    "-o -c C -nV": ("PUT", VM, "action=force_retire"),
    "-x -c C -n V": ("PUT", VM, "action=reset_override_state"),
    "-e N": ("PUT", "/clouds/N", "action=enable"),
    "-d N": ("PUT", "/clouds/N", "action=disable"),
    "-e N --until 90m --reason R": ("PUT", "/clouds/N", "action=enable&until=90m&reason=R"),
    "-d N --until 90m": ("PUT", "/clouds/N", "action=disable&until=90m"),
    "-k -c C --retain 2": ("PUT", VMS, "action=shutdown&retain=2"),
    "-k -c C -a --retain 2": ("PUT", VMS, "action=shutdown&count=all&retain=2"),
    "-k -c C -b 1 --retain 2": ("PUT", VMS, "action=shutdown&count=1&retain=2"),
    "-o -c C --retain 0": ("PUT", VMS, "action=force_retire&retain=0"),
    "--cloud-delete C --reason R": ("DELETE", "/clouds/C?reason=R", ""),
    "-j": ("GET", "/user-limits", ""),
    "-y": ("GET", "/cloud-aliases", ""),
    "--journal": ("GET", "/journal", ""),
    "--journal -c C": ("GET", "/clouds/C/journal", ""),
    "--journal -c C -n V": ("GET", "/clouds/C/vms/V/journal", ""),
    "--journal -u U -b 5": ("GET", "/users/U/journal?limit=5", ""),
    "--token-list": ("GET", "/tokens", ""),
    "--token-revoke T": ("DELETE", "/tokens/T", ""),
    "--token-create reader": ("POST", "/tokens", "role=reader"),
    "--token-create operator --token-clouds A,B --token-days 7 --token-description D": (
        "POST",
        "/tokens",
        "role=operator&clouds=A%2CB&days=7&description=D",
    ),
    "--token-create operator --token-users u": ("POST", "/tokens", "role=operator&users=u"),
    "-d N -C why": ("PUT", "/clouds/N", "action=disable&reason=why"),
    "-d N --reason why": ("PUT", "/clouds/N", "action=disable&reason=why"),
    "-d N --reason other -C why": ("PUT", "/clouds/N", "action=disable&reason=why"),
    "-k -c C -a --confirm 5": ("PUT", VMS, "action=shutdown&count=all&confirm=5"),
    "-k -c C -a --preview P": ("PUT", VMS, "action=shutdown&count=all&preview=P"),
    "-k -c C -a --dry-run": ("PUT", VMS, "action=shutdown&count=all&dry_run=true"),
    "-e N --wait 5": ("PUT", "/clouds/N", "action=enable&wait=5"),
    "--token-revoke T --dry-run": ("DELETE", "/tokens/T?dry_run=true", ""),
    "--operations": ("GET", "/operations", ""),
    "--operations -c C -u U -n V --state failed -b 5": (
        "GET",
        "/operations?cloud=C&user=U&name=V&state=failed&limit=5",
        "",
    ),
    "--operation 7": ("GET", "/operations/7", ""),
    "--undo 7": ("POST", "/operations/7/undo", ""),
    "--undo 7 --partial --dry-run": ("POST", "/operations/7/undo", "partial=true&dry_run=true"),
    "-l Debug": ("PUT", "/", "log_level=Debug"),
    # which of several wins
    "-k -c C -n V -m": ("PUT", VM, "action=shutdown"),
    "-m -o -c C -n V": ("PUT", VM, "action=remove"),
    "-o -x -c C -n V": ("PUT", VM, "action=force_retire"),
    "-x -c C -n V -e N": ("PUT", VM, "action=reset_override_state"),
    "-d M -e N": ("PUT", "/clouds/N", "action=enable"),
    "-j -y -l INFO": ("GET", "/user-limits", ""),
    "-y -l INFO": ("GET", "/cloud-aliases", ""),
    "-q -l INFO": ("PUT", "/", "log_level=INFO"),
}


@pytest.mark.parametrize("line", ADMIN_CALLS)
def test_cloud_admin_sends_v1s_request_and_prints_the_body(
    line: str, admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin(*line.split()) == 0
    assert server.requests == [ADMIN_CALLS[line]]
    assert capsys.readouterr() == (f"{BODY}\n", "")


DOCUMENT = '{"name": "a/b", "cloud_type": "local", "regions": ["x"]}'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--cloud-put F", ("PUT", "/clouds/a%2Fb", DOCUMENT)),
        ("--cloud-put F -c C --reason R", ("PUT", "/clouds/C?reason=R", DOCUMENT)),
        ("--cloud-patch F", ("PATCH", "/clouds/a%2Fb", DOCUMENT)),
        ("--cloud-put -", ("PUT", "/clouds/a%2Fb", DOCUMENT)),
    ],
)
def test_definition_is_sent_as_json_of_a_file_or_of_standard_input(
    line: str, expected: tuple[str, str, str], admin: Run, server: Recorder, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    (home / "F").write_text(DOCUMENT)
    monkeypatch.chdir(home)
    monkeypatch.setattr("sys.stdin", StringIO(DOCUMENT))
    assert admin(*line.split()) == 0
    assert server.requests == [expected]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "F: cannot be read: No such file or directory"),
        (b"{", "F:1: this is not JSON: "),
        (b"[1]", "F: this must be a JSON object of a cloud's options"),
        (b'{"vm_slots": NaN}', "F: this is not JSON that can be sent"),
        (b"\xff", "F: this is not UTF-8 text"),
        (b"{}", 'F: it does not say which cloud: give it a "name", or say -c NAME'),
        (b'{"name": 5}', "F: it does not say which cloud"),
    ],
)
def test_definition_that_cannot_be_sent_is_told_in_a_sentence(
    content: bytes | None, sentence: str, admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    path = home / "F"
    if content is not None:
        path.write_bytes(content)
    assert admin("--cloud-put", str(path)) == 1
    assert sentence in capsys.readouterr().err
    assert server.requests == []


KILL, REMOVE = "Must Provide the cloud name to kill VMs on", "Must Provide the cloud name to remove VMs on"
RETIRE = "Must Provide the cloud name to force retire VMs on"
SAYINGS = {
    "-k": f"{KILL} and the VM ID, count, or all flag.",
    "-k -n V -a": f"{KILL} and the VM ID, count, or all flag.",
    "-k -c C": "Must provide a -n [VM ID], -a to kill all VMs, or -b [count] to kill a set number on cloud.",
    "-m": f"{REMOVE} and the VM ID or all flag.",
    "-m -c C": "Must provide a -n [VM ID] or -a to remove all VMs on this cloud.",
    "-m -c C -b 1": "Must provide a -n [VM ID] or -a to remove all VMs on this cloud.",
    "-o": f"{RETIRE} and the VM ID, all or count flag.",
    "-o -c C": "Must provide a -n [VM ID], -a (all), or -b [count] to force retire all or some VMs on this cloud.",
    "-x": "Must provide the cloud name and VM ID to reset override state on.",
    "-x -c C": "Must provide -n [VM ID] to reset state of VM.",
    "-r": "Reconfig Disabled - use 'quickrestart'",
    "-p vm": "Must Specify a user with -u or --user.",
    "-v 5": "Change vm slot of cloud need '-c cloudname' for cloud to change allocation of",
}


@pytest.mark.parametrize("line", SAYINGS)
def test_cloud_admin_says_what_is_missing_and_asks_nothing(
    line: str, admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin(*line.split()) == 1
    assert server.requests == []
    assert capsys.readouterr() == (f"{SAYINGS[line]}\n", "")


@pytest.mark.parametrize("line", ["", "-c C -n V", "-C why"])
def test_cloud_admin_without_an_action_hints_at_its_help(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cloud_admin.main(line.split()) == 0
    assert capsys.readouterr() == ("Run cloud_admin -h for help.\n", "")


def test_cloud_admin_remove_all_prints_the_url_first(
    admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin("-m", "-c", "a b", "-a") == 0
    assert server.requests == [("PUT", "/clouds/a%20b/vms", "action=remove&count=all")]
    assert capsys.readouterr().out == f"http://127.0.0.1:{server.port}/clouds/a%20b/vms\n{BODY}\n"


@pytest.mark.parametrize(
    ("option", "path", "good", "bad"),
    [
        ("-i", "/user-limits", "User-Limit file reloaded.", "No Limits set - list empty or problem parsing file."),
        (
            "-t",
            "/cloud-aliases",
            "Target Cloud Alias file reloaded.",
            "Failed to load alias file - check json format, path, or permissions.",
        ),
    ],
)
def test_cloud_admin_reload_tells_success_from_failure(
    option: str, path: str, good: str, bad: str, admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    server.body = b"True"
    assert admin(option) == 0
    assert capsys.readouterr().out == f"{good}\n"
    server.body = b"False"
    assert admin(option) == 0
    assert capsys.readouterr().out == f"{bad}\n"
    server.status, server.body = 401, b"A token is needed."
    assert admin(option) == 1
    assert capsys.readouterr().out == f"{bad}\nA token is needed.\n"
    assert server.requests == [("POST", path, "")] * 3


@pytest.mark.parametrize(("kind", "word"), [("vm", "VM"), ("job", "Job")])
def test_cloud_admin_proxy_refresh_shows_the_answer_only_when_it_failed(
    kind: str, word: str, admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"Refreshing {word} proxies for user a b.\n"
    assert admin("-p", kind, "-u", "a b") == 0
    assert server.requests == [("POST", "/users/a%20b", f"refresh={kind}_proxy")]
    assert capsys.readouterr().out == said
    server.status = 409
    assert admin("-p", kind, "-u", "a b") == 1
    assert capsys.readouterr().out == f"{said}{BODY}\n"


def test_cloud_admin_quick_exit_claims_the_toggle_only_when_done(
    admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    server.body = b""
    assert admin("-q") == 0
    assert server.requests == [("POST", "/", "action=quick_shutdown")]
    assert capsys.readouterr().out == "\nToggled Quick shutdown flag.\n"
    server.status, server.body = 202, b"Accepted, see /operations/7."
    assert admin("-q") == 0
    assert capsys.readouterr().out == "Accepted, see /operations/7.\n"
    server.status = 503
    assert admin("-q") == 1
    assert "Toggled" not in capsys.readouterr().out


def test_cloud_admin_allocation_announces_itself(
    admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin("-v", "5", "-c", "C") == 0
    assert server.requests == [("PUT", "/clouds/C", "allocations=5")]
    assert capsys.readouterr().out == f"Adjusting vm_slots on C to 5\n{BODY}\n"


@pytest.mark.parametrize("level", ["VERBOSE", "debug", "Warning", "ERROR", "info", "Critical"])
def test_cloud_admin_accepts_three_spellings_of_a_level(level: str, admin: Run) -> None:
    assert admin("-l", level) == 0


def test_cloud_admin_refuses_other_words(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["-l", "dEBUG"], ["-p", "pilot"]):
        with pytest.raises(SystemExit) as ex:
            cloud_admin.main(argv)
        assert ex.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ODD_NAMES)
def test_cloud_admin_quotes_names_whole(name: str, admin: Run, server: Recorder) -> None:
    assert admin("-k", "-c", name, "-n", name) == 0
    [(_, path, _)] = server.requests
    assert names_in(path) == ["", "clouds", name, "vms", name]


@pytest.mark.parametrize("name", [".", ".."])
def test_names_no_url_can_hold_are_refused(
    name: str, admin: Run, server: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin("-k", "-c", name, "-a") == 1
    assert server.requests == []
    assert f"'{name}' cannot be a name" in capsys.readouterr().err


def test_names_that_are_not_utf8_travel_as_their_bytes(admin: Run, server: Recorder) -> None:
    assert admin("-k", "-c", os.fsdecode(b"a\xff"), "-b", os.fsdecode(b"\xff")) == 0
    assert server.requests == [("PUT", "/clouds/a%FF/vms", "action=shutdown&count=%FF")]
