"""Every command that the documentation shows, run: `$` lines on an installation, root's `#` lines on a copy.

A page's commands run in their order, in one shell. What cannot be run here is named with its reason, and nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from cloudsched.store import Store
from tests.real.debs import absent
from tests.whole_bench import Site, a_site, eventually, stopped

ROOT = Path(__file__).parent.parent
VENV = Path(sys.executable).parent.parent
SECONDS = 600

ELSEWHERE = {
    "upgrade.md": "test_upgrade_page.py runs it, on both databases",
    "postgresql.md": "test_postgresql_page.py runs it, on a server",
}
STOPPED = {"operations.md"}
"""Pages whose commands want the scheduler not to run; those of all others are shown to people who have started it."""

SERVES = re.compile(r"cloud_scheduler( --simulate| --no-servers)?$|(admin|info)_server$")
"""Commands that run until somebody stops them."""

NEEDS_INIT = {
    "systemctl restart munin-node": "nothing but a booted systemd starts services",
    "systemctl enable --now cloudsched cloudsched-admin cloudsched-info": "its other half, enabling, is run",
}
FOR_EXAMPLE = {
    "3f9ad0c1b27e": "$(.venv/bin/cloud_admin --token-list | awk '/night shift/{print $1}')",
    "admin:57:5c0f6f3f4bb1f8a1d2a0f3c6f5dd2e9b7f4a08c1f3a6ce4e0d3c9a56b21f7e88": (
        "$(.venv/bin/cloud_scheduler journal verify | tail -1)"
    ),
}
"""Names that are made when they are needed, as the pages have them, and what they are here."""

UNPROMPTED = {
    "make run": "test_make_run_starts_everything",
    "make test": "this suite is it",
    ".venv/bin/cloud_scheduler --no-servers": "test_a_supervisors_three_commands_run_side_by_side",
    ".venv/bin/admin_server": "likewise",
    ".venv/bin/info_server": "likewise",
    "jq -jcS 'del(.hash, .chain, .outcome)' entry.json | sha256sum": "test_journal.py, on a real entry",
}
"""Commands that stand in a block without a prompt, and what runs them."""

INSTEAD = {"systemctl enable --now": "systemctl enable"}

CLOUDS = "".join(
    f"[{name}]\ncloud_type = local\nvm_slots = 2\nmemory = 4000\nenabled = true\n\n" for name in ("local", "mouse")
)


def shown(page: Path, prompt: str) -> list[str]:
    """The commands behind a prompt, continued lines joined, remarks left out."""
    found: list[str] = []
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        lines = iter(block.splitlines())
        for line in lines:
            start = re.match(rf" *{re.escape(prompt)} (.*)", line)
            if start:
                command = start[1]
                while command.endswith("\\"):
                    command = f"{command[:-1].rstrip()} {next(lines).strip()}"
                found.append(re.split(r"\s{4,}# ", command)[0].rstrip())
    return found


def pages(prompt: str) -> list[str]:
    every = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [str(page.relative_to(ROOT)) for page in every if page.name not in ELSEWHERE and shown(page, prompt)]


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """An installation as the pages have it: in the places of the defaults, run from a checkout."""
    clouds = tmp_path / "cloud_resources.conf"
    clouds.write_text(CLOUDS)
    with a_site(tmp_path / "home", CLOUD_RESOURCE_CONFIG=str(clouds)) as made:
        default = made.home / ".local" / "state"
        default.mkdir(parents=True)
        (default / "cloudsched").symlink_to(made.state)
        (made.home / ".venv").symlink_to(VENV)
        (made.home / "contrib").symlink_to(ROOT / "contrib")
        yield made


@pytest.mark.parametrize("page", pages("$"))
def test_an_operators_commands_work(site: Site, page: str) -> None:
    commands = shown(ROOT / page, "$")
    environment = site.environment()
    if Path(page).name in STOPPED:
        Store.open(f"sqlite:///{site.state / 'state.db'}", site.state).close()
    else:
        site.start()
        environment = site.environment() | {"TOKEN": site.token}
        eventually(lambda: len(site.clouds()) == 2, "the clouds are known")
    lines = [_line(command, site.ports) for command in commands]
    done = subprocess.run(
        ["bash", "-c", "\n".join(['ended() { echo "status $1 of: $2" >&2; exit 1; }', *lines])],
        cwd=site.home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stdout + done.stderr


def _line(command: str, ports: dict[str, int]) -> str:
    """A command as the script runs it: with this installation's ports, and those that serve ended once they do."""
    for name, port in (("info", 8111), ("admin", 8112)):
        command = command.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ports.get(name, port)}")
    for example, here in FOR_EXAMPLE.items():
        command = command.replace(example, here)
    quoted = "'" + command.replace("'", "'\\''") + "'"
    if SERVES.search(command):
        said = "served.$RANDOM"
        waits = "for n in $(seq 600); do grep -qE 'Ctrl-C stops|Listening on' $said && break; sleep 0.1; done"
        ends = f"grep -qE 'Ctrl-C stops|Listening on' $said || ended 'without serving' {quoted}; kill -INT $!; wait $!"
        # A shell without job control starts what it puts behind with SIGINT ignored; env gives it back.
        return f"said={said}; env --default-signal=INT {command} > $said & {waits}; {ends} || ended $? {quoted}"
    return f"{command} || ended $? {quoted}"


@pytest.mark.real
@pytest.mark.parametrize("page", pages("#"))
def test_roots_commands_work(tmp_path: Path, page: str) -> None:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "systemd-sysusers", "munin-node"))):
        absent("root's commands need root, unshare, systemd's tools and munin-node")
    commands = [_offline(command) for command in shown(ROOT / page, "#")]
    over = [
        f"mkdir -p {tmp_path}/over && mount -t tmpfs tmpfs {tmp_path}/over && cd {ROOT}",
        *(
            f"mkdir -p {tmp_path}/over/{each}/up {tmp_path}/over/{each}/work && mount -t overlay overlay -o "
            f"lowerdir=/{each},upperdir={tmp_path}/over/{each}/up,workdir={tmp_path}/over/{each}/work /{each}"
            for each in ("etc", "opt", "usr", "var")
        ),
    ]
    script = "\n".join(["set -e", *over, *(command for command in commands if command not in NEEDS_INIT)])
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script],
        env={**os.environ, "SYSTEMD_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if "mount" in done.stderr and "permission denied" in done.stderr:
        absent("this machine lets nobody mount an overlay")
    assert done.returncode == 0, done.stderr[-2000:]


def _offline(command: str) -> str:
    """A command as it runs where no systemd is booted."""
    for text, other in INSTEAD.items():
        command = command.replace(text, other)
    return command


def unprompted(page: Path) -> list[str]:
    """The lines of a page's blocks that begin as a command does, and have no prompt."""
    blocks = re.findall(r"^ *```\n(.*?)^ *```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = (re.split(r"\s{4,}# ", line)[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if re.match(r"(\.venv/bin/|make |curl |jq |sudo |pip |systemctl )", line)]


def test_every_command_without_a_prompt_is_run_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert {command for page in pages for command in unprompted(page)} == set(UNPROMPTED)


def test_make_run_starts_everything(site: Site) -> None:
    command = ["make", "--no-print-directory", "-C", str(ROOT), "run", f"VENV={VENV}"]
    with (site.home / "log").open("a") as log:
        run = subprocess.Popen(
            command, env=site.environment(), stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    assert run.stdout
    with run.stdout:
        info = ""
        for line in run.stdout:
            if line.startswith("  info "):
                info = line.split()[1]
            if line.startswith("Ctrl-C"):
                break
        eventually(lambda: requests.get(f"{info}/health/ready", timeout=SECONDS).ok, "it is ready")
        # A terminal's Ctrl-C is for make too, which waits for what it runs: it ends as that does, or by the signal.
        assert stopped(run, signal.SIGINT) in (0, -signal.SIGINT)
    assert "Stopped." in site.log()
    assert site.processes() == {}


def test_a_supervisors_three_commands_run_side_by_side(site: Site) -> None:
    scheduler, *daemons = unprompted(ROOT / "docs" / "operations.md")
    with ExitStack() as stack:
        first = site.spawn(*scheduler.split()[1:])
        eventually((site.state / "state.db").exists, "the state is made")
        for command in daemons:
            daemon = stack.enter_context(
                subprocess.Popen(
                    command.split(), cwd=site.home, env=site.environment(), stdout=subprocess.PIPE, text=True
                )
            )
            stack.callback(daemon.terminate)
            assert daemon.stdout
            url = daemon.stdout.readline().strip().removeprefix("Listening on ")
            eventually(lambda: requests.get(f"{url}/health/ready", timeout=SECONDS).ok, command)  # noqa: B023
        assert stopped(first) == 0


def test_what_is_not_run_is_shown_somewhere() -> None:
    everywhere = [command for page in pages("#") for command in shown(ROOT / page, "#")]
    assert set(NEEDS_INIT) <= set(everywhere)
    assert all((ROOT / "docs" / name).exists() for name in (*ELSEWHERE, *STOPPED))
