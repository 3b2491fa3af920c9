"""What is wrong with HTCondor is one sentence, in the log and in the diagnostics, and everything else works."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudsched.batch.htcondor_tokens import SigningKey
from tests.real.condor import DOMAIN, SCHEDD, CondorPool, eventually
from tests.real.condor_site import condor_site, problems, running, submit
from tests.real.debs import absent
from tests.whole_bench import Site, stopped

pytest.importorskip("htcondor2")
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("htcondor")]

OLD_BINDINGS = "24.0.24"


@pytest.fixture(scope="module")
def old_bindings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with bindings older than those we ask for, as a site may have them."""
    place = tmp_path_factory.mktemp("bindings")
    wanted = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", place, f"htcondor=={OLD_BINDINGS}"]
    done = subprocess.run([sys.executable, "-m", "pip", "install", *wanted], capture_output=True, text=True)
    if done.returncode:
        absent(f"the old HTCondor bindings cannot be had: {done.stderr.strip()[-300:]}")
    return place


@dataclass(frozen=True)
class Wrong:
    """Something that is wrong: what makes it so, which stages fail of it, and how the sentence of each ends."""

    stages: frozenset[str]
    sentence: str
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


JOBS, VMS, ALL = frozenset({"JobPoller"}), frozenset({"Credentials"}), frozenset({"JobPoller", "MachinePoller"})


def _schedd(pool: CondorPool, place: Path) -> Wrong:
    return Wrong(
        JOBS,
        f"There is no schedd 'nobody@{DOMAIN}' at the collector {pool.collector}: set condor_schedd to one it knows "
        f"({SCHEDD}).",
        {"CONDOR_SCHEDD": f"nobody@{DOMAIN}"},
    )


def _collector(pool: CondorPool, place: Path) -> Wrong:
    return Wrong(
        ALL,
        "The collector 127.0.0.1:1 does not answer (Connection refused): check condor_collector and the network.",
        {"CONDOR_COLLECTOR": "127.0.0.1:1"},
    )


def _token(pool: CondorPool, place: Path) -> Wrong:
    return Wrong(
        ALL,
        f"check the token in {place} and the pool's ALLOW_READ.",
        {"CONDOR_TOKEN_DIRECTORY": str(place)},
    )


def _bindings(pool: CondorPool, place: Path) -> Wrong:
    (place / "htcondor2.py").write_text("raise ImportError('libcondor_utils.so: no such thing')")
    return Wrong(
        ALL,
        "The HTCondor bindings cannot be imported (libcondor_utils.so: no such thing): mend them with pip install "
        "'cloudsched[htcondor]', or remove them to use the condor_* commands.",
        environment={"PYTHONPATH": str(place)},
    )


def _key(pool: CondorPool, place: Path) -> Wrong:
    (place / "POOL").write_bytes(SigningKey("POOL", b"another pool's").content)
    return Wrong(
        VMS,
        f"The collector takes no token for condor@{DOMAIN} that is signed with condor_signing_key, so no VM can join: "
        "copy the pool's own key there under its own name, and check condor_trust_domain.",
        {"CONDOR_SIGNING_KEY": str(place / "POOL")},
    )


@contextmanager
def started(pool: CondorPool, place: Path, wrong: Wrong) -> Iterator[Site]:
    """An installation with something wrong; it ends in order all the same."""
    with pytest.MonkeyPatch.context() as patch, condor_site(pool, place, **wrong.options) as site:
        for name, value in wrong.environment.items():
            patch.setenv(name, value)
        scheduler = site.start()
        yield site
        assert stopped(scheduler) == 0


def told(site: Site, wrong: Wrong) -> None:
    """It is told as one sentence in both places, and operators can look and act."""
    eventually(lambda: problems(site).keys() == wrong.stages, "the diagnostics tell it, and nothing else")
    diagnostics = site.said("cloud_status", "-d")
    for stage, sentence in problems(site).items():
        assert sentence.endswith(wrong.sentence), sentence
        assert f"   {stage}: {sentence}\n" in diagnostics
        assert sentence in site.log()
    assert "Traceback" not in site.log()
    assert site.ask("admin", "PUT", "/clouds/here?action=disable") == (200, "Cloud: here disabled.")
    assert [cloud["enabled"] for cloud in site.clouds().values()] == [False]


@pytest.mark.parametrize("make", [_schedd, _collector, _token, _bindings, _key])
def test_what_is_wrong_is_told_and_all_else_works(
    pool: CondorPool, tmp_path: Path, make: Callable[[CondorPool, Path], Wrong]
) -> None:
    place = tmp_path / "wrong"
    place.mkdir()
    wrong = make(pool, place)
    with started(pool, tmp_path, wrong) as site:
        told(site, wrong)


def test_bindings_that_are_too_old_are_named(pool: CondorPool, tmp_path: Path, old_bindings: Path) -> None:
    sentence = (
        f"The HTCondor bindings here are {OLD_BINDINGS}, and 25 or newer are needed: pip install --upgrade "
        "'cloudsched[htcondor]', or remove them to use the condor_* commands."
    )
    wrong = Wrong(ALL, sentence, environment={"PYTHONPATH": str(old_bindings)})
    with started(pool, tmp_path, wrong) as site:
        told(site, wrong)


def test_no_vm_is_booted_that_could_not_join(pool: CondorPool, tmp_path: Path) -> None:
    sentence = "The signing key /nowhere/POOL (condor_signing_key) cannot be read: No such file or directory."
    wrong = Wrong(VMS, sentence, {"CONDOR_SIGNING_KEY": "/nowhere/POOL"})
    with started(pool, tmp_path, wrong) as site:
        submit(site, pool, "alice", "x", 1)
        eventually(lambda: sentence in site.said("cloud_status", "-z"), "the job says why it waits")
        assert (site.vms(), running(site)) == ([], [])
        told(site, wrong)
