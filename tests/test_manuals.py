"""Man pages, completions, units: made from the option tables, and read by the programs that read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cloudsched.clients import cloud_admin, cloud_status
from cloudsched.clients.invocation import Option

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


SHELLS = {
    "bash": ("bash --norc --noprofile -i", f"for each in {{made}}/{BASH_HOME}/*; do source $each; done"),
    "zsh": ("zsh -f -i", f"fpath=({{made}}/{ZSH_HOME} $fpath); autoload -Uz compinit; compinit -u -D"),
}
"""By shell: how it is started for a person, who has nothing of his own set up, and how it gets our completions."""

TYPED = {
    "cloud_scheduler --no-s": "cloud_scheduler --no-servers",
    "cloud_scheduler sta": "cloud_scheduler state",
    "cloud_scheduler state du": "cloud_scheduler state dump",
    "cloud_scheduler state dump --with": "cloud_scheduler state dump --with-secrets",
    "admin_server --vers": "admin_server --version",
    "info_server --li": "info_server --listen",
    "cloud_job --admin-p": "cloud_job --admin-port",
    "cloud_job --admin-port 1 lis": "cloud_job --admin-port 1 list",
    "cloud_job list --older": "cloud_job list --older-than",
    "cloud_job list --state ru": "cloud_job list --state running",
    "cloud_admin --token-create op": "cloud_admin --token-create operator",
    "cloud_admin --operations --state fa": "cloud_admin --operations --state failed",
    "cloud_admin -c mouse -b 2 -k --dr": "cloud_admin -c mouse -b 2 -k --dry-run",
    "cloud_status -q hel": "cloud_status -q held",
}
"""What is typed before the tabulator, and what stands there after it."""


def long_options(command: str, options: Sequence[Option]) -> dict[str, str]:
    """For every long option of a table the least that names it alone; one that another begins with names itself."""
    names = [each.long for each in options if each.long]
    found = {}
    for name in names:
        others = ["--help", *(each for each in names if each != name)]
        least = (
            name[:size] for size in range(3, len(name)) if not any(each.startswith(name[:size]) for each in others)
        )
        found[f"{command} {next(least, name)}"] = f"{command} {name}"
    return found


@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=needs("zsh", "zsh"))])
def test_interactive_shell_completes(made: Path, shell: str) -> None:
    """In a real one on a terminal of its own; each line is shown by the shell itself once it is completed."""
    expected = TYPED | long_options("cloud_admin", cloud_admin.OPTIONS)
    expected |= long_options("cloud_status", cloud_status.OPTIONS)
    assert {"cloud_admin --dry-run", "cloud_admin --wait", "cloud_admin --json"} <= set(expected.values())
    start, load_completions = SHELLS[shell]
    # Control-A goes to the beginning of the line.
    keys = [load_completions.format(made=made), *(f"{each}\t\x01echo X " for each in expected), "exit", ""]
    terminal = ["script", "--quiet", "--return", "--command", start, "/dev/null"]
    variables = {**os.environ, "TERM": "dumb"}
    shown = subprocess.run(
        terminal, input="\n".join(keys), capture_output=True, text=True, timeout=300, env=variables
    ).stdout
    assert re.findall(r"^X (.*?)\s*$", shown, re.MULTILINE) == list(expected.values())


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
