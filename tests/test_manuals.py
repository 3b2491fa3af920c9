"""Man pages, completions, units: made from the option tables, and read by the programs that read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cloudsched.config import OPTIONS, Fate, load

ROOT = Path(__file__).parent.parent
CONTRIB = ROOT / "contrib"
BIN = Path(sys.executable).parent
COMMANDS = {
    "cloud_scheduler": 8,
    "admin_server": 8,
    "info_server": 8,
    "cloud_status": 1,
    "cloud_admin": 1,
    "cloud_job": 1,
}
BASH_HOME, ZSH_HOME = "share/bash-completion/completions", "share/zsh/site-functions"
UNITS = sorted((CONTRIB / "systemd").glob("*.service"))


def needs(program: str, package: str) -> list[pytest.MarkDecorator]:
    return [
        pytest.mark.real,
        pytest.mark.skipif(not shutil.which(program), reason=f"needs Debian's package {package}"),
    ]


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, env=environment)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `contrib/manuals.py` writes."""
    directory = tmp_path_factory.mktemp("manuals")
    finished = run(sys.executable, CONTRIB / "manuals.py", directory, PYTHONPATH=str(ROOT))
    assert finished.returncode == 0, finished.stderr
    return directory


@pytest.mark.parametrize("command", COMMANDS)
def test_page_and_completions_name_every_option_of_the_help(made: Path, command: str) -> None:
    section = COMMANDS[command]
    page = (made / f"share/man/man{section}/{command}.{section}").read_text().replace("\\-", "-")
    bash, zsh = (made / BASH_HOME / command).read_text(), (made / ZSH_HOME / f"_{command}").read_text()
    helped = run(BIN / command, "--help").stdout
    named = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", helped.partition("\n\n")[2])) - {"-"}
    assert {"-h", "--help"} < named
    listed = {name for name in named if re.search(rf"^ +(-\w[^\n]*)?{name}\b", helped, re.MULTILINE)}
    for text in (page, bash, zsh):
        assert {name for name in listed if not re.search(rf"{name}\b", text)} == set()


def test_options_page_names_every_option_that_has_an_effect(made: Path) -> None:
    page = (made / "share/man/man5/cloud_scheduler.conf.5").read_text()
    for option in OPTIONS.values():
        assert (f"\\fB{option.name}\\fR" in page) == (option.fate is not Fate.IGNORED), option.name


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs("mandoc", "mandoc"))])
def test_mandoc_has_nothing_to_complain_of(made: Path, mark: str) -> None:
    pages = sorted(made.glob("share/man/*/*"))
    assert len(pages) == len(COMMANDS) + 1
    # The date is left out on purpose: the same sources make the same page.
    found = run("mandoc", "-T", "lint", "-W", "warning", *pages).stdout.splitlines()
    assert [line for line in found if "missing date" not in line] == []


BASH = [
    ("cloud_status", "--heart", {"--heart-beats"}),
    ("cloud_status -q h", None, {"high", "held"}),
    ("cloud_admin -p ", None, {"vm", "job"}),
    ("cloud_scheduler sta", None, {"state"}),
    ("cloud_scheduler state dump --with", None, {"--with-secrets"}),
    ("cloud_scheduler quick-exit o", None, {"on", "off"}),
    ("cloud_job list --state ru", None, {"running"}),
    ("info_server --li", None, {"--listen"}),
]


@pytest.mark.parametrize(("line", "more", "expected"), BASH)
def test_bash_completes(made: Path, line: str, more: str | None, expected: set[str]) -> None:
    words = f"{line} {more}".split(" ") if more else line.split(" ")
    program = (
        f"source {made}/{BASH_HOME}/{words[0]}; COMP_WORDS=({' '.join(repr(word) for word in words)});"
        f" COMP_CWORD={len(words) - 1}; _{words[0]}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    finished = run("bash", "--norc", "-c", program)
    assert (finished.stderr, set(finished.stdout.split())) == ("", expected)


@pytest.mark.parametrize("command", [pytest.param(each, marks=needs("zsh", "zsh")) for each in COMMANDS])
def test_zsh_completes(made: Path, command: str) -> None:
    """In a real interactive zsh on a terminal of its own: what is typed is completed."""
    typed = {"cloud_scheduler": "--no-s", "cloud_job": "--admin-p", "cloud_status": "--heart"}.get(command, "--vers")
    full = {"--no-s": "--no-servers", "--admin-p": "--admin-port", "--heart": "--heart-beats"}.get(typed, "--version")
    if command == "cloud_admin":
        typed, full = "--quick", "--quick-exit"
    program = (
        f"zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z 'PS1=; fpath=({made}/{ZSH_HOME} $fpath);"
        " autoload -Uz compinit; compinit -u -D; echo re\\ady';"
        " while zpty -r z line; do [[ $line == *ready* ]] && break; done;"
        f" zpty -w -n z '{command} {typed}'$'\\t'; sleep 1; zpty -w -n z $'\\C-a''echo X '$'\\n';"
        " while zpty -r z line; do print -r -- $line; [[ $line == X* ]] && break; done; zpty -d z"
    )
    assert f"{command} {full}" in run("zsh", "-f", "-c", program).stdout


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs("systemd-analyze", "systemd"))])
def test_units_are_clean_and_hardened(tmp_path: Path, mark: str) -> None:
    assert len(UNITS) == 3
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/cloudsched/bin", str(BIN)))
    verified = run("systemd-analyze", "verify", "--man=no", *sorted(tmp_path.glob("*.service")))
    ours = [line for line in verified.stderr.splitlines() if str(tmp_path) in line or "cloudsched" in line]
    assert ours == []
    for unit in sorted(tmp_path.glob("*.service")):
        # Local VMs and their jobs live in the scheduler's own sandbox.
        most = 50 if unit.name == "cloudsched.service" else 30
        checked = run("systemd-analyze", "security", "--offline=yes", f"--threshold={most}", unit)
        assert checked.returncode == 0, checked.stdout[-400:]


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs("systemd-sysusers", "systemd"))])
def test_user_and_directories_are_made(tmp_path: Path, mark: str) -> None:
    for name in ("etc", "run"):
        (tmp_path / name).mkdir()
    users = run("systemd-sysusers", f"--root={tmp_path}", CONTRIB / "systemd" / "cloudsched.sysusers")
    assert users.returncode == 0, users.stderr
    assert re.search(
        r"^cloudsched:x:\d+:\d+:Cloud Scheduler:/var/lib/cloudsched:", (tmp_path / "etc/passwd").read_text()
    )
    made = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", CONTRIB / "systemd" / "cloudsched.tmpfiles")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "var/lib/cloudsched").stat().st_mode & 0o777 == 0o700


def test_units_and_containerfile_set_options_that_exist() -> None:
    texts = [path.read_text() for path in (*UNITS, CONTRIB / "Containerfile")]
    given = dict(re.findall(r"(CLOUDSCHED_[A-Z_]+)=(\S+)", "\n".join(texts)))
    assert "CLOUDSCHED_GLOBAL_STATE_DIR" in given
    assert load({}, {**given, "HOME": "/root"}).warnings == ()
