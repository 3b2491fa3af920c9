"""v1's own Python 2 clients, unmodified from PyPI, against our daemons in the drop-in mode (PARITY Appendix A)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import golden_state
import pytest
from pair import Pair, serving

from cloudsched import __version__

SOURCE, LIBRARY = "cloud-scheduler==1.13.2", "requests==2.27.1"
COMMANDS = Path(sys.executable).parent
DROP_IN = {"admin_auth": "none", "verb_wait_seconds": "20"}
CLOUD, VM = "mouse", "a1b2c3d4-0000-4000-8000-000000000003"

STATUS = [
    "",
    "-a",
    "-a -j",
    "-b",
    f"-c {CLOUD}",
    f"-c {CLOUD} -j",
    f"-c {CLOUD} -n {VM}",
    f"-c {CLOUD} -n {VM} -j",
    f"-c {CLOUD} -n testvm",
    f"-c {CLOUD} -n novm",
    "-c testcloud",
    "-g",
    "-i",
    "-l",
    "-m",
    "-o",
    f"-o -c {CLOUD}",
    "-q all",
    "-q complete",
    "-q held",
    "-q high",
    "-q idle",
    "-q new",
    "-q running",
    "-q sched",
    "-r",
    "-t",
    "-u",
    f"-u -c {CLOUD}",
    "-w",
    "-z",
    "-n testvm",
]
TWO = "a1b2c3d4-0000-4000-8000-000000000001", "a1b2c3d4-0000-4000-8000-000000000002"
ADMIN = {
    "": "Run cloud_admin -h for help.\n",
    "-i": "User-Limit file reloaded.\n",
    "-j": "{u'bob': 2, u'carol': 50}\n",
    f"-k -c {CLOUD} -n {VM}": f"VM {VM} has been Destroyed.\n",
    f"-k -c {CLOUD} -b 2": "".join(f"VM {each} has been Destroyed.\n" for each in TWO) + "\n",
    f"-k -c {CLOUD} -b none": "Unable to shutdown none VMs, use a number.\n",
    "-k -c testcloud -a": "Could not find a Cluster with name: testcloud.\n",
    "-l DEBUG": "\n",
    f"-o -c {CLOUD} -n {VM}": f"Retired VM {VM} on {CLOUD}.\n",
    f"-o -c {CLOUD} -a": f"Retired all VMs in {CLOUD}.\n",
    f"-o -c {CLOUD} -b 1": f"Retired 1 VM(s) in {CLOUD}.\n",
    f"-x -c {CLOUD} -n {VM}": f"Reset state of {CLOUD} on {VM}\n",
    f"-x -c {CLOUD} -n novm": "Could not find VM ID novm.\n",
    f"-m -c {CLOUD} -n {VM}": f"Removed {CLOUD}'s VM {VM} from CloudScheduler.\n",
    f"-m -c {CLOUD} -a": f"http://127.0.0.1:PORT/clouds/{CLOUD}/vms\nRemoved all VMs from {CLOUD}.\n",
    "-q": "\nToggled Quick shutdown flag.\n",
    "-t": "Target Cloud Alias file reloaded.\n",
    "-y": "{u'east': [u'test/name?x#y'], u'west': [u'mouse', u'cheetah']}\n",
    f"-v 5 -c {CLOUD}": f"Adjusting vm_slots on {CLOUD} to 5\nAttempt adjustment on cloud {CLOUD}, change to 5 slots\n",
    f"-d {CLOUD}": f"Cloud: {CLOUD} disabled.\n",
    f"-e {CLOUD}": f"Cloud: {CLOUD} enabled.\n",
    "-e testcloud": "Could not find cloud testcloud.\n",
    "-r": "Reconfig Disabled - use 'quickrestart'\n",
    f"-k -c {CLOUD}": "Must provide a -n [VM ID], -a to kill all VMs, or -b [count] to kill a set number on cloud.\n",
    "-o": "Must Provide the cloud name to force retire VMs on and the VM ID, all or count flag.\n",
}


@dataclass(frozen=True)
class V1:
    """Where v1's unpacked source and the library it needs are, and the Python that runs it."""

    python: str
    source: Path
    library: Path


def _python27() -> str | None:
    """A Python 2.7 that really runs; pyenv's shims exist without working, so its versions are tried themselves."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    named = [shutil.which("python2.7"), shutil.which("python2"), "/usr/bin/python2.7"]
    found = [*named, *(str(each) for each in sorted(pyenv.glob("2.7*/bin/python2.7")))]
    return next((each for each in found if each and _is_27(each)), None)


def _is_27(python: str) -> bool:
    try:
        said = subprocess.run([python, "-c", "import sys, pip; print(sys.version_info[:2])"], capture_output=True)
    except OSError:
        return False
    return said.stdout.strip() == b"(2, 7)"


def _fetch(python: str, place: Path) -> None:
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "download", "--no-deps", "--no-binary", ":all:", "-d", place, SOURCE], check=True)
    subprocess.run([*pip, "install", "--target", place / "library", LIBRARY], check=True)
    with tarfile.open(next(place.glob("cloud-scheduler-*.tar.gz"))) as archive:
        archive.extractall(place / "source", filter="data")


@pytest.fixture(scope="session")
def v1(pytestconfig: pytest.Config) -> V1:
    python = _python27()
    if python is None:
        pytest.skip("there is no Python 2.7 with pip on this machine")
    cache = pytestconfig.cache.mkdir("v1-clients")  # type: ignore[union-attr]
    kept = cache / "1.13.2"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=cache) as place:
            _fetch(python, Path(place))
            Path(place, "whole").mkdir()
            for each in ("source", "library"):
                Path(place, each).rename(Path(place, "whole", each))
            if not kept.exists():
                Path(place, "whole").rename(kept)
    return V1(python, next((kept / "source").iterdir()), kept / "library")


@dataclass(frozen=True)
class Site:
    """Our daemons twice, in the same state: one pair for v1's clients, one for ours."""

    for_v1: Pair
    for_ours: Pair
    environment: dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("home")
    (home / ".cloudscheduler").mkdir()
    (home / ".cloudscheduler" / "cloud_scheduler_status.conf").write_text("[global]\n")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSCHED_", "PYTHON"))}
    with ExitStack() as stack:
        theirs, ours = [stack.enter_context(serving(tmp_path_factory.mktemp(name), DROP_IN)) for name in ("v1", "ours")]
        yield Site(theirs, ours, {**plain, "HOME": str(home), "PYTHONIOENCODING": "utf-8"})


Both = Callable[[str, str], tuple[str, str]]


@pytest.fixture
def both(v1: V1, site: Site) -> Both:
    """Runs one command line with v1's client and with ours; gives what each printed, ports replaced by PORT."""

    def run(command: str, line: str) -> tuple[str, str]:
        library = {"PYTHONPATH": str(v1.library)}
        theirs = _printed([v1.python, v1.source / command], command, line, site.for_v1, site.environment | library)
        ours = _printed([COMMANDS / command], command, line, site.for_ours, site.environment)
        return theirs, ours

    return run


def _printed(program: list[str | Path], command: str, line: str, pair: Pair, environment: dict[str, str]) -> str:
    option, port = ("-p", pair.info_port) if command == "cloud_status" else ("-P", pair.admin_port)
    argv = [*program, "-s", "127.0.0.1", option, port, *line.split()]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stderr == ""
    return done.stdout.replace(port, "PORT").removeprefix("No module named httplib2\n")


@pytest.mark.parametrize("line", STATUS)
def test_v1s_cloud_status_prints_what_ours_prints(line: str, both: Both) -> None:
    theirs, ours = both("cloud_status", line)
    assert theirs == ours
    assert theirs.endswith("\n")
    assert "internal server error" not in theirs


RECORDED = {
    "": "/cloud",
    f"-c {CLOUD}": "/clusters/mouse",
    f"-c {CLOUD} -n {VM}": f"/clusters/mouse/vms/{VM}",
    "-l": "/cloud/config",
    "-b": "/vms?metric=startup_time",
    "-g": "/vms?metric=job_run_times",
    "-o": "/vms?metric=total",
    f"-o -c {CLOUD}": "/clusters/mouse/vms?metric=total",
    "-r": "/vms?metric=missing",
    "-u": "/vms?metric=all",
    "-t": "/diff-types",
    "-z": "/failures/boot",
    "-w": "/failures/image",
}


@pytest.mark.parametrize("line", RECORDED)
def test_v1s_cloud_status_prints_what_the_original_answered(line: str, both: Both) -> None:
    recorded = next(
        each["body"]
        for each in golden_state.answers().values()
        if (each["server"], each["url"]) == ("info", RECORDED[line])
    )
    printed, _ = both("cloud_status", line)
    # The original's order within some listings was that of a Python 2 dict.
    assert sorted(printed.splitlines()) == sorted(f"{recorded}\n".splitlines())


def test_v1s_cloud_status_shows_versions_and_diagnostics(both: Both) -> None:
    theirs, ours = both("cloud_status", "-v")
    assert theirs == f"Cloud Scheduler version: {__version__}\nCloud Status version: 1.13.2\n"
    assert ours == f"Cloud Scheduler version: {__version__}\nCloud Status version: {__version__}\n"
    for line, start in (("-x", "Thread Heart beat times:\n   Scheduler Thread(5): "), ("-d", "Process: ")):
        for printed in both("cloud_status", line):
            assert printed.startswith(start)


@pytest.mark.parametrize("command", ["cloud_status", "cloud_admin"])
def test_our_clients_have_the_options_of_v1s(command: str, both: Both) -> None:
    theirs, ours = both(command, "-h")
    known = _options(theirs)
    assert [each for each in _options(ours) if each in known] == known


def _options(text: str) -> list[str]:
    """Each spelling by itself: ours tells cloud_status's -j, which is v1's, from --json, which works with all."""
    lines = (line.split("  ")[1] for line in text.splitlines() if line.startswith("  -"))
    return [spelling for line in lines for spelling in line.split(", ")]


@pytest.mark.parametrize("line", ADMIN)
def test_v1s_cloud_admin_prints_v1s_text_and_so_does_ours(line: str, both: Both) -> None:
    assert both("cloud_admin", line) == (ADMIN[line], ADMIN[line])


@pytest.mark.parametrize(("kind", "word"), [("job", "Job"), ("vm", "VM")])
def test_proxy_refresh_fails_aloud_only_with_our_client(kind: str, word: str, both: Both) -> None:
    said = f"Refreshing {word} proxies for user alice.\n"
    assert both("cloud_admin", f"-u alice -p {kind}") == (said, f"{said}There is no proxy to refresh.\n")


def test_names_v1_could_not_reach_work_with_its_clients(both: Both) -> None:
    theirs, ours = both("cloud_status", "-c test/name?x#y")
    assert theirs == ours
    assert "test/name?x#y" in theirs
    assert both("cloud_admin", "-d test/name?x#y") == ("Cloud: test/name?x#y disabled.\n",) * 2
