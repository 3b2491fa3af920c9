"""The whole thing as its users meet it: real commands, real processes, real jobs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_bench import DEADLINE_SECONDS, Site, a_site, eventually, segment, stopped

from cloudsched import __version__

HELLO = Path(__file__).parent.parent / "contrib" / "examples" / "hello.sub"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_site(tmp_path / "home") as made:
        yield made


def all_complete(site: Site, jobs: int) -> bool:
    return [job["job_status"] for job in site.jobs().values()] == [4] * jobs


# -- what a new user sees --------------------------------------------------------------------------


def test_hello_runs_from_submit_to_retirement_and_ctrl_c_leaves_nothing(site: Site) -> None:
    scheduler = site.start()
    assert site.said("cloud_job", "submit", str(HELLO)) == "3 job(s) submitted to cluster 1.\n"
    # Two seconds is what a user is promised; a loaded machine gets ten times that.
    eventually(lambda: {vm["status"] for vm in site.vms()} & {"Starting", "Running"}, "the first VM", 20.0)
    table = site.said("cloud_status", "-m").splitlines()
    assert table[0].split() == ["ID", "HOSTNAME", "VMTYPE", "USER", "STATUS", "CLUSTER"]
    assert site.said("cloud_status", "-q", "running").startswith("Jobs in Running state\n")
    assert site.said("cloud_status")
    eventually(lambda: all_complete(site, 3), "the jobs finish")
    for number in range(3):
        said = (site.home / f"hello.1.{number}.out").read_text().splitlines()
        assert (said[0].startswith(f"Hello from job {number} on local-"), said[1]) == (True, "Goodbye")
        assert json.loads(site.said("cloud_job", "show", "-j", f"1.{number}"))["exit_code"] == 0
    events = "\n".join(site.read("hello.log"))
    assert [events.count(kind) for kind in ("000 (001.", "001 (001.", "005 (001.")] == [3, 3, 3]
    eventually(lambda: not site.vms(), "idle VMs retire")
    assert stopped(scheduler, signal.SIGINT) == 0
    assert site.processes() == {}


def test_ctrl_c_ends_running_jobs_and_their_vms(site: Site) -> None:
    scheduler = site.start()
    site.submit("sleep 1000 & echo started >> runs; wait", count=2)
    eventually(lambda: site.read("runs"), "a job runs")
    assert stopped(scheduler, signal.SIGINT) == 0
    assert site.processes() == {}
    assert list((site.state / "vms").iterdir()) == []


def test_exit_code_and_signal_of_a_job_are_kept(site: Site) -> None:
    site.start()
    site.submit("exit 7")
    site.submit("kill -9 $$")
    eventually(lambda: all_complete(site, 2))
    assert {job["cluster_id"]: job["exit_code"] for job in site.jobs().values()} == {1: 7, 2: None}


# -- stopping and starting -------------------------------------------------------------------------


def test_quick_exit_leaves_jobs_running_and_the_next_start_takes_them_back(site: Site) -> None:
    scheduler = site.start()
    site.submit("echo run >> runs; while [ ! -e $0.go ]; do sleep 0.1; done; echo end >> runs")
    site.submit("echo run >> runs; while [ ! -e $0.go ]; do sleep 0.1; done; echo end >> runs")
    eventually(lambda: site.read("runs") == ["run", "run"])
    before = sorted(vm["id"] for vm in site.vms())
    assert site.said("cloud_admin", "-q") == "\nToggled Quick shutdown flag.\n"
    assert stopped(scheduler) == 0
    assert site.pids("cloud_scheduler") == site.pids("_server") == []
    assert len(site.pids("cloudsched.batch.worker")) == 2
    first, second = sorted(site.home.glob("job-*.sh"))
    Path(f"{first}.go").touch()
    eventually(lambda: site.read("runs") == ["run", "run", "end"], "one job ends while nobody is there")
    scheduler = site.start()
    eventually(lambda: [job["job_status"] for job in site.jobs().values()].count(4) == 1, "its end is reported")
    assert set(before) >= {vm["id"] for vm in site.vms()}
    Path(f"{second}.go").touch()
    eventually(lambda: all_complete(site, 2))
    assert site.read("runs") == ["run", "run", "end", "end"]
    eventually(lambda: not site.vms())
    assert stopped(scheduler) == 0
    assert site.processes() == {}


def test_toggle_by_signal_works_as_in_v1s_init_script(site: Site) -> None:
    scheduler = site.start()
    site.submit("echo run >> runs; sleep 1000")
    eventually(lambda: site.read("runs"))
    os.kill(scheduler.pid, signal.SIGUSR2)
    eventually(lambda: "Quick exit is on" in site.log())
    os.kill(scheduler.pid, signal.SIGUSR1)
    eventually(lambda: "disabled" in site.log())
    assert stopped(scheduler) == 0
    assert len(site.pids("cloudsched.batch.worker")) == 1


def test_second_start_says_who_holds_the_state(site: Site) -> None:
    scheduler = site.start()
    done = site.run("cloud_scheduler")
    assert done.returncode == 1
    assert f"is held by process {scheduler.pid} on {socket.gethostname()} since" in done.stderr
    assert done.stderr.count("\n") == 1
    assert site.clouds(), "the first is not disturbed"


def test_daemons_that_are_killed_are_started_again_where_they_were(site: Site) -> None:
    site.start()
    ports = dict(site.ports)
    for daemon in ("admin", "info"):
        (pid,) = site.pids(f"{daemon}_server")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda old=pid, name=daemon: [each for each in site.pids(f"{name}_server") if each != old])
    assert site.ports == ports
    eventually(lambda: _answers(site), "both answer again")


def _answers(site: Site) -> bool:
    try:
        return site.ask("admin", "GET", "/user-limits")[0] == 200 == site.ask("info", "GET", "/cloud")[0]
    except OSError:
        return False


def test_daemons_end_with_a_scheduler_that_is_killed(site: Site) -> None:
    scheduler = site.start()
    scheduler.kill()
    scheduler.wait()
    eventually(lambda: not site.processes(), "the daemons end")


def test_engine_alone_serves_workers_but_no_requests(site: Site) -> None:
    scheduler = site.spawn("--no-servers")
    eventually((site.state / "batch.sock").exists)
    assert site.pids("_server") == []
    assert stopped(scheduler) == 0
    assert scheduler.stdout is not None
    assert scheduler.stdout.read() == ""


# -- what cannot start -----------------------------------------------------------------------------


def refused(site: Site, *argv: str) -> str:
    """The one line with which a start fails."""
    done = site.run("cloud_scheduler", *argv)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert site.processes() == {}
    return done.stderr


def test_taken_port_is_one_sentence_and_costs_no_vm(site: Site) -> None:
    scheduler = site.start()
    site.submit("echo run >> runs; sleep 1000")
    eventually(lambda: site.read("runs"))
    site.said("cloud_admin", "-q")
    assert stopped(scheduler) == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        site.ports["info"] = taken.getsockname()[1]
        done = site.run("cloud_scheduler")
    assert done.returncode == 1
    assert (
        f"cannot listen on 127.0.0.1 port {site.ports['info']}: another program listens there already." in done.stderr
    )
    assert len([line for line in done.stderr.splitlines() if " - INFO - " not in line]) == 1
    assert len(site.pids("cloudsched.batch.worker")) == 1, "VMs of a quick exit are not ended by a start that fails"


def test_state_directory_that_cannot_be_used_is_one_sentence(site: Site) -> None:
    site.state.write_text("a file is in the way")
    assert str(site.state) in refused(site)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs an account that may mount")
def test_read_only_state_directory_is_one_sentence(site: Site) -> None:
    site.state.mkdir()
    script = f"mount -t tmpfs -o ro none {site.state} && exec {Path(sys.executable).parent}/cloud_scheduler"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], env=site.environment(), capture_output=True, text=True, timeout=60
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "Traceback" not in done.stderr


def test_broken_configuration_is_one_sentence(site: Site) -> None:
    path = site.home / "broken.conf"
    path.write_text("[global]\ninfo_server_port: many\n")
    site.options = {**site.options}
    environment = {name: text for name, text in site.environment().items() if "PORT" not in name}
    done = site.run("cloud_scheduler", "-f", str(path), env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{path}:2: [global] info_server_port = 'many'" in done.stderr
    assert "no-such.conf" in refused(site, "-f", str(site.home / "no-such.conf"))


def test_file_without_clouds_gets_v1s_sentence_and_help(site: Site) -> None:
    path = site.home / "empty.conf"
    path.write_text("[global]\n")
    done = site.run("cloud_scheduler", "-f", str(path))
    assert done.returncode == 1
    assert done.stdout.startswith("ERROR - main - No cloud or cluster information sources provided\nusage: ")


# -- v1's files and other commands -----------------------------------------------------------------

V1_MAIN = """#
# The shipped sample, cut short: two lines of its comments begin with blanks, which made them part of the value above.

[global]

cloud_resource_config: {resources}

condor_webservice_url: http://localhost:8080
condor_collector_url: http://localhost:9618

# condor_hold_command allows you to specify which command is used
            to hold jobs. If you like, you can change the command that Cloud
#           Scheduler uses

# condor_release_command allows you to specify which command is used
            to release jobs. If you like, you can change the command that Cloud
#           Scheduler uses
job_ban_timeout: 60 ; minutes

[job]
default_VMMem: 512

[logging]
log_level: INFO
"""
V1_CLOUDS = """[mouse]
auth_url: https://mouse.example.org:5000/v2.0/
regions: Victoria
cloud_type: OpenStackNative
vm_slots: 10
cpu_cores: -1
storage: -1
memory: 20480
tenant_name: testing
username: jdoe
password: 's3cret'
security_group: default
key_name: ""
networks: private
secure_connection: true
enabled: true

[amazon-east]
host: us-east-1.ec2.amazonaws.com
cloud_type: AmazonEC2
vm_slots: 20
"""


def test_v1s_files_start_it_unchanged_with_their_clouds_listed_and_disabled(site: Site) -> None:
    main, resources = site.home / "cloud_scheduler.conf", site.home / "cloud_resources.conf"
    main.write_text(V1_MAIN.format(resources=resources))
    resources.write_text(V1_CLOUDS)
    site.start("-f", str(main))
    clouds = site.clouds()
    assert [cloud["enabled"] for cloud in clouds.values()] == [False, False]
    shown = json.dumps(clouds)
    assert "storage = '-1' must be a whole number" in shown
    assert "missing: access_key_id" in shown
    assert "s3cret" not in shown + site.log()
    assert main.read_text() == V1_MAIN.format(resources=resources)
    done = site.run("cloud_admin", "-e", "mouse")
    assert done.returncode == 1
    assert "must be a whole number" in done.stdout + done.stderr


def test_config_prints_every_value_with_its_source(site: Site) -> None:
    said = site.said("cloud_scheduler", "config")
    assert f"state_dir = {site.state}" in said
    assert "CLOUDSCHED_GLOBAL_STATE_DIR" in said
    assert json.loads(site.said("cloud_scheduler", "config", "--json"))
    assert site.said("cloud_scheduler", "--version") == f"Cloud Scheduler {__version__}\n"
    assert not site.state.exists()


def test_state_is_dumped_loaded_and_simulated(site: Site, tmp_path: Path) -> None:
    scheduler = site.start()
    site.submit("exit 3")
    eventually(lambda: all_complete(site, 1))
    dump = site.home / "dump.jsonl"
    site.said("cloud_scheduler", "state", "dump", str(dump))
    assert [json.loads(line) for line in dump.read_text().splitlines()][0]["cloudsched_state"] == 1
    held = site.run("cloud_scheduler", "state", "load", "--replace", str(dump))
    assert (held.returncode, "held by" in held.stderr) == (1, True)
    assert stopped(scheduler) == 0
    with a_site(tmp_path / "other") as other:
        loaded = other.said("cloud_scheduler", "state", "load", str(dump))
        assert loaded.startswith("Loaded ")
        again = other.run("cloud_scheduler", "state", "load", str(dump))
        assert (again.returncode, "--replace" in again.stderr) == (1, True)
        other.start("--simulate")
        assert [job["exit_code"] for job in other.jobs().values()] == [3]
        other.submit("true", count=2)
        eventually(lambda: [vm["status"] for vm in other.vms()].count("Running") == 2, "played VMs run")
        assert other.pids("cloudsched.batch.worker") == []


def test_simulation_over_real_vms_is_refused(site: Site) -> None:
    (site.state / "vms" / "local-1").mkdir(parents=True)
    refused = site.run("cloud_scheduler", "--simulate")
    assert (refused.returncode, "real VMs are in" in refused.stderr) == (1, True)


# -- names -----------------------------------------------------------------------------------------

ODD = ["test/name?x#y 100%", 'o\'brien "quoted"', "größe süß", "a;b&c=d+e", "sched.example.org#245.698#1282577354"]


def test_any_name_works_through_servers_and_clients(site: Site) -> None:
    resources = site.home / "cloud_resources.conf"
    sections = [f"[{name}]\ncloud_type: local\nvm_slots: 1\nenabled: true\n" for name in ODD]
    resources.write_text("\n".join(sections))
    site.start("-c", str(resources))
    assert site.clouds().keys() == set(ODD)
    for name in ODD:
        vmtype = name.replace('"', "'")
        site.submit(f'echo "$0" >> {segment(name)}.out; sleep 1000', f'requirements = VMType =?= "{vmtype}"')
    vms = eventually(lambda: len(site.vms()) == len(ODD) and site.vms(), "each type gets its VM")
    eventually(lambda: all(site.read(f"{segment(name)}.out") for name in ODD), "the jobs run")
    assert {vm["vmtype"] for vm in vms} == {name.replace('"', "'") for name in ODD}
    for name, cloud in site.clouds().items():
        (vm,) = cloud["vms"]
        assert name in site.said("cloud_status", "-c", name)
        assert site.get(f"/clusters/{segment(name)}.json")["name"] == name
        assert vm["id"] in site.said("cloud_status", "-c", name, "-n", vm["id"])
        assert site.said("cloud_admin", "-d", name) == f"Cloud: {name} disabled.\n"
        assert site.said("cloud_admin", "-k", "-c", name, "-n", vm["id"]) == f"VM {vm['id']} has been Destroyed.\n"
    for job_id in site.jobs():
        assert job_id in site.said("cloud_job", "show", job_id)
        assert site.run("cloud_job", "hold", job_id).returncode == 0
        assert site.jobs()[job_id]["job_status"] == 5


def test_user_of_any_name_is_listed_and_told_why_the_job_cannot_run(site: Site) -> None:
    if os.geteuid() != 0:
        pytest.skip("another owner's jobs need an engine that runs as root")
    site.start()
    owner = "no'body/ü %?#"
    document = {"submit": "executable = /bin/true\nqueue", "initialdir": "/", "owner": owner}
    status, body = site.ask("admin", "POST", "/jobs", document)
    assert status == 201, body
    job = eventually(lambda: [each for each in site.jobs().values() if each["job_status"] == 5], "it is held")[0]
    assert job["user"] == owner
    assert "there is no account" in job["hold_reason"]
    assert owner[:15] in site.said("cloud_job", "list", "--state", "held")


def test_nothing_is_left_by_these_tests_when_they_fail(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), a_site(tmp_path / "home") as site:
        scheduler = site.start()
        site.submit("sleep 1000 & echo run >> runs; wait")
        eventually(lambda: site.read("runs"))
        raise RuntimeError
    assert scheduler.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    assert site.processes() == {}
