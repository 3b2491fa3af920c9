"""The package as its users get it: built, installed where nothing else is, run outside the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from scheduler_process import environment, wait_for

from cloudsched import __version__

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("package")]
ROOT = Path(__file__).parent.parent.parent
SECONDS = 300
COMMANDS = ("cloud_scheduler", "cloud_admin", "cloud_status", "cloud_job", "admin_server", "info_server")
RUNTIME = {"falcon", "waitress", "requests", "sqlalchemy", "prometheus-client"}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
THEIRS = {"certifi", "charset-normalizer", "greenlet", "idna", "typing-extensions", "urllib3"}


@dataclass(frozen=True)
class Installed:
    """The directory of the installed commands, and the two archives."""

    commands: Path
    sdist: Path
    wheel: Path


def run(*command: str | Path, where: Path) -> str:
    clean = {name: each for name, each in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    finished = subprocess.run(
        [*map(str, command)], cwd=where, capture_output=True, text=True, timeout=SECONDS, env=clean
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def venv(path: Path, *packages: str | Path) -> Path:
    """An empty environment with these packages; skips where there is no package index."""
    run(sys.executable, "-m", "venv", path, where=path.parent)
    command = [path / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
    finished = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=SECONDS)
    if re.search(r"No matching distribution|Could not fetch|Max retries", finished.stderr):
        pytest.skip("needs a package index")
    assert finished.returncode == 0, finished.stderr
    return path / "bin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel made from the sdist, in an environment of its own."""
    home = tmp_path_factory.mktemp("package")
    copy = home / "checkout"
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", where=ROOT).split("\n")
    for name in filter(None, files):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    build = venv(home / "build", *PYPROJECT["build-system"]["requires"])
    make = "from setuptools import build_meta; print(build_meta.build_{}({!r}))"
    run(build / "python", "-W", "error::DeprecationWarning", "-c", make.format("sdist", str(home)), where=copy)
    (sdist,) = home.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(home / "unpacked", filter="data")
    (source,) = (home / "unpacked").iterdir()
    run(build / "python", "-c", make.format("wheel", str(home)), where=source)
    (wheel,) = home.glob("*.whl")
    return Installed(venv(home / "empty", wheel), sdist, wheel)


def test_archives_hold_what_they_should(installed: Installed) -> None:
    assert installed.wheel.name == f"cloudsched-{__version__}-py3-none-any.whl"
    listed = run(sys.executable, "-m", "zipfile", "-l", installed.wheel, where=ROOT)
    names = {line.split()[0] for line in listed.splitlines()[1:]}
    packages = {str(path.relative_to(ROOT)) for path in (ROOT / "cloudsched").rglob("*.py")}
    clients = {f"cloudsched/clients/{path.name}" for path in (ROOT / "clients").glob("*.py")}
    assert (
        packages
        | clients
        | {
            "admin_server.py",
            "info_server.py",
            "cloudsched/py.typed",
            "cloudsched/info/status.css",
            "cloudsched/info/status.js",
        }
        <= names
    )
    assert not any(name.startswith(("tests/", "contrib/", "docs/", "build/")) for name in names)
    with tarfile.open(installed.sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "docs/monitoring.md", "tests/conftest.py", "contrib/munin/cloudsched_"} <= packed


def test_an_installation_has_manuals_completions_and_samples(installed: Installed, tmp_path: Path) -> None:
    share = installed.commands.parent / "share"
    run(sys.executable, ROOT / "contrib" / "manuals.py", tmp_path, where=tmp_path)
    made = {path.relative_to(tmp_path / "share"): path.read_bytes() for path in files_below(tmp_path / "share")}
    assert {path.parts[0] for path in made} == {"man", "bash-completion", "zsh"}
    kept = run("git", "ls-files", "contrib/*/*", where=ROOT).splitlines()
    samples = {Path("cloudsched", *Path(name).parts[1:]): (ROOT / name).read_bytes() for name in kept}
    assert {path.relative_to(share): path.read_bytes() for path in files_below(share)} == made | samples
    assert os.access(share / "cloudsched" / "munin" / "cloudsched_", os.X_OK)


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_the_build_needs_what_runs() -> None:
    """The manuals are made by the commands themselves."""
    needed = {re.split("[>=<]", each)[0] for each in PYPROJECT["build-system"]["requires"]}
    assert needed == RUNTIME | {"setuptools", "pyyaml"}


def test_the_image_copies_all_that_the_wheel_is_made_of(installed: Installed, tmp_path: Path) -> None:
    """The Containerfile's first half, without its extras: the same wheel from what it copies."""
    text = (ROOT / "contrib" / "Containerfile").read_text("utf-8")
    copied = [each.split()[:-1] for each in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)]
    kept = run("git", "ls-files", "--cached", "--others", "--exclude-standard", where=ROOT).splitlines()
    for name in kept:
        if any(name == each or name.startswith(f"{each}/") for names in copied for each in names):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    (command,) = re.findall(r"^RUN (pip wheel .*)$", text, re.MULTILINE)
    words = command.replace("/wheels", str(tmp_path / "made")).replace("pip wheel", "pip wheel -q --no-deps")
    run("sh", "-c", f"EXTRAS=; {installed.commands}/python -m {words}", where=tmp_path)
    (wheel,) = (tmp_path / "made").iterdir()
    assert contents(wheel) == contents(installed.wheel)


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_only_five_dependencies_come_along(installed: Installed) -> None:
    listed = run(installed.commands / "python", "-m", "pip", "list", "--format=freeze", where=Path("/"))
    names = {line.partition("==")[0].lower().replace("_", "-") for line in listed.splitlines()}
    assert names - {"pip", "setuptools"} - THEIRS == RUNTIME | {"cloudsched"}


BARE = """from cloudsched.clouds import load
from cloudsched.config.options import Global
from cloudsched.engine.htcondor import way
from cloudsched.errors import MissingExtra
print(type(way(Global())).__name__)
for kind in ("ec2", "openstack"):
    try:
        load(kind)
    except MissingExtra as ex:
        print(ex)
"""


def test_without_extras_htcondor_is_asked_by_commands_and_clouds_name_theirs(installed: Installed) -> None:
    way, *clouds = run(installed.commands / "python", "-c", BARE, where=Path("/")).splitlines()
    assert way == "Commands"
    assert [sentence.partition(" needs ")[2] for sentence in clouds] == [
        f"the extra {kind!r}: pip install 'cloudsched[{kind}]'." for kind in ("ec2", "openstack")
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_work_outside_the_checkout(installed: Installed, tmp_path: Path, command: str) -> None:
    assert "--config-file" in run(installed.commands / command, "--help", where=tmp_path)


@pytest.fixture
def running(installed: Installed, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The installed scheduler, started elsewhere: its daemons' URLs, and the first command that it says to `try`."""
    process = subprocess.Popen(
        [installed.commands / "cloud_scheduler"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    urls = {}
    for line in process.stdout:
        if found := re.match(r"  (admin|info) +(\S+)", line):
            urls[found[1]] = found[2]
        elif found := re.match(r"  (\S+cloud_job submit .+)", line):
            urls["try"] = found[1]
        if line.startswith("Ctrl-C"):
            break
    yield urls
    process.terminate()
    process.wait(SECONDS)
    process.stdout.close()


def test_installed_scheduler_runs_a_job(installed: Installed, running: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "job.sub").write_text("executable = /bin/echo\narguments = hello\noutput = said\nqueue\n")
    wait_for(lambda: requests.get(f"{running['info']}/health/ready", timeout=60).ok)
    variables = environment(tmp_path) | {
        "CLOUDSCHED_GLOBAL_ADMIN_SERVER_PORT": running["admin"].rpartition(":")[2],
        "CLOUDSCHED_GLOBAL_INFO_SERVER_PORT": running["info"].rpartition(":")[2],
    }
    subprocess.run(
        [installed.commands / "cloud_job", "submit", "job.sub"], cwd=tmp_path, env=variables, check=True, timeout=60
    )
    wait_for(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text() == "hello\n")
    tried = subprocess.run(
        running["try"].split(), cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=SECONDS
    )
    assert (tried.stdout, tried.stderr) == ("3 job(s) submitted to cluster 2.\n", "")
