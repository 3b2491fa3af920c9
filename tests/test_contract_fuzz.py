"""schemathesis from both documents against both real daemons; and clients that a public generator made of them.

`CLOUDSCHED_SOAK=1` (make soak) sends every boundary value and thousands of drawn ones; else it is a minute's worth.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import golden_state
import pytest
from databases import open_store
from scheduler_process import scheduler

from cloudsched import openapi

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
SOAK = bool(os.environ.get("CLOUDSCHED_SOAK"))

PHASES = "examples,coverage,fuzzing" if SOAK else "examples,fuzzing"
EXAMPLES = 30 if SOAK else 2
"""Of every operation, beside the examples and, in a soak, every value at a boundary."""

FEWEST = 2000 if SOAK else 100
"""A run that sends less than this tests nothing."""


GENERATOR = (
    "content_type_overrides: "
    "{application/x-www-form-urlencoded: application/json, multipart/form-data: application/json}"
)
"""As docs/api.md has it: of a body in three forms this generator would send all three at once."""


@dataclass(frozen=True)
class Site:
    """Both daemons of a real scheduler over the recorded fleet, whose clouds and jobs are simulated."""

    urls: dict[str, str]
    token: str
    home: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    store = open_store(home / "state")
    golden_state.load(store, time.time())
    store.close()
    resources = home / "clouds.conf"
    resources.write_text(golden_state.golden().ini)
    options = {"cloud_resource_config": resources, "verb_wait_seconds": 1, "info_auth": "token"}
    with scheduler(home, "--simulate", **options) as running:
        token = (home / "state" / "admin.token").read_text("ascii").strip()
        yield Site({"admin": running.admin, "info": running.info}, token, home)


def run(site: Site, daemon: str, *arguments: str) -> tuple[int, str]:
    """How many requests schemathesis has sent, and what it says of them; it must have no complaint."""
    command = [
        *(str(BIN / "schemathesis"), "--config-file", str(ROOT / "tests" / "schemathesis.toml")),
        *("run", f"{site.urls[daemon]}/openapi.json", "--header", f"Authorization: Bearer {site.token}"),
        *("--no-color", "--seed", "20260101", "--request-timeout", "120", "--generation-database", "none"),
        *("--suppress-health-check", "all", "--continue-on-failure", *arguments),
    ]
    variables = {**os.environ, "SCHEMATHESIS_HOOKS": "contract_hooks", "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=site.home, env=variables, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    found = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert found, done.stdout
    assert found[1] == found[2], done.stdout
    return int(found[1]), done.stdout


@pytest.mark.parametrize("daemon", openapi.DAEMONS)
def test_every_answer_is_as_the_contract_says(site: Site, daemon: str) -> None:
    sent, said = run(site, daemon, "--phases", PHASES, "--max-examples", str(EXAMPLES))
    assert sent >= FEWEST
    every = re.search(r"Selected: (\d+)/(\d+)", said)
    assert every is not None
    assert every[1] == every[2]
    assert SOAK or "Fuzzing" in said


@pytest.mark.parametrize("daemon", openapi.DAEMONS)
def test_what_one_answer_tells_the_next_request_may_name(site: Site, daemon: str) -> None:
    sent, _ = run(
        site, daemon, "--phases", "stateful", "--max-examples", str(EXAMPLES), "-H", "Accept: application/json"
    )
    assert sent > 0


@pytest.fixture(scope="module")
def clients(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The modules that the public generator makes of what the daemons serve: `admin_client` and `info_client`."""
    home = tmp_path_factory.mktemp("generated")
    (home / "generator.yaml").write_text(f"post_hooks: []\n{GENERATOR}")
    for daemon, url in site.urls.items():
        command = [
            *(str(BIN / "openapi-python-client"), "generate", "--url", f"{url}/openapi.json", "--meta", "none"),
            *("--output-path", str(home / f"{daemon}_client"), "--config", str(home / "generator.yaml")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        # Of what it is told about, only a document in YAML is beyond it.
        left_out = re.findall(r"^WARNING parsing (.+?) within", done.stdout + done.stderr, re.MULTILINE)
        assert (done.returncode, set(left_out)) == (0, {"GET /openapi.yaml"}), done.stdout + done.stderr
    sys.path.insert(0, str(home))
    try:
        yield {daemon: importlib.import_module(f"{daemon}_client") for daemon in site.urls}
    finally:
        sys.path.remove(str(home))


def test_generator_is_told_what_the_page_says() -> None:
    assert GENERATOR in (ROOT / "docs" / "api.md").read_text("utf-8")


def part(name: str) -> Any:
    """A module of a generated client."""
    return importlib.import_module(name)


def test_generated_client_reads_pages(site: Site, clients: dict[str, Any]) -> None:
    vms, models = part("info_client.api.vms.list_v_ms_json"), part("info_client.models")
    words = {
        "sort": [models.ListVMsJsonSortItem.VALUE_1, models.ListVMsJsonSortItem.USER],
        "fields": [models.ListVMsJsonFieldsItem.ID, models.ListVMsJsonFieldsItem.USER],
    }
    with clients["info"].AuthenticatedClient(base_url=site.urls["info"], token=site.token) as client:
        whole = vms.sync(client=client)
        assert {vm.cloud for vm in whole.vms} <= {"mouse", "cheetah", "test/name?x#y"}
        page, found = vms.sync(client=client, limit=2, **words), []
        while True:
            found += page.vms
            if page.next_page_token is None:
                break
            page = vms.sync(client=client, page_token=page.next_page_token, **words)
        assert len(found) == page.total > 2
        # The fleet lives on meanwhile; the pages do not.
        ids = [vm.id for vm in found if vm.id]
        assert ids == sorted(ids, reverse=True)
        assert part("info_client.api.jobs.get_job").sync_detailed(client=client, job="job-1.json").status_code == 200


def test_generated_client_sends_verbs_and_reads_refusals(site: Site, clients: dict[str, Any]) -> None:
    models, change = part("admin_client.models"), part("admin_client.api.clouds.change_cloud")
    disable = models.CloudChange(action=models.CloudChangeAction.DISABLE)
    grant = models.TokenGrant(role=models.TokenGrantRole.READER, description="made by a generated client")
    made_by = clients["admin"].AuthenticatedClient
    with made_by(base_url=site.urls["admin"], token=site.token) as client:
        assert change.sync_detailed(client=client, cloud="cheetah", body=disable).status_code in (200, 202)
        made = part("admin_client.api.tokens.create_token").sync_detailed(client=client, body=grant)
        assert made.status_code == 201
        text = str(made.parsed).strip()
        with made_by(base_url=site.urls["admin"], token=text) as reader:
            refused = change.sync_detailed(client=reader, cloud="cheetah", body=disable)
            assert (refused.status_code, "takes the role operator" in str(refused.parsed)) == (403, True)
            revoke = part("admin_client.api.tokens.revoke_token")
            assert revoke.sync_detailed(client=client, token=text.split("_")[1]).status_code == 200
            assert part("admin_client.api.scheduler.get_settings").sync_detailed(client=reader).status_code == 401
