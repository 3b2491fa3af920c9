"""A cloud made by API as operators meet it: real commands and processes, a real job, and the scheduler killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_bench import Site, a_site, eventually

LYNX = {"name": "lynx", "cloud_type": "local", "vm_slots": 1, "enabled": True}
EC2 = {
    "cloud_type": "AmazonEC2",
    "access_key_id": "planted-id",
    "secret_access_key": "planted-secret",
    "host": "http://127.0.0.1:1/",
    "memory": 1000,
    "regions": "x",
    "security_group": "default",
    "vm_slots": 1,
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_site(tmp_path / "home") as made:
        yield made


def killed_and_started(site: Site) -> None:
    """The scheduler is killed with its daemons, and started again."""
    for pid in [*site.pids("cloud_scheduler"), *site.pids("_server")]:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not site.pids("cloud_scheduler") + site.pids("_server"), "they are dead")
    site.ports.clear()
    site.start()


def everything(site: Site) -> str:
    """What the commands, pages, logs and a dump show."""
    said = [site.said("cloud_admin", "--journal"), site.said("cloud_scheduler", "state", "dump", "-"), site.log()]
    said += [site.ask("info", "GET", url)[1] for url in ("/clusters.json", "/cloud/config.json", "/journal.json")]
    said += [site.ask("info", "GET", f"/operations/{number}.json")[1] for number in range(1, 9)]
    said += [path.read_text() for path in (site.state / "log").glob("*")]
    return "".join(said)


def test_cloud_by_api_lives_through_kills_runs_a_job_to_its_end_and_drains_away(site: Site) -> None:
    site.start()
    assert site.said("cloud_admin", "-d", "local", "--reason", "not here") == "Cloud: local disabled.\n"
    assert site.run("cloud_admin", "--cloud-put", "-", input=json.dumps(LYNX)).stdout == "Cloud: lynx created.\n"
    killed_and_started(site)
    assert (site.clouds()["lynx"]["origin"], site.clouds()["lynx"]["enabled"]) == ("api", True)
    site.submit("echo run >> runs; while [ ! -e $0.go ]; do sleep 0.1; done; echo end >> runs")
    eventually(lambda: site.read("runs") == ["run"], "the job runs on it")
    assert {vm["cloud"] for vm in site.vms()} == {"lynx"}
    status, said = site.ask("admin", "DELETE", "/clouds/lynx?reason=moved&wait=0")
    assert (status, said.startswith("Accepted, see /operations/")) == (202, True)
    operation = said.removeprefix("Accepted, see ").rstrip(".")
    killed_and_started(site)
    assert "lynx" not in site.clouds()
    (draining,) = site.get("/clusters.json")["retired_resources"]
    assert {"requested": "drained", "reason": "moved", "state": "draining", "vms": 1}.items() <= draining[
        "fleet"
    ].items()
    assert json.loads(site.ask("info", "GET", f"{operation}.json")[1])["state"] == "running"
    assert site.read("runs") == ["run"], "the job was neither killed nor started again"
    next(site.home.glob("job-*.sh")).with_suffix(".sh.go").touch()
    eventually(lambda: json.loads(site.ask("info", "GET", f"{operation}.json")[1])["state"] == "done", "it is gone")
    assert site.read("runs") == ["run", "end"]
    eventually(lambda: [job["exit_code"] for job in site.jobs().values()] == [0], "its end is known")
    document = site.get("/clusters.json")
    assert ([each["name"] for each in document["resources"]], document["retired_resources"]) == (["local"], [])


def test_planted_credentials_show_nowhere(site: Site) -> None:
    site.start()
    path = site.home / "west.json"
    path.write_text(json.dumps({"name": "west", **EC2}))
    said = site.said("cloud_admin", "--cloud-put", str(path))
    path.write_text(json.dumps({"secret_access_key": "planted-again", "colour": "red"}))
    wrong = site.run("cloud_admin", "--cloud-patch", str(path), "-c", "west")
    assert (wrong.returncode, wrong.stdout) == (1, "error: colour: colour is not an option of clouds.\n")
    path.write_text(json.dumps({"secret_access_key": "planted-again"}))
    said += site.said("cloud_admin", "--cloud-patch", str(path), "-c", "west")
    said += site.ask("admin", "PATCH", "/clouds/west?dry_run=true", {"secret_access_key": "planted-more"})[1]
    assert "planted" not in said + everything(site)
    assert site.get("/cloud/config.json")["sections"][-1]["options"]["host"] == EC2["host"]
